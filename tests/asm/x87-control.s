# FLDCW and FNSTCW: rounding and precision control change results.

    fnstcw [DATA]
    mov word ptr [DATA+2], 0x0c7f
    fldcw [DATA+2]
    fld1
    fldpi
    fdivp
    fist dword ptr [DATA+4]
    mov word ptr [DATA+2], 0x087f
    fldcw [DATA+2]
    fldpi
    frndint
    fistp dword ptr [DATA+8]
    fldcw [DATA]
    fnclex
    fstp qword ptr [DATA+16]
