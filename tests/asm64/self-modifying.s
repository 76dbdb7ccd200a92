# Code that changes an instruction ahead of it in the same block, and one it has run before.
# init: rcx=2
# expect: rax=0x33

again:
    mov byte ptr patched[rip+1], 0x11
    jmp over
over:
patched:
    mov al, 0x55
    add ah, al
    dec rcx
    jnz again
    movzx eax, ah
    add al, 0x11
