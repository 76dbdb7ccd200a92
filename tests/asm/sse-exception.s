# An unmasked SIMD exception raises #XM at its own instruction and leaves the destination alone.
# expect: vector=19

    mov dword ptr [DATA], 0x1d80
    ldmxcsr [DATA]
    pxor xmm1, xmm1
    mov eax, 0x3f800000
    movd xmm0, eax
    divss xmm0, xmm1
