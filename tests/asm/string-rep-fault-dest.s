# REP STOSD running into an unmapped page stops with ECX and EDI at the faulting element.
# expect: vector=14 error=7 ecx=96 edi=READONLY cr2=READONLY

    mov edi, READONLY-16
    mov ecx, 100
    rep stosd
