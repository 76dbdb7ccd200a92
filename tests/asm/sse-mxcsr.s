# LDMXCSR and STMXCSR; rounding and flush-to-zero take effect.
# vary: xmm

    stmxcsr [DATA]
    mov dword ptr [DATA+4], 0xff80
    ldmxcsr [DATA+4]
    divps xmm0, xmm1
    mulsd xmm2, xmm3
    cvtps2dq xmm4, xmm5
    stmxcsr [DATA+8]
    mov dword ptr [DATA+4], 0x3f80
    ldmxcsr [DATA+4]
    cvtsd2si eax, xmm6
    stmxcsr [DATA+12]
    ldmxcsr [DATA]
