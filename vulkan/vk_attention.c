/* Attention over stores. */
#include "vulkan/vk_internal.h"

enum {
    ATTEND_ROWS = 32,
    ATTEND_MATRICES = 4
}; /* query rows of a group of the shader attend; matrices of rows in its variants */

static const float log2_e = 1.44269504088896340736f;

/* What all dispatches of an operation share, and the query heads h .. h + heads - 1 of one, whose KV heads one binding
   sees. */
struct attention {
    struct vk_context *c;
    const struct fkv_attention *how;
    const struct fkv_kv_store *s;
    int query_heads;
    int h, heads, kv, kv_heads;
};

static struct attention attention_over(struct vk_context *c, const struct fkv_attention *how,
                                       const struct fkv_kv_store *s)
{
    return (struct attention){.c = c, .how = how, .s = s, .query_heads = how->n_head / s->heads};
}

/* The next heads; false when there are none. */
static bool next_heads(struct attention *a)
{
    const int step = vk_visible_heads(a->s);
    a->kv += a->kv_heads;
    a->kv_heads = a->s->heads - a->kv < step ? a->s->heads - a->kv : step;
    a->h = a->kv * a->query_heads;
    a->heads = a->kv_heads * a->query_heads;
    return a->heads > 0;
}

static struct vk_slice keys_of(const struct attention *a, int which)
{
    return vk_kv_heads(a->s, which, a->kv, a->kv_heads);
}

/* The sinks, or another slice where there are none. */
static struct vk_slice sinks_or(const struct fkv_attention *how, struct vk_slice other)
{
    return fkv_tensor_is(how->sinks) ? vk_values(how->sinks, (size_t)how->n_head) : other;
}

/* The least position that a row sees. */
static int32_t least_of(const struct fkv_attention *how, int32_t pos)
{
    return how->window && pos >= how->window ? pos - how->window + 1 : 0;
}

/* ---- many rows ------------------------------------------------------------------------------- */

/* n rows of one sequence. q, out: of the first; ld from row to row. keys: see the shader. */
static void attend_heads(const struct attention *a, struct vk_slice q, size_t ld, int n, struct vk_slice keys,
                         struct vk_slice out)
{
    const struct fkv_kv_store *s = a->s;
    const struct {
        uint32_t n, heads, h0, kv0, query_heads, ld, d;
        float scale;
        uint32_t k_entry, k_head, v_entry, v_head, pos_head, has_window, has_sinks;
    } push = {.n = (uint32_t)n,
              .heads = (uint32_t)a->heads,
              .h0 = (uint32_t)a->h,
              .kv0 = (uint32_t)a->kv,
              .query_heads = (uint32_t)a->query_heads,
              .ld = (uint32_t)ld,
              .d = (uint32_t)s->d,
              .scale = a->how->scale * log2_e,
              .k_entry = vk_entry_words(s->type[VK_K], s->d),
              .k_head = vk_head_words(s, VK_K),
              .v_entry = vk_entry_words(s->type[VK_V], s->d),
              .v_head = vk_head_words(s, VK_V),
              .pos_head = (uint32_t)s->room,
              .has_window = a->how->window > 0,
              .has_sinks = fkv_tensor_is(a->how->sinks)};
    struct vk_call call = {.shader = VK_SHADER_attend,
                           .constants = {(uint32_t)s->type[VK_K], (uint32_t)s->type[VK_V], vk_chunks(s->d)},
                           .bind = {q, keys_of(a, VK_K), keys_of(a, VK_V), keys, out,
                                    vk_positions_of(s, a->kv, a->kv_heads), sinks_or(a->how, q)},
                           .push = &push,
                           .push_bytes = sizeof push,
                           .work = 2.0 * n * a->heads * s->d * vk_longest(s)};
    const int side = (int)vk_matrix_side(a->c, call.shader, call.constants),
              rows = side ? ATTEND_MATRICES * side : ATTEND_ROWS;
    call.groups = (uint64_t)((n + rows - 1) / rows) * (uint64_t)a->heads;
    vk_dispatch(a->c, &call);
}

/* What n rows from `row` on see: the shader's lists. */
static struct vk_slice upload_views(struct vk_context *c, const struct fkv_kv_store *s, const struct fkv_attention *how,
                                    const struct fkv_rows *rows, int row, int n)
{
    void *room;
    const struct vk_slice list = vk_upload_room(c, (uint64_t)(2 * n + s->heads) * sizeof(int32_t), &room);
    int32_t *at = room;
    for (int i = 0; i < n; i++) {
        at[i] = rows->hidden ? rows->hidden[row + i] : 0;
        at[n + i] = least_of(how, rows->pos[row + i]);
    }
    for (int h = 0; h < s->heads; h++) at[2 * n + h] = s->n[h];
    return list;
}

static void attend_rows(struct vk_context *c, const struct fkv_kv_store *s, const struct fkv_attention *how,
                        struct fkv_tensor q, size_t ld, const struct fkv_rows *rows, int row, int n,
                        struct fkv_tensor out)
{
    struct attention a = attention_over(c, how, s);
    const size_t at = (size_t)row * ld, all = (size_t)(n - 1) * ld + (size_t)how->n_head * (size_t)s->d;
    const struct vk_slice keys = upload_views(c, s, how, rows, row, n), qs = vk_values(fkv_tensor_from(q, at), all),
                          outs = vk_values(fkv_tensor_from(out, at), all);
    while (next_heads(&a)) attend_heads(&a, qs, ld, n, keys, outs);
}

/* ---- a row alone ----------------------------------------------------------------------------- */

/* part: [n_head][pieces][d + 2] */
static void attend_pieces(const struct attention *a, struct vk_slice q, int32_t least, int pieces, struct vk_slice keys,
                          struct vk_slice part)
{
    const struct fkv_kv_store *s = a->s;
    const struct {
        uint32_t heads, h0, kv0, query_heads, d, pieces;
        float scale;
        uint32_t k_entry, k_head, v_entry, v_head, pos_head;
        int32_t least;
    } push = {.heads = (uint32_t)a->heads,
              .h0 = (uint32_t)a->h,
              .kv0 = (uint32_t)a->kv,
              .query_heads = (uint32_t)a->query_heads,
              .d = (uint32_t)s->d,
              .pieces = (uint32_t)pieces,
              .scale = a->how->scale * log2_e,
              .k_entry = vk_entry_words(s->type[VK_K], s->d),
              .k_head = vk_head_words(s, VK_K),
              .v_entry = vk_entry_words(s->type[VK_V], s->d),
              .v_head = vk_head_words(s, VK_V),
              .pos_head = (uint32_t)s->room,
              .least = least};
    vk_dispatch(a->c,
                &(struct vk_call){.shader = VK_SHADER_attend_one,
                                  .constants = {(uint32_t)s->type[VK_K], (uint32_t)s->type[VK_V], vk_chunks(s->d)},
                                  .bind = {q, keys_of(a, VK_K), keys_of(a, VK_V), keys, part,
                                           vk_positions_of(s, a->kv, a->kv_heads)},
                                  .push = &push,
                                  .push_bytes = sizeof push,
                                  .groups = (uint64_t)pieces * (uint64_t)a->heads,
                                  .work = 2.0 * a->heads * s->d * pieces * VK_PIECE});
}

static void merge(struct vk_context *c, const struct fkv_attention *how, int d, int pieces, struct vk_slice part,
                  struct vk_slice out)
{
    const struct {
        uint32_t d, pieces, has_sinks;
    } push = {(uint32_t)d, (uint32_t)pieces, fkv_tensor_is(how->sinks)};
    vk_dispatch(c, &(struct vk_call){.shader = VK_SHADER_attend_merge,
                                     .bind = {part, out, sinks_or(how, part)},
                                     .push = &push,
                                     .push_bytes = sizeof push,
                                     .groups = (uint64_t)how->n_head,
                                     .work = (double)how->n_head * d * pieces});
}

/* The ends of what a row sees in each KV head; the longest of them. */
static struct vk_slice upload_ends(struct vk_context *c, const struct fkv_kv_store *s, int hidden, int *longest)
{
    void *room;
    const struct vk_slice list = vk_upload_room(c, (uint64_t)s->heads * sizeof(int32_t), &room);
    for (int h = 0; h < s->heads; h++) ((int32_t *)room)[h] = s->n[h] - hidden;
    *longest = vk_longest(s) - hidden;
    return list;
}

/* The pieces of a row: [n_head][n][d + 2]. */
struct pieces {
    struct vk_slice at;
    int n;
};

/* part: scratch that the rows before this one have not taken; what it takes is taken off, whole units so that bindings
   do not overlap. */
static struct pieces attend_alone(struct vk_context *c, const struct fkv_kv_store *s, const struct fkv_attention *how,
                                  struct fkv_tensor q, int hidden, int32_t pos, struct vk_slice *part)
{
    struct attention a = attention_over(c, how, s);
    int longest;
    const struct vk_slice keys = upload_ends(c, s, hidden, &longest),
                          qs = vk_values(q, (size_t)how->n_head * (size_t)s->d);
    struct pieces made = {.n = (longest + VK_PIECE - 1) / VK_PIECE};
    made.at = vk_first(*part, (uint64_t)how->n_head * (uint64_t)made.n * (uint64_t)(s->d + 2));
    part->offset += vk_aligned(made.at.bytes);
    while (next_heads(&a)) attend_pieces(&a, qs, least_of(how, pos), made.n, keys, made.at);
    return made;
}

/* The rows' pieces side by side, then their results. */
static void attend_each(struct vk_backend *b, struct fkv_kv_store *const *stores, const struct fkv_attention *how,
                        struct fkv_tensor q, size_t ld, const struct fkv_rows *rows, struct fkv_tensor out)
{
    struct pieces made[FKV_STEP_ROWS];
    struct vk_slice part = b->part;
    const int d = stores[0]->d;
    for (int row = 0; row < rows->n; row++)
        made[row] = attend_alone(&b->c, stores[rows->sequence ? rows->sequence[row] : 0], how,
                                 fkv_tensor_from(q, (size_t)row * ld), rows->hidden ? rows->hidden[row] : 0,
                                 rows->pos[row], &part);
    for (int row = 0; row < rows->n; row++)
        merge(&b->c, how, d, made[row].n, made[row].at,
              vk_values(fkv_tensor_from(out, (size_t)row * ld), (size_t)how->n_head * (size_t)d));
}

/* ---- the operation --------------------------------------------------------------------------- */

void vk_attend(struct fkv_run *r, struct fkv_kv_store *const *stores, const struct fkv_attention *how,
               struct fkv_tensor q, size_t ld, const struct fkv_rows *rows, struct fkv_tensor out)
{
    struct vk_backend *b = vk_of(r);
    const bool alone = (rows->alone || rows->n == 1) && !b->base.exact; /* the check path computes every row alike */
    const int words = 2 * rows->n + FKV_STEP_ROWS * stores[0]->heads;
    if (!vk_enter(&b->c, (uint64_t)words * sizeof(int32_t))) return;
    if (alone) attend_each(b, stores, how, q, ld, rows, out);
    for (int row = 0, end; row < rows->n && !alone; row = end) {
        end = fkv_rows_end(rows, row);
        attend_rows(&b->c, stores[rows->sequence ? rows->sequence[row] : 0], how, q, ld, rows, row, end - row, out);
    }
    vk_leave(&b->c);
}
