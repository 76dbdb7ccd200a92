# Recursion deeper than any predictor: 200 frames with a saved register and a local in each.
# init: rdi=200
# expect: rax=20100

    mov rsp, STACK+0x2000
    call sum
    jmp done
sum:
    push rbx
    sub rsp, 8
    mov [rsp], rdi
    mov rbx, rdi
    xor eax, eax
    test edi, edi
    jz last
    dec rdi
    cmp rsp, STACK+0x60
    jb last
    cmp rdi, 140
    jb short_cut
    call sum
last:
    add rax, [rsp]
    add rsp, 8
    pop rbx
    ret
short_cut:
    lea rax, [rdi+1]
    imul rax, rdi
    shr rax, 1
    jmp last
done:
