/* Throughput of a virtio disk and a virtio network card. These run only when they are asked for by name, in a
 * guest that init.sh has given drivers, and never natively. */

#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { piece = 64 << 10, area = 64 << 20, passes = 4, small_piece = 4096, small_pieces = 8192 };
enum { network_bytes = 64 << 20, network_port = 5001 };

static void require(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int open_disk(int flags, unsigned char **buffer)
{
    int fd = open("/dev/vda", flags | O_DIRECT);
    require(fd >= 0, "/dev/vda");
    require(!posix_memalign((void **)buffer, 4096, piece), "posix_memalign");
    return fd;
}

/* 64 KiB at a time, past the guest's page cache, as dd oflag=direct does. */
static uint32_t run_disk_write(void)
{
    unsigned char *buffer;
    int fd = open_disk(O_WRONLY, &buffer);
    for (int pass = 0; pass < passes; pass++)
        for (off_t at = 0; at < area; at += piece) {
            memset(buffer, (int)(at / piece), 512);
            require(pwrite(fd, buffer, piece, at) == piece, "write");
        }
    require(!fsync(fd) && !close(fd), "fsync");
    free(buffer);
    return passes;
}

static uint32_t run_disk_read(void)
{
    unsigned char *buffer;
    int fd = open_disk(O_RDONLY, &buffer);
    uint32_t sum = 0;
    for (int pass = 0; pass < passes; pass++)
        for (off_t at = 0; at < area; at += piece) {
            require(pread(fd, buffer, piece, at) == piece, "read");
            sum = sum * 3 + buffer[17];
        }
    close(fd);
    free(buffer);
    return sum;
}

/* 4 KiB at random places, one after the other: what a request costs. */
static uint32_t run_disk_random(void)
{
    unsigned char *buffer;
    int fd = open_disk(O_RDONLY, &buffer);
    uint32_t seed = 43, sum = 0;
    for (int i = 0; i < small_pieces; i++) {
        off_t at = (off_t)(bench_random(&seed) % (area / small_piece)) * small_piece;
        require(pread(fd, buffer, small_piece, at) == small_piece, "read");
        sum = sum * 3 + (at % piece ? 1 : buffer[17]);
    }
    close(fd);
    free(buffer);
    return sum;
}

/* Connects to the peer that the kernel command line names, which may not be listening yet. */
static int connect_peer(void)
{
    const char *address = getenv("peer"), *port = getenv("port");
    struct sockaddr_in to = { .sin_family = AF_INET };
    to.sin_port = htons((uint16_t)(port ? atoi(port) : network_port));
    require(address && inet_aton(address, &to.sin_addr), "peer=");
    for (int tries = 0; tries < 3000; tries++) {
        const struct timespec pause = { 0, 20000000 };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        require(fd >= 0, "socket");
        if (!connect(fd, (struct sockaddr *)&to, sizeof(to)))
            return fd;
        close(fd);
        nanosleep(&pause, NULL);
    }
    require(0, "connect");
    return -1;
}

static void send_all(int fd, const unsigned char *data, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, data, length, 0);
        require(sent > 0, "send");
        data += sent;
        length -= (size_t)sent;
    }
}

/* The first byte says who sends; the one at the end says that all has arrived. */
static uint32_t run_send(void)
{
    static unsigned char data[piece];
    unsigned char answer = 0;
    int fd = connect_peer();
    send_all(fd, (const unsigned char *)"s", 1);
    for (int sent = 0; sent < network_bytes; sent += piece)
        send_all(fd, data, piece);
    shutdown(fd, SHUT_WR);
    require(recv(fd, &answer, 1, 0) == 1, "recv");
    close(fd);
    return answer;
}

static uint32_t run_receive(void)
{
    static unsigned char data[piece];
    uint32_t total = 0;
    ssize_t got;
    int fd = connect_peer();
    send_all(fd, (const unsigned char *)"r", 1);
    while ((got = recv(fd, data, sizeof(data), 0)) > 0)
        total += (uint32_t)got;
    close(fd);
    return total;
}

/* The other end of run_send, in a second guest. */
static uint32_t run_serve(void)
{
    static unsigned char data[piece];
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(network_port) };
    uint32_t total = 0;
    ssize_t got;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    require(listener >= 0 && !bind(listener, (struct sockaddr *)&here, sizeof(here)), "bind");
    require(!listen(listener, 1), "listen");
    int fd = accept(listener, NULL, NULL);
    require(fd >= 0, "accept");
    while ((got = recv(fd, data, sizeof(data), 0)) > 0)
        total += (uint32_t)got;
    send_all(fd, (const unsigned char *)"k", 1);
    close(fd);
    close(listener);
    return total;
}

const struct benchmark device_benchmarks[] = {
    { "disk", "disk-write", run_disk_write, (uint64_t)area * passes },
    { "disk", "disk-read", run_disk_read, (uint64_t)area * passes },
    { "disk", "disk-random-4k", run_disk_random, (uint64_t)small_piece * small_pieces },
    { "network", "host-send", run_send, network_bytes },
    { "network", "host-receive", run_receive, network_bytes },
    { "guests", "guest-send", run_send, network_bytes },
    { "serve", "guest-serve", run_serve, network_bytes },
    { NULL, NULL, NULL, 0 },
};
