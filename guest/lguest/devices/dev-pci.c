/* Dialect F and a PC: virtio 1.0 on PCI, configuration mechanism 1. */

#include "dev.h"

enum { NET_HEADER = 12, BLOCK_HEADER = 16 };

struct device {
    volatile u8 *common, *notify, *isr, *config;
    u32 multiplier;
    struct queue queues[2];
};

static u8 rings[6][3 * PAGE] ALIGNED;
static u32 rings_used;

static u32 config_read(u32 slot, u32 offset)
{
    outl(0xCF8, 0x80000000 | slot << 11 | (offset & 0xFC));
    return inl(0xCFC) >> 8 * (offset & 3);
}

static void config_write(u32 slot, u32 offset, u32 value)
{
    outl(0xCF8, 0x80000000 | slot << 11 | (offset & 0xFC));
    outl(0xCFC, value);
}

#define M8(at) (*(volatile u8 *)(at))
#define M16(at) (*(volatile u16 *)(at))
#define M32(at) (*(volatile u32 *)(at))

static void pci_kick(struct queue *queue)
{
    M16(queue->kick_address) = 0;
}

static u32 config_word(struct device *device, u32 offset)
{
    u32 value = 0;
    for (u32 i = 0; i < 4; i++)
        value |= M8(device->config + offset + i) << 8 * i;
    return value;
}

static void set_up(struct device *device, u32 index, u32 irq)
{
    struct queue *queue = &device->queues[index];
    u8 *ring = rings[rings_used++];
    M16(device->common + 0x16) = index;
    u32 size = M16(device->common + 0x18);
    M32(device->common + 0x20) = pa(ring);
    M32(device->common + 0x24) = 0;
    M32(device->common + 0x28) = pa(ring + 16 * size);
    M32(device->common + 0x2C) = 0;
    M32(device->common + 0x30) = pa(ring + 2 * PAGE);
    M32(device->common + 0x34) = 0;
    queue->kick_address = (u32)device->notify + M16(device->common + 0x1E) * device->multiplier;
    queue->kick = pci_kick;
    queue->irq = irq;
    queue_init(queue, size, ring, ring + 16 * size, ring + 2 * PAGE);
    M16(device->common + 0x1C) = 1;
}

/* The PCI slot of the first device of a type, or 0. */
static u32 slot_of(u8 type)
{
    for (u32 slot = 1; slot < 32; slot++)
        if (config_read(slot, 0) == (0x10401AF4u | (u32)type << 16))
            return slot;
    return 0;
}

static int find(struct device *device, u8 type, u32 queues)
{
    u32 slot = slot_of(type);
    if (!slot)
        return 0;
    config_write(slot, 4, 6);
    u8 *bar = va(config_read(slot, 0x10) & ~15u);
    for (u32 at = config_read(slot, 0x34) & 0xFF; at; at = config_read(slot, at + 1) & 0xFF) {
        u8 *structure = bar + config_read(slot, at + 8);
        if ((config_read(slot, at) & 0xFF) != 9)
            continue;
        switch (config_read(slot, at + 3) & 0xFF) {
        case 1:
            device->common = structure;
            break;
        case 2:
            device->notify = structure;
            device->multiplier = config_read(slot, at + 16);
            break;
        case 3:
            device->isr = structure;
            break;
        case 4:
            device->config = structure;
            break;
        }
    }
    M8(device->common + 0x14) = 0;
    M8(device->common + 0x14) = 3;
    M32(device->common + 0x08) = 0;
    M32(device->common + 0x0C) = 0;
    M32(device->common + 0x08) = 1;
    M32(device->common + 0x0C) = 1;
    M8(device->common + 0x14) = 11;
    if (M8(device->common + 0x14) != 11)
        return 0;
    u32 irq = config_read(slot, 0x3C) & 0x1F;
    for (u32 i = 0; i < queues; i++)
        set_up(device, i, irq);
    M8(device->common + 0x14) = 15;
    return 1;
}

#include "dev-virtio.h"

void devices_check(void)
{
    check("slot 0 is a host bridge", config_read(0, 8) >> 16, 0x0600);
#ifdef DIALECT_F
    check("its ids are 0", config_read(0, 0), 0);
    check("slot 1 is the console", config_read(1, 0), 0x10431AF4);
    for (u32 slot = 1; slot < 32 && (config_read(slot, 0) & 0xFFFF) == 0x1AF4; slot++) {
        u32 msix = 0;
        for (u32 at = config_read(slot, 0x34) & 0xFF; at; at = config_read(slot, at + 1) & 0xFF)
            msix += (config_read(slot, at) & 0xFF) == 0x11;
        check("no MSI-X", msix, 0);
        check("the interrupt is the slot's", config_read(slot, 0x3C) & 0xFF, slot);
        check("revision 1", config_read(slot, 8) & 0xFF, 1);
        check("the BAR is behind the device pages", config_read(slot, 0x10) >= memory_top + 256 * PAGE, 1);
    }
    check("no keyboard controller", inb(0x64), 1);
    check("nothing else", inb(0x60), 0xFF);
#endif
    check("disk and entropy source are there", slot_of(2) && slot_of(4), 1);
}

/* A broken ring stops its own device only, says so in the status, and a reset mends it (virtio 1.2, 2.1.2). */
void recovery_check(void)
{
    static u8 bytes[512];
    struct queue *queue = &rng_device.queues[0];
    *(volatile u16 *)(queue->avail + 2) += 0x4000;
    queue->kick(queue);
    check("a broken ring asks for a reset", M8(rng_device.common + 0x14), 15 | 64);
    check("other devices live", disk_io(0, 0, bytes, sizeof(bytes)), 1);
    check("it starts again", rng_start(), 1);
    check("and works", rng_read(bytes, 16), 16);
}

/* The transport has an answer for every mistake; none is deadly. */
int commit(u32 crime)
{
    (void)crime;
    return 0;
}
