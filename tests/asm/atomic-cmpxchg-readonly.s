# CMPXCHG writes back the old value when the comparison fails: a read-only page faults.
# expect: vector=14 error=7

    cmpxchg [READONLY+8], ecx
