# FLD, FST, FSTP, FILD, FIST, FISTP, FBLD and FBSTP in every size.
# init: edi=DATA

    fld dword ptr [edi+4]
    fst qword ptr [edi+64]
    fstp tbyte ptr [edi+72]
    fild word ptr [edi+2]
    fist dword ptr [edi+84]
    fistp qword ptr [edi+88]
    fild dword ptr [edi+9]
    fistp word ptr [edi+96]
    fild qword ptr [edi+13]
    fbstp [edi+100]
    fbld [edi+100]
    fld tbyte ptr [edi+72]
    fstp dword ptr [edi+112]
    fld qword ptr [edi+0xffb]
    fstp tbyte ptr [edi+0x1ff9]
    fstp dword ptr [edi+120]
