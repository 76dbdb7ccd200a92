# PUSH RSP stores the old value, POP RSP leaves the popped one.
# init: rbx=STACK+0x1e00
# expect: rax=STACK+0x1f00 rsp=STACK+0x1e00

    push rsp
    pop rax
    push rbx
    pop rsp
