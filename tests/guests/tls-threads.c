/* Threads with thread-local storage, as Fedora's programs of 2006 were: each thread has its own copies of a variable
 * of the program, of one in a shared library loaded while threads run, and of errno, and keeps them over thousands of
 * switches. Prints one line that begins with "tls ok" and ends with status 0 only if all of them did. The guest tests
 * build it twice: as a program, and with -DLIBRARY as the library it loads. */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#ifdef LIBRARY

static __thread long count = 1000;

long *library_count(void)
{
    return &count;
}

#else

enum { THREADS = 8, ROUNDS = 2000 };

static __thread long number = 42;
static __thread char zeroes[5000];
static long *(*library_count)(void);
static long *seen[THREADS];
static pthread_barrier_t all_run;

static void *run(void *argument)
{
    long me = (long)argument;
    long failures = number != 42 || *library_count() != 1000 || zeroes[4999] != 0;
    seen[me] = &number;
    pthread_barrier_wait(&all_run);
    for (long round = 1; round <= ROUNDS; round++) {
        number += me;
        *library_count() -= me;
        zeroes[round] = (char)me;
        errno = (int)me;
        close(me % 2 ? -1 : 0x7FFFFFFF);
        failures += errno != EBADF;
        if (round % 16 == 0)
            sched_yield();
        failures += number != 42 + me * round || *library_count() != 1000 - me * round || zeroes[round] != (char)me;
    }

    return (void *)failures;
}

int main(void)
{
    pthread_t threads[THREADS];
    long failures = 0;
    void *library = dlopen("/root/libtls.so", RTLD_NOW);
    if (!library || !(library_count = (long *(*)(void))dlsym(library, "library_count"))) {
        printf("%s\n", dlerror());
        return 2;
    }

    pthread_barrier_init(&all_run, 0, THREADS);
    for (long i = 0; i < THREADS; i++)
        failures += pthread_create(&threads[i], 0, run, (void *)i) != 0;

    for (long i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        failures += (long)result;
        for (long j = 0; j < i; j++)
            failures += seen[i] == seen[j];
    }

    failures += number != 42 || *library_count() != 1000;
    printf("tls %s: %d threads, %ld failures\n", failures ? "bad" : "ok", THREADS, failures);
    return failures != 0;
}

#endif
