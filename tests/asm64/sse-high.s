# XMM8-XMM15 in each operand position, and moves between them and 64-bit registers.
# init: r9=DATA+0x100
# vary: xmm rax r8

    movaps xmm8, xmm0
    addps xmm9, xmm1
    mulpd xmm2, xmm10
    movups [r9+3], xmm11
    movdqa xmm12, [r9+0x10]
    pxor xmm13, [r9+0x20]
    movq xmm14, rax
    movq r10, xmm8
    movd r11d, xmm9
    cvtsi2sd xmm15, r8
    cvttsd2si r12, xmm10
    cvtsi2ss xmm3, qword ptr [r9+0x40]
    shufps xmm12, xmm13, 0x1b
    pshufd xmm4, xmm14, 0x4e
    ucomisd xmm8, xmm15
    setp r13b
    movntdq [r9+0x80], xmm13
    movnti [r9+0x98], r8
    pextrw r14d, xmm12, 5
    pmovmskb r15d, xmm9
