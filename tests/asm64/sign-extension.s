# CBW to CQO, MOVSX and MOVZX to each width.
# vary: rax rcx r9

    cbw
    mov rdx, rax
    cwde
    mov rbx, rax
    cdqe
    mov rsi, rax
    cwd
    mov di, dx
    mov eax, ecx
    cdq
    mov r8, rdx
    mov rax, r9
    cqo
    movsx r10, cl
    movsx r11d, cx
    movsx r12w, r9b
    movsx r13, r9w
    movzx r14, cx
    movzx r15d, byte ptr [DATA+5]
