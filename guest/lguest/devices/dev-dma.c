/* Dialect A: the page of descriptors, device pages and DMA keys. */

#include "dev.h"

struct dma {
    volatile u32 used;
    u32 address[16];
    u16 length[16];
};

struct descriptor {
    u16 type, features, status, pages;
    u32 pfn;
};

struct block_page {
    u32 type, sector, bytes, result, sectors;
};

static u32 console_irq, disk_irq, net_irq;
static u32 disk_page, net_page;
static char console_in[256];
static struct dma console_dma, disk_dma, net_dma[8];
static u8 net_room[8][2048] ALIGNED;

static struct descriptor *descriptors(void)
{
    return va(memory_top);
}

/* Points a structure to a buffer, in pieces that do not cross pages. */
static void fill(struct dma *dma, const void *data, u32 length)
{
    u32 address = pa(data), i = 0;
    while (length) {
        u32 part = PAGE - address % PAGE < length ? PAGE - address % PAGE : length;
        dma->address[i] = address;
        dma->length[i++] = part;
        address += part;
        length -= part;
    }
    if (i < 16)
        dma->length[i] = 0;
    dma->used = 0;
}

static u32 send(u32 key, const void *data, u32 length)
{
    struct dma dma;
    fill(&dma, data, length);
    hypercall(SEND_DMA, key, pa(&dma), 0);
    return dma.used;
}

static u32 bind(u32 key, struct dma *array, u32 count, u32 irq)
{
    return hypercall(BIND_DMA, key, pa(array), count << 8 | irq);
}

/* The interrupt of the first device of a type, or 0. */
static u32 find(u16 type, u32 *page)
{
    for (u32 i = 0; i < 16; i++)
        if (descriptors()[i].type == type) {
            descriptors()[i].status = 7;
            *page = descriptors()[i].pfn * PAGE;
            return i + 1;
        }
    return 0;
}

void devices_check(void)
{
    u32 types = 0, wrong = 0;
    for (u32 i = 0; i < 16; i++) {
        struct descriptor *entry = &descriptors()[i];
        types |= 1 << entry->type;
        if (entry->pages && entry->pfn * PAGE <= memory_top)
            wrong++;
    }
    check("console and disk are there", types & 0xA, 0xA);
    check("device pages lie behind the descriptors", wrong, 0);
    u32 page;
    check("the console has no page", (find(1, &page), page), 0);
}

int console_start(void)
{
    u32 page;
    console_irq = find(1, &page);
    fill(&console_dma, console_in, sizeof(console_in));
    return console_irq && bind(0, &console_dma, 1, console_irq) == 1;
}

void console_write(const char *text, u32 length)
{
    check("all text is taken", send(0, text, length), length);
}

u32 console_read(char *text, u32 room)
{
    while (!console_dma.used)
        wait_irq(console_irq, irq_count[console_irq]);
    u32 length = console_dma.used;
    check("input fits its buffer", length <= room, 1);
    memcpy(text, console_in, length);
    console_dma.used = 0;
    return length;
}

int disk_start(void)
{
    disk_irq = find(3, &disk_page);
    return disk_irq && bind(disk_page, &disk_dma, 1, disk_irq) == 1;
}

u32 disk_sectors(void)
{
    return ((struct block_page *)va(disk_page))->sectors;
}

int disk_io(int write, u32 sector, void *data, u32 length)
{
    volatile struct block_page *request = va(disk_page);
    request->type = write;
    request->sector = sector;
    request->bytes = length;
    request->result = 0;
    fill(&disk_dma, data, write ? 0 : length);
    u32 seen = irq_count[disk_irq];
    send(disk_page, data, write ? length : 0);
    wait_irq(disk_irq, seen);
    check("the answer's length", disk_dma.used, write || request->result != 1 ? 0 : length);
    disk_dma.used = 0;
    return request->result == 1;
}

int rng_start(void)
{
    return 0;
}

u32 rng_read(void *data, u32 length)
{
    (void)data;
    (void)length;
    return 0;
}

int net_start(u8 *mac)
{
    net_irq = find(2, &net_page);
    if (!net_irq)
        return 0;
    u32 me = descriptors()[net_irq - 1].features & (PAGE - 1);
    mac[0] = 2;
    mac[1] = mac[2] = mac[4] = mac[5] = 0;
    mac[3] = option("id", 1);
    memcpy((u8 *)va(net_page) + 6 * me, mac, 6);
    for (u32 i = 0; i < 8; i++)
        fill(&net_dma[i], net_room[i], 1514);
    return bind(net_page + 4 * me, net_dma, 8, net_irq) == 1;
}

/* As the kernel's driver: to every peer that wants it. */
void net_send(const void *frame, u32 length)
{
    u32 me = descriptors()[net_irq - 1].features & (PAGE - 1);
    const u8 *peers = va(net_page), *to = frame;
    for (u32 i = 0; i < PAGE / 6; i++) {
        const u8 *peer = peers + 6 * i;
        if (i != me && peer[0] && ((to[0] & 1) || (peer[0] & 1)))
            check("the peer takes the frame", send(net_page + 4 * i, frame, length), length);
    }
}

u32 net_receive(void *frame, u32 room)
{
    static u32 next;
    for (u32 i = 0; i < 8; i++) {
        struct dma *dma = &net_dma[(next + i) % 8];
        u32 length = dma->used;
        if (length) {
            memcpy(frame, net_room[(next + i) % 8], length < room ? length : room);
            next = (next + i + 1) % 8;
            dma->used = 0;
            return length;
        }
    }
    return 0;
}

/* 32 bindings in all; unbinding wants key and array. The disk and the console hold one each, or will. */
void recovery_check(void)
{
    static struct dma array[2];
    u32 bound = 0;
    while (bound < 40 && bind(0x1000 + 4 * bound, array, 2, 7) == 1)
        bound++;
    check("31 more bindings", bound, 31);
    check("unbinding of another array", bind(0x1000, array + 1, 1, 0), 0);
    check("unbinding of another key", bind(0x0FFC, array, 1, 0), 0);
    for (u32 i = 0; i < bound; i++)
        check("unbinding", bind(0x1000 + 4 * i, array, 2, 0), 1);
    check("unbinding again", bind(0x1000, array, 2, 0), 0);
    check("an interrupt that is none", bind(0x1000, array, 2, 32), 0);
    static u8 text[4];
    array[0].used = 5;
    fill(&array[0], text, 4);
    array[0].used = 5;
    hypercall(SEND_DMA, 0x2000, pa(array), 0);
    check("what nobody takes is not used", array[0].used, 5);
}

int commit(u32 crime)
{
    static u8 data[2 * PAGE] ALIGNED;
    static struct dma dma;
    u32 page;
    fill(&dma, data, 16);
    switch (crime) {
    case 1: /* A piece that crosses a page. */
        dma.address[0] = pa(data) + PAGE - 8;
        hypercall(SEND_DMA, 0, pa(&dma), 0);
        return 1;
    case 2: /* A piece behind the end of memory. */
        dma.address[0] = 0xFFFFF000;
        hypercall(SEND_DMA, 0, pa(&dma), 0);
        return 1;
    case 3: /* A structure behind the end of memory. */
        hypercall(SEND_DMA, 0, 0xFFFFFFF0, 0);
        return 1;
    case 4: /* A key that is no multiple of 4. */
        bind(2, &dma, 1, 1);
        return 1;
    case 5: /* A key that is no multiple of 4. */
        hypercall(SEND_DMA, 1, pa(&dma), 0);
        return 1;
    case 6: /* A disk request with nowhere to put the answer. */
        find(3, &page);
        hypercall(SEND_DMA, page, pa(&dma), 0);
        return 1;
    case 7: /* Bound structures behind the end of memory: noticed when the disk answers. */
        find(3, &page);
        hypercall(BIND_DMA, page, 0xFFFFFF00, 1 << 8 | 1);
        hypercall(SEND_DMA, page, pa(&dma), 0);
        return 1;
    default:
        return 0;
    }
}
