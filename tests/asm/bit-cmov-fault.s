# CMOVcc reads its memory operand and faults even when the condition is false.
# expect: vector=14 cr2=0x1ffffffc

    cmp eax, eax
    cmovne ecx, [DATA-4]
