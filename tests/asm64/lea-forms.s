# LEA with each operand and address size.
# init: rbx=0xfffffffffffffff0 r9=0x7fffffffffffffff r12=0x123456789

    lea rax, [rbx+r9*2]
    lea ecx, [rbx+r9]
    lea dx, [r12+r12*8]
    lea rsi, [ebx+r12d]
    lea rdi, [rbx*8-0x12345678]
    lea r8, [r12]
    lea r10, [r13+0]
    lea r11, [rip]
    lea r14d, [r9d+r9d*4+1]
