# POP [ESP+x] computes its address after the increment (SDM vol. 2, POP).

    push 1
    push 2
    push 3
    pop dword ptr [esp]
    pop dword ptr [esp+4]
    .byte 0x66
    pop word ptr [esp+2]
