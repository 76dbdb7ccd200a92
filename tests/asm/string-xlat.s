# XLAT with and without a segment override.
# init: fs=DATA

    mov ebx, DATA
    mov al, 0x45
    xlatb
    mov [DATA+0x300], al
    mov ebx, 0x20
    .byte 0x64
    xlatb
