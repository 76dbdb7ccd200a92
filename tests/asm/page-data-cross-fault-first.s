# A load that starts on an unmapped page and ends on a mapped one reports its first byte.
# expect: vector=14 error=4 cr2=0x1ffffffe

    mov eax, [DATA-2]
