# Unaligned SSE accesses across pages, and into a read-only page.
# vary: xmm
# expect: vector=14 error=7 cr2=READONLY

    movups xmm0, [DATA+0xff8]
    movups [DATA+0x1ff3], xmm0
    movdqu [DATA+0x2fff], xmm1
    movlps [DATA+0xffd], xmm0
    movsd xmm3, qword ptr [DATA+0x1ffb]
    movups [READONLY-8], xmm0
