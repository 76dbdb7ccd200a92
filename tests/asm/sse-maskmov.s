# MASKMOVDQU stores selected bytes at EDI, also across a page.
# vary: xmm

    pcmpeqb xmm1, xmm1
    psrldq xmm1, 5
    mov edi, DATA+0xff8
    maskmovdqu xmm0, xmm1
    mov edi, DATA+0x103
    movups xmm2, [DATA+7]
    maskmovdqu xmm0, xmm2
