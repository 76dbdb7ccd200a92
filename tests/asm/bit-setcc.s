# SETcc of all sixteen conditions to registers and memory.
# vary: eax ecx edx ebx flags

    mov edi, DATA
    seto [edi+0]
    seto al
    setno [edi+1]
    setno ah
    setb [edi+2]
    setb cl
    setae [edi+3]
    setae ch
    sete [edi+4]
    sete dl
    setne [edi+5]
    setne dh
    setbe [edi+6]
    setbe bl
    seta [edi+7]
    seta bh
    sets [edi+8]
    sets al
    setns [edi+9]
    setns ah
    setp [edi+10]
    setp cl
    setnp [edi+11]
    setnp ch
    setl [edi+12]
    setl dl
    setge [edi+13]
    setge dh
    setle [edi+14]
    setle bl
    setg [edi+15]
    setg bh
