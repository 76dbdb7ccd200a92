/* The device guests: one set of programs (dev-basic, dev-net, dev-misuse) over three sets of drivers, chosen by the
   dialect: dev-page (B to E), dev-dma (A), dev-pci (F, and P for a PC). */

#ifndef DEV_H
#define DEV_H

#include "../../common/guest.h"

#define PAGE 4096u
#define ALIGNED __attribute__((aligned(4096)))

enum {
    INIT = 1, SHUTDOWN = 2, NEW_PGTABLE = 4, LOAD_IDT_ENTRY = 6, SET_CLOCKEVENT = 9, HALT = 10, BIND_DMA = 12,
    SEND_DMA = 13, NOTIFY = 17,
};

/* Guest-physical and virtual addresses. All RAM and what follows it is mapped at OFFSET. */
static inline u32 pa(const void *address) { return (u32)address - OFFSET; }
static inline void *va(u32 address) { return (void *)(address + OFFSET); }

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void outl(u16 port, u32 value) { asm volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 inb(u16 port) { u8 v; asm volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline u32 inl(u16 port) { u32 v; asm volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

/* dev-base.c */
extern volatile u32 irq_count[32];
extern u32 memory_top;
u32 hypercall(u32 number, u32 first, u32 second, u32 third);
void wait_irq(u32 irq, u32 seen);
u32 tick_start(void);
int tick_over(u32 start);
void rest(void);
void print(const char *text);
void print_number(u32 value);
void check(const char *name, u32 got, u32 want);
u32 option(const char *name, u32 otherwise);
void finish(void) __attribute__((noreturn));
void *memset(void *at, int value, u32 length);
void *memcpy(void *to, const void *from, u32 length);

/* Drivers. Lengths in bytes; *_start finds a device and makes it work, 0 if there is none. */
void devices_check(void);
int console_start(void);
void console_write(const char *text, u32 length);
u32 console_read(char *text, u32 room);
int disk_start(void);
u32 disk_sectors(void);
int disk_io(int write, u32 sector, void *data, u32 length);
int rng_start(void);
u32 rng_read(void *data, u32 length);
int net_start(u8 *mac);
void net_send(const void *frame, u32 length);
u32 net_receive(void *frame, u32 room);

/* Rules of each transport about starting again after a reset, an error or an unbinding. */
void recovery_check(void);

/* dev-misuse.c's crimes that only the drivers know how to commit; 0 if there is no such crime here. */
int commit(u32 crime);

/* dev-vring.c */
struct queue {
    u16 size, next, seen;
    volatile u8 *desc, *avail, *used;
    u32 irq, irq_seen;
    void (*kick)(struct queue *queue);
    u32 kick_address;
};

struct piece {
    void *data;
    u32 length;
    int writable;
};

void queue_init(struct queue *queue, u32 size, void *desc, void *avail, void *used);
void queue_describe(struct queue *queue, u32 index, u64 address, u32 length, u16 flags, u16 next);
void queue_publish(struct queue *queue, u16 head);
u16 queue_add(struct queue *queue, const struct piece *pieces, u32 count);
int queue_take(struct queue *queue, u32 *length);
u32 queue_request(struct queue *queue, const struct piece *pieces, u32 count);

#endif
