# Far returns into compatibility mode and back: RIP, RSP and the upper halves of what 32-bit code writes.
# init: rcx=0x1122334455667788 r8=0x99aabbccddeeff00
# expect: rcx=0x55667789 r8=0x99aabbccddeeff00 rax=0x23 rbx=0x33 rdx=STACK+0x1ee8

    push 0x23
    lea rax, narrow[rip]
    push rax
    retfq
narrow:
    .code32
    inc ecx
    mov eax, cs
    push 0x12345678
    mov edx, esp
    add edx, -20
    pop esi
    push 0x33
    call here
here:
    add dword ptr [esp], wide-here
    retf
    .code64
wide:
    mov ebx, cs
    mov rdx, rsp
    sub rdx, 24
