# MOV to and from segment registers; the memory form stores a word only.
# kernel: no

    mov eax, -1
    mov ax, ds
    mov ecx, -1
    mov ecx, cs
    mov [DATA+2], ss
    mov es, word ptr [DATA+2]
    mov edx, es
    mov ds, edx
    mov ebx, [DATA]
