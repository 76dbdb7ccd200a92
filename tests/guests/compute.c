/* A program as programs are: threads that hand each other work under mutexes, condition variables and atomic
 * operations up to 16 bytes, floating point of every width and rounding mode, signal handlers that look at the registers
 * of what they interrupted, and, where the kernel allows it, a GS base of each thread's own. Prints lines that are the
 * same on every CPU with SSE2; the guest tests compare them with those of the same program on the host itself.
 * Built with -m32 as well. */

#define _GNU_SOURCE
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { WORKERS = 6, ITEMS = 3000, SLOTS = 16, POINTS = 1024 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER, emptied = PTHREAD_COND_INITIALIZER;
static uint32_t queue[SLOTS], taken, given, finished;
static uint64_t atomic_sum;
static __thread uint64_t local_sum;

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xFF51AFD7ED558CCDull;
    x ^= x >> 29;
    return x;
}

static void *worker(void *argument)
{
    uint64_t *result = argument;
    for (;;) {
        pthread_mutex_lock(&mutex);
        while (taken == given && !finished)
            pthread_cond_wait(&filled, &mutex);
        if (taken == given) {
            pthread_mutex_unlock(&mutex);
            break;
        }
        uint32_t item = queue[taken++ % SLOTS];
        pthread_cond_signal(&emptied);
        pthread_mutex_unlock(&mutex);
        uint64_t value = item;
        for (int i = 0; i < 200; i++)
            value = mix(value + i);
        local_sum += value;
        __atomic_fetch_add(&atomic_sum, value, __ATOMIC_SEQ_CST);
    }
    *result = local_sum;
    return 0;
}

static void threads(void)
{
    pthread_t handles[WORKERS];
    uint64_t results[WORKERS], sum = 0;
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&handles[i], 0, worker, &results[i]);
    for (uint32_t item = 0; item < ITEMS; item++) {
        pthread_mutex_lock(&mutex);
        while (given - taken == SLOTS)
            pthread_cond_wait(&emptied, &mutex);
        queue[given++ % SLOTS] = item;
        pthread_cond_signal(&filled);
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_lock(&mutex);
    finished = 1;
    pthread_cond_broadcast(&filled);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(handles[i], 0);
        sum += results[i];
    }
    printf("threads %016llx %s\n", (unsigned long long)sum, sum == atomic_sum ? "agree" : "differ");
}

#ifdef __x86_64__
typedef struct {
    uint64_t low, high;
} __attribute__((aligned(16))) pair;

static pair shared;

/* Both halves move together, by CMPXCHG16B. */
static void *pairs(void *unused)
{
    for (int i = 0; i < 20000; i++) {
        pair old = shared;
        char done = 0;
        while (!done) {
            pair next = { old.low + 1, old.high + 3 };
            asm volatile("lock cmpxchg16b %1\n setz %0" : "=q"(done), "+m"(shared), "+a"(old.low), "+d"(old.high)
                : "b"(next.low), "c"(next.high) : "cc");
        }
        if (i % 512 == 0)
            sched_yield();
    }
    return unused;
}

static volatile int bases_wrong;

static void *bases(void *argument)
{
    uint64_t block[2] = { (uintptr_t)argument, 0 }, found;
    asm volatile("wrgsbase %0" : : "r"(block));
    for (int i = 0; i < 2000; i++) {
        sched_yield();
        asm volatile("mov %%gs:0, %0" : "=r"(found));
        bases_wrong += found != block[0];
        asm volatile("rdgsbase %0" : "=r"(found));
        bases_wrong += found != (uintptr_t)block;
    }
    return 0;
}

static void wide(void)
{
    pthread_t handles[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&handles[i], 0, pairs, 0);
    for (int i = 0; i < 4; i++)
        pthread_join(handles[i], 0);
    printf("pairs %llu %llu\n", (unsigned long long)shared.low, (unsigned long long)shared.high);
    if (getauxval(AT_HWCAP2) & 2) {
        for (intptr_t i = 0; i < 4; i++)
            pthread_create(&handles[i], 0, bases, (void *)(i * 0x1111));
        for (int i = 0; i < 4; i++)
            pthread_join(handles[i], 0);
    }
    printf("bases %s\n", bases_wrong ? "lost" : "kept");
}
#else
static void wide(void)
{
}
#endif

static void floating(void)
{
    static const int modes[] = { FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO };
    for (int mode = 0; mode < 4; mode++) {
        fesetround(modes[mode]);
        volatile float narrow = 1;
        volatile double sum = 0, product = 1;
        volatile long double extended = 1;
        for (int i = 1; i < 400; i++) {
            narrow = narrow * 1.0001f + 1.0f / i;
            sum += 1.0 / i / i;
            product *= 1 + 1.0 / (i * i + 0.1);
            extended = extended / 3 + sqrtl((long double)i);
        }
        printf("mode %d: %a %a %a %La %ld %lld\n", mode, narrow, sum, product, extended, lrint(sum * -7.5),
            llrint(product * 12345678.5));
    }
    fesetround(FE_TONEAREST);
    volatile double tiny = 0x1p-1060, huge = 0x1p1000;
    feclearexcept(FE_ALL_EXCEPT);
    volatile double results[] = { tiny * 0.3, huge * huge, -tiny / huge, sqrt(-tiny), fmod(huge, 3.7), tiny - tiny / 3 };
    int raised = fetestexcept(FE_ALL_EXCEPT);
    for (unsigned i = 0; i < sizeof(results) / sizeof(*results); i++)
        printf("%s%a", i ? " " : "edges ", isnan(results[i]) ? 0 : results[i]);
    printf(" %x\n", raised & ~2);
    volatile long double x = 1.5L;
    for (int i = 0; i < 50; i++)
        x = logl(expl(x) + 1) + powl(x, 0.25L) / (i + 1);
    printf("x87 %La\n", x);
}

/* A fast Fourier transform and back: the same doubles, in the same order of operations, everywhere. */
static void transform(double *re, double *im, int sign)
{
    for (int i = 1, j = 0; i < POINTS; i++) {
        int bit = POINTS >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j];
            re[j] = t;
            t = im[i];
            im[i] = im[j];
            im[j] = t;
        }
    }
    double cosine = -1, sine = 0;
    for (int length = 2; length <= POINTS; length <<= 1) {
        for (int start = 0; start < POINTS; start += length) {
            double wr = 1, wi = 0;
            for (int k = start; k < start + length / 2; k++) {
                int m = k + length / 2;
                double tr = re[m] * wr - im[m] * wi, ti = re[m] * wi + im[m] * wr;
                re[m] = re[k] - tr;
                im[m] = im[k] - ti;
                re[k] += tr;
                im[k] += ti;
                double next = wr * cosine - wi * sine;
                wi = wr * sine + wi * cosine;
                wr = next;
            }
        }
        double half = sqrt((1 + cosine) / 2);
        sine = length == 2 ? sign : sine / (2 * half);
        cosine = length == 2 ? 0 : half;
    }
}

static void fourier(void)
{
    static double re[POINTS], im[POINTS];
    for (int i = 0; i < POINTS; i++)
        re[i] = (double)(mix(i) >> 40) / 1000;
    transform(re, im, 1);
    printf("fourier %a %a", re[1], im[77]);
    transform(re, im, -1);
    double worst = 0;
    for (int i = 0; i < POINTS; i++)
        worst = fmax(worst, fabs(re[i] / POINTS - (double)(mix(i) >> 40) / 1000));
    printf(" %s\n", worst < 1e-9 ? "and back" : "is wrong");
}

static sigjmp_buf after;
static uintptr_t fault_address, expected_register;
static int fault_code, fault_signal, register_kept;

static void handler(int signal, siginfo_t *info, void *context)
{
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    fault_signal = signal;
    fault_address = (uintptr_t)info->si_addr;
    fault_code = info->si_code;
#ifdef __x86_64__
    register_kept = (uintptr_t)registers[REG_R13] == expected_register;
#else
    register_kept = (uintptr_t)registers[REG_ESI] == expected_register;
#endif
    volatile double scratch = 0;
    for (int i = 0; i < 10; i++)
        scratch += sqrt(i);
    siglongjmp(after, 1);
}

#ifdef __x86_64__
#define WITH_REGISTER(code) \
    asm volatile("mov %0, %%r13\n" code : : "r"(expected_register) : "r13", "rax", "rcx", "rdx", "memory")
#else
#define WITH_REGISTER(code) \
    asm volatile("mov %0, %%esi\n" code : : "r"(expected_register) : "esi", "eax", "ecx", "edx", "memory")
#endif

#define CATCH(name, code) \
    if (!sigsetjmp(after, 1)) \
        WITH_REGISTER(code); \
    printf("%s: signal %d code %d register %s\n", name, fault_signal, fault_code, register_kept ? "kept" : "lost")

static void signals(void)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    stack_t stack = { .ss_sp = malloc(65536), .ss_size = 65536 };
    sigaltstack(&stack, 0);
    int wanted[] = { SIGSEGV, SIGFPE, SIGILL, SIGTRAP };
    for (int i = 0; i < 4; i++)
        sigaction(wanted[i], &action, 0);
    char *page = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    expected_register = (uintptr_t)(page + 123);
#ifdef __x86_64__
    CATCH("store to a read-only page", "movb $1, (%%r13)");
    printf("at its byte: %d\n", fault_address == expected_register);
    expected_register = (uintptr_t)(page + 4093);
    CATCH("load across its end", "mov (%%r13), %%eax");
    printf("at the page: %d\n", fault_address == (uintptr_t)page + 4096);
    expected_register = 0x800000000000;
    CATCH("not canonical", "mov (%%r13), %%eax");
#else
    CATCH("store to a read-only page", "movb $1, (%%esi)");
    printf("at its byte: %d\n", fault_address == expected_register);
    expected_register = (uintptr_t)(page + 4093);
    CATCH("load across its end", "mov (%%esi), %%eax");
    printf("at the page: %d\n", fault_address == (uintptr_t)page + 4096);
#endif
    CATCH("division by zero", "xor %%edx, %%edx\n mov $1, %%eax\n xor %%ecx, %%ecx\n div %%ecx");
    CATCH("undefined instruction", "ud2");
    CATCH("breakpoint", "int3");
    CATCH("privileged instruction", "hlt");
}

int main(void)
{
    threads();
    wide();
    floating();
    fourier();
    signals();
    return 0;
}
