# Addresses of 32 bits wrap around at 4 GiB and ignore the upper halves of registers.
# init: rbx=0xffffffff00000000 r9=0xabcdef0000000000 rcx=0x1234567800000010
# vary: rax

    or rbx, DATA
    or r9, DATA+0x100
    mov rdx, [ebx+0x10]
    mov rsi, [ebx+ecx*4]
    mov [r9d+ecx-3], rax
    lea r8, [ebx-0x7fffffff]
    lea r10d, [r9+rcx]
    mov r11, [r9d+8]
    mov edi, 0xfffffff0
    add rax, [edi+DATA+0x40]
