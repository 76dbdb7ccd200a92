# PUSH of registers, immediates, memory and segments. The slots of segments are cleared first: some CPUs
# write only 16 bits of them (SDM vol. 2, PUSH).
# vary: eax ecx
# kernel: no

    push eax
    push 0x7f
    push -128
    push 0x12345678
    push dword ptr [DATA+3]
    .byte 0xff, 0xf1
    mov dword ptr [esp-4], 0
    push ds
    mov dword ptr [esp-4], 0
    push es
    .byte 0x66
    push ds
    mov dword ptr [esp-4], 0
    push fs
    mov dword ptr [esp-4], 0
    push gs
    .byte 0x8f, 0xc0
    pop ecx
