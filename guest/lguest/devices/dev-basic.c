/* Device list, disk round trip, entropy, starting again, console echo. Whoever runs it gives a disk of at least 64 KiB and types a line
   when asked. */

#include "dev.h"

static u8 data[8192] ALIGNED, back[8192] ALIGNED;

static u32 sum(const u8 *bytes, u32 length)
{
    u32 a = 1, b = 0;
    for (u32 i = 0; i < length; i++) {
        a = (a + bytes[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void disk(void)
{
    check("the disk starts", disk_start(), 1);
    u32 sectors = disk_sectors();
    check("the disk has a size", sectors >= 128, 1);
    for (u32 i = 0; i < sizeof(data); i++)
        data[i] = i * 13 + (i >> 8) * 7 + 1;
    for (u32 i = 0; i < 4; i++)
        check("a write", disk_io(1, 8 + 16 * i, data, sizeof(data)), 1);
    for (u32 i = 0; i < 4; i++) {
        memset(back, 0, sizeof(back));
        check("a read", disk_io(0, 8 + 16 * i, back, sizeof(back)), 1);
        check("the sum of what was read", sum(back, sizeof(back)), sum(data, sizeof(data)));
    }
    check("the last sector", disk_io(0, sectors - 1, back, 512), 1);
    check("a sector behind the end is refused", disk_io(0, sectors, back, 512), 0);
    check("a request across the end is refused", disk_io(1, sectors - 1, data, 1024), 0);
    check("and the disk lives", disk_io(0, 8, back, 512), 1);
}

static void rng(void)
{
    if (!rng_start()) {
        check("only dialect A has no entropy source", DIALECT, 'A');
        return;
    }
    check("entropy, all of it", rng_read(data, 64), 64);
    check("entropy again", rng_read(back, 64), 64);
    u32 same = 0, zero = 0;
    for (u32 i = 0; i < 64; i++) {
        same += data[i] == back[i];
        zero += data[i] == 0;
    }
    check("it is not constant", same < 16, 1);
    check("it is not zero", zero < 16, 1);
}

static void console(void)
{
    static char line[256], part[256];
    u32 length = 0;
    check("the console starts", console_start(), 1);
    console_write("type a line\n", 12);
    while (length < sizeof(line) && (!length || line[length - 1] != '\n')) {
        u32 count = console_read(part, sizeof(part));
        for (u32 i = 0; i < count && length < sizeof(line); i++)
            line[length++] = part[i] == '\r' ? '\n' : part[i];
    }
    console_write("echo: ", 6);
    console_write(line, length);
}

void main(void)
{
    devices_check();
    disk();
    rng();
    recovery_check();
    console();
}
