/* What the kernels are fed: memory, random numbers, weights. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "quant/quant.h"
#include "quantise.h"

enum { DISTINCT_ROWS = 256, MOST_BLOCK = 256 };

void *bench_alloc(size_t bytes)
{
    const size_t size = (bytes + 4096) & ~(size_t)4095;
    void *p = aligned_alloc(4096, size);
    if (!p) {
        fprintf(stderr, "kernels: error: no memory for %zu bytes\n", size);
        exit(1);
    }
    return memset(p, 0, size);
}

static uint32_t random_u32(void)
{
    static uint64_t state = 88172645463325252u; /* xorshift64 */
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

float bench_random_uniform(void) { return ((float)(random_u32() >> 8) + 0.5f) * 0x1p-24f; }
float bench_random_normal(void)
{
    return sqrtf(-2 * logf(bench_random_uniform())) * cosf(6.2831853f * bench_random_uniform());
}

float *bench_normal_floats(size_t n)
{
    float *x = bench_alloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = bench_random_normal();
    return x;
}

float *bench_activations(int m, int k, bool outliers)
{
    float *x = bench_normal_floats((size_t)m * k);
    for (int i = 100; i < k && outliers; i += 200) {
        const float gain = 20 + 40 * bench_random_uniform();
        for (int r = 0; r < m; r++) x[(size_t)r * k + i] *= gain;
    }
    return x;
}

uint8_t *bench_weights(uint32_t type, size_t n, int k)
{
    const struct fkv_quant_type *q = fkv_quant_find(type);
    const size_t row_bytes = fkv_quant_row_bytes(q, k), distinct = n < DISTINCT_ROWS ? n : DISTINCT_ROWS,
                 blocks = distinct * k / q->block_elements;
    uint8_t *w = bench_alloc(n * row_bytes);
    for (size_t b = 0; b < blocks; b++) {
        float x[MOST_BLOCK];
        for (uint32_t i = 0; i < q->block_elements; i++) x[i] = 0.02f * bench_random_normal();
        bench_quantise_block(type, x, w + b * q->block_bytes);
    }
    for (size_t r = distinct; r < n; r++) memcpy(w + r * row_bytes, w + r % distinct * row_bytes, row_bytes);
    return w;
}
