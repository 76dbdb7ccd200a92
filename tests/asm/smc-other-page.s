# Code patches a routine in another page that has run already, and data beside it.

    call CODE+0x1000
    mov dword ptr [CODE+0x1001], 0x01020304
    call CODE+0x1000
    mov [CODE+0x1800], eax
    call CODE+0x1000
    mov ebx, [CODE+0x1800]
    jmp done
    .org 0x1000
    mov eax, 7
    add ecx, eax
    ret
    done: nop
