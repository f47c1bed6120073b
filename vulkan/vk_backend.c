/* The Vulkan back end: its scratch and its table of operations. */
#include "vulkan/vk_backend.h"

#include <stdlib.h>
#include <string.h>

#include "vulkan/vk_internal.h"

/* ---- where activations lie ------------------------------------------------------------------- */

static fkv_status vk_alloc_op(struct fkv_backend *base, float **x, size_t n, bool whole)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    (void)whole;
    if (!vk_enter(c, 0)) return c->status;
    const bool ok = vk_alloc_floats(c, n, x);
    vk_leave(c);
    return ok ? FKV_OK : FKV_ERROR_MEMORY;
}

static void vk_free_op(struct fkv_backend *base, float *x, size_t n)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    (void)n;
    if (!vk_enter(c, 0)) return; /* what a lost device holds goes with it */
    vk_finish(c);
    vk_free_floats(c, x);
    vk_leave(c);
}

static void vk_write(struct fkv_backend *base, float *x, const float *from, size_t n)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    if (!vk_enter(c, 0)) return;
    const struct vk_slice to = vk_floats(c, x, n);
    vk_leave(c);
    vk_write_slice(c, to, from);
}

static const float *vk_read(struct fkv_backend *base, const float *x, size_t n, float *copy)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    if (!vk_enter(c, 0)) return copy;
    vk_download(c, vk_floats(c, x, n), copy);
    vk_leave(c);
    return copy;
}

static void vk_discard(struct fkv_backend *base, float *x, size_t n) { (void)base, (void)x, (void)n; }

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

static fkv_status vk_wait(struct fkv_backend *base) { return settle(base, vk_finish); }
static fkv_status vk_pace(struct fkv_backend *base) { return settle(base, vk_begin); }

/* ---- scratch --------------------------------------------------------------------------------- */

enum { MOST_LOGIT_BYTES = 64 << 20 };

enum { SCRATCHES = 8 };

/* A piece of scratch. */
static struct vk_slice *scratch(struct vk_backend *b, int i)
{
    struct vk_slice *const all[SCRATCHES] = {&b->part,  &b->logits, &b->stats, &b->sums,
                                             &b->total, &b->work,   &b->found, &b->lists};
    return all[i];
}

static void free_scratch(struct vk_backend *b)
{
    b->selected = NULL;
    for (int i = 0; i < SCRATCHES; i++) vk_free(&b->c, scratch(b, i));
}

/* Bytes of each piece. */
static void size_scratch(uint64_t n, uint64_t heads, uint64_t w, uint64_t logit_heads, uint64_t bytes[SCRATCHES])
{
    const uint64_t sizes[SCRATCHES] = {heads * (n / VK_PIECE + 1) * (FKV_MAX_HEAD + 2) * 4,
                                       logit_heads * w * n * 4,
                                       logit_heads * w * 2 * 4,
                                       heads * n * 4,
                                       n * 4,
                                       heads * (4 * 256 + 10 + 2 * (n / 2048 + 1)) * 4,
                                       heads * n * 4,
                                       heads * (n + 2) * 4};
    memcpy(bytes, sizes, sizeof sizes);
}

/* Heads whose logits are held at once. */
static int logit_heads(uint64_t n, uint64_t heads, uint64_t w)
{
    const uint64_t fit = MOST_LOGIT_BYTES / (w * n * 4);
    return fit < 1 ? 1 : fit < heads ? (int)fit : (int)heads;
}

static uint64_t vk_scratch_bytes(const struct fkv_backend *base, int n_entries, int n_head, int window)
{
    uint64_t bytes[SCRATCHES], sum = 0;
    (void)base;
    size_scratch((uint64_t)n_entries, (uint64_t)n_head, (uint64_t)window,
                 (uint64_t)logit_heads((uint64_t)n_entries, (uint64_t)n_head, (uint64_t)window), bytes);
    for (int i = 0; i < SCRATCHES; i++) sum += bytes[i];
    return sum;
}

static bool alloc_scratch(struct vk_backend *b)
{
    struct vk_context *c = &b->c;
    const uint64_t n = (uint64_t)b->n_entries, heads = (uint64_t)b->n_head, w = (uint64_t)b->window;
    uint64_t bytes[SCRATCHES];
    bool ok = true;
    b->logit_heads = logit_heads(n, heads, w);
    size_scratch(n, heads, w, (uint64_t)b->logit_heads, bytes);
    for (int i = 0; i < SCRATCHES && ok; i++) ok = vk_alloc(c, bytes[i], scratch(b, i));
    return ok && vk_commands_reserve(c, heads * (n + 2) * 4);
}

static uint64_t vk_bytes_left(struct fkv_backend *base)
{
    struct vk_context *c = &((struct vk_backend *)base)->c;
    return vk_memory_left(c);
}

static fkv_status vk_prepare(struct fkv_backend *base, int n_entries, int n_head, int window)
{
    struct vk_backend *b = (struct vk_backend *)base;
    if (!vk_enter(&b->c, 0)) return b->c.status;
    bool ok = true;
    if (n_entries > b->n_entries || n_head > b->n_head || window > b->window) {
        vk_finish(&b->c);
        free_scratch(b);
        b->n_entries = n_entries > b->n_entries ? n_entries : b->n_entries;
        b->n_head = n_head > b->n_head ? n_head : b->n_head;
        b->window = window > b->window ? window : b->window;
        ok = alloc_scratch(b);
        if (!ok) {
            free_scratch(b);
            b->n_entries = b->n_head = b->window = 0;
        }
    }
    vk_leave(&b->c);
    return ok ? FKV_OK : FKV_ERROR_MEMORY;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void vk_destroy(struct fkv_backend *base)
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
    fkv_team_destroy(base->team);
    free(b);
}

static const struct fkv_ops vk_ops = {
    .name = "vulkan",
    .embed = vk_embed,
    .product = vk_product,
    .gated = vk_gated,
    .head_norm = vk_head_norm,
    .rope = vk_rope,
    .kv_append = vk_kv_append,
    .attend = vk_attend,
    .score = vk_score,
    .select = vk_select,
    .select_common = vk_select_common,
    .gather = vk_gather,
    .retain = vk_retain,
    .alloc = vk_alloc_op,
    .free = vk_free_op,
    .write = vk_write,
    .read = vk_read,
    .discard = vk_discard,
    .load_weight = vk_load_weight,
    .load_vector = vk_load_vector,
    .weight_bytes = vk_weight_bytes,
    .scratch_bytes = vk_scratch_bytes,
    .bytes_left = vk_bytes_left,
    .wait = vk_wait,
    .pace = vk_pace,
    .kv_create = vk_kv_create,
    .kv_destroy = vk_kv_destroy,
    .kv_assign = vk_kv_assign,
    .kv_cut = vk_kv_cut,
    .kv_count = vk_kv_count,
    .kv_bytes = vk_kv_bytes,
    .prepare = vk_prepare,
    .destroy = vk_destroy,
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
    const uint64_t rows = (uint64_t)b->base.block_rows, half_row = vk_halves_ld(b->max_cols) * 2;
    uint64_t weights = c->memory_bytes / 64 < MOST_HALVES_BYTES ? c->memory_bytes / 64 : MOST_HALVES_BYTES;
    if (weights < LEAST_HALVES_ROWS * half_row) weights = LEAST_HALVES_ROWS * half_row;
    if (weights > c->max_range) weights = c->max_range;
    if (!vk_memory_create(c)) return vk_check(c, VK_ERROR_OUT_OF_HOST_MEMORY, "memory");
    if (!vk_pipelines_create(c) || !vk_commands_create(c)) return false;
    bool ok = vk_alloc(c, rows * (uint64_t)b->max_cols * sizeof(float), &b->normed);
    if (vk_multiplies_halves(c, (uint32_t[VK_MAX_CONSTANTS]){FKV_TYPE_F16}))
        ok = ok && vk_alloc(c, rows * half_row, &b->x_halves) && vk_alloc(c, weights, &b->w_halves);
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
