# MOVD, MOVQ, MOVNTQ and MASKMOVQ; MMX writes set all tags valid.
# init: edi=DATA
# vary: eax

    movd mm0, eax
    movq mm1, mm0
    movd ecx, mm1
    movq mm2, [edi+3]
    movq [edi+64], mm2
    movd mm3, [edi+0xffe]
    movd [edi+72], mm3
    movntq [edi+80], mm2
    pcmpeqb mm4, mm4
    push edi
    lea edi, [edi+96]
    maskmovq mm2, mm4
    pop edi
    pmovmskb edx, mm2
    pinsrw mm5, eax, 2
    pextrw ebx, mm2, 3
    pshufw mm6, mm2, 0x1b
