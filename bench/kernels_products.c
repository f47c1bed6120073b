/* Jobs of the products and of what packs activations for them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "quant/quant.h"

/* Weights that one matvec call takes, a thread's piece of work: with one vector, and with several. */
enum { UNIT_BYTES = 1 << 20, FEW_BYTES = 20 << 10 };

/* What the arithmetic of a type's products is measured against; it tells the packed form of the activations too. */
static enum peak_kind peak_of(uint32_t type)
{
    switch (type) {
    case FKV_TYPE_F32: return PEAK_F32;
    case FKV_TYPE_F16:
    case FKV_TYPE_BF16: return PEAK_HALF;
    default: return PEAK_INT8;
    }
}

/* ---- packing --------------------------------------------------------------------------------- */

struct packing {
    const struct fkv_kernels *level;
    const float *x;
    int m, k;
    void *packed;
};

static void run_x8_pack(void *state)
{
    const struct packing *p = state;
    p->level->x8_pack(p->x, p->k, p->m, p->k, 0, p->m, p->packed);
}

static void run_x16_pack(void *state)
{
    const struct packing *p = state;
    p->level->x16_pack(p->x, p->k, p->m, p->k, 0, p->m, p->packed);
}

static void run_v8_pack(void *state)
{
    const struct packing *p = state;
    p->level->v8_pack(p->x, p->k, p->packed);
}

static volatile size_t size_sink;
static void run_x8_bytes(void *state) { size_sink = ((const struct packing *)state)->level->x8_bytes(512, 1536); }
static void run_x16_bytes(void *state) { size_sink = ((const struct packing *)state)->level->x16_bytes(512, 1536); }
static void run_v8_bytes(void *state) { size_sink = ((const struct packing *)state)->level->v8_bytes(1536); }

/* packed_bytes 0: the slot only computes a size. */
static void bench_packing(const struct bench *b, const char *slot, void (*run)(void *), int m, size_t packed_bytes)
{
    const int k = b->sizes->k;
    float *x = bench_normal_floats((size_t)m * k);
    struct packing p = {b->level, x, m, k, bench_alloc(packed_bytes)};
    const double bytes = packed_bytes ? (double)m * k * sizeof *x + (double)packed_bytes : 0;
    struct job job = {.slot = slot, .run = run, .state = &p, .bytes = bytes, .errors = BENCH_NO_ERRORS};
    if (packed_bytes)
        snprintf(job.shape, sizeof job.shape, "%d x %d", m, k);
    else
        snprintf(job.shape, sizeof job.shape, "a size");
    bench_job(b, &job);
    free(x);
    free(p.packed);
}

void bench_x8_bytes(const struct bench *b) { bench_packing(b, "x8_bytes", run_x8_bytes, 1, 0); }
void bench_x16_bytes(const struct bench *b) { bench_packing(b, "x16_bytes", run_x16_bytes, 1, 0); }
void bench_v8_bytes(const struct bench *b) { bench_packing(b, "v8_bytes", run_v8_bytes, 1, 0); }
void bench_x8_pack(const struct bench *b)
{
    bench_packing(b, "x8_pack", run_x8_pack, b->sizes->m[0], b->level->x8_bytes(b->sizes->m[0], b->sizes->k));
}
void bench_x16_pack(const struct bench *b)
{
    bench_packing(b, "x16_pack", run_x16_pack, b->sizes->m[0], b->level->x16_bytes(b->sizes->m[0], b->sizes->k));
}
void bench_v8_pack(const struct bench *b)
{
    bench_packing(b, "v8_pack", run_v8_pack, 1, b->level->v8_bytes(b->sizes->k));
}

/* ---- panels ---------------------------------------------------------------------------------- */

typedef void panel_fn(const struct fkv_panel *p);

struct panels {
    uint32_t type;
    panel_fn *panel;
    struct fkv_panel first;
    int n;        /* weight rows in all */
    void *packed; /* first.x, if it is not floats */
};

/* As one thread does it: each panel fetches the next one. Weights of more rows than y has columns are several
   matrices. */
static void run_panels(void *state)
{
    const struct panels *s = state;
    const int step = s->first.n;
    for (int j = 0; j < s->n; j += step) {
        struct fkv_panel p = s->first;
        p.w = (const char *)p.w + j * p.w_stride;
        p.y += j % p.ldy;
        p.n = s->n - j < step ? s->n - j : step;
        p.prefetch = j + 2 * step <= s->n ? (const char *)p.w + step * p.w_stride : NULL;
        s->panel(&p);
    }
}

/* Packs X and runs all panels. */
static struct panels panels_make(const struct fkv_kernels *level, uint32_t type, panel_fn *panel, const uint8_t *w,
                                 size_t w_stride, int n, int k, const float *x, int m, float *y, size_t ldy)
{
    const enum peak_kind kind = peak_of(type);
    void *packed = NULL;
    if (kind != PEAK_F32) {
        packed = bench_alloc(kind == PEAK_INT8 ? level->x8_bytes(m, k) : level->x16_bytes(m, k));
        (kind == PEAK_INT8 ? level->x8_pack : level->x16_pack)(x, k, m, k, 0, m, packed);
    }
    const int most = kind == PEAK_F32 ? FKV_PANEL_ROWS : level->panel_rows;
    const struct fkv_panel first = {.w = w,
                                    .w_stride = w_stride,
                                    .n = most < (int)ldy ? most : (int)ldy,
                                    .k = k,
                                    .x = packed ? packed : x,
                                    .ldx = k,
                                    .m = m,
                                    .y = y,
                                    .ldy = ldy,
                                    .scratch = bench_alloc(FKV_PANEL_SCRATCH)};
    return (struct panels){type, panel, first, n, packed};
}

static void panels_free(struct panels *s)
{
    free(s->packed);
    free(s->first.scratch);
}

static void multiply_by_panels(const struct bench *b, const void *kernel, const uint8_t *w, size_t w_stride, int n,
                               int k, const float *x, int m, float *y)
{
    const struct panels *like = kernel;
    struct panels s = panels_make(b->level, like->type, like->panel, w, w_stride, n, k, x, m, y, n);
    run_panels(&s);
    panels_free(&s);
}

static int stream_rows(const struct bench *b, size_t row_bytes)
{
    return (int)(b->sizes->stream_bytes / row_bytes / FKV_PANEL_ROWS) * FKV_PANEL_ROWS;
}

static void bench_panel(const struct bench *b, const char *slot, uint32_t type, panel_fn *panel)
{
    const int k = b->sizes->k, n = b->sizes->n;
    const size_t row_bytes = fkv_quant_row_bytes(fkv_quant_find(type), k);
    const int n_stream = stream_rows(b, row_bytes);
    float *x = bench_normal_floats((size_t)b->sizes->m[0] * k),
          *y = bench_alloc((size_t)b->sizes->m[0] * n * sizeof *y);
    uint8_t *w = bench_weights(type, n_stream > n ? n_stream : n, k);
    const struct bench_errors errors = bench_product_errors(b, type, multiply_by_panels,
                                                            &(struct panels){.type = type, .panel = panel});
    for (const int *m = b->sizes->m; *m; m++) {
        const bool few = *m <= BENCH_FEW_ROWS;
        struct panels s = panels_make(b->level, type, panel, w, row_bytes, few ? n_stream : n, k, x, *m, y, n);
        struct job job = {.slot = slot,
                          .run = run_panels,
                          .state = &s,
                          .operations = 2.0 * *m * s.n * k,
                          .peak = peak_of(type),
                          .from_memory = few,
                          .bytes = few ? (double)s.n * (double)row_bytes : 0,
                          .errors = m == b->sizes->m ? errors : BENCH_NO_ERRORS};
        snprintf(job.shape, sizeof job.shape, "m %d n %d k %d", *m, s.n, k);
        bench_job(b, &job);
        panels_free(&s);
    }
    free(x);
    free(y);
    free(w);
}

/* ---- matvec ---------------------------------------------------------------------------------- */

typedef void matvec_fn(const struct fkv_matvec *p);

struct matvec {
    uint32_t type;
    matvec_fn *matvec;
    const uint8_t *w;
    size_t row_bytes;
    int n, unit, k, m; /* rows in all, and of one call; vectors */
    const void *v;
    size_t v_bytes; /* of one vector */
    float *y;
};

static void run_matvec(void *state)
{
    const struct matvec *s = state;
    for (int j = 0; j < s->n; j += s->unit)
        s->matvec(&(struct fkv_matvec){.w = s->w + j * s->row_bytes,
                                       .w_stride = s->row_bytes,
                                       .n = s->n - j < s->unit ? s->n - j : s->unit,
                                       .k = s->k,
                                       .v = s->v,
                                       .v_stride = s->v_bytes,
                                       .m = s->m,
                                       .y = s->y + j,
                                       .ldy = (size_t)s->n});
}

/* m vectors as the slot takes them; the floats themselves or packed. *v_bytes: of one. */
static void *matvec_vectors(const struct fkv_kernels *level, uint32_t type, const float *x, int m, int k,
                            size_t *v_bytes)
{
    const bool packed = peak_of(type) == PEAK_INT8;
    *v_bytes = packed ? level->v8_bytes(k) : (size_t)k * sizeof *x;
    char *v = bench_alloc((size_t)m * *v_bytes);
    for (int i = 0; i < m; i++)
        if (packed)
            level->v8_pack(x + (size_t)i * k, k, v + (size_t)i * *v_bytes);
        else
            memcpy(v + (size_t)i * *v_bytes, x + (size_t)i * k, *v_bytes);
    return v;
}

/* Row by row. */
static void multiply_by_matvec(const struct bench *b, const void *kernel, const uint8_t *w, size_t w_stride, int n,
                               int k, const float *x, int m, float *y)
{
    const struct matvec *s = kernel;
    for (int r = 0; r < m; r++) {
        size_t v_bytes;
        void *v = matvec_vectors(b->level, s->type, x + (size_t)r * k, 1, k, &v_bytes);
        s->matvec(
            &(struct fkv_matvec){.w = w, .w_stride = w_stride, .n = n, .k = k, .v = v, .m = 1, .y = y + (size_t)r * n});
        free(v);
    }
}

/* One vector, and as many as one call takes: of few rows each, so that kernels which go over the weights several times
   find them in the first cache. */
static void bench_matvec(const struct bench *b, const char *slot, uint32_t type, matvec_fn *matvec)
{
    const int k = b->sizes->k;
    const size_t row_bytes = fkv_quant_row_bytes(fkv_quant_find(type), k);
    const int n = stream_rows(b, row_bytes);
    float *x = bench_normal_floats((size_t)FKV_STEP_VECTORS * k),
          *y = bench_alloc((size_t)FKV_STEP_VECTORS * n * sizeof *y);
    uint8_t *w = bench_weights(type, n, k);
    for (int m = 1; m <= FKV_STEP_VECTORS; m += FKV_STEP_VECTORS - 1) {
        struct matvec s = {.type = type,
                           .matvec = matvec,
                           .w = w,
                           .row_bytes = row_bytes,
                           .n = n,
                           .unit = (int)((m == 1 ? UNIT_BYTES : FEW_BYTES) / row_bytes),
                           .k = k,
                           .m = m,
                           .y = y};
        s.v = matvec_vectors(b->level, type, x, m, k, &s.v_bytes);
        struct job job = {.slot = slot,
                          .run = run_matvec,
                          .state = &s,
                          .operations = 2.0 * m * n * k,
                          .peak = peak_of(type),
                          .bytes = (double)n * (double)row_bytes,
                          .from_memory = true,
                          .errors = m == 1 ? bench_product_errors(b, type, multiply_by_matvec, &s) : BENCH_NO_ERRORS};
        snprintf(job.shape, sizeof job.shape, "m %d n %d k %d", m, n, k);
        bench_job(b, &job);
        free((void *)(uintptr_t)s.v);
    }
    free(x);
    free(y);
    free(w);
}

#define PRODUCT_BENCHES(name, type)                                                                                  \
    void bench_panel_##name(const struct bench *b) { bench_panel(b, "panel_" #name, type, b->level->panel_##name); } \
    void bench_matvec_##name(const struct bench *b) { bench_matvec(b, "matvec_" #name, type, b->level->matvec_##name); }
PRODUCT_BENCHES(q8_0, FKV_TYPE_Q8_0)
PRODUCT_BENCHES(q4_0, FKV_TYPE_Q4_0)
PRODUCT_BENCHES(q4_1, FKV_TYPE_Q4_1)
PRODUCT_BENCHES(q5_0, FKV_TYPE_Q5_0)
PRODUCT_BENCHES(q4_k, FKV_TYPE_Q4_K)
PRODUCT_BENCHES(q5_k, FKV_TYPE_Q5_K)
PRODUCT_BENCHES(q6_k, FKV_TYPE_Q6_K)
PRODUCT_BENCHES(f16, FKV_TYPE_F16)
PRODUCT_BENCHES(bf16, FKV_TYPE_BF16)
PRODUCT_BENCHES(f32, FKV_TYPE_F32)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) PRODUCT_BENCHES(name, FKV_TYPE_##NAME)
#include "simd/unpacked.def"
