/* What every conformance guest uses: descriptors, traps caught like exceptions, checks that print, ports. A guest's
   main returns nothing; it calls check(), and the machine ends through port 0xF4 with 0 if all checks held. */

#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "../common/catch.h"

/* As wide as a register, for ../common/verdict.c. */
typedef u32 uword;

enum {
    DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM,
    SYSCALL = 0x80, NONE = 0xFFFF,
};

enum { KCODE = 0x08, KDATA = 0x10, UCODE = 0x1B, UDATA = 0x23, TASK = 0x28, FREE = 0x38 };

enum {
    CF = 1, TF = 0x100, IF = 0x200, DF_FLAG = 0x400, IOPL3 = 0x3000, NT = 0x4000, RF = 0x10000, VM = 0x20000,
    AC_FLAG = 0x40000,
};

/* What trap_entry leaves on the stack. esp and ss are there only if the CPL changed, vm_* only from vm86. */
struct frame {
    u32 gs, fs, es, ds;
    u32 edi, esi, ebp, unused, ebx, edx, ecx, eax;
    u32 vector, error, eip, cs, eflags, esp, ss;
    u32 vm_es, vm_ds, vm_fs, vm_gs;
};

struct tss {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 trap, iomap;
    u8 bitmap[130];
};

extern u64 gdt[32], idt[256];
extern struct tss tss;
extern struct frame fault;
extern u32 fault_cr2;
extern struct context catcher;
extern volatile int catching;
extern int (*hook)(struct frame *frame);
extern u8 user_stack[4096];
extern u8 stubs[];

void main(void);

void print(const char *text);
void check(const char *name, uword got, uword want);
void finish(void) __attribute__((noreturn));
void set_gate(u32 vector, u32 type, u32 dpl, const void *handler);
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);
void *stub_of(u32 vector);
void paging_identity(void);
u32 *page_entry(const void *address);

extern u32 page_directory[1024];

static inline void outb(u16 port, u8 value)
{
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 inb(u16 port)
{
    u8 value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#define READ_CR(n) ({ u32 v_; asm volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) asm volatile("mov %0, %%cr" #n : : "r"((u32)(v)) : "memory")
#define READ_DR(n) ({ u32 v_; asm volatile("mov %%dr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_DR(n, v) asm volatile("mov %0, %%dr" #n : : "r"((u32)(v)))

static inline void wrmsr(u32 index, u64 value)
{
    asm volatile("wrmsr" : : "c"(index), "A"(value));
}

static inline u64 rdmsr(u32 index)
{
    u64 value;
    asm volatile("rdmsr" : "=A"(value) : "c"(index));
    return value;
}

static inline void invlpg(const void *address)
{
    asm volatile("invlpg (%0)" : : "r"(address) : "memory");
}

#endif
