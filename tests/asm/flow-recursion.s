# Recursive Fibonacci: calls, returns and stack traffic far deeper than any return predictor.
# expect: eax=2584

    mov eax, 18
    call fib
    jmp done
    fib: cmp eax, 2
    jb base
    push eax
    dec eax
    call fib
    xchg eax, [esp]
    sub eax, 2
    call fib
    pop edx
    add eax, edx
    base: ret
    done: nop
