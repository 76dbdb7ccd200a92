# CMOVcc and SETcc with R8-R15; a CMOV of 32 bits that does not move still clears the upper half.
# vary: rax rcx r8 r9 r10 r11 r12 flags

    cmovz r8, r9
    cmovnz r10d, eax
    cmovs r11, [DATA+8]
    cmovl ecx, [DATA+0x10]
    cmp rax, r12
    cmova r9, rax
    cmovle r12, r8
    setg r13b
    setp byte ptr [DATA+0x40]
    sets spl
    mov rsp, STACK+0x1f00
