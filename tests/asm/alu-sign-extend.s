# CBW, CWDE, CWD and CDQ.
# vary: eax edx flags

    cbw
    mov ecx, eax
    cwde
    mov esi, eax
    cwd
    mov ebx, edx
    cdq
