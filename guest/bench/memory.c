/* Strings and memory: what the C library and the cache do. */

#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { small = 48 << 10, large = 8 << 20 };

/* Keeps the compiler from seeing through a pointer, so that every call really happens. */
static void *opaque(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

static uint32_t copy(size_t length, int rounds)
{
    unsigned char *from = malloc(length), *to = malloc(length);
    uint32_t seed = 11;
    for (size_t i = 0; i < length; i++)
        from[i] = (unsigned char)bench_random(&seed);
    for (int i = 0; i < rounds; i++) {
        from[i % (int)length]++;
        memcpy(opaque(to), opaque(from), length);
    }
    uint32_t hash = bench_hash(BENCH_HASH_START, to, length < 65536 ? length : 65536);
    free(from);
    free(to);
    return hash;
}

static uint32_t run_memcpy_small(void)
{
    return copy(small, 80000);
}

/* Short copies of all lengths and alignments: the calls an ordinary program makes most. */
static uint32_t run_memcpy_short(void)
{
    static unsigned char from[4096 + 256], to[4096 + 256];
    uint32_t seed = 13, sum = 0;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (unsigned char)bench_random(&seed);
    for (int i = 0; i < 10000000; i++) {
        uint32_t r = (uint32_t)i * 2654435761u;
        memcpy(opaque(to + (r >> 20)), opaque(from + (r >> 8 & 4095)), r >> 2 & 127);
        sum += to[r >> 20];
    }
    return bench_hash(sum, to, sizeof(to));
}

static uint32_t run_memcpy_large(void)
{
    return copy(large, 120);
}

static uint32_t run_memset(void)
{
    unsigned char *data = malloc(small);
    for (int i = 0; i < 150000; i++)
        memset(opaque(data), i, small - (i & 63));
    uint32_t hash = bench_hash(BENCH_HASH_START, data, small);
    free(data);
    return hash;
}

/* rep movs and rep stos written out, as the kernel's own copies use them. */
static uint32_t run_rep_string(void)
{
    unsigned char *from = calloc(1, small), *to = malloc(small);
    for (int i = 0; i < 90000; i++) {
        void *d = from, *s = from;
        size_t n = 1024;
        __asm__ volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(i) : "memory");
        d = to;
        n = small / 4;
        __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    }
    uint32_t hash = bench_hash(BENCH_HASH_START, to, small);
    free(from);
    free(to);
    return hash;
}

/* repe cmps and repne scas, as small C libraries and the kernel use them. */
static uint32_t run_rep_scan(void)
{
    unsigned char *a = calloc(1, small), *b = calloc(1, small);
    uint32_t sum = 0;
    for (int i = 0; i < 3000; i++) {
        const void *d = a, *s = b;
        size_t n = small;
        a[small - 1 - i] = 1;
        __asm__ volatile("repe cmpsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory", "cc");
        sum += (uint32_t)n;
        d = a;
        n = small;
        __asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(1) : "memory", "cc");
        sum += (uint32_t)n;
        b[small - 1 - i] = 1;
    }
    free(a);
    free(b);
    return sum;
}

/* Loads and stores of four bytes at odd addresses, some across cache lines and pages. */
static uint32_t run_unaligned(void)
{
    enum { length = 64 << 10 };
    static unsigned char data[length + 8];
    uint32_t seed = 19, sum = 0;
    for (int i = 0; i < length; i++)
        data[i] = (unsigned char)bench_random(&seed);
    for (int round = 0; round < 30000; round++)
        for (uint32_t at = 1; at < length; at += 13) {
            uint32_t value;
            memcpy(&value, opaque(data + at), sizeof(value));
            sum += value;
            value ^= sum;
            memcpy(opaque(data + at), &value, sizeof(value));
        }
    return sum;
}

/* Searching text: memchr, strchr, strstr and a byte histogram. */
static uint32_t run_search(void)
{
    enum { length = 32 << 10 };
    static char text[length + 1];
    static uint32_t counts[256];
    uint32_t seed = 37, sum = 0;
    for (int i = 0; i < length; i++)
        text[i] = (char)('a' + (bench_random(&seed) >> 11) % 24);
    for (int round = 0; round < 4000; round++) {
        text[(round * 97) % length] ^= 3;
        sum += memchr(opaque(text), 'z', length) != NULL;
        for (const char *at = text; (at = strchr(opaque((char *)at), 'q')); at++)
            sum++;
        const char *found = strstr(opaque(text), "abcde");
        sum += found ? (uint32_t)(found - text) : 1;
        for (int i = 0; i < length; i++)
            counts[(unsigned char)text[i]]++;
    }
    return bench_hash(sum, counts, sizeof(counts));
}

static uint32_t run_strings(void)
{
    enum { count = 64 };
    static char a[count][256], b[count][256];
    uint32_t seed = 23, sum = 0;
    for (int i = 0; i < count; i++) {
        size_t n = bench_random(&seed) % 250;
        for (size_t j = 0; j < n; j++)
            a[i][j] = b[i][j] = (char)('a' + bench_random(&seed) % 26);
        if (n > 0)
            b[i][n - 1] ^= 1;
    }
    for (int round = 0; round < 50000; round++)
        for (int i = 0; i < count; i++) {
            sum += (uint32_t)strlen(opaque(a[i]));
            sum += strcmp(opaque(a[i]), opaque(b[i])) < 0;
        }
    return sum;
}

/* A walk through 4 MiB in random order: each load waits for the one before and most miss cache and TLB. */
static uint32_t run_chase(void)
{
    enum { count = 1 << 20 };
    uint32_t *next = malloc(count * sizeof(*next)), seed = 77, at = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++)
        next[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = bench_random(&seed) % i, t = next[i];
        next[i] = next[j];
        next[j] = t;
    }
    for (int i = 0; i < 4000000; i++) {
        at = next[at];
        sum += at;
    }
    free(next);
    return sum;
}

const struct benchmark memory_benchmarks[] = {
    { "memory", "memcpy-short", run_memcpy_short },
    { "memory", "memcpy-48k", run_memcpy_small },
    { "memory", "memcpy-8m", run_memcpy_large },
    { "memory", "memset-48k", run_memset },
    { "memory", "rep-string", run_rep_string },
    { "memory", "rep-scan", run_rep_scan },
    { "memory", "strings", run_strings },
    { "memory", "search", run_search },
    { "memory", "unaligned", run_unaligned },
    { "memory", "chase", run_chase },
    { NULL, NULL, NULL },
};
