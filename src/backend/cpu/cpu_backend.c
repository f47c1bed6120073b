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

/* Takes the next `bytes` of a reservation, 64-byte aligned. */
static void *carve(char **at, size_t bytes)
{
    void *p = *at;
    *at += (bytes + 63) & ~(size_t)63;
    return p;
}

static bool scratch_create(struct cpu_scratch *s, const struct cpu_backend *b)
{
    const size_t cols = (size_t)b->max_cols, tile = FKV_BLOCK_ROWS * FKV_MOST_PANEL_ROWS * sizeof(float),
                 vector = b->k->v8_bytes(b->max_cols);
    s->bytes = FKV_PANEL_SCRATCH + 2 * tile + (CPU_FLOAT_ROWS + 1) * cols * sizeof(float) + vector +
               FKV_ATTEND_SCRATCH + 8 * 64;
    s->memory = fkv_reserve(s->bytes);
    if (!s->memory) return false;
    fkv_prefer_huge_pages(s->memory, s->bytes);
    char *at = s->memory;
    s->panel = carve(&at, FKV_PANEL_SCRATCH);
    s->attend = carve(&at, FKV_ATTEND_SCRATCH);
    s->tile[0] = carve(&at, tile);
    s->tile[1] = carve(&at, tile);
    s->rows = carve(&at, cols * sizeof(float));
    s->vector = carve(&at, vector);
    s->floats = carve(&at, CPU_FLOAT_ROWS * cols * sizeof(float));
    return true;
}

static bool scratch_lengthen(struct cpu_scratch *s, size_t n, int window)
{
    fkv_unreserve(s->long_memory, s->long_bytes);
    s->long_bytes = n * (size_t)(window + 4) * sizeof(float) + 5 * 64;
    s->long_memory = fkv_reserve(s->long_bytes);
    if (!s->long_memory) return false;
    char *at = s->long_memory;
    s->logits = carve(&at, n * (size_t)window * sizeof(float));
    s->sums = carve(&at, n * sizeof(float));
    s->pooled = carve(&at, n * sizeof(float));
    s->copy = carve(&at, n * sizeof(float));
    s->keys = carve(&at, n * sizeof(uint32_t));
    return true;
}

struct preparation {
    struct cpu_backend *b;
    size_t n;
    int n_head, window;
    bool ok;
};

static void prepare_region(void *arg, int thread)
{
    struct preparation *p = arg;
    struct cpu_backend *b = p->b;
    if (thread != 0 || (p->n <= b->n_entries && p->window <= b->window)) return;
    for (int i = 0; p->ok && i < fkv_team_size(b->base.team); i++)
        p->ok = scratch_lengthen(&b->scratch[i], p->n, p->window);
    fkv_unreserve(b->part, b->part_bytes);
    b->part_bytes = (p->n / CPU_CHUNK + 1) * (size_t)p->n_head * (FKV_MAX_HEAD + 2) * sizeof(float);
    b->part = fkv_reserve(b->part_bytes);
    p->ok = p->ok && b->part;
    b->n_entries = p->ok ? p->n : 0;
    b->window = p->window;
}

/* In a region of its own: another session's region may be using the scratch. */
static fkv_status cpu_prepare(struct fkv_backend *base, int n_entries, int n_head, int window)
{
    struct preparation p = {(struct cpu_backend *)base, (size_t)n_entries, n_head, window, true};
    fkv_team_run(base->team, prepare_region, &p);
    return p.ok ? FKV_OK : FKV_ERROR_MEMORY;
}

static void cpu_destroy(struct fkv_backend *base)
{
    struct cpu_backend *b = (struct cpu_backend *)base;
    if (!b) return;
    for (int i = 0; b->scratch && i < fkv_team_size(base->team); i++) {
        fkv_unreserve(b->scratch[i].memory, b->scratch[i].bytes);
        fkv_unreserve(b->scratch[i].long_memory, b->scratch[i].long_bytes);
    }
    free(b->scratch);
    fkv_unreserve(b->packed, b->packed_bytes);
    fkv_unreserve(b->part, b->part_bytes);
    fkv_team_destroy(base->team);
    fkv_blas_close(&b->blas);
    free(b);
}

/* ---- where activations lie: the host's own memory -------------------------------------------- */

static fkv_status cpu_alloc(struct fkv_backend *b, float **x, size_t n, bool whole)
{
    (void)b;
    float *memory = fkv_reserve(n * sizeof *memory);
    if (!memory) return FKV_ERROR_MEMORY;
    if (whole) fkv_prefer_huge_pages(memory, n * sizeof *memory);
    *x = memory;
    return FKV_OK;
}

static void cpu_free(struct fkv_backend *b, float *x, size_t n)
{
    (void)b;
    fkv_unreserve(x, n * sizeof *x);
}

static void cpu_write(struct fkv_backend *b, float *x, const float *from, size_t n)
{
    (void)b;
    memcpy(x, from, n * sizeof *x);
}

static const float *cpu_read(struct fkv_backend *b, const float *x, size_t n, float *copy)
{
    (void)b, (void)n, (void)copy;
    return x;
}

static void cpu_discard(struct fkv_backend *b, float *x, size_t n)
{
    (void)b;
    fkv_release_pages(x, x + n);
}

/* Weights are multiplied where the file is mapped. */
static fkv_status cpu_load_weight(struct fkv_backend *base, struct fkv_weight *w, const char *name, struct fkv_error *e)
{
    struct cpu_backend *b = (struct cpu_backend *)base;
    (void)name, (void)e;
    if (!b->blas.library && cpu_wants_blas(b, w)) fkv_blas_open(&b->blas);
    return FKV_OK;
}

static fkv_status cpu_load_vector(struct fkv_backend *b, const float **v, size_t n, const char *name,
                                  struct fkv_error *e)
{
    (void)b, (void)v, (void)n, (void)name, (void)e;
    return FKV_OK;
}

static uint64_t cpu_weight_bytes(const struct fkv_backend *b, const struct fkv_weight *w)
{
    (void)b, (void)w;
    return 0;
}

static uint64_t cpu_scratch_bytes(const struct fkv_backend *b, int n_entries, int n_head, int window)
{
    (void)b, (void)n_entries, (void)n_head, (void)window;
    return 0;
}

static uint64_t cpu_bytes_left(struct fkv_backend *b)
{
    (void)b;
    struct fkv_memory_left left;
    fkv_memory_left("", &left);
    return left.bytes;
}

static fkv_status cpu_wait(struct fkv_backend *b)
{
    (void)b;
    return FKV_OK;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct fkv_ops cpu_ops = {
    .name = "cpu",
    .embed = cpu_embed,
    .product = cpu_product,
    .gated = cpu_gated,
    .head_norm = cpu_head_norm,
    .rope = cpu_rope,
    .kv_append = cpu_kv_append,
    .attend = cpu_attend,
    .score = cpu_score,
    .select = cpu_select,
    .select_common = cpu_select_common,
    .gather = cpu_gather,
    .retain = cpu_retain,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .write = cpu_write,
    .read = cpu_read,
    .discard = cpu_discard,
    .load_weight = cpu_load_weight,
    .load_vector = cpu_load_vector,
    .weight_bytes = cpu_weight_bytes,
    .scratch_bytes = cpu_scratch_bytes,
    .bytes_left = cpu_bytes_left,
    .wait = cpu_wait,
    .pace = cpu_wait,
    .kv_create = cpu_kv_create,
    .kv_destroy = cpu_kv_destroy,
    .kv_assign = cpu_kv_assign,
    .kv_cut = cpu_kv_cut,
    .kv_count = cpu_kv_count,
    .kv_bytes = cpu_kv_bytes,
    .prepare = cpu_prepare,
    .destroy = cpu_destroy,
};

/* All forms of one block of rows: floats, x8 and x16. */
static size_t packed_bytes(const struct cpu_backend *b)
{
    return (size_t)FKV_BLOCK_ROWS * (size_t)b->max_cols * sizeof(float) + b->k->x8_bytes(FKV_BLOCK_ROWS, b->max_cols) +
           b->k->x16_bytes(FKV_BLOCK_ROWS, b->max_cols);
}

fkv_status fkv_cpu_backend_create(struct fkv_backend **backend, int n_threads, const char *isa, bool exact,
                                  bool precise, int max_cols, struct fkv_error *e)
{
    int level;
    fkv_status status = fkv_cpu_level(&level, isa, e);
    if (status != FKV_OK) return status;
    struct cpu_backend *b = calloc(1, sizeof *b);
    if (!b) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the CPU back end");
    b->base.ops = &cpu_ops;
    b->base.block_rows = FKV_BLOCK_ROWS;
    b->base.device = cpu_ops.name;
    b->base.exact = exact;
    b->base.precise = precise;
    b->max_cols = (max_cols + 255) & ~255;
    b->k = fkv_simd_kernels(level);
    b->base.isa = b->k->isa;
    b->base.work_type = exact ? FKV_ELEM_F32 : b->k->kv_elem;
    status = fkv_team_create(&b->base.team, n_threads, e);
    if (status != FKV_OK) {
        free(b);
        return status;
    }
    const int threads = fkv_team_size(b->base.team);
    b->packed_bytes = packed_bytes(b);
    b->packed = fkv_reserve(b->packed_bytes);
    if (b->packed) fkv_prefer_huge_pages(b->packed, b->packed_bytes);
    b->scratch = calloc((size_t)threads, sizeof *b->scratch);
    bool ok = b->packed && b->scratch;
    for (int i = 0; ok && i < threads; i++) ok = scratch_create(&b->scratch[i], b);
    if (!ok) {
        cpu_destroy(&b->base);
        return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the scratch of %d threads", threads);
    }
    *backend = &b->base;
    return FKV_OK;
}
