# POPA across the end of the stack faults with ESP and registers unchanged on the first unmapped word.
# expect: vector=14 esp=STACK+0x2000 cr2=STACK+0x2000

    mov esp, STACK+0x2000
    popad
