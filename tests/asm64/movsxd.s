# MOVSXD from register and memory; without REX.W it is a plain move of 32 bits.
# init: rax=0xffffffff80000001 rcx=0x7fffffff r9=0x8000000000000000
# mem: DATA+3 00 00 00 80
# expect: rdx=0xffffffff80000001 rbx=0x7fffffff r10=0 r11=0xffffffff80000000

    movsxd rdx, eax
    movsxd rbx, ecx
    movsxd r10, r9d
    movsxd r11, dword ptr [DATA+3]
    mov r12, -1
    .byte 0x44, 0x63, 0xe1
