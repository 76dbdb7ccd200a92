# An unmasked exception is raised at the next waiting instruction, not at its cause (SDM vol. 1, 8.7).
# expect: vector=16 eax=2

    mov word ptr [DATA], 0x37b
    fldcw [DATA]
    fld1
    fldz
    fdivp
    inc eax
    inc eax
    fld1
