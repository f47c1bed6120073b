/* The CPU back end: its memory, its choice of ISA level, its table of operations. */
#include "backend/cpu/cpu_backend.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/memory.h"

void cpu_stage(struct fkv_run *r, enum fkv_stage stage, double t0)
{
    if (r->thread == 0) r->stage_s[stage] += fkv_clock_s() - t0;
}

/* ---- ISA level ------------------------------------------------------------------------------- */

fkv_status fkv_cpu_level(int *level, const char *isa, struct fkv_error *e)
{
    const char *name = isa ? isa : getenv("FASTKV_ISA");
    if (name && !*name) name = NULL;
    const int found = fkv_simd_find_level(name);
    if (found >= 0 && fkv_simd_level_available(found)) {
        *level = found;
        return FKV_OK;
    }
    char have[256] = "";
    for (int i = 0; i < fkv_simd_n_levels(); i++)
        if (fkv_simd_level_available(i)) {
            if (*have) strncat(have, ", ", sizeof have - strlen(have) - 1);
            strncat(have, fkv_simd_level_name(i), sizeof have - strlen(have) - 1);
        }
    return fkv_fail(e, FKV_ERROR_ARGUMENT, "ISA level %s: expected one that this machine has (%s)%s", name, have,
                    found < 0 ? "" : "; it lacks that one");
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* All forms of one block of rows: floats, x8 and x16. */
static size_t packed_bytes(const struct cpu_backend *b)
{
    return (size_t)FKV_BLOCK_ROWS * (size_t)b->max_cols * sizeof(float) + b->k->x8_bytes(FKV_BLOCK_ROWS, b->max_cols) +
           b->k->x16_bytes(FKV_BLOCK_ROWS, b->max_cols);
}

/* Lays out what does not depend on the extent of a pass; returns its bytes. */
static size_t lay_out(struct cpu_backend *b, void *memory)
{
    const size_t cols = (size_t)b->max_cols, tile = FKV_BLOCK_ROWS * FKV_MOST_PANEL_ROWS * sizeof(float);
    struct fkv_carver c = {memory, 0};
    b->packed = fkv_carve(&c, packed_bytes(b));
    cpu_routing_lay_out(&b->routing, &c);
    for (int i = 0; i < fkv_team_size(b->base.team); i++) {
        struct cpu_scratch *s = &b->scratch[i];
        s->panel = fkv_carve(&c, FKV_PANEL_SCRATCH);
        s->attend = fkv_carve(&c, FKV_ATTEND_SCRATCH);
        s->tile[0] = fkv_carve(&c, tile);
        s->tile[1] = fkv_carve(&c, tile);
        s->rows = fkv_carve(&c, cols * sizeof(float));
        s->vector = fkv_carve(&c, b->k->v8_bytes(b->max_cols));
        s->floats = fkv_carve(&c, CPU_FLOAT_ROWS * cols * sizeof(float));
    }
    return c.offset;
}

/* The same for what does. b: only its team is read when memory is NULL. */
static size_t lay_out_long(const struct cpu_backend *b, const struct fkv_extent *most, void *memory, float **part,
                           struct cpu_scratch *scratch)
{
    const size_t n = (size_t)most->n_entries, heads = (size_t)most->n_head, d = (size_t)most->d,
                 window = (size_t)most->window;
    struct fkv_carver c = {memory, 0};
    *part = fkv_carve(&c, FKV_STEP_ROWS * (n / CPU_CHUNK + 2) * heads * (d + 2) * sizeof(float));
    for (int i = 0; i < fkv_team_size(b->base.team); i++) {
        struct cpu_scratch ignored, *s = scratch ? &scratch[i] : &ignored;
        s->logits = fkv_carve(&c, cpu_logits_apart(most->n_entries) * window * sizeof(float));
        s->sums = fkv_carve(&c, n * sizeof(float));
        s->pooled = fkv_carve(&c, n * sizeof(float));
        s->copy = fkv_carve(&c, n * sizeof(float));
        s->halves = fkv_carve(&c, 2 * n * sizeof(float));
        s->keys = fkv_carve(&c, n * sizeof(uint32_t));
        s->pieces = fkv_carve(&c, FKV_STEP_ROWS * heads * sizeof *s->pieces);
        s->values = fkv_carve(&c, FKV_TILE * d * sizeof(float));
        s->value_tile = fkv_carve(&c, fkv_tile_bytes(FKV_ELEM_F32, most->d));
        s->dots = fkv_carve(&c, (window > d ? window : d) * FKV_TILE * sizeof(float));
        s->outputs = fkv_carve(&c, window * d * sizeof(float));
    }
    return c.offset;
}

static int larger(int a, int b) { return a > b ? a : b; }

struct preparation {
    struct cpu_backend *b;
    const struct fkv_extent *most;
    bool ok;
};

static void prepare_region(void *arg, int thread)
{
    struct preparation *p = arg;
    struct cpu_backend *b = p->b;
    const struct fkv_extent *now = &b->most, *want = p->most;
    if (thread != 0 || (want->n_entries <= now->n_entries && want->n_head <= now->n_head && want->d <= now->d &&
                        want->window <= now->window))
        return;
    const struct fkv_extent most = {larger(now->n_entries, want->n_entries), larger(now->n_head, want->n_head),
                                    larger(now->d, want->d), larger(now->window, want->window)};
    float *part;
    const size_t bytes = lay_out_long(b, &most, NULL, &part, NULL);
    void *memory = fkv_reserve(bytes);
    p->ok = memory != NULL; /* if not, the old stays: others use it */
    if (!p->ok) return;
    fkv_unreserve(b->long_memory, b->long_bytes);
    b->long_memory = memory;
    b->long_bytes = bytes;
    lay_out_long(b, &most, memory, &b->part, b->scratch);
    b->most = most;
}

/* In a region of its own: another session's region may be using the scratch. */
fkv_status cpu_prepare(struct fkv_backend *base, const struct fkv_extent *most)
{
    struct preparation p = {(struct cpu_backend *)base, most, true};
    fkv_team_run(base->team, prepare_region, &p);
    return p.ok ? FKV_OK : FKV_ERROR_MEMORY;
}

struct fkv_bytes cpu_scratch_bytes(const struct fkv_backend *base, const struct fkv_extent *most)
{
    const struct cpu_backend *b = (const struct cpu_backend *)base;
    float *part;
    return (struct fkv_bytes){b->bytes + lay_out_long(b, most, NULL, &part, NULL), 0};
}

void cpu_destroy(struct fkv_backend *base)
{
    struct cpu_backend *b = (struct cpu_backend *)base;
    if (!b) return;
    free(b->scratch);
    fkv_unreserve(b->memory, b->bytes);
    fkv_unreserve(b->long_memory, b->long_bytes);
    fkv_team_destroy(base->team);
    fkv_blas_close(&b->blas);
    free(b);
}

/* ---- where activations lie: the host's own memory --------------------------------------------- */

fkv_status cpu_alloc(struct fkv_backend *b, struct fkv_tensor *x, size_t n, bool whole)
{
    (void)b;
    float *memory = fkv_reserve(n * sizeof *memory);
    if (!memory) return FKV_ERROR_MEMORY;
    if (whole) fkv_prefer_huge_pages(memory, n * sizeof *memory);
    *x = (struct fkv_tensor){(struct fkv_buffer *)(void *)memory, 0};
    return FKV_OK;
}

void cpu_free(struct fkv_backend *b, struct fkv_tensor x, size_t n)
{
    (void)b;
    fkv_unreserve(cpu_floats(x), n * sizeof(float));
}

void cpu_write(struct fkv_backend *b, struct fkv_tensor x, const float *from, size_t n)
{
    (void)b;
    memcpy(cpu_floats(x), from, n * sizeof *from);
}

const float *cpu_read(struct fkv_backend *b, struct fkv_tensor x, size_t n, float *copy)
{
    (void)b, (void)n, (void)copy;
    return cpu_floats(x);
}

void cpu_discard(struct fkv_backend *b, struct fkv_tensor x, size_t n)
{
    (void)b;
    fkv_release_pages(cpu_floats(x), cpu_floats(x) + n);
}

/* Weights are multiplied where the file is mapped. */
fkv_status cpu_load_weight(struct fkv_backend *base, struct fkv_weight *w, const char *name, struct fkv_error *e)
{
    struct cpu_backend *b = (struct cpu_backend *)base;
    (void)name, (void)e;
    if (!b->blas.library && cpu_wants_blas(b, w)) fkv_blas_open(&b->blas);
    if (b->blas.library) base->few_rows = 0;
    return FKV_OK;
}

fkv_status cpu_load_vector(struct fkv_backend *b, struct fkv_tensor *v, const float *from, size_t n, const char *name,
                           struct fkv_error *e)
{
    (void)b, (void)n, (void)name, (void)e;
    *v = (struct fkv_tensor){(struct fkv_buffer *)(uintptr_t)from, 0};
    return FKV_OK;
}

uint64_t cpu_weight_bytes(const struct fkv_backend *b, const struct fkv_weight *w)
{
    (void)b, (void)w;
    return 0;
}

uint64_t cpu_bytes_left(struct fkv_backend *b)
{
    (void)b;
    struct fkv_memory_left left;
    fkv_memory_left("", &left);
    return left.bytes;
}

fkv_status cpu_wait(struct fkv_backend *b)
{
    (void)b;
    return FKV_OK;
}

fkv_status cpu_pace(struct fkv_backend *b)
{
    (void)b;
    return FKV_OK;
}

/* ---- the back end ------------------------------------------------------------------------------ */

static const struct fkv_ops cpu_ops = {
    .name = "cpu",
#define OP(result, name, args) .name = cpu_##name,
#include "backend/ops.def"
};

static fkv_status create_scratch(struct cpu_backend *b, struct fkv_error *e)
{
    const int threads = fkv_team_size(b->base.team);
    b->scratch = calloc((size_t)threads, sizeof *b->scratch);
    if (b->scratch) {
        b->bytes = lay_out(b, NULL);
        b->memory = fkv_reserve(b->bytes);
    }
    if (!b->memory) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the scratch of %d threads", threads);
    fkv_prefer_huge_pages(b->memory, b->bytes);
    lay_out(b, b->memory);
    return FKV_OK;
}

fkv_status fkv_cpu_backend_create(struct fkv_backend **backend, int n_threads, const char *isa, bool exact,
                                  bool precise, int max_cols, struct fkv_error *e)
{
    int level;
    fkv_status status = fkv_cpu_level(&level, isa, e);
    if (status != FKV_OK) return status;
    struct cpu_backend *b = calloc(1, sizeof *b);
    if (!b) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the CPU back end");
    b->k = fkv_simd_kernels(level);
    b->max_cols = (max_cols + 255) & ~255;
    b->base = (struct fkv_backend){.ops = &cpu_ops,
                                   .isa = b->k->isa,
                                   .block_rows = FKV_BLOCK_ROWS,
                                   .few_rows = 1,
                                   .device = cpu_ops.name,
                                   .exact = exact,
                                   .precise = precise,
                                   .scores_values = true,
                                   .work_type = exact ? FKV_ELEM_F32 : b->k->kv_elem};
    status = fkv_team_create(&b->base.team, n_threads, e);
    if (status == FKV_OK) status = create_scratch(b, e);
    if (status != FKV_OK) {
        cpu_destroy(&b->base);
        return status;
    }
    *backend = &b->base;
    return FKV_OK;
}
