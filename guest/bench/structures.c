/* Integer work on data structures and wide numbers: what servers, compilers and libraries spend their time on.
 * Continues integer.c. */

#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* Schoolbook multiplication of 2048-bit numbers, as a public-key library without assembly does it. */
static uint32_t run_bignum(void)
{
    enum { limbs = 64 };
    static uint32_t a[limbs], b[limbs], product[2 * limbs];
    uint32_t seed = 41, hash = BENCH_HASH_START;
    for (int i = 0; i < limbs; i++) {
        a[i] = bench_random(&seed);
        b[i] = bench_random(&seed);
    }
    for (int round = 0; round < 20000; round++) {
        memset(product, 0, sizeof(product));
        for (int i = 0; i < limbs; i++) {
            uint64_t carry = 0;
            for (int j = 0; j < limbs; j++) {
                carry += (uint64_t)a[i] * b[j] + product[i + j];
                product[i + j] = (uint32_t)carry;
                carry >>= 32;
            }
            product[i + limbs] = (uint32_t)carry;
        }
        memcpy(a, product + limbs / 2, sizeof(a));
        hash = hash * 31 + product[limbs];
    }
    return bench_hash(hash, product, sizeof(product));
}

/* 64-bit arithmetic, which i386 does in pairs of registers and with calls for division. */
static uint32_t run_int64(void)
{
    const uint64_t modulus = 4294967291u;
    uint64_t state = 88172645463325252u, sum = 0;
    for (int i = 0; i < 1500000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t base = (state >> 20) % modulus, power = 1;
        for (uint32_t exponent = (uint32_t)i & 0xfff; exponent; exponent >>= 1) {
            if (exponent & 1)
                power = power * base % modulus;
            base = base * base % modulus;
        }
        sum += power ^ (state >> (i & 63));
        sum = sum << 13 | sum >> 51;
    }
    return (uint32_t)(sum ^ sum >> 32);
}

/* Open addressing with string keys: insert, look up, delete. */
static uint32_t run_hash_table(void)
{
    enum { slots = 1 << 15, keys = 20000 };
    static char names[keys][12];
    static const char *table[slots];
    static uint32_t values[slots];
    static const char deleted[] = "";
    uint32_t seed = 53, sum = 0;
    for (int i = 0; i < keys; i++) {
        uint32_t r = bench_random(&seed);
        for (int c = 0; c < 8; c++)
            names[i][c] = (char)('a' + (r >> 4 * c & 15));
    }
    for (int round = 0; round < 72; round++) {
        memset(table, 0, sizeof(table));
        for (int pass = 0; pass < 3; pass++)
            for (int i = 0; i < keys; i++) {
                const char *key = names[(i * 7919 + pass) % keys];
                uint32_t slot = bench_hash(BENCH_HASH_START, key, 8) & (slots - 1);
                while (table[slot] && strcmp(table[slot], key))
                    slot = (slot + 1) & (slots - 1);
                if (pass == 0) {
                    table[slot] = key;
                    values[slot] = (uint32_t)i;
                } else if (table[slot]) {
                    sum = sum * 3 + values[slot];
                    if (pass == 2)
                        table[slot] = deleted;
                }
            }
    }
    return sum;
}

/* A treap of separately allocated nodes: pointers, recursion and the allocator. */
struct node {
    struct node *left, *right;
    uint32_t key, priority;
};

static void split(struct node *n, uint32_t key, struct node **below, struct node **above)
{
    if (!n) {
        *below = *above = NULL;
    } else if (n->key < key) {
        *below = n;
        split(n->right, key, &n->right, above);
    } else {
        *above = n;
        split(n->left, key, below, &n->left);
    }
}

static struct node *join(struct node *a, struct node *b)
{
    if (!a || !b)
        return a ? a : b;
    if (a->priority > b->priority) {
        a->right = join(a->right, b);
        return a;
    }
    b->left = join(a, b->left);
    return b;
}

static uint32_t free_tree(struct node *n)
{
    if (!n)
        return 0;
    uint32_t hash = free_tree(n->left) * 31 + n->key;
    hash = hash * 31 + free_tree(n->right);
    free(n);
    return hash;
}

static uint32_t run_tree(void)
{
    struct node *root = NULL, *low, *middle, *high;
    uint32_t seed = 71, hash = 0;
    for (int i = 0; i < 400000; i++) {
        uint32_t key = bench_random(&seed) & 0xffff;
        split(root, key, &low, &high);
        split(high, key + 1, &middle, &high);
        if (middle) {
            hash = hash * 31 + middle->key;
            hash += free_tree(middle);
            middle = NULL;
        } else {
            middle = malloc(sizeof(*middle));
            *middle = (struct node){ NULL, NULL, key, bench_random(&seed) };
        }
        root = join(join(low, middle), high);
    }
    return hash + free_tree(root);
}

/* A small backtracking matcher: literals, '.', '*' and '$'. */
static int match_here(const char *pattern, const char *text)
{
    for (; *pattern; pattern++, text++) {
        if (pattern[0] == '$' && !pattern[1])
            return !*text;
        if (pattern[1] == '*') {
            char c = pattern[0];
            do {
                if (match_here(pattern + 2, text))
                    return 1;
            } while (*text && (*text++ == c || c == '.'));
            return 0;
        }
        if (!*text || (*pattern != '.' && *pattern != *text))
            return 0;
    }
    return 1;
}

static uint32_t run_regex(void)
{
    static const char *const patterns[] = { "a.*b.*c$", "ab*a.b", "c.*c.*c.*a", "bb*cc*", "d.a*.d$", "abcd" };
    enum { lines = 400, width = 96 };
    static char text[lines][width + 1];
    uint32_t seed = 61, found = 0;
    for (int i = 0; i < lines; i++)
        for (int j = 0; j < width; j++)
            text[i][j] = (char)('a' + (bench_random(&seed) >> 9 & 3));
    for (int round = 0; round < 12; round++)
        for (int i = 0; i < lines; i++)
            for (size_t p = 0; p < sizeof(patterns) / sizeof(patterns[0]); p++) {
                const char *at = text[i];
                while (*at && !match_here(patterns[p], at))
                    at++;
                found = found * 5 + (uint32_t)(at - text[i]);
            }
    return found;
}

/* Levenshtein distance: a table filled row by row, a minimum of three per field. */
static uint32_t run_edit_distance(void)
{
    enum { length = 1500 };
    static unsigned char a[length], b[length];
    static uint32_t row[length + 1];
    uint32_t seed = 83, sum = 0;
    for (int i = 0; i < length; i++) {
        a[i] = bench_random(&seed) >> 7 & 7;
        b[i] = bench_random(&seed) >> 7 & 7;
    }
    for (int round = 0; round < 60; round++) {
        a[round] ^= 1;
        for (uint32_t j = 0; j <= length; j++)
            row[j] = j;
        for (uint32_t i = 0; i < length; i++) {
            uint32_t corner = row[0];
            row[0] = i + 1;
            for (uint32_t j = 0; j < length; j++) {
                uint32_t best = corner + (a[i] != b[j]);
                corner = row[j + 1];
                best = best < corner + 1 ? best : corner + 1;
                row[j + 1] = best < row[j] + 1 ? best : row[j] + 1;
            }
        }
        sum = sum * 31 + row[length];
    }
    return sum;
}

/* Objects of several kinds behind function pointers, as in C++ or a driver table. */
struct shape {
    uint32_t (*weigh)(const struct shape *, uint32_t);
    uint32_t width, height;
};

static uint32_t weigh_box(const struct shape *s, uint32_t unit)
{
    return s->width * s->height + unit;
}

static uint32_t weigh_frame(const struct shape *s, uint32_t unit)
{
    return 2 * (s->width + s->height) * (unit & 7);
}

static uint32_t weigh_wedge(const struct shape *s, uint32_t unit)
{
    return (s->width * s->height >> 1) ^ unit;
}

static uint32_t weigh_line(const struct shape *s, uint32_t unit)
{
    return s->width > unit ? s->width - unit : unit - s->width;
}

static uint32_t run_objects(void)
{
    static uint32_t (*const kinds[])(const struct shape *, uint32_t) = {
        weigh_box, weigh_frame, weigh_wedge, weigh_line,
    };
    enum { count = 1000 };
    static struct shape shapes[count];
    uint32_t seed = 91, sum = 0;
    for (int i = 0; i < count; i++) {
        uint32_t r = bench_random(&seed);
        shapes[i] = (struct shape){ kinds[r & 3], r >> 8 & 255, r >> 16 & 255 };
    }
    for (int round = 0; round < 50000; round++)
        for (int i = 0; i < count; i++)
            sum = sum * 3 + shapes[i].weigh(&shapes[i], sum & 255);
    return sum;
}

const struct benchmark structure_benchmarks[] = {
    { "integer", "bignum", run_bignum },
    { "integer", "int64", run_int64 },
    { "integer", "hash-table", run_hash_table },
    { "integer", "tree", run_tree },
    { "integer", "regex", run_regex },
    { "integer", "edit-distance", run_edit_distance },
    { "integer", "objects", run_objects },
    { NULL, NULL, NULL },
};
