# PUSHFQ, POPFQ, LAHF and SAHF at CPL 3: IF and IOPL stay.
# init: rax=0x40cd7 rcx=0x3ed7

    push rax
    popfq
    pushfq
    pop rbx
    push rcx
    popfq
    pushfq
    pop rdx
    lahf
    mov r8, rax
    mov ah, 0x41
    sahf
    setc r9b
    setz r10b
    pushf
    pop r11w
    push 0
    popfq
