# A reserved MXCSR bit raises #GP(0).
# expect: vector=13 error=0

    mov dword ptr [DATA], 0x80001f80
    ldmxcsr [DATA]
