# ENTER with nesting levels 0-4 copies frame pointers.
# init: ebp=0x30001f80

    enter 8, 0
    enter 12, 1
    enter 4, 2
    enter 0, 4
    mov eax, esp
    leave
    leave
    .byte 0x66, 0xc8, 8, 0, 1
    .byte 0x66, 0xc9
