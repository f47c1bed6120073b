/* The Vulkan back end: its scratch and its table of operations. */
#include "vulkan/vk_backend.h"

#include <stdlib.h>
#include <string.h>

#include "vulkan/vk_internal.h"

/* ---- where activations lie ------------------------------------------------------------------- */

struct fkv_buffer *vk_buffer_create(struct vk_backend *b, size_t n)
{
    struct fkv_buffer *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    if (!vk_slice_alloc(&b->c, n * sizeof(float), &x->slice)) {
        free(x);
        return NULL;
    }
    x->next = b->buffers;
    b->buffers = x;
    return x;
}

static void destroy_buffer(struct vk_backend *b, struct fkv_buffer *x)
{
    struct fkv_buffer **at = &b->buffers;
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    vk_slice_free(&b->c, &x->slice);
    free(x);
}

fkv_status vk_alloc(struct fkv_backend *base, struct fkv_tensor *x, size_t n, bool whole)
{
    struct vk_backend *b = (struct vk_backend *)base;
    (void)whole;
    if (!vk_enter(&b->c, 0)) return b->c.status;
    const struct fkv_tensor made = {vk_buffer_create(b, n), 0};
    vk_leave(&b->c);
    if (!fkv_tensor_is(made)) return FKV_ERROR_MEMORY;
    *x = made;
    return FKV_OK;
}

void vk_free(struct fkv_backend *base, struct fkv_tensor x, size_t n)
{
    struct vk_backend *b = (struct vk_backend *)base;
    (void)n;
    if (!vk_enter(&b->c, 0)) return; /* what a lost device holds goes with it */
    vk_finish(&b->c);
    destroy_buffer(b, x.buffer);
    vk_leave(&b->c);
}

void vk_write(struct fkv_backend *base, struct fkv_tensor x, const float *from, size_t n)
{
    vk_write_slice(&((struct vk_backend *)base)->c, vk_values(x, n), from);
}

const float *vk_read(struct fkv_backend *base, struct fkv_tensor x, size_t n, float *copy)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    if (!vk_enter(c, 0)) return copy;
    vk_download(c, vk_values(x, n), copy);
    vk_leave(c);
    return copy;
}

void vk_discard(struct fkv_backend *base, struct fkv_tensor x, size_t n) { (void)base, (void)x, (void)n; }

static fkv_status settle(struct fkv_backend *base, void (*how)(struct vk_context *c))
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    if (vk_enter(c, 0)) {
        how(c);
        vk_leave(c);
    }
    if (!vk_ok(c)) base->error = c->error;
    return c->status;
}

fkv_status vk_wait(struct fkv_backend *base) { return settle(base, vk_finish); }
fkv_status vk_pace(struct fkv_backend *base) { return settle(base, vk_begin); }

/* ---- scratch --------------------------------------------------------------------------------- */

enum { MOST_LOGIT_BYTES = 64 << 20 };

enum { SCRATCHES = 6 };

/* A piece of scratch. */
static struct vk_slice *scratch(struct vk_backend *b, int i)
{
    struct vk_slice *const all[SCRATCHES] = {&b->part, &b->logits, &b->stats, &b->sums, &b->total, &b->work};
    return all[i];
}

/* Heads whose logits are held at once. */
static int logit_heads(const struct fkv_extent *x)
{
    const uint64_t fit = MOST_LOGIT_BYTES / ((uint64_t)x->window * (uint64_t)x->n_entries * 4);
    return fit < 1 ? 1 : fit < (uint64_t)x->n_head ? (int)fit : x->n_head;
}

/* Bytes of each piece. */
static void size_scratch(const struct fkv_extent *x, uint64_t bytes[SCRATCHES])
{
    const uint64_t n = (uint64_t)x->n_entries, heads = (uint64_t)x->n_head, w = (uint64_t)x->window,
                   held = (uint64_t)logit_heads(x);
    const uint64_t sizes[SCRATCHES] = {FKV_STEP_ROWS *
                                           vk_aligned(heads * (n / VK_PIECE + 1) * ((uint64_t)x->d + 2) * 4),
                                       held * w * n * 4,
                                       held * w * 3 * 4,
                                       heads * n * 4,
                                       n * 4,
                                       heads * (4 * 256 + 10 + 2 * (n / 2048 + 1)) * 4};
    memcpy(bytes, sizes, sizeof sizes);
}

struct fkv_bytes vk_scratch_bytes(const struct fkv_backend *base, const struct fkv_extent *most)
{
    struct fkv_bytes sum = {0, 0};
    uint64_t bytes[SCRATCHES];
    (void)base;
    size_scratch(most, bytes);
    for (int i = 0; i < SCRATCHES; i++) sum.device += bytes[i];
    return sum;
}

/* Without memory for the new, the old stays: others use it. */
static bool alloc_scratch(struct vk_backend *b, const struct fkv_extent *wanted)
{
    uint64_t bytes[SCRATCHES];
    struct vk_slice made[SCRATCHES] = {{0}};
    bool ok = true;
    size_scratch(wanted, bytes);
    for (int i = 0; i < SCRATCHES && ok; i++) ok = vk_slice_alloc(&b->c, bytes[i], &made[i]);
    if (ok) vk_finish(&b->c);
    for (int i = 0; i < SCRATCHES; i++) {
        vk_slice_free(&b->c, ok ? scratch(b, i) : &made[i]);
        if (ok) *scratch(b, i) = made[i];
    }
    if (!ok) return false;
    b->extent = *wanted;
    b->logit_heads = logit_heads(wanted);
    return true;
}

static int larger(int a, int b) { return a > b ? a : b; }

fkv_status vk_prepare(struct fkv_backend *base, const struct fkv_extent *most)
{
    struct vk_backend *b = (struct vk_backend *)base;
    const struct fkv_extent had = b->extent,
                            wanted = {larger(had.n_entries, most->n_entries), larger(had.n_head, most->n_head),
                                      larger(had.d, most->d), larger(had.window, most->window)};
    bool ok = true;
    if (!vk_enter(&b->c, 0)) return b->c.status;
    if (memcmp(&wanted, &had, sizeof had) != 0) ok = alloc_scratch(b, &wanted);
    vk_leave(&b->c);
    return ok ? FKV_OK : FKV_ERROR_MEMORY;
}

uint64_t vk_bytes_left(struct fkv_backend *base) { return vk_memory_left(&((struct vk_backend *)base)->c); }

/* ---- the table ------------------------------------------------------------------------------- */

void vk_destroy(struct fkv_backend *base)
{
    struct vk_backend *b = (struct vk_backend *)base;
    if (!b) return;
    vk_commands_destroy(&b->c);
    vk_pipelines_destroy(&b->c);
    vk_memory_destroy(&b->c);
    vk_context_close(&b->c);
    for (struct vk_weight *w = b->weights, *next; w; w = next) {
        next = w->next;
        free(w);
    }
    for (struct fkv_buffer *x = b->buffers, *next; x; x = next) {
        next = x->next;
        free(x);
    }
    fkv_team_destroy(base->team);
    free(b);
}

static const struct fkv_ops vk_ops = {
    .name = "vulkan",
#define OP(result, name, args) .name = vk_##name,
#include "backend/ops.def"
};

/* As many rows as one binding sees and a 64th of the device's memory holds. */
static int block_rows(const struct vk_backend *b)
{
    enum { LEAST = 64 };
    const uint64_t row = (uint64_t)b->max_cols * sizeof(float), seen = (b->c.max_range - VK_ALIGNMENT) / row,
                   held = b->c.memory_bytes / 64 / row;
    const uint64_t fit = held < LEAST ? LEAST : held < VK_BLOCK_ROWS ? held : VK_BLOCK_ROWS;
    return seen < 1 ? 1 : seen < fit ? (int)seen : (int)fit;
}

enum { MOST_HALVES_BYTES = 64 << 20, LEAST_HALVES_ROWS = 128 };

static bool create_parts(struct vk_backend *b)
{
    struct vk_context *c = &b->c;
    b->base.block_rows = block_rows(b);
    b->base.few_rows = VK_FEW_ROWS;
    const uint64_t rows = (uint64_t)b->base.block_rows, half_row = vk_halves_ld(b->max_cols) * 2;
    uint64_t weights = c->memory_bytes / 64 < MOST_HALVES_BYTES ? c->memory_bytes / 64 : MOST_HALVES_BYTES;
    if (weights < LEAST_HALVES_ROWS * half_row) weights = LEAST_HALVES_ROWS * half_row;
    if (weights > c->max_range) weights = c->max_range;
    if (!vk_memory_create(c)) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "memory");
    if (!vk_pipelines_create(c) || !vk_commands_create(c)) return false;
    bool ok = vk_slice_alloc(c, rows * (uint64_t)b->max_cols * sizeof(float), &b->normed);
    if (vk_multiplies_halves(c, (uint32_t[VK_MAX_CONSTANTS]){FKV_TYPE_F16}))
        ok = ok && vk_slice_alloc(c, rows * half_row, &b->x_halves) && vk_slice_alloc(c, weights, &b->w_halves);
    if (ok) return true;
    return vk_check(c, VK_ERROR_OUT_OF_DEVICE_MEMORY, "activations");
}

fkv_status fkv_vulkan_backend_create(struct fkv_backend **backend, const char *device, bool exact, int max_cols,
                                     struct fkv_error *e)
{
    struct vk_backend *b = calloc(1, sizeof *b);
    if (!b) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for the Vulkan back end");
    b->base.ops = &vk_ops;
    b->base.exact = exact;
    b->base.own_memory = true;
    b->base.work_type =
        exact ? FKV_ELEM_F32
              : FKV_ELEM_F16; /* shaders multiply floats: of two types as large, the finer one, for K and V */
    b->max_cols = max_cols;
    fkv_status status = fkv_team_create(&b->base.team, 1, e); /* one thread records */
    if (status == FKV_OK) status = vk_context_open(&b->c, device, e);
    if (exact) vk_forbid_rounding(&b->c.abilities);
    if (status != FKV_OK) {
        fkv_team_destroy(b->base.team);
        free(b);
        return status;
    }
    b->base.device = b->c.properties.deviceName;
    b->base.isa = "vulkan";
    if (!create_parts(b)) {
        status = fkv_fail(e, b->c.status, "%s", b->c.error.text);
        vk_destroy(&b->base);
        return status;
    }
    *backend = &b->base;
    return FKV_OK;
}
