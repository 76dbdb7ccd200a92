# JMP through register, memory and a jump table.

    mov ecx, 2
    jmp [table+ecx*4]
    table: .long l0, l1, l2, l3
    l0: or eax, 1
    jmp done
    l1: or eax, 2
    mov edx, offset l0
    jmp edx
    l2: or eax, 4
    dec ecx
    jmp [table+ecx*4]
    l3: or eax, 8
    done: mov [DATA], eax
