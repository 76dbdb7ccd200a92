/* One entry stub per interrupt vector, 16 bytes apart: leaves an error code and the vector on the stack and goes on at
   trap_entry. Vectors 8, 10-14 and 17 push an error code themselves (SDM vol. 3, table 6-1). For 32-bit and 64-bit
   guests. */

    .global stubs
    .align 16
stubs:
    .set vector, 0
    .rept 256
    .align 16
    .if (vector != 8) && (vector < 10 || vector > 14) && (vector != 17)
    push 0
    .endif
    push vector
    jmp trap_entry
    .set vector, vector + 1
    .endr
