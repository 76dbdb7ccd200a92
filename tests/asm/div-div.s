# DIV and IDIV in all sizes without overflow; flags are undefined but the same silicon.
# vary: ecx ebx flags

    mov eax, 1000003
    xor edx, edx
    or ecx, 0x101
    div ecx
    mov [DATA], eax
    mov [DATA+4], edx
    mov eax, -99999
    cdq
    or ebx, 1
    and ebx, 0xffff
    idiv ebx
    mov [DATA+8], eax
    mov [DATA+12], edx
    mov ax, 0x3fff
    mov cl, 0x7f
    div cl
    mov [DATA+16], ax
    mov ax, -1000
    mov ch, 0x55
    idiv ch
    mov [DATA+18], ax
    mov ax, 0x1234
    mov dx, 1
    mov word ptr [DATA+30], 0x4321
    div word ptr [DATA+30]
    mov [DATA+20], ax
    mov [DATA+22], dx
    xor edx, edx
    mov dword ptr [DATA+36], 10
    div dword ptr [DATA+36]
