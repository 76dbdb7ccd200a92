# BOUND inside, then outside, its limits.
# expect: vector=5

    mov dword ptr [DATA], -5
    mov dword ptr [DATA+4], 9
    mov eax, 9
    bound eax, [DATA]
    mov eax, -5
    bound eax, [DATA]
    mov eax, 10
    bound eax, [DATA]
