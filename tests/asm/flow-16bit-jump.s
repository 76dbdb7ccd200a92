# A jump with a 16-bit operand truncates EIP to 16 bits (SDM vol. 2, JMP).
# expect: vector=14

    mov eax, 1
    .byte 0x66, 0xeb, 0x00
    inc eax
