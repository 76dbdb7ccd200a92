# #DE leaves registers as they were and EIP at the division (SDM vol. 3, 6.15, interrupt 0).
# init: eax=77 ebx=0x1234
# expect: vector=0

    mov ax, 0x1000
    mov bl, 1
    div bl
