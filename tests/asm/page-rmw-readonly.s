# A read-modify-write of a read-only page faults with W set and leaves flags alone.
# expect: vector=14 error=7 cf=1

    stc
    mov eax, 5
    add [READONLY+4], eax
