# FNSTENV, FLDENV, FNSAVE and FRSTOR in 32-bit format (instruction pointers not compared).
# vary: st

    fld1
    fldpi
    fnstenv [DATA+0x100]
    mov dword ptr [DATA+0x10c], 0
    mov dword ptr [DATA+0x110], 0
    mov dword ptr [DATA+0x114], 0
    mov dword ptr [DATA+0x118], 0
    or word ptr [DATA+0x100], 0xc00
    fldenv [DATA+0x100]
    fnstcw [DATA]
    fnsave [DATA+0x200]
    mov dword ptr [DATA+0x20c], 0
    mov dword ptr [DATA+0x210], 0
    mov dword ptr [DATA+0x214], 0
    mov dword ptr [DATA+0x218], 0
    fldz
    frstor [DATA+0x200]
    fnstsw ax
