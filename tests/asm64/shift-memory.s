# Shifts and rotations of memory, also across a page.
# vary: rcx flags

    shl qword ptr [DATA+0x100], cl
    setc al
    rol qword ptr [DATA+0xffa], 5
    setc bl
    sar dword ptr [DATA+0x110], 1
    setc dl
    ror word ptr [DATA+0x1fff], cl
    rcl qword ptr [DATA+0x120], 1
    rcr dword ptr [DATA+0x12a], 1
    cmp eax, eax
