/* Data breakpoints (SDM vol. 3, 17.2.4 and 17.3.1.2): a trap after the access. */

#include "conformance.h"

#define AT(label) ({ extern u8 label[]; (u32)label; })

static volatile u32 steps, last_eip, last_dr6;
u32 watched, beside;

static int count(struct frame *frame)
{
    if (frame->vector != DB)
        return 0;
    steps++;
    last_eip = frame->eip;
    last_dr6 = READ_DR(6);
    WRITE_DR(6, 0xFFFF0FF0);
    return 1;
}

void main(void)
{
    hook = count;
    WRITE_DR(6, 0xFFFF0FF0);
    steps = 0;
    WRITE_DR(0, &watched);
    WRITE_DR(7, 0x000D0002 | 0x400); /* G0, write, 4 bytes */
    *(volatile u32 *)&beside = 1;
    check("write beside the watched word", steps, 0);
    asm volatile("movl $5, watched\n write_after: nop");
    check("write to the watched word", steps, 1);
    check("write: eip is after", last_eip, AT(write_after));
    check("write: DR6.B0", last_dr6 & 0xE00F, 1);
    asm volatile("movl watched, %%eax" : : : "eax");
    check("read does not match a write watch", steps, 1);
    asm volatile("movb $1, watched+3");
    check("byte write within the word", steps, 2);
    WRITE_DR(7, 0x000F0002 | 0x400); /* read or write */
    asm volatile("movl watched, %%eax" : : : "eax");
    check("read matches a read-write watch", steps, 3);
    WRITE_DR(7, 0x400);
    asm volatile("movl $1, watched");
    check("no match once disabled", steps, 3);
}
