# SSE single-precision arithmetic, packed and scalar, register and memory.
# init: edi=DATA
# vary: xmm

    addps xmm0, xmm3
    addps xmm1, [edi+0]
    subps xmm1, xmm4
    subps xmm2, [edi+16]
    mulps xmm2, xmm5
    mulps xmm3, [edi+32]
    divps xmm3, xmm6
    divps xmm4, [edi+48]
    minps xmm4, xmm7
    minps xmm5, [edi+64]
    maxps xmm5, xmm0
    maxps xmm6, [edi+80]
    sqrtps xmm6, xmm1
    sqrtps xmm7, [edi+96]
    andps xmm7, xmm2
    andps xmm0, [edi+112]
    andnps xmm0, xmm3
    andnps xmm1, [edi+128]
    orps xmm1, xmm4
    orps xmm2, [edi+144]
    xorps xmm2, xmm5
    xorps xmm3, [edi+160]
    unpcklps xmm3, xmm6
    unpcklps xmm4, [edi+176]
    unpckhps xmm4, xmm7
    unpckhps xmm5, [edi+192]
    rcpps xmm5, xmm0
    rcpps xmm6, [edi+208]
    rsqrtps xmm6, xmm1
    rsqrtps xmm7, [edi+224]
    addss xmm0, xmm3
    addss xmm1, [edi+1]
    subss xmm1, xmm4
    subss xmm2, [edi+8]
    mulss xmm2, xmm5
    mulss xmm3, [edi+15]
    divss xmm3, xmm6
    divss xmm4, [edi+22]
    minss xmm4, xmm7
    minss xmm5, [edi+29]
    maxss xmm5, xmm0
    maxss xmm6, [edi+36]
    sqrtss xmm6, xmm1
    sqrtss xmm7, [edi+43]
    rcpss xmm7, xmm2
    rcpss xmm0, [edi+50]
    rsqrtss xmm0, xmm3
    rsqrtss xmm1, [edi+57]
    cmpps xmm0, [edi+0], 0
    cmpss xmm0, xmm7, 7
    cmpps xmm1, [edi+16], 1
    cmpss xmm1, xmm6, 6
    cmpps xmm2, [edi+32], 2
    cmpss xmm2, xmm5, 5
    cmpps xmm3, [edi+48], 3
    cmpss xmm3, xmm4, 4
    cmpps xmm4, [edi+64], 4
    cmpss xmm4, xmm3, 3
    cmpps xmm5, [edi+80], 5
    cmpss xmm5, xmm2, 2
    cmpps xmm6, [edi+96], 6
    cmpss xmm6, xmm1, 1
    cmpps xmm7, [edi+112], 7
    cmpss xmm7, xmm0, 0
    shufps xmm0, [edi+32], 0x4e
    shufps xmm1, xmm2, 0x93
    stmxcsr [edi+0x303]
