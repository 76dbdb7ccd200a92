/* What the conformance guests of both widths share: descriptors, printing on COM1, the verdict on port 0xF4. Included
   by each conformance.c, whose header says what a word is. */

struct table_pointer {
    u16 limit;
    uword base;
} __attribute__((packed));

static u32 failures;

void load_tables(const struct table_pointer *gdt, const struct table_pointer *idt, u32 task);

void print(const char *text)
{
    for (; *text; text++) {
        while (!(inb(0x3FD) & 0x20))
            ;
        outb(0x3F8, *text);
    }
}

static void print_hex(uword value)
{
    char text[9];
    if (sizeof(value) > 4)
        print(hex_text((u64)value >> 32, text));
    print(hex_text(value, text));
}

void check(const char *name, uword got, uword want)
{
    print(got == want ? "ok   " : "FAIL ");
    print(name);
    if (got != want) {
        failures++;
        print(": got ");
        print_hex(got);
        print(", want ");
        print_hex(want);
    }
    print("\n");
}

void finish(void)
{
    print(failures ? "FAILED\n" : "PASSED\n");
    outb(0xF4, failures != 0);
    for (;;)
        asm volatile("cli; hlt");
}

u64 descriptor(u32 base, u32 limit, u32 access, u32 flags)
{
    return (u64)(limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)access << 40
        | (u64)(limit >> 16 & 15) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}
