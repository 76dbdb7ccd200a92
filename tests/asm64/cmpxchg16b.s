# CMPXCHG16B that matches and one that does not, with and without LOCK. Only ZF changes.
# init: rax=0x0706050403020100 rdx=0x0f0e0d0c0b0a0908 rbx=0x1111 rcx=0x2222 r9=DATA+0x40
# mem: DATA+0x40 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f
# vary: flags
# expect: rsi=1 rdi=0 rax=0x1111 rdx=0x2222 [DATA+0x40]=0x1111 [DATA+0x48]=0x2222

    lock cmpxchg16b [r9]
    mov esi, 0
    setz sil
    mov rax, 5
    cmpxchg16b [r9]
    mov edi, 0
    setz dil
    pushfq
    pop r10
    and r10d, 0x8d5
