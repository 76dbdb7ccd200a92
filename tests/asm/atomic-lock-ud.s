# LOCK before an instruction that does not allow it raises #UD.
# expect: vector=6 eip=CODE

    .byte 0xf0
    mov eax, ecx
