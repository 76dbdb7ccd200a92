/* Runs the benchmarks and talks to the harness (bench/Lhype.Bench/GuestProcess.cs). Lines on standard output:
 *
 *   @ready                                        user space has been reached
 *   @begin CLASS NAME                             about to start
 *   @end CLASS NAME CHECKSUM NANOSECONDS BYTES TRIPS   done; the program's own CPU time, children included, and
 *                                           what it moved through a device or had answered
 *   @done                                         all done; as /init the machine is powered off next
 *
 * After each of the first three it waits for a line on standard input: the harness reads the emulator's CPU
 * time while the guest stands still, so neither console delays nor other load end up in the figures. */

#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static const struct benchmark *const groups[] = {
    integer_benchmarks, structure_benchmarks, floating_sse2_benchmarks, floating_x87_benchmarks,
    memory_benchmarks, kernel_benchmarks, device_benchmarks,
};

static void wait_for_harness(void)
{
    char c;
    fflush(stdout);
    tcdrain(1);
    do {
        if (read(0, &c, 1) != 1)
            exit(1);
    } while (c != '\n');
}

static uint64_t nanoseconds(const struct timeval *t)
{
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_usec * 1000u;
}

static uint64_t cpu_time(void)
{
    struct rusage self, children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    return nanoseconds(&self.ru_utime) + nanoseconds(&self.ru_stime) + nanoseconds(&children.ru_utime)
        + nanoseconds(&children.ru_stime);
}

static int needs_device(const struct benchmark *b)
{
    return b->bytes || b->trips;
}

/* True if the comma-separated list `wanted` names the class or the benchmark. Null and "all" mean all that need
 * no device. */
static int is_wanted(const char *wanted, const struct benchmark *b)
{
    if (!wanted || !strcmp(wanted, "all"))
        return !needs_device(b);
    for (const char *word = wanted; *word;) {
        size_t length = strcspn(word, ",");
        if ((strlen(b->name) == length && !memcmp(word, b->name, length))
            || (strlen(b->class_name) == length && !memcmp(word, b->class_name, length)))
            return 1;
        word += length + (word[length] == ',');
    }
    return 0;
}

static void prepare_guest(void)
{
    struct termios t;
    mkdir("/tmp", 0777);
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
    if (!tcgetattr(0, &t)) {
        t.c_lflag &= ~ECHO;
        tcsetattr(0, TCSANOW, &t);
    }
}

/* On the host, one CPU as in the guest, so that a pipe does not wake a sleeping second one. */
static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    int cpu = sched_getcpu();
    CPU_ZERO(&one);
    CPU_SET(cpu < 0 ? 0 : cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], BENCH_EXIT))
        return atoi(argv[2]);
    int is_init = getpid() == 1;
    /* As /init the choice is on the kernel command line: an unknown NAME=VALUE becomes a variable. */
    const char *wanted = is_init ? getenv("bench") : argc > 1 ? argv[1] : NULL;
    if (is_init)
        prepare_guest();
    else
        stay_on_one_cpu();
    printf("@ready\n");
    wait_for_harness();
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        for (const struct benchmark *b = groups[g]; b->name; b++) {
            /* Outside a guest /dev/vda would be a disk of the host. */
            if (!is_wanted(wanted, b) || (needs_device(b) && !is_init))
                continue;
            if (b->prepare)
                b->prepare();
            printf("@begin %s %s\n", b->class_name, b->name);
            wait_for_harness();
            uint64_t start = cpu_time();
            uint32_t checksum = b->run();
            uint64_t used = cpu_time() - start;
            printf("@end %s %s %08x %llu %llu %llu\n", b->class_name, b->name, checksum,
                (unsigned long long)used, (unsigned long long)b->bytes, (unsigned long long)b->trips);
            wait_for_harness();
        }
    }
    printf("@done\n");
    fflush(stdout);
    if (is_init) {
        tcdrain(1);
        reboot(RB_POWER_OFF);
    }
    return 0;
}
