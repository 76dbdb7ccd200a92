# PUSH writes code through the stack pointer.
# expect: eax=0

    mov ebp, esp
    mov esp, offset there+4
    push 0x90909090
    there: inc eax
    inc eax
    inc eax
    inc eax
    mov esp, ebp
    inc ecx
