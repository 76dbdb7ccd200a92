# IN at CPL 3 with IOPL 0 and no permission bitmap raises #GP(0).
# expect: vector=13 error=0 eip=CODE
# kernel: no

    in al, 0x60
