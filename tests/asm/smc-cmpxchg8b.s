# Live patching as kernels do it: LOCK CMPXCHG8B over a NOP that has run.

    call f
    mov eax, [f]
    mov edx, [f+4]
    mov ebx, 0x90c34342
    mov ecx, edx
    lock cmpxchg8b [f]
    call f
    jmp done
    .balign 8
    f: nop
    nop
    nop
    ret
    nop
    nop
    nop
    nop
    done: nop
