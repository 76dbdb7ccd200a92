# REP MOVSB copies a routine over another that has run.
# expect: eax=2

    call f
    mov esi, offset g
    mov edi, offset f
    mov ecx, 6
    rep movsb
    call f
    jmp done
    f: mov eax, 1
    ret
    g: mov eax, 2
    ret
    done: nop
