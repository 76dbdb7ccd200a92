# A store across the boundary of two code pages changes both.

    call CODE+0xffc
    mov dword ptr [CODE+0xffe], 0xc3424242
    call CODE+0xffc
    jmp done
    .org 0xffc
    inc eax
    inc eax
    inc eax
    inc eax
    inc ecx
    ret
    done: nop
