# The stack in a read-only page: loads work, the first store faults.
# init: rsp=READONLY+0x100
# expect: vector=14 error=7 cr2=READONLY+0xf8

    mov rax, [rsp]
    pop rcx
    add rax, [rsp+0x20]
    sub rsp, 8
    push rax
