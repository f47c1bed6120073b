/* Attention over a store. */
#include <math.h>

#include "vulkan/vk_internal.h"

enum {
    ATTEND_ROWS = 32,
    ATTEND_MATRICES = 4
}; /* query rows of a group of the shader attend; matrices of rows in its variants */

static const float log2_e = 1.44269504088896340736f;

/* Query heads h .. h + heads - 1, whose KV heads one binding sees. */
struct heads {
    int h, heads, kv0, query_heads;
};

static void attend_rows(struct vk_context *c, const struct fkv_kv_store *s, struct heads at, float scale,
                        struct vk_slice q, size_t ld, int n, struct vk_slice keys, double n_keys, struct vk_slice out)
{
    const int kv_heads = at.heads / at.query_heads;
    const struct {
        uint32_t n, heads, h0, kv0, query_heads, ld, d;
        float scale;
        uint32_t k_entry, k_head, v_entry, v_head;
    } push = {(uint32_t)n,
              (uint32_t)at.heads,
              (uint32_t)at.h,
              (uint32_t)at.kv0,
              (uint32_t)at.query_heads,
              (uint32_t)ld,
              (uint32_t)s->d,
              scale * log2_e,
              vk_entry_words(s->type[VK_K], s->d),
              vk_head_words(s, VK_K),
              vk_entry_words(s->type[VK_V], s->d),
              vk_head_words(s, VK_V)};
    struct vk_call call = {VK_SHADER_attend,
                           {(uint32_t)s->type[VK_K], (uint32_t)s->type[VK_V], vk_chunks(s->d)},
                           {q, vk_kv_heads(s, VK_K, at.kv0, kv_heads), vk_kv_heads(s, VK_V, at.kv0, kv_heads), keys,
                            out},
                           &push,
                           sizeof push,
                           0,
                           2.0 * n * at.heads * s->d * n_keys};
    const int side = (int)vk_matrix_side(c, call.shader, call.constants),
              rows = side ? ATTEND_MATRICES * side : ATTEND_ROWS;
    call.groups = (uint64_t)((n + rows - 1) / rows) * (uint64_t)at.heads;
    vk_dispatch(c, &call);
}

/* part: [n_head][pieces][d + 2] */
static void attend_one(struct vk_context *c, const struct fkv_kv_store *s, struct heads at, float scale,
                       struct vk_slice q, int pieces, struct vk_slice keys, struct vk_slice part)
{
    const int kv_heads = at.heads / at.query_heads;
    const struct {
        uint32_t heads, h0, kv0, query_heads, d, pieces;
        float scale;
        uint32_t k_entry, k_head, v_entry, v_head;
    } push = {(uint32_t)at.heads,     (uint32_t)at.h,
              (uint32_t)at.kv0,       (uint32_t)at.query_heads,
              (uint32_t)s->d,         (uint32_t)pieces,
              scale * log2_e,         vk_entry_words(s->type[VK_K], s->d),
              vk_head_words(s, VK_K), vk_entry_words(s->type[VK_V], s->d),
              vk_head_words(s, VK_V)};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_attend_one,
                                     {(uint32_t)s->type[VK_K], (uint32_t)s->type[VK_V], vk_chunks(s->d)},
                                     {q, vk_kv_heads(s, VK_K, at.kv0, kv_heads), vk_kv_heads(s, VK_V, at.kv0, kv_heads),
                                      keys, part},
                                     &push,
                                     sizeof push,
                                     (uint64_t)pieces * (uint64_t)at.heads,
                                     2.0 * at.heads * s->d * pieces * VK_PIECE});
}

static void merge(struct vk_context *c, int n_head, int d, int pieces, struct vk_slice part, struct vk_slice out)
{
    const struct {
        uint32_t d, pieces;
    } push = {(uint32_t)d, (uint32_t)pieces};
    vk_dispatch(c, &(struct vk_call){VK_SHADER_attend_merge,
                                     {0},
                                     {part, out},
                                     &push,
                                     sizeof push,
                                     (uint64_t)n_head,
                                     (double)n_head * d * pieces});
}

void vk_attend(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q, size_t ld,
               int n, const int32_t *seen, float *out)
{
    struct vk_backend *b = vk_of(r);
    struct vk_context *c = &b->c;
    const int query_heads = n_head / s->heads, step = vk_visible_heads(s);
    int32_t keys[VK_BLOCK_ROWS + VK_MAX_HEADS];
    int longest = 0, n_keys = 0;
    const bool single = n == 1 && !b->base.exact; /* the check path computes every row alike */
    if (!vk_enter(c, sizeof keys)) return;
    if (single) {
        vk_count_keys(s, seen, keys);
        n_keys = s->heads;
    } else {
        for (int i = 0; i < n; i++) keys[n_keys++] = seen ? seen[i] : 0;
        for (int h = 0; h < s->heads; h++) keys[n_keys++] = seen ? s->base[h] : s->n[h];
    }
    for (int h = 0; h < s->heads; h++)
        longest = single ? (keys[h] > longest ? keys[h] : longest) : (s->n[h] > longest ? s->n[h] : longest);
    const size_t width = (size_t)n_head * (size_t)s->d, all = (size_t)(n - 1) * ld + width;
    const struct vk_slice list = vk_upload(c, keys, (uint64_t)n_keys * sizeof *keys), qs = vk_floats(c, q, all),
                          outs = vk_floats(c, out, all);
    const int pieces = (longest + VK_PIECE - 1) / VK_PIECE;
    const struct vk_slice part = vk_first(b->part, (uint64_t)n_head * (uint64_t)pieces * (uint64_t)(s->d + 2));
    for (int kv = 0; kv < s->heads; kv += step) {
        const struct heads at = {kv * query_heads, (s->heads - kv < step ? s->heads - kv : step) * query_heads, kv,
                                 query_heads};
        if (single)
            attend_one(c, s, at, scale, qs, pieces, list, part);
        else
            attend_rows(c, s, at, scale, qs, ld, n, list, longest, outs);
    }
    if (single) merge(c, n_head, s->d, pieces, part, outs);
    vk_leave(c);
}
