# Returns to a place that the called code chose, which no prediction knows.
# expect: rax=0x15

    xor eax, eax
    call first
    or eax, 0x40
next:
    or eax, 4
    jmp end
first:
    or eax, 1
    lea rcx, next[rip]
    mov [rsp], rcx
    call second
    or eax, 0x80
second:
    or eax, 0x10
    add rsp, 8
    ret
end:
