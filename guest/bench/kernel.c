/* What goes through the kernel: system calls, processes, context switches, page faults, files. */

#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
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
    for (int i = 0; i < 400000; i++)
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
    for (int round = 0; round < 30; round++) {
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
    { "kernel", "pipe", run_pipe },
    { "kernel", "touch", run_touch },
    { "kernel", "open-read-close", run_file },
    { NULL, NULL, NULL },
};
