# Code patched by an SSE store and by FST.

    call f
    movups xmm0, [g]
    movups [f], xmm0
    call f
    fld dword ptr [h]
    fstp dword ptr [f]
    call f
    jmp done
    f: mov eax, 1
    add ecx, eax
    ret
    .skip 8, 0x90
    g: mov eax, 0x10
    add ecx, eax
    ret
    .skip 8, 0x90
    h: inc edx
    inc edx
    inc edx
    ret
    done: nop
