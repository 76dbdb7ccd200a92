# BT family on memory with a register index addresses a bit string, negative offsets included (SDM vol. 2,
# BT).

    mov edi, DATA+0x800
    mov eax, -9
    bts [edi], eax
    pushfd
    mov eax, -32
    btr [edi], eax
    pushfd
    mov eax, 0x1fff
    btc [edi], eax
    pushfd
    mov eax, -0x2000
    bt [edi], eax
    pushfd
    mov ax, -17
    bts [edi], ax
    pushfd
    mov eax, 0xffff0010
    btc [edi], ax
    pushfd
    mov ecx, 4
    bts [edi+ecx*4-3], ecx
    lock bts [edi+1], ecx
    mov eax, -77
    lock btr [edi+9], eax
    pushfd
