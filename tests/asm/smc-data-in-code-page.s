# A program that keeps its data in its code page writes it often.

    mov ecx, 200
    again: mov [var], ecx
    add eax, [var]
    add [var2], eax
    dec ecx
    jnz again
    jmp done
    var: .long 0
    var2: .long 0
    done: mov ebx, [var2]
