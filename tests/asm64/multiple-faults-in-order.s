# A page-crossing store into the read-only page changes nothing.
# init: rax=-1 r9=READONLY-4
# mem: READONLY-4 11 22 33 44
# expect: vector=14 error=7 cr2=READONLY [READONLY-4]=0x44332211

    mov [r9], rax
