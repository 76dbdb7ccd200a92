# With an address-size prefix ESI, EDI and ECX count, and their upper halves are cleared.
# init: rsi=0x5500000000000000 rdi=0x6600000000000000 rcx=0x7700000000000000

    or rsi, DATA+0x40
    or rdi, DATA+0x140
    or rcx, 20
    addr32 rep movsb
    mov r8, rcx
    mov r9, rsi
    mov rcx, 0x100000003
    addr32 rep stosw
