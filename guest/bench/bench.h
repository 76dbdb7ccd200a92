/* The benchmark guest: one static program, i386 or amd64, /init in a guest and an ordinary program on the host, so that
 * native and emulated runs execute the same bytes. Each benchmark does a fixed amount of work and returns a
 * checksum of its results, which must be equal everywhere. Built by bench/run, used by bench/Lhype.Bench. */

#ifndef LHYPE_BENCH_H
#define LHYPE_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct benchmark {
    const char *class_name;
    const char *name;
    uint32_t (*run)(void); /* returns the checksum */
    uint64_t bytes;        /* moved through a device */
    uint64_t trips;        /* messages sent and answered; without either the program is about CPU time */
    void (*prepare)(void); /* what is not to be measured; may be null */
};

/* Each ends with an entry whose name is null. */
extern const struct benchmark integer_benchmarks[];
extern const struct benchmark structure_benchmarks[];
extern const struct benchmark floating_sse2_benchmarks[];
extern const struct benchmark floating_x87_benchmarks[];
extern const struct benchmark memory_benchmarks[];
extern const struct benchmark kernel_benchmarks[];
extern const struct benchmark device_benchmarks[];

/* Reproducible pseudo-random numbers (xorshift32). */
static inline uint32_t bench_random(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

/* FNV-1a over `length` bytes, continuing from `hash`. */
static inline uint32_t bench_hash(uint32_t hash, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

#define BENCH_HASH_START 2166136261u

/* First argument that makes the program end at once with the status in its second: what fork-exec starts. */
#define BENCH_EXIT "--exit"

#endif
