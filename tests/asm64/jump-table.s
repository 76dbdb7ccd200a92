# Indirect jumps through a table with a high index, and through a register that changes each time.
# init: r11=0
# vary: rax

    lea r10, table[rip]
    lea rcx, one[rip]
    mov [r10], rcx
    lea rcx, two[rip]
    mov [r10+8], rcx
    lea rcx, three[rip]
    mov [r10+16], rcx
next:
    jmp qword ptr [r10+r11*8]
one:
    add rax, 0x11
    inc r11
    jmp next
two:
    rol rax, 7
    inc r11
    mov r12, [r10+r11*8]
    jmp r12
three:
    xor rax, r11
    jmp end
    .balign 8
table:
    .quad 0, 0, 0
end:
