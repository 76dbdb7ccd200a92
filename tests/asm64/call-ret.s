# Near calls and returns: direct, through a register and memory, with a stack adjustment.
# vary: rax r9

    lea r11, second[rip]
    lea rbx, third[rip]
    mov [DATA+0x40], rbx
    push r9
    push r9
    call first
    call r11
    call qword ptr [DATA+0x40]
    mov r10, 0x40
    call qword ptr [DATA+r10]
    jmp done
first:
    add rax, 1
    ret
second:
    xor rax, r9
    call first
    ret
third:
    lea rcx, [rsp]
    add rax, [rsp+8]
    rep ret
done:
    push rax
    push rax
    call fourth
    jmp end
fourth:
    ret 16
end:
