# SSE additions to MMX.
# init: edi=DATA

    movq mm0, [edi]
    movq mm1, [edi+8]
    pavgb mm0, [edi+0]
    pavgb mm2, mm0
    pavgw mm0, [edi+8]
    pavgw mm3, mm0
    pmaxsw mm0, [edi+16]
    pmaxsw mm4, mm0
    pmaxub mm0, [edi+24]
    pmaxub mm5, mm0
    pminsw mm0, [edi+32]
    pminsw mm6, mm0
    pminub mm0, [edi+40]
    pminub mm7, mm0
    pmulhuw mm0, [edi+48]
    pmulhuw mm2, mm0
    psadbw mm0, [edi+56]
    psadbw mm3, mm0
    paddq mm0, [edi+64]
    paddq mm4, mm0
    psubq mm0, [edi+72]
    psubq mm5, mm0
    pmuludq mm0, [edi+80]
    pmuludq mm6, mm0
