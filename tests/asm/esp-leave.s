# LEAVE and ENTER move ESP through EBP, including nested frames.
# init: eax=0x55 ebp=0x30001f40

    enter 16, 0
    mov [ebp-4], eax
    leave
    push ebp
    mov ebp, esp
    sub esp, 0x20
    enter 8, 1
    enter 8, 2
    enter 4, 3
    mov ecx, esp
    leave
    mov edx, esp
