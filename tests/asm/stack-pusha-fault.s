# PUSHA that meets an unmapped page faults at the instruction with ESP unchanged.
# expect: vector=14 esp=STACK error=6 cr2=STACK-4

    mov esp, STACK
    pushad
