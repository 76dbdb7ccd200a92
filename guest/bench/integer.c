/* Integer work as ordinary programs do it: hashing, sorting, tables, recursion, packing, interpretation. */

#include "bench.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint32_t block[16])
{
    uint32_t w[64], s[8];
    memcpy(w, block, 64);
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7]
            + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, h, 32);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t choice = (e & s[5]) ^ (~e & s[6]), majority = (a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]);
        uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + choice + sha_k[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + majority;
        memmove(s + 1, s, 28);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

static uint32_t run_sha256(void)
{
    uint32_t h[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
    };
    uint32_t block[16], seed = 1;
    for (int i = 0; i < 40000; i++) {
        for (int j = 0; j < 16; j++)
            block[j] = bench_random(&seed);
        sha_block(h, block);
    }
    return bench_hash(BENCH_HASH_START, h, sizeof(h));
}

static uint32_t run_crc32(void)
{
    static uint32_t table[256];
    static unsigned char data[1 << 16];
    uint32_t seed = 7, crc = ~0u;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = v & 1 ? v >> 1 ^ 0xedb88320u : v >> 1;
        table[i] = v;
    }
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (unsigned char)bench_random(&seed);
    for (int round = 0; round < 800; round++)
        for (size_t i = 0; i < sizeof(data); i++)
            crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    return crc;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t run_qsort(void)
{
    enum { count = 200000 };
    uint32_t *values = malloc(count * sizeof(*values)), seed = 99, hash = BENCH_HASH_START;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < count; i++)
            values[i] = bench_random(&seed);
        qsort(values, count, sizeof(*values), compare);
        hash = bench_hash(hash, values, count * sizeof(*values));
    }
    free(values);
    return hash;
}

static uint32_t run_sieve(void)
{
    enum { limit = 1 << 20 };
    static unsigned char composite[limit];
    uint32_t primes = 0;
    for (int round = 0; round < 30; round++) {
        memset(composite, 0, limit);
        for (uint32_t i = 2; i < limit; i++) {
            if (composite[i])
                continue;
            primes += i ^ (uint32_t)round;
            for (uint32_t j = i * 2; j < limit; j += i)
                composite[j] = 1;
        }
    }
    return primes;
}

static __attribute__((noinline)) uint32_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint32_t run_fib(void)
{
    return fib(39);
}

/* LZ77 with a hash of three bytes: literals and (distance, length) pairs, unpacked again and compared. */
static size_t lz_pack(const unsigned char *in, size_t length, unsigned char *out)
{
    static int32_t head[4096];
    size_t at = 0, used = 0;
    memset(head, 0xff, sizeof(head));
    while (at + 4 <= length) {
        uint32_t h = ((in[at] << 16 | in[at + 1] << 8 | in[at + 2]) * 2654435761u) >> 20;
        int32_t candidate = head[h];
        head[h] = (int32_t)at;
        size_t match = 0;
        if (candidate >= 0 && at - (size_t)candidate < 32768)
            while (match < 255 && at + match < length && in[(size_t)candidate + match] == in[at + match])
                match++;
        if (match >= 4) {
            size_t distance = at - (size_t)candidate;
            out[used++] = 1;
            out[used++] = (unsigned char)match;
            out[used++] = (unsigned char)distance;
            out[used++] = (unsigned char)(distance >> 8);
            at += match;
        } else {
            out[used++] = 0;
            out[used++] = in[at++];
        }
    }
    while (at < length) {
        out[used++] = 0;
        out[used++] = in[at++];
    }
    return used;
}

static size_t lz_unpack(const unsigned char *in, size_t length, unsigned char *out)
{
    size_t made = 0;
    for (size_t at = 0; at < length;) {
        if (in[at++]) {
            size_t count = in[at], distance = in[at + 1] | (size_t)in[at + 2] << 8;
            at += 3;
            for (size_t i = 0; i < count; i++, made++)
                out[made] = out[made - distance];
        } else {
            out[made++] = in[at++];
        }
    }
    return made;
}

static uint32_t run_lz(void)
{
    enum { length = 1 << 20 };
    static const char *const words[8] = {
        "the ", "processor ", "translates ", "a block ", "of guest ", "instructions ", "once.\n", "Then ",
    };
    unsigned char *text = malloc(length + 32), *packed = malloc(2 * length), *back = malloc(length);
    uint32_t seed = 5, hash = BENCH_HASH_START;
    size_t filled = 0;
    while (filled < length) {
        uint32_t r = bench_random(&seed);
        const char *word = words[r & 7];
        size_t n = strlen(word);
        memcpy(text + filled, word, n);
        filled += n;
        if ((r & 0xf00) == 0)
            text[filled++] = (unsigned char)(r >> 16);
    }
    for (int round = 0; round < 28; round++) {
        text[round * 1000] ^= 1;
        size_t used = lz_pack(text, length, packed);
        size_t made = lz_unpack(packed, used, back);
        hash = bench_hash(hash, packed, used);
        hash += made != length || memcmp(text, back, length) ? 1 : 0;
    }
    free(text);
    free(packed);
    free(back);
    return hash;
}

/* A byte-code interpreter: a switch per step, so an indirect jump that no predictor can guess. */
static uint32_t run_bytecode(void)
{
    enum { add, mul, xor, shift, swap, skip, store, load, codes };
    static unsigned char program[4096];
    uint32_t memory[16] = { 1 }, a = 1, b = 2, seed = 31;
    for (size_t i = 0; i < sizeof(program); i++)
        program[i] = (unsigned char)(bench_random(&seed) % codes);
    for (int round = 0; round < 8000; round++) {
        for (size_t pc = 0; pc < sizeof(program); pc++) {
            switch (program[pc]) {
            case add: a += b; break;
            case mul: a = a * 0x9e3779b1u + 1; break;
            case xor: a ^= b >> 3; break;
            case shift: b = b << 7 | b >> 25; break;
            case swap: { uint32_t t = a; a = b; b = t; break; }
            case skip: pc += a & 3; break;
            case store: memory[b & 15] = a; break;
            case load: b += memory[a & 15]; break;
            }
        }
    }
    return a ^ b;
}

const struct benchmark integer_benchmarks[] = {
    { "integer", "sha256", run_sha256 },
    { "integer", "crc32", run_crc32 },
    { "integer", "qsort", run_qsort },
    { "integer", "sieve", run_sieve },
    { "integer", "fib", run_fib },
    { "integer", "lz", run_lz },
    { "integer", "bytecode", run_bytecode },
    { NULL, NULL, NULL },
};
