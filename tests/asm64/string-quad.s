# MOVSQ, STOSQ, LODSQ, SCASQ and CMPSQ, single and repeated.
# init: rsi=DATA+0x100 rdi=DATA+0x800
# vary: rax flags

    cld
    movsq
    stosq
    mov ecx, 40
    rep movsq
    mov ecx, 7
    rep stosq
    lodsq
    mov ecx, 3
    rep lodsq
    mov rsi, DATA+0x100
    mov rdi, DATA+0x800
    mov ecx, 100
    repe cmpsq
    mov r8, rcx
    setc r9b
    mov rdi, DATA+0xff0
    mov rax, [DATA+0x1040]
    mov ecx, 100
    repne scasq
    sete r10b
