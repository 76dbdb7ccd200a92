# REP STOSB fills code after it with NOPs, in the page it runs from.
# expect: ebx=0 edx=1

    mov edi, offset there
    mov ecx, 3
    mov al, 0x90
    rep stosb
    there: inc ebx
    inc ebx
    inc ebx
    inc edx
