# PUSHA that meets an unmapped page faults at the instruction with ESP unchanged.
# expect: vector=14 esp=STACK+12 error=6

    mov esp, STACK+12
    pushad
