# PUSH of ES, CS, SS and DS is undefined in 64-bit code; of FS and GS it is not.
# init: rcx=0
# expect: vector=6 rcx=2

    mov qword ptr [rsp-8], 0
    push fs
    inc rcx
    pop rax
    .byte 0x66
    push gs
    inc rcx
    .byte 0x06
    inc rcx
