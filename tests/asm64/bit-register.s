# BT and its family on 64-bit registers, BSF, BSR and POPCNT.
# vary: rcx r8 r9 r10 flags

    bt r8, rcx
    setc al
    bts r9, r10
    setc bl
    btr r10, 63
    setc dl
    btc rcx, r8
    setc sil
    or r8, 2
    bsf r11, r8
    bsr r12, r8
    popcnt r13, r9
    popcnt r14d, dword ptr [DATA+0x15]
