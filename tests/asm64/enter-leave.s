# ENTER without and with nesting, LEAVE, and both with 16-bit operands.
# init: rbp=STACK+0x1e80

    enter 0x20, 0
    mov rax, rbp
    mov rbx, rsp
    leave
    mov rcx, rsp
    enter 0x10, 1
    mov rdx, [rbp-8]
    leave
    enter 8, 3
    mov rsi, [rbp-16]
    mov rdi, rsp
    leave
    mov r8, rbp
