# Conversions between integers, floats, doubles and MMX.
# init: edi=DATA
# vary: eax xmm

    cvtsi2ss xmm0, eax
    cvtsi2sd xmm1, [edi+3]
    cvtss2si ecx, xmm2
    cvttss2si edx, [edi+5]
    cvtsd2si ebx, xmm3
    cvttsd2si ebp, qword ptr [edi+9]
    cvtss2sd xmm4, xmm5
    cvtsd2ss xmm5, qword ptr [edi+1]
    cvtps2pd xmm6, [edi+2]
    cvtpd2ps xmm7, [edi+16]
    cvtdq2ps xmm0, [edi+32]
    cvtps2dq xmm1, xmm0
    cvttps2dq xmm2, [edi+48]
    cvtdq2pd xmm3, [edi+7]
    cvtpd2dq xmm4, xmm3
    cvttpd2dq xmm5, [edi+64]
    cvtpi2ps xmm6, [edi+1]
    cvtps2pi mm0, xmm6
    cvttps2pi mm1, [edi+3]
    cvtpi2pd xmm7, mm0
    cvtpd2pi mm2, xmm7
    cvttpd2pi mm3, [edi+80]
    stmxcsr [edi+0x300]
