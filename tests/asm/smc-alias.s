# Code is patched through another linear mapping of the same page.
# expect: ecx=0x778

    call f
    mov dword ptr [ALIAS+f-CODE+1], 0x777
    call f
    mov edx, [f+1]
    jmp done
    f: mov eax, 1
    add ecx, eax
    ret
    done: nop
