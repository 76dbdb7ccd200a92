# COMISS, UCOMISS, COMISD and UCOMISD set EFLAGS.
# vary: xmm flags

    comiss xmm0, xmm1
    pushfd
    ucomiss xmm2, [DATA+3]
    pushfd
    comisd xmm3, xmm4
    pushfd
    ucomisd xmm5, qword ptr [DATA+9]
    pushfd
    ucomisd xmm6, xmm6
    setp al
    jbe one
    inc ecx
    one: stmxcsr [DATA+0x300]
