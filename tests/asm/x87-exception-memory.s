# A memory operand of a waiting instruction is not touched while an exception is pending.
# expect: vector=16

    mov word ptr [DATA], 0x37b
    fldcw [DATA]
    fld1
    fldz
    fdivp
    fstp dword ptr [DATA-4]
