# Privileged instructions at CPL 3 raise #GP(0).
# expect: vector=13 error=0 eip=CODE+1
# kernel: no

    inc eax
    cli
