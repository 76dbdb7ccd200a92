# An address whose upper bits differ raises #GP.
# init: rbx=0x800000000000 rcx=1
# expect: vector=13 error=0 rcx=2

    inc rcx
    mov rax, [rbx+8]
