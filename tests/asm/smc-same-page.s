# Code patches a routine in its own page that has run already.

    call f
    mov byte ptr [f+1], 9
    call f
    mov byte ptr [f], 0xb4
    call f
    jmp done
    f: mov al, 3
    add ecx, eax
    ret
    done: nop
