/* Threads of two processes that share one CPU and keep all they have in registers: integers, x87, SSE2 or AVX2 vectors,
 * each with a rounding mode of its own and thread-local storage. The kernel and the engine below it take the CPU away
 * anywhere in these loops, so a register, a control word or an upper half of a vector that is not kept changes the sum.
 * Prints one line; the guest tests compare it with that of the same program on the host itself.
 *
 *     preempt sse2|avx2 ROUNDS
 *
 * Built with -m32 as well, with eight vector registers instead of sixteen. */

#include <fenv.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, PROCESSES = 2, VECTOR_BYTES = 32, STEPS = 2000 };

#ifdef __x86_64__
enum { REGISTERS = 16 };
#define LAST_REGISTERS(op) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LAST_CLOBBERS , "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define LAST_WORK_SSE2 WORK_SSE2(8, 9, 10, 11) WORK_SSE2(12, 13, 14, 15)
#define LAST_WORK_AVX2 WORK_AVX2(8, 9, 10, 11) WORK_AVX2(12, 13, 14, 15)
#else
enum { REGISTERS = 8 };
#define LAST_REGISTERS(op)
#define LAST_CLOBBERS
#define LAST_WORK_SSE2
#define LAST_WORK_AVX2
#endif

#define ALL_REGISTERS(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) LAST_REGISTERS(op)
#define CLOBBERS "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7" LAST_CLOBBERS, "cc", "memory"

struct vectors {
    unsigned char bytes[REGISTERS][VECTOR_BYTES] __attribute__((aligned(VECTOR_BYTES)));
};

static int use_avx2;
static unsigned long rounds;
static __thread uint32_t mine;

/* Even registers hold integers, odd ones numbers that stay between 1 and 2. */
#define LOAD_SSE2(n) "movdqa 32*" #n "(%0), %%xmm" #n "\n"
#define STORE_SSE2(n) "movdqa %%xmm" #n ", 32*" #n "(%0)\n"
#define WORK_SSE2(i, f, j, g)                                                                                          \
    "paddd %%xmm" #j ", %%xmm" #i "\n pshufd $0x93, %%xmm" #i ", %%xmm" #i "\n pxor %%xmm" #i ", %%xmm" #j "\n"        \
    "mulpd %%xmm" #g ", %%xmm" #f "\n sqrtpd %%xmm" #f ", %%xmm" #f "\n"                                               \
    "addpd %%xmm" #f ", %%xmm" #g "\n sqrtpd %%xmm" #g ", %%xmm" #g "\n"

#define LOAD_AVX2(n) "vmovdqa 32*" #n "(%0), %%ymm" #n "\n"
#define STORE_AVX2(n) "vmovdqa %%ymm" #n ", 32*" #n "(%0)\n"
#define WORK_AVX2(i, f, j, g)                                                                                          \
    "vpaddd %%ymm" #j ", %%ymm" #i ", %%ymm" #i "\n vpermq $0x93, %%ymm" #i ", %%ymm" #i "\n"                          \
    "vpxor %%ymm" #i ", %%ymm" #j ", %%ymm" #j "\n"                                                                    \
    "vmulpd %%ymm" #g ", %%ymm" #f ", %%ymm" #f "\n vsqrtpd %%ymm" #f ", %%ymm" #f "\n"                                \
    "vaddpd %%ymm" #f ", %%ymm" #g ", %%ymm" #g "\n vsqrtpd %%ymm" #g ", %%ymm" #g "\n"

static void work_sse2(struct vectors *v)
{
    unsigned long steps = STEPS;
    __asm__ volatile(ALL_REGISTERS(LOAD_SSE2)
        "1:\n" WORK_SSE2(0, 1, 2, 3) WORK_SSE2(4, 5, 6, 7) LAST_WORK_SSE2
        "sub $1, %1\n jnz 1b\n" ALL_REGISTERS(STORE_SSE2)
        : "+r"(v), "+r"(steps) : : CLOBBERS);
}

/* No VZEROUPPER at the end: the upper halves stay in use while other threads run. */
static void work_avx2(struct vectors *v)
{
    unsigned long steps = STEPS;
    __asm__ volatile(ALL_REGISTERS(LOAD_AVX2)
        "1:\n" WORK_AVX2(0, 1, 2, 3) WORK_AVX2(4, 5, 6, 7) LAST_WORK_AVX2
        "sub $1, %1\n jnz 1b\n" ALL_REGISTERS(STORE_AVX2)
        : "+r"(v), "+r"(steps) : : CLOBBERS);
}

static uint32_t hash(uint32_t sum, const void *data, size_t length)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < length; i++)
        sum = (sum ^ bytes[i]) * 16777619u;
    return sum;
}

static uint32_t random_word(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 3;
}

static uint32_t vector_thread(uint32_t seed)
{
    struct vectors v;
    for (int i = 0; i < REGISTERS; i++) {
        for (int j = 0; j < VECTOR_BYTES; j += 8) {
            uint64_t word = (uint64_t)random_word(&seed) << 32 | random_word(&seed);
            double number = 1.0 + (double)(word & 0xFFFFF) / 0x100000;
            memcpy(&v.bytes[i][j], i % 2 ? (void *)&number : (void *)&word, 8);
        }
    }

    for (unsigned long r = 0; r < rounds; r++) {
        if (use_avx2)
            work_avx2(&v);
        else
            work_sse2(&v);
    }
    return hash(2166136261u, &v, sizeof(v));
}

/* The logistic map is chaos: every bit of the extended format counts. */
static uint32_t x87_thread(uint32_t seed)
{
    long double x = (long double)(random_word(&seed) | 1) / 0x20000000, y = x / 2, z = x / 3;
    unsigned char bytes[3][10];
    for (unsigned long r = 0; r < rounds * STEPS; r++) {
        x = 3.9L * x * (1 - x);
        y = 3.8L * y * (1 - y) + 0.001L * x;
        z = 3.7L * z * (1 - z) + 0.001L * y;
    }
    memcpy(bytes[0], &x, 10);
    memcpy(bytes[1], &y, 10);
    memcpy(bytes[2], &z, 10);
    return hash(2166136261u, bytes, sizeof(bytes));
}

static uint32_t integer_thread(uint32_t seed)
{
    uint64_t a = seed, b = 1, c = 2, d = 3, e = 5, f = 7;
    for (unsigned long r = 0; r < rounds * STEPS; r++) {
        a = a * 6364136223846793005u + b;
        b = (b << 7 | b >> 57) ^ c;
        c += d ^ a;
        d = (d << 13 | d >> 51) + e;
        e ^= f + b;
        f = f * 3 + (a >> 32);
    }
    uint64_t all[] = { a, b, c, d, e, f };
    return hash(2166136261u, all, sizeof(all));
}

static void *run(void *argument)
{
    static const int roundings[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };
    uint32_t number = (uint32_t)(uintptr_t)argument;
    fesetround(roundings[number / 2 % 4]);
    mine = number;
    uint32_t sum = number % 4 == 1 ? x87_thread(number) : number % 4 == 3 ? integer_thread(number)
        : vector_thread(number);
    if (fegetround() != roundings[number / 2 % 4] || mine != number)
        sum = 0xBAD;
    return (void *)(uintptr_t)sum;
}

static int run_process(uint32_t process, uint32_t *sums)
{
    pthread_t threads[THREADS];
    for (uint32_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)(process * THREADS + i)))
            return 1;
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        sums[i] = (uint32_t)(uintptr_t)sum;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int channel[2];
    uint32_t sums[PROCESSES][THREADS];
    if (argc != 3 || !(rounds = strtoul(argv[2], NULL, 10)) || pipe(channel)) {
        fprintf(stderr, "usage: preempt sse2|avx2 ROUNDS\n");
        return 2;
    }

    use_avx2 = !strcmp(argv[1], "avx2");
    if (use_avx2 && !__builtin_cpu_supports("avx2")) {
        printf("preempt: this CPU has no AVX2\n");
        return 3;
    }

    for (uint32_t process = 0; process < PROCESSES; process++) {
        if (fork() == 0) {
            struct { uint32_t process, sums[THREADS]; } result = { process, { 0 } };
            int failed = run_process(process, result.sums);
            return failed || write(channel[1], &result, sizeof(result)) != sizeof(result);
        }
    }

    for (int process = 0; process < PROCESSES; process++) {
        struct { uint32_t process, sums[THREADS]; } result;
        int status;
        if (wait(&status) < 0 || status != 0 || read(channel[0], &result, sizeof(result)) != sizeof(result)) {
            printf("preempt: a process failed with status %x\n", status);
            return 1;
        }
        memcpy(sums[result.process], result.sums, sizeof(result.sums));
    }

    printf("preempt %s %d bits:", argv[1], (int)(8 * sizeof(long)));
    for (int process = 0; process < PROCESSES; process++) {
        for (int i = 0; i < THREADS; i++)
            printf(" %04x", (sums[process][i] ^ sums[process][i] >> 16) & 0xFFFF);
    }
    printf("\n");
    return 0;
}
