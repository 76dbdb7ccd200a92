# #DE leaves registers as they were and EIP at the division (SDM vol. 3, 6.15, interrupt 0).
# init: eax=77 ebx=0x1234
# expect: vector=0

    mov dword ptr [DATA], 0
    inc eax
    div dword ptr [DATA]
