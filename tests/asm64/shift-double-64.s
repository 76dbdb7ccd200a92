# SHLD and SHRD of 64 bits with registers and memory.
# vary: rax rcx r8 r9

    and ecx, 0x3f
    jz done
    shld r8, r9, cl
    pushfq
    pop rbx
    and ebx, 0xc5
    shrd [DATA+0x18], r8, cl
    shrd rax, r8, 33
    pushfq
    pop rdx
    and edx, 0xc5
    shld qword ptr [DATA+0xffb], rax, 13
done:
    cmp ecx, ecx
