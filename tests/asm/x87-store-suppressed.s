# An x87 store with an unmasked exception stores nothing (SDM vol. 1, 8.5.1.1), across a page as within one,
# and not into a page with code either.
# init: fcw=0x37e
# mem: DATA+0xffc 11 22 33 44 55 66 77 88
# expect: [DATA+0xffc]=0x44332211 [DATA+0x1000]=0x88776655 fcw=0x37e

    fstp qword ptr [DATA+0xffc]
    fnclex
    fistp dword ptr [DATA+0xffe]
    fnclex
    fstp tbyte ptr [DATA+0xff8]
    fnclex
    fstp qword ptr [DATA+0x80]
    fnclex
    fstp qword ptr [CODE+0x80]
    fnclex
