/* Dialects B to E: virtio devices on the page after RAM. B has fields of type, length and value where the others have
   counts. */

#include "dev.h"

#ifdef DIALECT_B
enum { HEADER = 3, STATUS_AT = 2, NET_HEADER = 8, BLOCK_HEADER = 24 };
#else
enum { HEADER = 5, STATUS_AT = 4, NET_HEADER = 10, BLOCK_HEADER = 16 };
#endif

struct device {
    volatile u8 *entry, *config;
    u32 offered;
    struct queue queues[2];
};

static volatile u8 *page(void)
{
    return va(memory_top);
}

static u32 length_of(volatile u8 *entry)
{
#ifdef DIALECT_B
    return HEADER + entry[1];
#else
    return HEADER + 8 * entry[1] + 2 * entry[2] + entry[3];
#endif
}

static void ring_kick(struct queue *queue)
{
    hypercall(NOTIFY, queue->kick_address, 0, 0);
}

#ifndef DIALECT_B
static void status_notify(struct device *device)
{
    hypercall(NOTIFY, memory_top + (device->entry - page()), 0, 0);
}
#endif

static void set_up(struct queue *queue, volatile u8 *config)
{
    u32 size = config[0] | config[1] << 8;
    queue->irq = config[2] | config[3] << 8;
    queue->kick_address = (config[4] | config[5] << 8 | config[6] << 16 | config[7] << 24) * PAGE;
    queue->kick = ring_kick;
    u8 *ring = va(queue->kick_address);
    u32 avail = 16 * size;
    u32 used = (avail + 6 + 2 * size + PAGE - 1) & -PAGE;
    queue_init(queue, size, ring, ring + avail, ring + used);
}

static u32 config_word(struct device *device, u32 offset)
{
    volatile u8 *at = device->config + offset;
    return at[0] | at[1] << 8 | at[2] << 16 | at[3] << 24;
}

/* Finds the first device of a type, accepts no feature and starts it. */
static int find(struct device *device, u8 type, u32 queues)
{
    volatile u8 *entry = page();
    while (entry[0] != type) {
        if (!entry[0])
            return 0;
        entry += length_of(entry);
    }
    device->entry = entry;
    u32 found = 0;
#ifdef DIALECT_B
    for (volatile u8 *at = entry + HEADER; at < entry + length_of(entry); at += 2 + at[1]) {
        if (at[0] == 2 && found < queues)
            set_up(&device->queues[found++], at + 2);
        else if (at[0] == 0x41)
            device->config = at + 2;
        else if (at[0] == 0x40)
            device->offered = at[2];
        at[0] |= 0x80;
    }
    entry[STATUS_AT] = 7;
#else
    device->config = entry + HEADER + 8 * entry[1] + 2 * entry[2];
    volatile u8 *features = entry + HEADER + 8 * entry[1];
    device->offered = features[0] | features[1] << 8 | features[2] << 16 | features[3] << 24;
    entry[STATUS_AT] = 0;
    status_notify(device);
    entry[STATUS_AT] = 3;
    status_notify(device);
    for (; found < queues && found < entry[1]; found++)
        set_up(&device->queues[found], entry + HEADER + 8 * found);
    entry[STATUS_AT] = 7;
#endif
    return found == queues;
}

#include "dev-virtio.h"

/* The list as a whole: it ends, its rings lie behind it, its interrupts count up from 1. */
void devices_check(void)
{
    u32 irq = 1, types = 0, size = 0;
    for (volatile u8 *entry = page(); entry[0]; entry += length_of(entry)) {
        types |= 1 << entry[0];
        size += length_of(entry);
        struct queue queue;
#ifdef DIALECT_B
        for (volatile u8 *at = entry + HEADER; at < entry + length_of(entry); at += 2 + at[1])
            if (at[0] == 2) {
                set_up(&queue, at + 2);
#else
        for (u32 i = 0; i < entry[1]; i++) {
            {
                set_up(&queue, entry + HEADER + 8 * i);
#endif
                check("interrupts count up", queue.irq, irq++);
                check("the ring is behind the page", queue.kick_address >= memory_top + PAGE, 1);
                check("the ring is a power of two", queue.size & (queue.size - 1), 0);
            }
#ifndef DIALECT_B
        }
#endif
    }
    check("console, disk and entropy source are there", types & 0x1C, 0x1C);
    check("the list fits its page", size < PAGE, 1);
}

/* A reset forgets everything, and the ring is as new; a driver that gave up is left alone. B knows neither. */
void recovery_check(void)
{
#ifndef DIALECT_B
    static u8 bytes[16];
    struct queue *queue = &rng_device.queues[0];
    check("the ring was used", queue->used[2] != 0, 1);
    rng_device.entry[STATUS_AT] = 0;
    status_notify(&rng_device);
    u32 left = 0;
    for (u32 i = 0; i < 3 * PAGE && i < (u32)(queue->used - queue->desc) + 6 + 8 * queue->size; i++)
        left |= queue->desc[i];
    check("a reset clears the ring", left, 0);
    check("it starts again", rng_start(), 1);
    check("and works", rng_read(bytes, sizeof(bytes)), sizeof(bytes));
    rng_device.entry[STATUS_AT] = 0x87;
    status_notify(&rng_device);
    u32 seen = irq_count[queue->irq];
    queue_add(queue, &(struct piece){ bytes, sizeof(bytes), 1 }, 1);
    check("a driver that failed is not served", *(volatile u16 *)(queue->used + 2), 1);
    check("nor interrupted", irq_count[queue->irq], seen);
    check("until it starts again", rng_start(), 1);
    check("and then is", rng_read(bytes, sizeof(bytes)), sizeof(bytes));
#endif
}

int commit(u32 crime)
{
    rng_start();
    struct queue *queue = &rng_device.queues[0];
    static u8 data[16];
    switch (crime) {
    case 1: /* NOTIFY of a device page that is no ring. */
        hypercall(NOTIFY, memory_top + 255 * PAGE, 0, 0);
        return 1;
    case 2: /* NOTIFY inside the descriptor page, not at an entry. */
        hypercall(NOTIFY, memory_top + 1, 0, 0);
        return 1;
    case 3: /* NOTIFY of an address that is nothing. */
        hypercall(NOTIFY, 0xFFFFFFFC, 0, 0);
        return 1;
    case 4: /* An available index that jumps. */
        *(volatile u16 *)(queue->avail + 2) = 0x4000;
        queue->kick(queue);
        return 1;
    case 5: /* A descriptor index outside the table. */
        queue_publish(queue, queue->size);
        queue->kick(queue);
        return 1;
    case 6: /* A buffer behind the end of memory. */
        queue_describe(queue, 0, 0xFFFFFFFFFFFFF000, 0x2000, 2, 0);
        queue_publish(queue, 0);
        queue->kick(queue);
        return 1;
    case 7: /* A chain that loops. */
        queue_describe(queue, 0, pa(data), 16, 3, 0);
        queue_publish(queue, 0);
        queue->kick(queue);
        return 1;
    default:
        return 0;
    }
}
