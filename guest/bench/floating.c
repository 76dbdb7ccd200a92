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

/* A fast Fourier transform of 4096 points, forward and back. */
enum { points = 4096 };

static void transform(double *re, double *im, double direction)
{
    for (uint32_t i = 1, j = 0; i < points; i++) {
        uint32_t bit = points >> 1;
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
    for (uint32_t half = 1; half < points; half *= 2) {
        double angle = direction * 3.14159265358979323846 / half, step_re = cos(angle), step_im = sin(angle);
        for (uint32_t start = 0; start < points; start += 2 * half) {
            double w_re = 1, w_im = 0;
            for (uint32_t i = start; i < start + half; i++) {
                double a = re[i + half] * w_re - im[i + half] * w_im;
                double b = re[i + half] * w_im + im[i + half] * w_re;
                double next = w_re * step_re - w_im * step_im;
                re[i + half] = re[i] - a;
                im[i + half] = im[i] - b;
                re[i] += a;
                im[i] += b;
                w_im = w_re * step_im + w_im * step_re;
                w_re = next;
            }
        }
    }
}

static uint32_t run_fft(void)
{
    static double re[points], im[points];
    uint32_t seed = 29;
    for (int i = 0; i < points; i++)
        re[i] = (double)(bench_random(&seed) & 0xffff) / 65536.0;
    for (int round = 0; round < 400; round++) {
        transform(re, im, 1);
        transform(re, im, -1);
        for (int i = 0; i < points; i++) {
            re[i] *= 1.0 / points;
            im[i] *= 1.0 / points;
        }
    }
    return bench_hash(bench_hash(BENCH_HASH_START, re, sizeof(re)), im, sizeof(im));
}

static uint32_t run_mandelbrot(void)
{
    enum { edge = 500, limit = 500 };
    uint32_t hash = BENCH_HASH_START;
    for (int row = 0; row < edge; row++)
        for (int column = 0; column < edge; column++) {
            double x0 = column * (3.0 / edge) - 2.1, y0 = row * (2.4 / edge) - 1.2, x = 0, y = 0;
            uint32_t n = 0;
            while (n < limit && x * x + y * y < 4.0) {
                double t = x * x - y * y + x0;
                y = 2 * x * y + y0;
                x = t;
                n++;
            }
            hash = (hash ^ n) * 16777619u;
        }
    return hash;
}

/* Largest eigenvalue of a matrix that is computed as it is read: a division for each element. */
static void multiply(const double *in, double *out, int count, int transposed)
{
    for (int i = 0; i < count; i++) {
        double sum = 0;
        for (int j = 0; j < count; j++) {
            int diagonal = i + j, offset = transposed ? j : i;
            sum += in[j] / (diagonal * (diagonal + 1) / 2 + offset + 1);
        }
        out[i] = sum;
    }
}

static uint32_t run_spectral(void)
{
    enum { count = 500 };
    static double u[count], v[count], w[count];
    for (int i = 0; i < count; i++)
        u[i] = 1;
    for (int round = 0; round < 60; round++) {
        multiply(u, w, count, 0);
        multiply(w, v, count, 1);
        multiply(v, w, count, 0);
        multiply(w, u, count, 1);
    }
    return bench_hash(bench_hash(BENCH_HASH_START, u, sizeof(u)), v, sizeof(v));
}

const struct benchmark BENCHMARKS[] = {
    { "floating", UNIT("matmul"), run_matmul },
    { "floating", UNIT("sine"), run_sine },
    { "floating", UNIT("bodies"), run_bodies },
    { "floating", UNIT("fft"), run_fft },
    { "floating", UNIT("mandelbrot"), run_mandelbrot },
    { "floating", UNIT("spectral"), run_spectral },
    { NULL, NULL, NULL },
};
