/* What the test guests share, whatever they test: integer types and numbers as text. */

#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* Eight hexadecimal digits and a zero. */
static inline const char *hex_text(u32 value, char text[9])
{
    for (int i = 0; i < 8; i++)
        text[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15];
    text[8] = 0;
    return text;
}

#endif
