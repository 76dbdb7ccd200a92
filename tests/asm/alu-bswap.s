# BSWAP of each register except ESP.
# vary: eax ecx edx ebx ebp esi edi flags

    bswap eax
    bswap ecx
    bswap edx
    bswap ebx
    bswap ebp
    bswap esi
    bswap edi
    bswap esp
    bswap esp
