# Loads, stores and read-modify-write across page boundaries (physically far apart).
# vary: eax ecx flags

    mov eax, [DATA+0xffe]
    mov [DATA+0x1ffd], eax
    add [DATA+0x2fff], eax
    inc word ptr [DATA+0xfff]
    xchg [DATA+0x1fff], ecx
    adc dword ptr [DATA+0x2ffd], 0
    movzx edx, word ptr [DATA+0x1fff]
    push dword ptr [DATA+0xffd]
    pop dword ptr [DATA+0x1ffe]
    cmp [DATA+0xffe], eax
    pushfd
    lock xadd [DATA+0xffe], edx
    cmpxchg8b [DATA+0x1ffc]
    pushfd
