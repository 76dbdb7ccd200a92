/* What goes through the kernel: system calls, processes, context switches, page faults, files. */

#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void require(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static uint32_t run_getppid(void)
{
    long first = syscall(SYS_getppid);
    uint32_t same = 0;
    for (int i = 0; i < 600000; i++)
        same += syscall(SYS_getppid) == first;
    return same;
}

static uint32_t run_fork(void)
{
    uint32_t sum = 0;
    for (int i = 0; i < 400; i++) {
        int status = 0;
        pid_t child = fork();
        require(child >= 0, "fork");
        if (child == 0)
            _exit(i & 127);
        require(waitpid(child, &status, 0) == child, "waitpid");
        sum += (uint32_t)WEXITSTATUS(status);
    }
    return sum;
}

/* fork, then exec of this program, which ends at once (main.c). */
static uint32_t run_exec(void)
{
    uint32_t sum = 0;
    for (int i = 0; i < 200; i++) {
        int status = 0;
        char code[4];
        snprintf(code, sizeof(code), "%d", i & 127);
        char *arguments[] = { "guest", BENCH_EXIT, code, NULL };
        pid_t child = fork();
        require(child >= 0, "fork");
        if (child == 0) {
            execv("/proc/self/exe", arguments);
            _exit(255);
        }
        require(waitpid(child, &status, 0) == child, "waitpid");
        sum = sum * 3 + (uint32_t)WEXITSTATUS(status);
    }
    return sum;
}

static uint32_t run_pipe(void)
{
    int to[2], back[2];
    uint32_t value = 0, sum = 0;
    require(!pipe(to) && !pipe(back), "pipe");
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
        close(to[1]);
        while (read(to[0], &value, sizeof(value)) == sizeof(value)) {
            value = value * 3 + 1;
            require(write(back[1], &value, sizeof(value)) == sizeof(value), "write");
        }
        _exit(0);
    }
    close(to[0]);
    for (uint32_t i = 0; i < 15000; i++) {
        require(write(to[1], &i, sizeof(i)) == sizeof(i), "write");
        require(read(back[0], &value, sizeof(value)) == sizeof(value), "read");
        sum += value;
    }
    close(to[1]);
    waitpid(child, NULL, 0);
    close(back[0]);
    close(back[1]);
    return sum;
}

static uint32_t run_touch(void)
{
    enum { length = 4 << 20, page = 4096 };
    uint32_t sum = 0;
    for (int round = 0; round < 60; round++) {
        unsigned char *area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(area != MAP_FAILED, "mmap");
        for (size_t i = 0; i < length; i += page) {
            sum += area[i + 8];
            area[i] = (unsigned char)round;
            sum += area[i];
        }
        munmap(area, length);
    }
    return sum;
}

/* Mappings made, touched once and removed. */
static uint32_t run_mmap(void)
{
    enum { length = 64 << 10 };
    uint32_t sum = 0;
    for (int i = 0; i < 12000; i++) {
        unsigned char *area = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        require(area != MAP_FAILED, "mmap");
        area[i & 0xffff] = 1;
        sum += area[i & 0xffff];
        require(!mprotect(area, 4096, PROT_READ), "mprotect");
        require(!munmap(area, length), "munmap");
    }
    return sum;
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
    signals += number;
}

static uint32_t run_signal(void)
{
    struct sigaction action = { .sa_handler = count_signal }, before;
    signals = 0;
    require(!sigaction(SIGUSR1, &action, &before), "sigaction");
    pid_t self = getpid();
    for (int i = 0; i < 16000; i++)
        require(!kill(self, SIGUSR1), "kill");
    sigaction(SIGUSR1, &before, NULL);
    return (uint32_t)signals;
}

/* Two processes that hand the CPU to each other. */
static uint32_t run_yield(void)
{
    enum { turns = 40000 };
    uint32_t done = 0;
    pid_t child = fork();
    require(child >= 0, "fork");
    for (int i = 0; i < turns; i++)
        done += sched_yield() == 0;
    if (child == 0)
        _exit(done == turns ? 0 : 1);
    int status = 0;
    require(waitpid(child, &status, 0) == child, "waitpid");
    return done * 2 + (uint32_t)status;
}

static uint32_t run_poll(void)
{
    enum { count = 16 };
    struct pollfd wanted[count];
    int pipes[count][2];
    uint32_t sum = 0;
    char byte = 1;
    for (int i = 0; i < count; i++) {
        require(!pipe(pipes[i]), "pipe");
        wanted[i] = (struct pollfd){ .fd = pipes[i][0], .events = POLLIN };
    }
    for (int i = 0; i < 50000; i++) {
        int at = i * 7 % count;
        require(write(pipes[at][1], &byte, 1) == 1, "write");
        sum += (uint32_t)poll(wanted, count, -1);
        for (int j = 0; j < count; j++)
            if (wanted[j].revents & POLLIN)
                sum += (uint32_t)(j + read(pipes[j][0], &byte, 1));
    }
    for (int i = 0; i < count; i++) {
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    return sum;
}

static uint32_t run_stat(void)
{
    struct stat s;
    uint32_t sum = 0;
    require(!mkdir("/tmp/lhype-bench", 0700) && !mkdir("/tmp/lhype-bench/a", 0700), "mkdir");
    for (int i = 0; i < 80000; i++) {
        sum += (uint32_t)stat("/tmp/lhype-bench/a/missing", &s) & 2;
        sum += !stat("/tmp/lhype-bench/a", &s) && S_ISDIR(s.st_mode);
    }
    rmdir("/tmp/lhype-bench/a");
    rmdir("/tmp/lhype-bench");
    return sum;
}

/* A file of 1 MiB written and read back in pieces of 4 KiB, over and over. */
static uint32_t run_read_write(void)
{
    enum { piece = 4096, pieces = 256 };
    static unsigned char data[piece];
    char name[64];
    uint32_t sum = 0;
    snprintf(name, sizeof(name), "/tmp/lhype-bench-%d", (int)getpid());
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    require(fd >= 0, name);
    for (int round = 0; round < 400; round++) {
        lseek(fd, 0, SEEK_SET);
        for (int i = 0; i < pieces; i++) {
            data[i] = (unsigned char)(round + i);
            require(write(fd, data, piece) == piece, "write");
        }
        lseek(fd, 0, SEEK_SET);
        for (int i = 0; i < pieces; i++) {
            require(read(fd, data, piece) == piece, "read");
            sum += data[i];
        }
    }
    close(fd);
    unlink(name);
    return sum;
}

static uint32_t run_file(void)
{
    char name[64], data[512] = { 1, 2, 3 };
    uint32_t sum = 0;
    snprintf(name, sizeof(name), "/tmp/lhype-bench-%d", (int)getpid());
    int fd = open(name, O_CREAT | O_RDWR | O_TRUNC, 0600);
    require(fd >= 0, name);
    require(write(fd, data, sizeof(data)) == sizeof(data), "write");
    close(fd);
    for (int i = 0; i < 60000; i++) {
        fd = open(name, O_RDONLY);
        require(fd >= 0, name);
        sum += (uint32_t)read(fd, data, sizeof(data));
        close(fd);
    }
    unlink(name);
    return sum + (uint32_t)data[2];
}

const struct benchmark kernel_benchmarks[] = {
    { "kernel", "getppid", run_getppid },
    { "kernel", "fork-wait", run_fork },
    { "kernel", "fork-exec", run_exec },
    { "kernel", "pipe", run_pipe },
    { "kernel", "yield", run_yield },
    { "kernel", "touch", run_touch },
    { "kernel", "mmap", run_mmap },
    { "kernel", "signal", run_signal },
    { "kernel", "open-read-close", run_file },
    { "kernel", "stat", run_stat },
    { "kernel", "poll", run_poll },
    { "kernel", "read-write", run_read_write },
    { NULL, NULL, NULL },
};
