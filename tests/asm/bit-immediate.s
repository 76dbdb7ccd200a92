# BT family on memory with an immediate stays in the operand.

    bts dword ptr [DATA+4], 37
    pushfd
    btr word ptr [DATA+9], 15
    pushfd
    btc dword ptr [DATA+12], 31
    pushfd
    bt dword ptr [DATA], 3
    lock btc dword ptr [DATA+16], 0
