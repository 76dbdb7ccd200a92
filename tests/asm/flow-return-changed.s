# RET to an address the callee changed, and a CALL whose return address is dropped.

    call one
    ud2
    back: call two
    ud2
    one: mov dword ptr [esp], offset back
    inc eax
    ret
    two: pop ecx
    inc eax
    mov edx, esp
    call three
    three: pop esi
