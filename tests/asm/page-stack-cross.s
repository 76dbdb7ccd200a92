# Pushes, calls and pops across a page of the stack, also misaligned.
# vary: eax ecx

    mov esp, STACK+0x1002
    push eax
    push ecx
    call f
    pop edx
    pop ebx
    mov esp, STACK+0x1007
    pushad
    popad
    pushfd
    popfd
    enter 8, 0
    leave
    jmp done
    f: push 5
    pop esi
    ret
    done: mov esp, 0x30001f00
