/* Jobs of attention: a prompt's causal attention of one query head, and one row's over a cache that serves 6 query
   heads. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "tiles.h"

enum { GROUP = 6, DECODE_D = 128, RANGE = 1024, CHECKED_ROWS = 8 };

/* ---- the error ------------------------------------------------------------------------------- */

/* Of one row against softmax of the floats k, v [n_keys][d]. */
static void add_row_error(const float *q, const float *k, const float *v, int n_keys, int d, double scale,
                          const float *out, float sum, struct error_sum *e)
{
    double *p = bench_alloc(n_keys * sizeof *p), wanted[FKV_MAX_HEAD] = {0}, max = -INFINITY, all = 0;
    for (int j = 0; j < n_keys; j++) {
        for (int c = 0; c < d; c++) p[j] += (double)q[c] * (double)k[(size_t)j * d + c] * scale;
        max = fmax(max, p[j]);
    }
    for (int j = 0; j < n_keys; j++) {
        p[j] = exp(p[j] - max);
        all += p[j];
        for (int c = 0; c < d; c++) wanted[c] += p[j] * (double)v[(size_t)j * d + c];
    }
    for (int c = 0; c < d; c++) error_add(e, (double)(out[c] / sum), wanted[c] / all);
    free(p);
}

/* ---- a problem: rows of q over the entries of heads that lie one after the other ------------- */

struct attention {
    const struct fkv_kernels *level;
    struct fkv_attend a;
    int n_rows, n, heads; /* rows, entries, KV heads */
    float *q, *out, *max_sum, *k, *v;
    int32_t *n_keys;
    char *k_tiles, *v_tiles;
};

static char *repeat_tiles(const struct fkv_kernels *level, const float *x, int type, bool is_v, int d, int n, int heads)
{
    const size_t bytes = bench_tiles_bytes(type, d, n);
    char *all = bench_alloc(bytes * heads), *one = bench_tiles(level, x, type, is_v, d, n);
    for (int h = 0; h < heads; h++) memcpy(all + h * bytes, one, bytes);
    free(one);
    return all;
}

static struct attention attention_make(const struct fkv_kernels *level, int type, int d, int n_rows, int n, int heads)
{
    struct attention s = {.level = level,
                          .n_rows = n_rows,
                          .n = n,
                          .heads = heads,
                          .q = bench_normal_floats((size_t)n_rows * d),
                          .out = bench_alloc((size_t)n_rows * d * sizeof(float)),
                          .max_sum = bench_alloc(2 * (size_t)n_rows * sizeof(float)),
                          .k = bench_normal_floats((size_t)n * d),
                          .v = bench_normal_floats((size_t)n * d),
                          .n_keys = bench_alloc(n_rows * sizeof(int32_t))};
    s.k_tiles = repeat_tiles(level, s.k, type, false, d, n, heads);
    s.v_tiles = repeat_tiles(level, s.v, type, true, d, n, heads);
    s.a = (struct fkv_attend){.q = s.q,
                              .ldq = d,
                              .n_keys = s.n_keys,
                              .n_rows = n_rows,
                              .d = d,
                              .scale = 1 / sqrtf((float)d),
                              .k = s.k_tiles,
                              .v = s.v_tiles,
                              .k_type = type,
                              .v_type = type,
                              .last = n,
                              .out = s.out,
                              .ldo = d,
                              .max = s.max_sum,
                              .sum = s.max_sum + n_rows,
                              .scratch = bench_alloc(FKV_ATTEND_SCRATCH)};
    return s;
}

static void attention_free(struct attention *s)
{
    void *all[] = {s->q, s->out, s->max_sum, s->k, s->v, s->n_keys, s->k_tiles, s->v_tiles, s->a.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Of rows all over the last call's, which saw all their entries. */
static struct bench_errors attention_errors(const struct attention *s)
{
    struct bench_errors errors = BENCH_NO_ERRORS;
    struct error_sum e = {0};
    const int step = (s->n_rows + CHECKED_ROWS - 1) / CHECKED_ROWS;
    for (int i = s->n_rows - 1; i >= 0; i -= step) {
        const size_t at = (size_t)i * s->a.d;
        add_row_error(s->q + at, s->k, s->v, s->n_keys[i], s->a.d, (double)s->a.scale, s->out + at, s->a.sum[i], &e);
    }
    errors.smooth = error_rms(&e);
    return errors;
}

static enum peak_kind peak_of(int type) { return type == FKV_ELEM_F32 ? PEAK_F32 : PEAK_HALF; }

/* ---- prefill --------------------------------------------------------------------------------- */

/* Row i is position i. */
static void run_prefill(void *state)
{
    const struct attention *s = state;
    for (int row = 0; row < s->n; row += s->level->attend_rows) {
        struct fkv_attend a = s->a;
        a.n_rows = s->n - row < s->level->attend_rows ? s->n - row : s->level->attend_rows;
        a.last = row + a.n_rows;
        a.q += (size_t)row * a.ldq;
        a.out += (size_t)row * a.ldo;
        a.n_keys += row;
        a.max += row;
        a.sum += row;
        s->level->attend(&a);
    }
}

static void bench_prefill(const struct bench *b, int type, int d)
{
    const int n = b->sizes->prompt;
    struct attention s = attention_make(b->level, type, d, n, n, 1);
    for (int i = 0; i < n; i++) s.n_keys[i] = i + 1;
    run_prefill(&s);
    struct job job = {.slot = "attend",
                      .run = run_prefill,
                      .state = &s,
                      .operations = 4.0 * d * n * (n + 1) / 2,
                      .peak = peak_of(type),
                      .errors = attention_errors(&s)};
    snprintf(job.shape, sizeof job.shape, "prefill %s d %d T %d", bench_elem_names[type], d, n);
    bench_job(b, &job);
    attention_free(&s);
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* Heads, each in ranges whose results a caller would merge. */
static void run_decode(void *state)
{
    const struct attention *s = state;
    const size_t bytes = bench_tiles_bytes(s->a.k_type, s->a.d, s->n);
    for (int head = 0; head < s->heads; head++)
        for (int first = 0; first < s->n; first += RANGE) {
            struct fkv_attend a = s->a;
            a.k = s->k_tiles + head * bytes;
            a.v = s->v_tiles + head * bytes;
            a.alone = true;
            a.first = first;
            a.last = s->n - first < RANGE ? s->n : first + RANGE;
            s->level->attend(&a);
        }
}

static void bench_decode(const struct bench *b, int type)
{
    const int n = b->sizes->cached, d = DECODE_D, threads = bench_threads(b);
    const size_t head_bytes = 2 * bench_tiles_bytes(type, d, n);
    const int heads = (int)((b->sizes->stream_bytes + head_bytes - 1) / head_bytes);
    struct attention *all = bench_alloc((size_t)threads * sizeof *all);
    void **states = bench_alloc((size_t)threads * sizeof *states);
    for (int t = 0; t < threads; t++) {
        all[t] = attention_make(b->level, type, d, GROUP, n, heads);
        states[t] = &all[t];
        for (int i = 0; i < GROUP; i++) all[t].n_keys[i] = n;
    }
    b->level->attend(&all[0].a);
    struct job job = {.slot = "attend",
                      .run = run_decode,
                      .states = states,
                      .operations = 4.0 * GROUP * d * n * heads * threads,
                      .peak = peak_of(type),
                      .bytes = (double)head_bytes * heads * threads,
                      .from_memory = true,
                      .errors = attention_errors(&all[0])};
    snprintf(job.shape, sizeof job.shape, "decode %s d %d n %d", bench_elem_names[type], d, n);
    bench_job(b, &job);
    for (int t = 0; t < threads; t++) attention_free(&all[t]);
    free(states);
    free(all);
}

void bench_attend(const struct bench *b)
{
    for (int type = FKV_ELEM_F32; type <= FKV_ELEM_Q8_0; type++) {
        bench_prefill(b, type, 64);
        bench_prefill(b, type, 128);
    }
    for (int type = FKV_ELEM_F32; type <= FKV_ELEM_Q8_0; type++) bench_decode(b, type);
}
