/* What every 64-bit conformance guest uses: as ../conformance/conformance.h, in long mode. A guest's main returns
   nothing; it calls check(), and the machine ends through port 0xF4 with 0 if all checks held. */

#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "../common/guest.h"

/* As wide as a register, for ../common/verdict.c. */
typedef u64 uword;

enum { DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, SYSCALL = 0x80, NONE = 0xFFFF };

/* SYSCALL takes KCODE and KDATA, SYSRET UCODE32, UDATA and UCODE, in this order. */
enum { KCODE = 0x08, KDATA = 0x10, UCODE32 = 0x1B, UDATA = 0x23, UCODE = 0x2B, TASK = 0x30, KCODE32 = 0x40, FREE = 0x48 };

enum { CF = 1, TF = 0x100, IF = 0x200, DF_FLAG = 0x400, NT = 0x4000, RF = 0x10000, AC_FLAG = 0x40000 };

/* What trap_entry leaves on the stack. */
struct frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

struct tss {
    u32 reserved;
    u64 rsp[3], reserved2, ist[7], reserved3;
    u16 reserved4, iomap;
} __attribute__((packed));

struct context {
    u64 words[8];
};

extern u64 gdt[16], idt[512];
extern struct tss tss;
extern struct frame fault;
extern u64 fault_at;
extern struct context catcher;
extern volatile int catching;
extern int (*hook)(struct frame *frame);
extern u8 user_stack[4096], ring0_stack[8192], ist_stack[4096];

void main(void);
int save_context(struct context *context) __attribute__((returns_twice));
void restore_context(struct context *context) __attribute__((noreturn));
void enter_user(const void *rip, u64 rsp, u64 rflags, u64 cs);

void print(const char *text);
void check(const char *name, uword got, uword want);
void finish(void) __attribute__((noreturn));
void set_gate(u32 vector, u32 dpl, u32 ist);
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);

/* Runs a statement; the value is the vector of the exception it raised, or NONE. Details are in fault. */
#define TRY(statement) \
    ({ \
        fault.vector = NONE; \
        if (save_context(&catcher) == 0) { \
            catching = 1; \
            statement; \
            catching = 0; \
        } \
        fault.vector; \
    })

#define AT(label) ({ extern u8 label[]; (void *)label; })
#define USER_TOP ((u64)(user_stack + sizeof(user_stack)))

/* Runs code at CPL 3 until a trap; INT 0x80 is the orderly one. */
#define USER(label) TRY(enter_user(AT(label), USER_TOP, 0x202, UCODE))
#define USER32(label) TRY(enter_user(AT(label), USER_TOP, 0x202, UCODE32))

#define READ_CR(n) ({ u64 v_; asm volatile("mov %%cr" #n ", %0" : "=r"(v_)); v_; })
#define WRITE_CR(n, v) asm volatile("mov %0, %%cr" #n : : "r"((u64)(v)) : "memory")

#define NOT_CANONICAL 0x800000000000ull

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

static inline void wrmsr(u32 index, u64 value)
{
    asm volatile("wrmsr" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

static inline u64 rdmsr(u32 index)
{
    u32 low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (u64)high << 32 | low;
}

#endif
