# Arithmetic with m32, m64, m16int and m32int operands.
# init: edi=DATA
# vary: st

    fadd dword ptr [edi]
    fsub qword ptr [edi+8]
    fmul dword ptr [edi+0xffe]
    fdiv qword ptr [edi+0x1ffc]
    fiadd word ptr [edi+4]
    fisub dword ptr [edi+8]
    fimul word ptr [edi+12]
    fidivr dword ptr [edi+16]
    fsubr dword ptr [edi+20]
    fdivr qword ptr [edi+24]
    ficom word ptr [edi+2]
    fcomp dword ptr [edi+6]
