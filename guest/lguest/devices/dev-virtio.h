/* The virtio devices above either transport: included by dev-page.c and dev-pci.c, which say how queues are found
   (struct device, find) and how long a network header is (NET_HEADER) and a block header (BLOCK_HEADER). */

static struct device console_device, disk_device, rng_device, net_device;
static char console_in[256], console_out[256];
static u8 net_room[16][NET_HEADER + 1600], net_out[NET_HEADER + 1600];
static u32 net_next;

int console_start(void)
{
    if (!find(&console_device, 3, 2))
        return 0;
    queue_add(&console_device.queues[0], &(struct piece){ console_in, sizeof(console_in), 1 }, 1);
    return 1;
}

void console_write(const char *text, u32 length)
{
    memcpy(console_out, text, length);
    queue_request(&console_device.queues[1], &(struct piece){ console_out, length, 0 }, 1);
}

/* Sleeps until there is input. */
u32 console_read(char *text, u32 room)
{
    struct queue *queue = &console_device.queues[0];
    u32 length;
    while (queue_take(queue, &length) < 0)
        wait_irq(queue->irq, queue->irq_seen);
    check("input fits its buffer", length <= room, 1);
    memcpy(text, console_in, length);
    queue_add(queue, &(struct piece){ console_in, sizeof(console_in), 1 }, 1);
    return length;
}

int disk_start(void)
{
    return find(&disk_device, 2, 1);
}

u32 disk_sectors(void)
{
    return config_word(&disk_device, 0);
}

/* 1 if the device says that it is done. */
int disk_io(int write, u32 sector, void *data, u32 length)
{
    static u32 header[BLOCK_HEADER / 4];
    static u8 status;
    header[0] = write;
    header[2] = sector;
    status = 0xFF;
    struct piece pieces[] = { { header, BLOCK_HEADER, 0 }, { data, length, !write }, { &status, 1, 1 } };
    queue_request(&disk_device.queues[0], pieces, 3);
    return status == 0;
}

int rng_start(void)
{
    return find(&rng_device, 4, 1);
}

u32 rng_read(void *data, u32 length)
{
    return queue_request(&rng_device.queues[0], &(struct piece){ data, length, 1 }, 1);
}

static void net_give(u32 i)
{
    struct piece pieces[] = { { net_room[i], NET_HEADER, 1 }, { net_room[i] + NET_HEADER, 1600, 1 } };
    queue_add(&net_device.queues[0], pieces, 2);
}

int net_start(u8 *mac)
{
    if (!find(&net_device, 1, 2))
        return 0;
    u32 low = config_word(&net_device, 0), high = config_word(&net_device, 2);
    memcpy(mac, &low, 4);
    memcpy(mac + 2, &high, 4);
    for (u32 i = 0; i < 16; i++)
        net_give(i);
    return 1;
}

void net_send(const void *frame, u32 length)
{
    memset(net_out, 0, NET_HEADER);
    memcpy(net_out + NET_HEADER, frame, length);
    struct piece pieces[] = { { net_out, NET_HEADER, 0 }, { net_out + NET_HEADER, length, 0 } };
    u32 written;
    queue_add(&net_device.queues[1], pieces, 2);
    while (queue_take(&net_device.queues[1], &written) < 0)
        ;
}

/* The next frame that waits, or 0. */
u32 net_receive(void *frame, u32 room)
{
    u32 length;
    if (queue_take(&net_device.queues[0], &length) < 0)
        return 0;
    u32 i = net_next++ % 16;
    length -= NET_HEADER;
    memcpy(frame, net_room[i] + NET_HEADER, length < room ? length : room);
    net_give(i);
    return length;
}
