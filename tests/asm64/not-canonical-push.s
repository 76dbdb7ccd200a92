# A PUSH to such an address is #SS, and RSP stays.
# init: rsp=0x900000000000
# expect: vector=12 error=0 rsp=0x900000000000

    push rax
