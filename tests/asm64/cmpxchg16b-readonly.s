# CMPXCHG16B needs a writable page even where nothing would be stored.
# expect: vector=14 error=7 cr2=READONLY+0x20

    cmpxchg16b [READONLY+0x20]
