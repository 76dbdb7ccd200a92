# INT n through a gate of DPL 0 from CPL 3 is #GP with the vector in the error code (SDM vol. 3, 6.13).
# expect: vector=13 error=0x18a eip=CODE

    int 0x31
