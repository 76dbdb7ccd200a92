# Operands relative to RIP, which is that of the next instruction: behind an immediate of each size, across
# pages, and in the code itself.
# DATA lies 0x10000000 bytes after CODE.
# vary: rax r9 flags

start:
    mov rcx, qword ptr start+0x10000000[rip]
    lea rdx, start+0x10000000+0x123[rip]
    mov dword ptr start+0x10000000+0x10[rip], 0x12345678
    mov byte ptr start+0x10000000+0x21[rip], 0x7f
    add word ptr start+0x10000000+0x30[rip], 0x1234
    cmp qword ptr start+0x10000000+0x38[rip], -2
    shl dword ptr start+0x10000000+0x40[rip], 3
    mov r10, qword ptr start+0x10000000+0xffc[rip]
    mov qword ptr start+0x10000000+0x1ffd[rip], r9
    imul r11, qword ptr start+0x10000000+0x48[rip], 0x1000
    mov rbx, qword ptr constant[rip]
    mov qword ptr scratch[rip], rax
    mov rsi, qword ptr scratch[rip]
    jmp past
constant:
    .quad 0x1122334455667788
scratch:
    .quad 0
past:
