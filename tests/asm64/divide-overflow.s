# A quotient that does not fit raises #DE before anything changes.
# init: rdx=1 rax=0x123 r9=1 rcx=7
# expect: vector=0 rdx=1 rax=0x123 rcx=8

    inc rcx
    div r9
    inc rcx
