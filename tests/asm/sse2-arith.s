# SSE2 double-precision arithmetic, packed and scalar, register and memory.
# init: edi=DATA
# vary: xmm

    addpd xmm0, xmm3
    addpd xmm1, [edi+0]
    subpd xmm1, xmm4
    subpd xmm2, [edi+16]
    mulpd xmm2, xmm5
    mulpd xmm3, [edi+32]
    divpd xmm3, xmm6
    divpd xmm4, [edi+48]
    minpd xmm4, xmm7
    minpd xmm5, [edi+64]
    maxpd xmm5, xmm0
    maxpd xmm6, [edi+80]
    sqrtpd xmm6, xmm1
    sqrtpd xmm7, [edi+96]
    andpd xmm7, xmm2
    andpd xmm0, [edi+112]
    andnpd xmm0, xmm3
    andnpd xmm1, [edi+128]
    orpd xmm1, xmm4
    orpd xmm2, [edi+144]
    xorpd xmm2, xmm5
    xorpd xmm3, [edi+160]
    unpcklpd xmm3, xmm6
    unpcklpd xmm4, [edi+176]
    unpckhpd xmm4, xmm7
    unpckhpd xmm5, [edi+192]
    addsd xmm0, xmm3
    addsd xmm1, qword ptr [edi+1]
    subsd xmm1, xmm4
    subsd xmm2, qword ptr [edi+8]
    mulsd xmm2, xmm5
    mulsd xmm3, qword ptr [edi+15]
    divsd xmm3, xmm6
    divsd xmm4, qword ptr [edi+22]
    minsd xmm4, xmm7
    minsd xmm5, qword ptr [edi+29]
    maxsd xmm5, xmm0
    maxsd xmm6, qword ptr [edi+36]
    sqrtsd xmm6, xmm1
    sqrtsd xmm7, qword ptr [edi+43]
    cmppd xmm0, [edi+0], 0
    cmpsd xmm0, xmm7, 7
    cmppd xmm1, [edi+16], 1
    cmpsd xmm1, xmm6, 6
    cmppd xmm2, [edi+32], 2
    cmpsd xmm2, xmm5, 5
    cmppd xmm3, [edi+48], 3
    cmpsd xmm3, xmm4, 4
    cmppd xmm4, [edi+64], 4
    cmpsd xmm4, xmm3, 3
    cmppd xmm5, [edi+80], 5
    cmpsd xmm5, xmm2, 2
    cmppd xmm6, [edi+96], 6
    cmpsd xmm6, xmm1, 1
    cmppd xmm7, [edi+112], 7
    cmpsd xmm7, xmm0, 0
    shufpd xmm0, [edi+32], 1
    shufpd xmm1, xmm2, 2
    stmxcsr [edi+0x303]
