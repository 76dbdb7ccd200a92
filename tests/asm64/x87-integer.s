# x87 loads and stores with high base registers, and of 64-bit integers.
# init: r12=DATA+0x40 r13=DATA+0x80
# vary: st

    fninit
    fild qword ptr [r12]
    fistp qword ptr [r13]
    fild dword ptr [r12+r14*1+9]
    fstp tbyte ptr [r13+0x11]
    fld qword ptr [r12+0x18]
    fnstsw ax
    fnclex
    fninit
