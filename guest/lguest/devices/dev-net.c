/* Packets between guests on one segment: each sends what it has heard so far to everyone, until it has heard of all
   the others that they heard it. The command line says id= (1 to 9, different for each) and peers= (how many others). */

#include "dev.h"

enum { HEADER = 14, BODY = 1400 };

struct frame {
    u8 to[6], from[6], type[2];
    u8 magic, id, heard_low, heard_high;
    u8 body[BODY];
} __attribute__((packed));

static struct frame out, in;

static u8 pattern(u32 id, u32 i)
{
    return id * 31 + i * 7 + (i >> 8);
}

static u32 id, heard, acknowledged, damaged;

static void listen(void)
{
    u32 length;
    while ((length = net_receive(&in, sizeof(in))) != 0) {
        if (length != sizeof(in) || in.type[0] != 0x88 || in.type[1] != 0xB5 || in.magic != 0x4C || in.id > 9)
            continue;
        for (u32 i = 0; i < BODY; i++)
            damaged += in.body[i] != pattern(in.id, i);
        heard |= 1 << in.id;
        if ((in.heard_low | in.heard_high << 8) & 1 << id)
            acknowledged |= 1 << in.id;
    }
}

static u32 bits(u32 value)
{
    u32 count = 0;
    for (; value; value &= value - 1)
        count++;
    return count;
}

void main(void)
{
    u32 peers = option("peers", 1), complete = 0;
    id = option("id", 1);
    heard = 1 << id;
    check("the card starts", net_start(out.from), 1);
    memset(out.to, 0xFF, 6);
    out.type[0] = 0x88;
    out.type[1] = 0xB5;
    out.magic = 0x4C;
    out.id = id;
    for (u32 i = 0; i < BODY; i++)
        out.body[i] = pattern(id, i);

    /* A frame every 10 ms; half a second longer than needed, because others still need our answer. */
    for (u32 tick = 0; tick < 2000 && complete < 50; tick++) {
        out.heard_low = heard;
        out.heard_high = heard >> 8;
        net_send(&out, sizeof(out));
        u32 start = tick_start();
        do {
            rest();
            listen();
        } while (!tick_over(start));
        if (bits(acknowledged) >= peers)
            complete++;
    }
    check("heard every peer", bits(heard) - 1, peers);
    check("heard by every peer", bits(acknowledged), peers);
    check("nothing was damaged", damaged, 0);
}
