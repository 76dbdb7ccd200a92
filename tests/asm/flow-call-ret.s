# CALL and RET, direct and indirect, with RET imm16.

    call one
    mov esi, offset two
    call esi
    push esi
    call [esp]
    add esp, 4
    mov dword ptr [DATA], offset three
    push 7
    push 8
    call [DATA]
    jmp done
    one: inc eax
    ret
    two: add eax, 0x100
    ret
    three: add eax, [esp+4]
    ret 8
    done: mov ecx, esp
