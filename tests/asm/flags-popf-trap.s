# Setting TF with POPF raises #DB after the following instruction (SDM vol. 3, 17.3.1.4).
# expect: vector=1 eip=CODE+7 eax=1

    push 0x302
    popfd
    inc eax
    inc eax
