# The compiler idiom: FCOMP, FNSTSW AX, SAHF, Jcc.
# vary: st

    fcomp st(1)
    fnstsw ax
    sahf
    ja one
    jp two
    inc ecx
    jmp done
    one: inc edx
    jmp done
    two: inc ebx
    done: fnstsw ax
    test ah, 0x45
    setz cl
