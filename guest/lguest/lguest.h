/* What every part of the lguest test guest uses: the dialect, the page shared with the host, hypercalls, traps caught
   like exceptions, checks. The command line names one test, which is all that a boot runs: the guest ends with the
   message "Power down" if its checks held, with the names of those that did not otherwise. The tests are listed by the
   macros TEST, PAE_TEST, EARLY_TEST and MISUSE, which the test program of the host reads too. */

#ifndef LGUEST_H
#define LGUEST_H

#include "../common/catch.h"

enum { A, B, C, D, E, F };

enum {
    FLUSH_ASYNC, LGUEST_INIT, SHUTDOWN, LOAD_GDT, NEW_PGTABLE, FLUSH_TLB, LOAD_IDT_ENTRY, SET_STACK, TS, SET_CLOCKEVENT,
    HALT, BIND_DMA = 12, SEND_DMA, SET_PMD_PAE = 13, SET_PTE, SET_PGD, LOAD_TLS, NOTIFY, LOAD_GDT_ENTRY, SEND_INTERRUPTS,
};

/* Byte offsets in lguest_data. */
enum { IRQ_ENABLED = 0, BLOCKED = 4, CR2 = 8, SECONDS = 12, NANOSECONDS = 16 };
#if DIALECT <= 2
enum { STATUS = 20, RING = 84, RING_WORDS = 4, RESERVE_MEM = 1108, NOIRQ_START = 1120, NOIRQ_END = 1124 };
#if DIALECT == 0
enum { TSC_KHZ = 1116 };
#else
enum { TSC_KHZ = 1112, PGDIR = 1116, KERNEL_ADDRESS = 1128, SYSCALL_VEC = 1132 };
#endif
#else
enum { IRQ_PENDING = 20, STATUS = 24, RING = 88, RING_WORDS = 5, RESERVE_MEM = 1368, TSC_KHZ = 1372 };
#if DIALECT == 3
enum { PGDIR = 1376, NOIRQ_START = 1380, NOIRQ_END = 1384, KERNEL_ADDRESS = 1388, SYSCALL_VEC = 1392 };
#elif DIALECT == 4
enum { NOIRQ_START = 1376, NOIRQ_END = 1380, KERNEL_ADDRESS = 1384, SYSCALL_VEC = 1388 };
#else
enum { NOIRQ_IRET = 1376, KERNEL_ADDRESS = 1380, SYSCALL_VEC = 1384 };
#endif
#endif

enum {
    DE, DB, NMI, BP, OF, BR, UD, NM, DF, TSS = 10, NP, SS, GP, PF, MF = 16, AC, HYPERCALL = 0x1F, TIMER = 0x20,
    SYSCALL = 0x80, NONE = 0xFFFF,
};

enum { KCODE = 0x61, KDATA = 0x69, UCODE = 0x73, UDATA = 0x7B };
enum { CF = 1, TF = 0x100, IF = 0x200, DF_FLAG = 0x400, NT = 0x4000 };
enum { P = 1, RW = 2, US = 4, ACCESSED = 0x20, DIRTY = 0x40, LARGE = 0x80, GLOBAL = 0x100 };

#define MEMORY (16u << 20)
#define DEVICE_PAGES 256u

/* What trap_entry leaves on the stack; esp and ss only if the trap came from user mode. */
struct frame {
    u32 gs, fs, es, ds;
    u32 edi, esi, ebp, unused, ebx, edx, ecx, eax;
    u32 vector, error, eip, cs, eflags, esp, ss;
};

struct test {
    const char *name;
    const char *dialects;
    void (*run)(void);
    int kind;
};

enum { NORMAL, EARLY, PAE };

extern u8 lguest_data[1400];
extern struct frame fault;
extern struct context catcher;
extern volatile int catching;
extern int (*volatile hook)(struct frame *frame);
extern u8 user_stack[4096], kernel_stack[4096];
extern u8 stubs[], noirq_start[], noirq_iret[], noirq_end[];
extern u32 directory[1024], tables[8][1024];
extern u32 entry_state[15];
extern volatile u32 interrupts;
extern struct frame interrupted;

void noirq_spin(u32 turns);

#define WORD(offset) (*(volatile u32 *)(lguest_data + (offset)))
#define STATUS_OF(slot) (*(volatile u8 *)(lguest_data + STATUS + (slot)))
#define PHYSICAL(address) ((u32)(address) - OFFSET)

#define TEST_OF(name, dialects, kind) \
    static void test_##name(void); \
    static const struct test entry_##name __attribute__((section(".tests"), used)) = \
        { #name, dialects, test_##name, kind }; \
    static void test_##name(void)
#define TEST(name, dialects) TEST_OF(name, dialects, NORMAL)
#define PAE_TEST(name, dialects) TEST_OF(name, dialects, PAE)
/* Runs before LGUEST_INIT. */
#define EARLY_TEST(name, dialects) TEST_OF(name, dialects, EARLY)
/* Must end the guest with a reason that contains the text. */
#define MISUSE(name, dialects, reason) TEST_OF(name, dialects, NORMAL)
#define EARLY_MISUSE(name, dialects, reason) TEST_OF(name, dialects, EARLY)

u32 hcall(u32 number, u32 first, u32 second, u32 third, u32 fourth);
#define call0(n) hcall(n, 0, 0, 0, 0)
#define call1(n, a) hcall(n, a, 0, 0, 0)
#define call2(n, a, b) hcall(n, a, b, 0, 0)
#define call3(n, a, b, c) hcall(n, a, b, c, 0)

void check(const char *name, u32 got, u32 want);
void end(const char *message) __attribute__((noreturn));
void delay(u32 microseconds);
void set_gate(u32 vector, u32 type, u32 dpl, const void *handler);
void load_gate(u32 vector, u64 gate);
void *stub_of(u32 vector);
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);
void load_descriptor(u32 index, u64 descriptor);
void queue_call(u32 slot, u32 number, u32 first, u32 second, u32 third);
void map(u32 *top, u32 table, u32 linear, u32 entry);
void identity(void);
int on_timer(struct frame *frame);

static inline u32 limit_of(u32 selector)
{
    u32 limit;
    asm volatile("mov $-1, %0; lsl %1, %0" : "=&r"(limit) : "r"(selector) : "cc");
    return limit;
}

static inline u32 rights_of(u32 selector)
{
    u32 rights;
    asm volatile("xor %0, %0; lar %1, %0" : "=&r"(rights) : "r"(selector) : "cc");
    return rights;
}

#endif
