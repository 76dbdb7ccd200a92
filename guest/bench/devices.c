/* Throughput of a virtio disk and a virtio network card, and how long an answer takes. These run only when they are
 * asked for by name, in a guest that init.sh has given drivers, and never natively. */

#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { piece = 64 << 10, area = 64 << 20, passes = 4, small_piece = 4096, small_pieces = 8192 };
enum { network_bytes = 64 << 20, network_trips = 10000, network_port = 5001 };

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

static int peer;

/* Connects to the peer that the kernel command line names, which may not be listening yet. */
static void connect_peer(void)
{
    const int now = 1;
    const char *address = getenv("peer"), *port = getenv("port");
    struct sockaddr_in to = { .sin_family = AF_INET };
    to.sin_port = htons((uint16_t)(port ? atoi(port) : network_port));
    require(address && inet_aton(address, &to.sin_addr), "peer=");
    for (int tries = 0; tries < 3000; tries++) {
        const struct timespec pause = { 0, 20000000 };
        peer = socket(AF_INET, SOCK_STREAM, 0);
        require(peer >= 0, "socket");
        require(!setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now)), "setsockopt");
        if (!connect(peer, (struct sockaddr *)&to, sizeof(to)))
            return;
        close(peer);
        nanosleep(&pause, NULL);
    }
    require(0, "connect");
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

/* The first byte of a connection says what it is for; here, one at the end says that all has arrived. */
static uint32_t run_send(void)
{
    static unsigned char data[piece];
    unsigned char answer = 0;
    send_all(peer, (const unsigned char *)"s", 1);
    for (int sent = 0; sent < network_bytes; sent += piece)
        send_all(peer, data, piece);
    shutdown(peer, SHUT_WR);
    require(recv(peer, &answer, 1, 0) == 1, "recv");
    close(peer);
    return answer;
}

static uint32_t run_receive(void)
{
    static unsigned char data[piece];
    uint32_t total = 0;
    ssize_t got;
    send_all(peer, (const unsigned char *)"r", 1);
    while ((got = recv(peer, data, sizeof(data), 0)) > 0)
        total += (uint32_t)got;
    close(peer);
    return total;
}

/* One byte there, one byte back. */
static uint32_t run_round_trips(void)
{
    uint32_t total = 0;
    send_all(peer, (const unsigned char *)"e", 1);
    for (int i = 0; i < network_trips; i++) {
        unsigned char sent = (unsigned char)i, back;
        send_all(peer, &sent, 1);
        require(recv(peer, &back, 1, 0) == 1, "recv");
        total += back;
    }
    close(peer);
    return total;
}

/* The other end of one connection. */
static uint32_t serve(int fd)
{
    static unsigned char data[piece];
    uint32_t total = 0;
    unsigned char kind;
    ssize_t got;
    require(recv(fd, &kind, 1, 0) == 1, "recv");
    while ((got = recv(fd, data, sizeof(data), 0)) > 0) {
        total += (uint32_t)got;
        if (kind == 'e')
            send_all(fd, data, (size_t)got);
    }
    if (kind == 's')
        send_all(fd, (const unsigned char *)"k", 1);
    close(fd);
    return total;
}

/* The other end of the class "guests", in a second guest. */
static uint32_t run_serve(void)
{
    const int now = 1;
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(network_port) };
    uint32_t total = 0;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    require(listener >= 0 && !bind(listener, (struct sockaddr *)&here, sizeof(here)), "bind");
    require(!listen(listener, 1), "listen");
    for (const struct benchmark *b = device_benchmarks; b->name; b++)
        if (!strcmp(b->class_name, "guests")) {
            int fd = accept(listener, NULL, NULL);
            require(fd >= 0 && !setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now)), "accept");
            total += serve(fd);
        }
    close(listener);
    return total;
}

const struct benchmark device_benchmarks[] = {
    { "disk", "disk-write", run_disk_write, .bytes = (uint64_t)area * passes },
    { "disk", "disk-read", run_disk_read, .bytes = (uint64_t)area * passes },
    { "disk", "disk-random-4k", run_disk_random, .bytes = (uint64_t)small_piece * small_pieces },
    { "network", "host-send", run_send, .bytes = network_bytes, .prepare = connect_peer },
    { "network", "host-receive", run_receive, .bytes = network_bytes, .prepare = connect_peer },
    { "network", "host-round-trip", run_round_trips, .trips = network_trips, .prepare = connect_peer },
    { "guests", "guest-send", run_send, .bytes = network_bytes, .prepare = connect_peer },
    { "guests", "guest-round-trip", run_round_trips, .trips = network_trips, .prepare = connect_peer },
    { "serve", "guest-serve", run_serve, .bytes = network_bytes },
    { NULL },
};
