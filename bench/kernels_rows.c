/* Jobs of the cache's tiles, of scores and selection, and of rows. Those that copy or select give equal results on
   every level: no error. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "tiles.h"

enum { D = 128, HEADS = 12, ROW = HEADS * D, WINDOW = 8, POOL = 7, CHECKED_SCORES = 1000 };
static const float eps = 1e-6f;

const char *const bench_elem_names[] = {"f32", "f16", "bf16", "q8_0"};

void *bench_tiles(const struct fkv_kernels *level, const float *x, int type, bool is_v, int d, int n)
{
    void *tiles = bench_alloc(bench_tiles_bytes(type, d, n));
    level->kv_pack(&(struct fkv_kv_rows){.k = is_v ? NULL : x,
                                         .v = is_v ? x : NULL,
                                         .ld = (size_t)d,
                                         .n = n,
                                         .d = d,
                                         .k_tiles = tiles,
                                         .v_tiles = tiles,
                                         .k_type = type,
                                         .v_type = type});
    return tiles;
}

/* ---- jobs whose state is a few arrays of floats ---------------------------------------------- */

struct arrays {
    const struct fkv_kernels *level;
    int n;            /* entries scored, pooled, selected, packed */
    int type;         /* of tiles */
    float *x, *y, *z; /* normal numbers in x and y */
    void *tiles;
    uint32_t *keys;
    int32_t *indices;
};

static struct arrays arrays_make(const struct bench *b, size_t floats)
{
    return (struct arrays){.level = b->level,
                           .n = b->sizes->scored,
                           .x = bench_normal_floats(floats),
                           .y = bench_normal_floats(floats),
                           .z = bench_alloc(floats * sizeof(float))};
}

static void arrays_free(struct arrays *a)
{
    void *all[] = {a->x, a->y, a->z, a->tiles, a->keys, a->indices};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

typedef void run_fn(void *state);
/* After one run. */
typedef void check_fn(const struct arrays *a, struct error_sum *e);

static struct job arrays_job(const char *slot, struct arrays *a, run_fn *run, check_fn *check, double bytes)
{
    struct job job = {.slot = slot, .run = run, .state = a, .bytes = bytes, .errors = BENCH_NO_ERRORS};
    struct error_sum e = {0};
    run(a);
    if (check) {
        check(a, &e);
        job.errors.smooth = error_rms(&e);
    }
    return job;
}

/* ---- tiles ----------------------------------------------------------------------------------- */

static void run_kv_pack(void *state)
{
    const struct arrays *a = state;
    a->level->kv_pack(
        &(struct fkv_kv_rows){.k = a->x, .ld = D, .n = a->n, .d = D, .k_tiles = a->tiles, .k_type = a->type});
    a->level->kv_pack(
        &(struct fkv_kv_rows){.v = a->x, .ld = D, .n = a->n, .d = D, .v_tiles = a->tiles, .v_type = a->type});
}

void bench_kv_pack(const struct bench *b)
{
    for (int type = FKV_ELEM_F32; type <= FKV_ELEM_Q8_0; type++) {
        struct arrays a = arrays_make(b, (size_t)b->sizes->scored * D);
        const size_t bytes = bench_tiles_bytes(type, D, a.n);
        a.type = type;
        a.tiles = bench_alloc(bytes);
        struct job job = arrays_job("kv_pack", &a, run_kv_pack, NULL,
                                    2.0 * a.n * D * sizeof(float) + 2.0 * (double)bytes);
        snprintf(job.shape, sizeof job.shape, "K and V %s: %d x %d", bench_elem_names[type], a.n, D);
        bench_job(b, &job);
        arrays_free(&a);
    }
}

/* ---- scores and selection -------------------------------------------------------------------- */

static void run_window_logits(void *state)
{
    const struct arrays *a = state;
    a->level->window_logits(a->x, D, WINDOW, a->tiles, a->type, D, a->n, 1 / sqrtf(D), a->z, a->n);
}

/* Of the last entries, against the floats before the cache rounded them. */
static void check_window_logits(const struct arrays *a, struct error_sum *e)
{
    for (int i = 0; i < WINDOW; i++)
        for (int j = a->n > CHECKED_SCORES ? a->n - CHECKED_SCORES : 0; j < a->n; j++) {
            double sum = 0;
            for (int c = 0; c < D; c++) sum += (double)a->x[i * D + c] * (double)a->y[(size_t)j * D + c];
            error_add(e, (double)a->z[(size_t)i * a->n + j], sum / sqrt(D));
        }
}

void bench_window_logits(const struct bench *b)
{
    for (int type = FKV_ELEM_F32; type <= FKV_ELEM_Q8_0; type++) {
        struct arrays a = arrays_make(b, (size_t)b->sizes->scored * D);
        a.type = type;
        a.tiles = bench_tiles(b->level, a.y, type, false, D, a.n);
        struct job job = arrays_job("window_logits", &a, run_window_logits, check_window_logits,
                                    (double)bench_tiles_bytes(type, D, a.n));
        job.operations = 2.0 * WINDOW * a.n * D;
        job.peak = PEAK_F32;
        snprintf(job.shape, sizeof job.shape, "%s d %d w %d n %d", bench_elem_names[type], D, WINDOW, a.n);
        bench_job(b, &job);
        arrays_free(&a);
    }
}

/* The logits are overwritten, so they are copied first: the time holds that copy. */
static void run_window_sums(void *state)
{
    const struct arrays *a = state;
    memcpy(a->z, a->x, sizeof(float) * WINDOW * a->n);
    a->level->window_sums(a->z, a->n, WINDOW, a->n, NULL, -INFINITY, NULL, false, a->y, NULL);
}

static void check_window_sums(const struct arrays *a, struct error_sum *e)
{
    const int n = a->n - WINDOW;
    double *sums = bench_alloc(n * sizeof *sums);
    for (int i = 0; i < WINDOW; i++) {
        const float *row = a->x + (size_t)i * a->n;
        double all = 0;
        for (int j = 0; j <= n + i; j++) all += exp((double)row[j]);
        for (int j = 0; j < n; j++) sums[j] += exp((double)row[j]) / all;
    }
    for (int j = 0; j < n; j++) error_add(e, (double)a->y[j], sums[j]);
    free(sums);
}

static void run_pool_max(void *state)
{
    const struct arrays *a = state;
    a->level->pool_max(a->x, a->n, POOL, a->z);
}

static void run_pool_avg(void *state)
{
    const struct arrays *a = state;
    a->level->pool_avg(a->x, a->n, POOL, a->z);
}

static void check_pool_avg(const struct arrays *a, struct error_sum *e)
{
    for (int j = 0; j < a->n; j++) {
        double sum = 0;
        for (int i = j - POOL / 2; i <= j + POOL / 2; i++) sum += i >= 0 && i < a->n ? (double)a->x[i] : 0;
        error_add(e, (double)a->z[j], sum / POOL);
    }
}

static void run_top_k(void *state)
{
    const struct arrays *a = state;
    a->level->top_k(a->x, a->n, a->n / 10, a->keys, a->indices);
}

static void bench_scores(const struct bench *b, const char *slot, const char *shape, int rows, run_fn *run,
                         check_fn *check, double bytes_per_score)
{
    struct arrays a = arrays_make(b, (size_t)rows * b->sizes->scored);
    a.keys = bench_alloc(a.n * sizeof *a.keys);
    a.indices = bench_alloc(a.n * sizeof *a.indices);
    struct job job = arrays_job(slot, &a, run, check, bytes_per_score * rows * a.n);
    snprintf(job.shape, sizeof job.shape, "%s n %d", shape, a.n);
    bench_job(b, &job);
    arrays_free(&a);
}

void bench_window_sums(const struct bench *b)
{
    bench_scores(b, "window_sums", "w 8", WINDOW, run_window_sums, check_window_sums, 8);
}
void bench_pool_max(const struct bench *b) { bench_scores(b, "pool_max", "kernel 7", 1, run_pool_max, NULL, 8); }
void bench_pool_avg(const struct bench *b)
{
    bench_scores(b, "pool_avg", "kernel 7", 1, run_pool_avg, check_pool_avg, 8);
}
void bench_top_k(const struct bench *b) { bench_scores(b, "top_k", "k n/10", 1, run_top_k, NULL, 4); }

/* ---- rows ------------------------------------------------------------------------------------ */

static void run_rms_norm(void *state)
{
    const struct arrays *a = state;
    a->level->rms_norm(a->x, a->y, ROW, eps, a->z);
}

static void check_rms_norm(const struct arrays *a, struct error_sum *e)
{
    double squares = 0;
    for (int i = 0; i < ROW; i++) squares += (double)a->x[i] * (double)a->x[i];
    for (int i = 0; i < ROW; i++)
        error_add(e, (double)a->z[i], (double)a->x[i] / sqrt(squares / ROW + (double)eps) * (double)a->y[i]);
}

/* z starts as x. A rotation keeps the numbers bounded however often it runs. */
static void run_rope_half(void *state)
{
    const struct arrays *a = state;
    a->level->rope_half(a->z, HEADS, D, D, a->y);
}

static void run_rope_pair(void *state)
{
    const struct arrays *a = state;
    a->level->rope_pair(a->z, HEADS, D, D, a->y);
}

/* Pair i of a head lies at `first` i and `apart` further. */
static void check_rotation(const struct arrays *a, int first, int apart, struct error_sum *e)
{
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < D / 2; i++) {
            const int at = h * D + first * i, other = at + apart;
            const double c = (double)a->y[2 * i], s = (double)a->y[2 * i + 1], x0 = (double)a->x[at],
                         x1 = (double)a->x[other];
            error_add(e, (double)a->z[at], x0 * c - x1 * s);
            error_add(e, (double)a->z[other], x0 * s + x1 * c);
        }
}
static void check_rope_half(const struct arrays *a, struct error_sum *e) { check_rotation(a, 1, D / 2, e); }
static void check_rope_pair(const struct arrays *a, struct error_sum *e) { check_rotation(a, 2, 1, e); }

static void run_swiglu(void *state)
{
    const struct arrays *a = state;
    a->level->swiglu(a->x, a->y, ROW, a->z);
}

static void check_swiglu(const struct arrays *a, struct error_sum *e)
{
    for (int i = 0; i < ROW; i++)
        error_add(e, (double)a->z[i], (double)a->x[i] / (1 + exp(-(double)a->x[i])) * (double)a->y[i]);
}

static void run_geglu(void *state)
{
    const struct arrays *a = state;
    a->level->geglu(a->x, a->y, ROW, a->z);
}

static void check_geglu(const struct arrays *a, struct error_sum *e)
{
    for (int i = 0; i < ROW; i++) {
        const double g = (double)a->x[i], t = sqrt(2 / acos(-1)) * (g + 0.044715 * g * g * g);
        error_add(e, (double)a->z[i], g * (1 + tanh(t)) / 2 * (double)a->y[i]);
    }
}

static void run_add(void *state)
{
    const struct arrays *a = state;
    a->level->add(a->x, ROW, a->z);
}

static void bench_row(const struct bench *b, const char *slot, bool rotates, run_fn *run, check_fn *check,
                      double bytes_per_value)
{
    struct arrays a = arrays_make(b, ROW);
    if (rotates) memcpy(a.z, a.x, ROW * sizeof(float));
    for (int i = 0; i < D / 2 && rotates; i++) {
        a.y[2 * i] = cosf((float)i);
        a.y[2 * i + 1] = sinf((float)i);
    }
    struct job job = arrays_job(slot, &a, run, check, bytes_per_value * ROW);
    snprintf(job.shape, sizeof job.shape, rotates ? "%d heads of %d" : "%d x %d", rotates ? HEADS : 1,
             rotates ? D : ROW);
    bench_job(b, &job);
    arrays_free(&a);
}

void bench_rms_norm(const struct bench *b) { bench_row(b, "rms_norm", false, run_rms_norm, check_rms_norm, 12); }
void bench_rope_half(const struct bench *b) { bench_row(b, "rope_half", true, run_rope_half, check_rope_half, 8); }
void bench_rope_pair(const struct bench *b) { bench_row(b, "rope_pair", true, run_rope_pair, check_rope_pair, 8); }
void bench_swiglu(const struct bench *b) { bench_row(b, "swiglu", false, run_swiglu, check_swiglu, 12); }
void bench_geglu(const struct bench *b) { bench_row(b, "geglu", false, run_geglu, check_geglu, 12); }
void bench_add(const struct bench *b) { bench_row(b, "add", false, run_add, NULL, 12); }
