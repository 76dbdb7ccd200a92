/* The driver's half of a split virtqueue, legacy or not: the areas are given. */

#include "dev.h"

#define R16(at) (*(volatile u16 *)(at))
#define R32(at) (*(volatile u32 *)(at))
#define R64(at) (*(volatile u64 *)(at))

void queue_init(struct queue *queue, u32 size, void *desc, void *avail, void *used)
{
    queue->size = size;
    queue->next = queue->seen = 0;
    queue->desc = desc;
    queue->avail = avail;
    queue->used = used;
}

void queue_describe(struct queue *queue, u32 index, u64 address, u32 length, u16 flags, u16 next)
{
    R64(queue->desc + 16 * index) = address;
    R32(queue->desc + 16 * index + 8) = length;
    R16(queue->desc + 16 * index + 12) = flags;
    R16(queue->desc + 16 * index + 14) = next;
}

void queue_publish(struct queue *queue, u16 head)
{
    u16 index = R16(queue->avail + 2);
    R16(queue->avail + 4 + 2 * (index & (queue->size - 1))) = head;
    asm volatile("" : : : "memory");
    R16(queue->avail + 2) = index + 1;
}

/* Adds a request and kicks. Its head. */
u16 queue_add(struct queue *queue, const struct piece *pieces, u32 count)
{
    u16 head = queue->next;
    for (u32 i = 0; i < count; i++) {
        u16 next = (queue->next + 1) & (queue->size - 1);
        u16 flags = (pieces[i].writable ? 2 : 0) | (i + 1 < count ? 1 : 0);
        queue_describe(queue, queue->next, pa(pieces[i].data), pieces[i].length, flags, next);
        queue->next = next;
    }
    queue->irq_seen = irq_count[queue->irq];
    queue_publish(queue, head);
    queue->kick(queue);
    return head;
}

/* The head of the next finished request, or -1. */
int queue_take(struct queue *queue, u32 *length)
{
    if (R16(queue->used + 2) == queue->seen)
        return -1;
    volatile u8 *entry = queue->used + 4 + 8 * (queue->seen++ & (queue->size - 1));
    *length = R32(entry + 4);
    return R32(entry);
}

/* Adds a request, sleeps until its interrupt and takes it. The bytes the device wrote. */
u32 queue_request(struct queue *queue, const struct piece *pieces, u32 count)
{
    u32 length;
    u16 head = queue_add(queue, pieces, count);
    wait_irq(queue->irq, queue->irq_seen);
    int got;
    while ((got = queue_take(queue, &length)) < 0 && DIALECT == 'P')
        ;
    check("used entry names the request", got, head);
    return length;
}
