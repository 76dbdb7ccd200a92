# CMPXCHG8B writes even when the comparison fails, so a read-only page faults with W set.
# expect: vector=14 error=7 cr2=0x20004008

    cmpxchg8b [READONLY+8]
