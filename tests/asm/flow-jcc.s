# All sixteen conditional jumps, short and near.
# vary: flags
# kernel: no

    mov edi, DATA
    push eax
    pushfd
    popfd
    pushfd
    jo s0
    mov byte ptr [edi+0], 1
    s0: popfd
    pushfd
    jo far0
    mov byte ptr [edi+32], 1
    jmp n0
    .skip 130, 0xcc
    far0: mov byte ptr [edi+32], 2
n0:
    popfd
    pushfd
    jno s1
    mov byte ptr [edi+1], 1
    s1: popfd
    pushfd
    jno far1
    mov byte ptr [edi+33], 1
    jmp n1
    .skip 130, 0xcc
    far1: mov byte ptr [edi+33], 2
n1:
    popfd
    pushfd
    jb s2
    mov byte ptr [edi+2], 1
    s2: popfd
    pushfd
    jb far2
    mov byte ptr [edi+34], 1
    jmp n2
    .skip 130, 0xcc
    far2: mov byte ptr [edi+34], 2
n2:
    popfd
    pushfd
    jae s3
    mov byte ptr [edi+3], 1
    s3: popfd
    pushfd
    jae far3
    mov byte ptr [edi+35], 1
    jmp n3
    .skip 130, 0xcc
    far3: mov byte ptr [edi+35], 2
n3:
    popfd
    pushfd
    je s4
    mov byte ptr [edi+4], 1
    s4: popfd
    pushfd
    je far4
    mov byte ptr [edi+36], 1
    jmp n4
    .skip 130, 0xcc
    far4: mov byte ptr [edi+36], 2
n4:
    popfd
    pushfd
    jne s5
    mov byte ptr [edi+5], 1
    s5: popfd
    pushfd
    jne far5
    mov byte ptr [edi+37], 1
    jmp n5
    .skip 130, 0xcc
    far5: mov byte ptr [edi+37], 2
n5:
    popfd
    pushfd
    jbe s6
    mov byte ptr [edi+6], 1
    s6: popfd
    pushfd
    jbe far6
    mov byte ptr [edi+38], 1
    jmp n6
    .skip 130, 0xcc
    far6: mov byte ptr [edi+38], 2
n6:
    popfd
    pushfd
    ja s7
    mov byte ptr [edi+7], 1
    s7: popfd
    pushfd
    ja far7
    mov byte ptr [edi+39], 1
    jmp n7
    .skip 130, 0xcc
    far7: mov byte ptr [edi+39], 2
n7:
    popfd
    pushfd
    js s8
    mov byte ptr [edi+8], 1
    s8: popfd
    pushfd
    js far8
    mov byte ptr [edi+40], 1
    jmp n8
    .skip 130, 0xcc
    far8: mov byte ptr [edi+40], 2
n8:
    popfd
    pushfd
    jns s9
    mov byte ptr [edi+9], 1
    s9: popfd
    pushfd
    jns far9
    mov byte ptr [edi+41], 1
    jmp n9
    .skip 130, 0xcc
    far9: mov byte ptr [edi+41], 2
n9:
    popfd
    pushfd
    jp s10
    mov byte ptr [edi+10], 1
    s10: popfd
    pushfd
    jp far10
    mov byte ptr [edi+42], 1
    jmp n10
    .skip 130, 0xcc
    far10: mov byte ptr [edi+42], 2
n10:
    popfd
    pushfd
    jnp s11
    mov byte ptr [edi+11], 1
    s11: popfd
    pushfd
    jnp far11
    mov byte ptr [edi+43], 1
    jmp n11
    .skip 130, 0xcc
    far11: mov byte ptr [edi+43], 2
n11:
    popfd
    pushfd
    jl s12
    mov byte ptr [edi+12], 1
    s12: popfd
    pushfd
    jl far12
    mov byte ptr [edi+44], 1
    jmp n12
    .skip 130, 0xcc
    far12: mov byte ptr [edi+44], 2
n12:
    popfd
    pushfd
    jge s13
    mov byte ptr [edi+13], 1
    s13: popfd
    pushfd
    jge far13
    mov byte ptr [edi+45], 1
    jmp n13
    .skip 130, 0xcc
    far13: mov byte ptr [edi+45], 2
n13:
    popfd
    pushfd
    jle s14
    mov byte ptr [edi+14], 1
    s14: popfd
    pushfd
    jle far14
    mov byte ptr [edi+46], 1
    jmp n14
    .skip 130, 0xcc
    far14: mov byte ptr [edi+46], 2
n14:
    popfd
    pushfd
    jg s15
    mov byte ptr [edi+15], 1
    s15: popfd
    pushfd
    jg far15
    mov byte ptr [edi+47], 1
    jmp n15
    .skip 130, 0xcc
    far15: mov byte ptr [edi+47], 2
n15:
    popfd
