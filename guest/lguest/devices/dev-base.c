/* What every device guest needs: the first hypercalls, page tables, interrupts, text, the verdict. Text goes out by the
   earliest means the dialect has, so that it works whatever the drivers do. */

#include "dev.h"

volatile u32 irq_count[32];
u32 memory_top;

static u32 failures;

void main(void);

void *memset(void *at, int value, u32 length)
{
    for (u32 i = 0; i < length; i++)
        ((volatile u8 *)at)[i] = value;
    return at;
}

void *memcpy(void *to, const void *from, u32 length)
{
    for (u32 i = 0; i < length; i++)
        ((volatile u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

#ifdef DIALECT_P

u32 *multiboot_info;

u32 hypercall(u32 number, u32 first, u32 second, u32 third)
{
    return number + first + second + third;
}

void wait_irq(u32 irq, u32 seen)
{
    (void)irq;
    (void)seen;
}

/* Ten milliseconds by the ACPI timer, 3.58 MHz of at least 24 bits. */
u32 tick_start(void)
{
    return inl(0x608);
}

int tick_over(u32 start)
{
    return ((inl(0x608) - start) & 0xFFFFFF) > 35795;
}

void rest(void)
{
}

static void put(const char *text)
{
    for (; *text; text++)
        outb(0x3F8, *text);
}

void setup(void)
{
    memory_top = 16 << 20;
}

static void power_off(void)
{
    outb(0xF4, failures != 0);
    for (;;)
        asm volatile("cli; hlt");
}

#else

extern u8 stubs[];

static u32 data[512] ALIGNED;
static u32 directory[1024] ALIGNED;
static u32 tables[8][1024] ALIGNED;

/* Offsets in lguest_data. */
enum {
#if DIALECT <= 'C'
    STATUS = 20,
    KERNEL = 1128,
#elif DIALECT == 'D'
    STATUS = 24,
    KERNEL = 1388,
#elif DIALECT == 'E'
    STATUS = 24,
    KERNEL = 1384,
#else
    STATUS = 24,
    KERNEL = 1380,
#endif
};

u32 hypercall(u32 number, u32 first, u32 second, u32 third)
{
    u32 result;
#if DIALECT <= 'C'
    asm volatile("int $0x1F" : "=a"(result) : "a"(number), "d"(first), "b"(second), "c"(third) : "memory");
#elif DIALECT == 'D'
    asm volatile("vmcall" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(0) : "memory");
#else
    asm volatile("int $0x1F" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(0) : "memory");
#endif
    return result;
}

/* Sleeps until interrupt irq came more often than seen. */
void wait_irq(u32 irq, u32 seen)
{
    while (irq_count[irq] == seen)
        hypercall(HALT, 0, 0, 0);
}

/* Ten milliseconds; interrupt 0 ends them. */
u32 tick_start(void)
{
    u32 seen = irq_count[0];
    hypercall(SET_CLOCKEVENT, 10000000, 0, 0);
    return seen;
}

int tick_over(u32 start)
{
    return irq_count[0] != start;
}

/* Sleeps until any interrupt. */
void rest(void)
{
    hypercall(HALT, 0, 0, 0);
}

static void put(const char *text)
{
#ifdef DIALECT_A
    static u32 dma[25];
    u32 length = 0;
    while (text[length])
        length++;
    while (length) {
        u32 part = PAGE - (u32)text % PAGE < length ? PAGE - (u32)text % PAGE : length;
        dma[0] = 0;
        dma[1] = pa(text);
        dma[17] = part;
        hypercall(SEND_DMA, 0, pa(dma), 0);
        text += part;
        length -= part;
    }
#elif defined(DIALECT_F)
    static u32 window, offset;
    if (!window) {
        for (u32 at = 0x34; (outl(0xCF8, 0x80000800 | (at & 0xFC)), at = inb(0xCFC + (at & 3))) != 0; at++) {
            outl(0xCF8, 0x80000800 | at);
            u32 kind = inl(0xCFC) >> 24;
            outl(0xCF8, 0x80000800 | (at + 8));
            if (kind == 4)
                offset = inl(0xCFC) + 8;
            if (kind == 5)
                window = at;
        }
        outl(0xCF8, 0x80000800 | (window + 8));
        outl(0xCFC, offset);
        outl(0xCF8, 0x80000800 | (window + 12));
        outl(0xCFC, 4);
    }
    outl(0xCF8, 0x80000800 | (window + 16));
    for (; *text; text++)
        outl(0xCFC, (u8)*text);
#else
    static char part[17];
    while (*text) {
        u32 i = 0;
        while (i < 16 && *text)
            part[i++] = *text++;
        part[i] = 0;
        hypercall(NOTIFY, pa(part), 0, 0);
    }
#endif
}

void setup(void)
{
    memset((u8 *)data + STATUS, 0xFF, 64);
    if (DIALECT != 'A') {
        data[KERNEL / 4] = 0xC0000000;
        data[KERNEL / 4 + 1] = 0x80;
    }
    hypercall(INIT, pa(data), 0, 0);
    memory_top = *(u32 *)va(0x2D0 + 8);

    /* 32 MiB, RAM and what follows it, one to one and at 3 GiB. */
    for (u32 i = 0; i < 8 * 1024; i++)
        tables[i >> 10][i & 1023] = i << 12 | 0x67;
    for (u32 i = 0; i < 8; i++)
        directory[i] = directory[768 + i] = pa(tables[i]) | 0x67;
    hypercall(NEW_PGTABLE, pa(directory), 0, 0);
    for (u32 i = 0; i < 32; i++) {
        u32 at = (u32)stubs + 16 * i;
        hypercall(LOAD_IDT_ENTRY, 0x20 + i, 0x61 << 16 | (at & 0xFFFF), (at & 0xFFFF0000) | 0x8E00);
    }
}

static void power_off(void)
{
    static const char *message = "Power down";
    hypercall(SHUTDOWN, pa(message), 1, 0);
    for (;;)
        hypercall(HALT, 0, 0, 0);
}

#endif

void print(const char *text)
{
    put(text);
}

void print_number(u32 value)
{
    char text[9];
    print(hex_text(value, text));
}

void check(const char *name, u32 got, u32 want)
{
    print(got == want ? "ok   " : "FAIL ");
    print(name);
    if (got != want) {
        failures++;
        print(": got ");
        print_number(got);
        print(", want ");
        print_number(want);
    }
    print("\n");
}

void finish(void)
{
    print(failures ? "FAILED\n" : "PASSED\n");
    power_off();
    __builtin_unreachable();
}

/* The number behind NAME= on the command line. */
u32 option(const char *name, u32 otherwise)
{
#ifdef DIALECT_P
    const char *at = (const char *)multiboot_info[4];
#else
    const char *at = va(4096);
#endif
    for (; *at; at++) {
        u32 i = 0;
        while (name[i] && at[i] == name[i])
            i++;
        if (!name[i] && at[i] == '=') {
            u32 value = 0;
            for (at += i + 1; *at >= '0' && *at <= '9'; at++)
                value = value * 10 + (*at - '0');
            return value;
        }
    }
    return otherwise;
}
