# Addresses wrap at 4 GiB: base plus displacement beyond 2^32 names low memory (SDM vol. 1, 3.3.5).
# init: ecx=0xe0000000 edx=0x80000040 edi=0x20000030

    mov eax, [ecx+0x40000010]
    mov [ecx+0x40000020], edx
    mov ebx, [edi+ecx*2+0x40000000]
    lea esi, [ecx+0x40000010]
    add dword ptr [edx-0x60000000], 7
