# A push below the stack faults before it changes anything; the accesses before it are done.
# init: rax=0x1234 rcx=0x5678 rsp=STACK+8
# expect: vector=14 error=6 cr2=STACK-8 rsp=STACK [STACK]=0x1234 rdx=1

    push rax
    mov edx, 1
    push rcx
    mov edx, 2
