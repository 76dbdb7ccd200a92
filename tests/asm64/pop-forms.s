# POP to registers, to memory relative to the RSP that the POP leaves, and of 16 bits.
# vary: rax r9

    push rax
    push r9
    push rax
    push r9
    push rax
    pop r15
    pop qword ptr [DATA+0x11]
    pop qword ptr [rsp-0x20]
    pop cx
    pop dx
    pop bx
    pop si
    pop r8
