# BT, BTS, BTR and BTC on memory: a register offset reaches beyond the operand, also backwards.
# init: r9=DATA+0x200
# vary: flags

    mov rcx, -129
    bts qword ptr [r9], rcx
    setc al
    mov r10, 1000
    btr qword ptr [r9], r10
    setc bl
    mov edx, -33
    btc dword ptr [r9], edx
    setc dl
    mov r11w, -17
    bt word ptr [r9], r11w
    setc sil
    lock bts qword ptr [r9+8], 63
    setc dil
    mov r8, 0x7ff8
    btc qword ptr [DATA], r8
