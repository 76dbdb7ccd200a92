# Relative to RBP or RSP it is #SS.
# init: rbp=0x7fffffffffff rcx=1
# expect: vector=12 error=0 rcx=2

    inc rcx
    mov [rbp+1], rcx
