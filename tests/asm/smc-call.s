# CALL, direct and indirect, writes its return address over the code behind it: execution goes on at its target.

    mov ebp, esp
    mov esp, offset over1+4
    call target1
    over1: nop
    nop
    nop
    nop
    inc ecx
    inc ecx
    target1: mov esp, offset over2+4
    mov esi, offset target2
    call esi
    over2: nop
    nop
    nop
    nop
    add ecx, 0x10
    target2: mov dword ptr [DATA], offset target3
    mov esp, offset over3+4
    call [DATA]
    over3: nop
    nop
    nop
    nop
    add ecx, 0x100
    target3: mov eax, [over1]
    sub eax, offset over1
    mov ebx, [over2]
    sub ebx, offset over2
    mov edx, [over3]
    sub edx, offset over3
    mov esp, ebp
