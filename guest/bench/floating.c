/* Floating point. Compiled twice: with SSE2 arithmetic and, with X87 defined, with x87 arithmetic. */

#include "bench.h"

#include <math.h>

#ifdef X87
#define UNIT(name) "x87-" name
#define BENCHMARKS floating_x87_benchmarks
#else
#define UNIT(name) "sse2-" name
#define BENCHMARKS floating_sse2_benchmarks
#endif

enum { size = 160 };

static double left[size][size], right[size][size], product[size][size];

static uint32_t run_matmul(void)
{
    uint32_t seed = 17;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            left[i][j] = (double)(bench_random(&seed) & 0xffff) / 65536.0;
            right[i][j] = (double)(bench_random(&seed) & 0xffff) / 65536.0;
        }
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++) {
                double sum = 0;
                for (int k = 0; k < size; k++)
                    sum += left[i][k] * right[k][j];
                product[i][j] = sum;
            }
        left[round][round] = product[round][round] / (double)size;
    }
    return bench_hash(BENCH_HASH_START, product, sizeof(product));
}

static uint32_t run_sine(void)
{
    double sum = 0, x = 0.1;
    for (int i = 0; i < 3000000; i++) {
        sum += sin(x) * sqrt(x + 1.0);
        x += 0.0011;
    }
    return bench_hash(BENCH_HASH_START, &sum, sizeof(sum));
}

/* Five bodies under gravity: divisions, square roots and long chains of dependent operations. */
static uint32_t run_bodies(void)
{
    static double p[5][3], v[5][3], m[5];
    uint32_t seed = 3;
    for (int i = 0; i < 5; i++) {
        m[i] = 1.0 + (double)(bench_random(&seed) & 255) / 64.0;
        for (int d = 0; d < 3; d++) {
            p[i][d] = (double)(int)(bench_random(&seed) & 1023) / 32.0 - 16.0;
            v[i][d] = (double)(int)(bench_random(&seed) & 1023) / 4096.0 - 0.125;
        }
    }
    for (int step = 0; step < 900000; step++) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double dx = p[i][0] - p[j][0], dy = p[i][1] - p[j][1], dz = p[i][2] - p[j][2];
                double square = dx * dx + dy * dy + dz * dz + 0.01;
                double pull = 0.001 / (square * sqrt(square));
                v[i][0] -= dx * m[j] * pull;
                v[i][1] -= dy * m[j] * pull;
                v[i][2] -= dz * m[j] * pull;
                v[j][0] += dx * m[i] * pull;
                v[j][1] += dy * m[i] * pull;
                v[j][2] += dz * m[i] * pull;
            }
        for (int i = 0; i < 5; i++)
            for (int d = 0; d < 3; d++)
                p[i][d] += 0.001 * v[i][d];
    }
    return bench_hash(bench_hash(BENCH_HASH_START, p, sizeof(p)), v, sizeof(v));
}

const struct benchmark BENCHMARKS[] = {
    { "floating", UNIT("matmul"), run_matmul },
    { "floating", UNIT("sine"), run_sine },
    { "floating", UNIT("bodies"), run_bodies },
    { NULL, NULL, NULL },
};
