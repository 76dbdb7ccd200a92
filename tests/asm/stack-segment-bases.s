# FS and GS bases apply to every kind of memory operand.
# init: fs=DATA+0x100 gs=DATA+0x200 edi=16 ecx=3 esi=8

    mov eax, fs:[4]
    mov gs:[8], eax
    add gs:[edi], ecx
    movzx edx, byte ptr fs:[edi+ecx]
    push dword ptr gs:[12]
    pop dword ptr fs:[0x40]
    fs lodsd
    cmpxchg gs:[0x10], ecx
    movups xmm0, fs:[0x23]
    fld dword ptr gs:[0x30]
    fstp qword ptr fs:[0x81]
    inc byte ptr gs:[-1]
