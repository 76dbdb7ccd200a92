# UD2 and other undefined opcodes raise #UD at themselves.
# expect: vector=6 eip=CODE+1 eax=1

    inc eax
    ud2
