# BT, BTS, BTR and BTC on registers take the index modulo the operand size.
# vary: eax ecx edx ebx esi edi flags

    bt eax, ecx
    pushfd
    bts edx, ecx
    pushfd
    btr ebx, ecx
    pushfd
    btc esi, ecx
    pushfd
    bt ax, cx
    bts dx, 17
    pushfd
    btr bx, 9
    btc edi, 33
    pushfd
