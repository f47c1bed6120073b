/* Scores of the rows of a prefill, and the choice among them. */
#include "vulkan/vk_internal.h"

enum { SLICE = 2048, ENTRY_TILE = 256, WINDOW_TILE = 8 }; /* of the shaders top_k and window_logits */

static uint64_t up_to(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }

/* ---- scores ---------------------------------------------------------------------------------- */

struct scores {
    struct vk_backend *b;
    const struct fkv_kv_store *s;
    const struct fkv_attention *attention;
    const struct fkv_scoring *how;
    struct vk_slice q;          /* queries */
    struct vk_slice all, bases; /* entries of each KV head, then the least positions that the window's rows see; entries
                                   before this prefill, then the weights of the window's rows */
    size_t ldq;
    int query_heads, longest, scored;
};

static bool is_by_maximum(const struct scores *x) { return x->how->reduce == FKV_REDUCE_MAX; }

static struct vk_slice logits_of(const struct scores *x, int heads)
{
    return vk_first(x->b->logits, (uint64_t)heads * (uint64_t)x->how->window * (uint64_t)x->longest);
}
static struct vk_slice stats_of(const struct scores *x, int heads)
{
    return vk_first(x->b->stats, (uint64_t)heads * (uint64_t)x->how->window * 3);
}
static struct vk_slice sums_of(const struct scores *x)
{
    return vk_first(x->b->sums, (uint64_t)(x->s->heads * x->query_heads) * (uint64_t)x->scored);
}

/* The window's logits over all entries, for query heads h .. h + heads - 1. */
static void window_logits(const struct scores *x, int h, int heads)
{
    const struct fkv_kv_store *s = x->s;
    const int kv = h / x->query_heads, kv_heads = (h + heads - 1) / x->query_heads - kv + 1, w = x->how->window;
    const uint64_t tiles = up_to((uint64_t)x->longest, ENTRY_TILE);
    const struct {
        uint32_t heads, h0, kv0, query_heads, w, ldq, d;
        float scale;
        uint32_t k_entry, k_head, ld, tiles;
    } push = {(uint32_t)heads,          (uint32_t)h,          (uint32_t)kv,
              (uint32_t)x->query_heads, (uint32_t)w,          (uint32_t)x->ldq,
              (uint32_t)s->d,           x->attention->scale,  vk_entry_words(s->type[VK_K], s->d),
              vk_head_words(s, VK_K),   (uint32_t)x->longest, (uint32_t)tiles};
    vk_dispatch(&x->b->c, &(struct vk_call){VK_SHADER_window_logits,
                                            {(uint32_t)s->type[VK_K], vk_chunks(s->d)},
                                            {x->q, vk_kv_heads(s, VK_K, kv, kv_heads), x->all, logits_of(x, heads)},
                                            &push,
                                            sizeof push,
                                            tiles * (uint64_t)heads * up_to((uint64_t)w, WINDOW_TILE),
                                            (double)heads * w * s->d * x->longest});
}

static void window_softmax(const struct scores *x, int h, int heads)
{
    const struct fkv_kv_store *s = x->s;
    const int w = x->how->window, kv = h / x->query_heads, kv_heads = (h + heads - 1) / x->query_heads - kv + 1;
    const bool has_sinks = fkv_tensor_is(x->attention->sinks);
    const struct {
        uint32_t h0, query_heads, w, ld, kv0, kv_heads, pos_head, has_window, has_sinks;
    } push = {.h0 = (uint32_t)h,
              .query_heads = (uint32_t)x->query_heads,
              .w = (uint32_t)w,
              .ld = (uint32_t)x->longest,
              .kv0 = (uint32_t)kv,
              .kv_heads = (uint32_t)s->heads,
              .pos_head = (uint32_t)s->room,
              .has_window = x->attention->window > 0,
              .has_sinks = has_sinks};
    const struct vk_slice logits = logits_of(x, heads);
    vk_dispatch(&x->b->c,
                &(struct vk_call){.shader = VK_SHADER_window_softmax,
                                  .bind = {logits, x->all, stats_of(x, heads), vk_positions_of(s, kv, kv_heads),
                                           has_sinks ? vk_values(x->attention->sinks, (size_t)x->attention->n_head)
                                                     : logits},
                                  .push = &push,
                                  .push_bytes = sizeof push,
                                  .groups = (uint64_t)(heads * w),
                                  .work = (double)heads * w * x->longest * 2});
}

static void window_sums(const struct scores *x, int h, int heads)
{
    const uint64_t values = (uint64_t)heads * (uint64_t)x->scored;
    const struct {
        uint32_t heads, h0, query_heads, w, ld, scored, kv_heads, largest;
    } push = {(uint32_t)heads,      (uint32_t)h,         (uint32_t)x->query_heads, (uint32_t)x->how->window,
              (uint32_t)x->longest, (uint32_t)x->scored, (uint32_t)x->s->heads,    is_by_maximum(x)};
    vk_dispatch(&x->b->c, &(struct vk_call){VK_SHADER_window_sums,
                                            {0},
                                            {logits_of(x, heads), stats_of(x, heads), x->bases, sums_of(x)},
                                            &push,
                                            sizeof push,
                                            up_to(values, 64),
                                            (double)values * x->how->window});
}

static void pool(const struct scores *x, struct vk_slice g)
{
    const uint64_t values = (uint64_t)x->s->heads * (uint64_t)x->scored;
    const struct {
        uint32_t kv_heads, query_heads, scored, kernel, average, largest, span;
    } push = {.kv_heads = (uint32_t)x->s->heads,
              .query_heads = (uint32_t)x->query_heads,
              .scored = (uint32_t)x->scored,
              .kernel = (uint32_t)x->how->pool_kernel,
              .average = x->how->pool_avg,
              .largest = is_by_maximum(x),
              .span = (uint32_t)x->how->span};
    vk_dispatch(&x->b->c,
                &(struct vk_call){VK_SHADER_window_pool,
                                  {0},
                                  {sums_of(x), g},
                                  &push,
                                  sizeof push,
                                  up_to(values, 64),
                                  (double)values * x->query_heads * x->how->pool_kernel * (x->how->span + 1)});
}

/* The entries that are scored over, and what the window's rows see of them. */
static void upload_views(struct scores *x, const struct fkv_rows *window, int n)
{
    struct vk_context *c = &x->b->c;
    const int heads = x->s->heads, w = x->how->window;
    void *room;
    x->all = vk_upload_room(c, (uint64_t)(heads + w) * sizeof(int32_t), &room);
    int32_t *list = room;
    for (int h = 0; h < heads; h++) {
        const int all = x->s->base[h] + n;
        list[h] = all;
        x->longest = all > x->longest ? all : x->longest;
    }
    for (int i = 0; i < w; i++) list[heads + i] = window->pos[i] - x->attention->window + 1;
    x->bases = vk_upload_room(c, (uint64_t)(heads + w) * sizeof(int32_t), &room);
    memcpy(room, x->s->base, (size_t)heads * sizeof *x->s->base);
    float *weights = (float *)room + heads;
    for (int i = 0; i < w; i++) weights[i] = x->how->weight ? x->how->weight[i] : 1;
}

static void score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *attention,
                  const struct fkv_scoring *how, struct fkv_tensor q, size_t ld, const struct fkv_rows *window, int n,
                  struct fkv_tensor g)
{
    const int n_head = attention->n_head;
    struct scores x = {.b = vk_of(r),
                       .s = s,
                       .attention = attention,
                       .how = how,
                       .q = vk_values(q, (size_t)(how->window - 1) * ld + (size_t)n_head * (size_t)s->d),
                       .ldq = ld,
                       .query_heads = n_head / s->heads,
                       .scored = n - how->window};
    struct vk_context *c = &x.b->c;
    if (!vk_enter(c, (uint64_t)(2 * (s->heads + how->window)) * sizeof(int32_t))) return;
    upload_views(&x, window, n);
    const int visible = vk_visible_heads(s);
    for (int h = 0, heads; h < n_head && vk_ok(c); h += heads) {
        heads = (h / x.query_heads + visible) * x.query_heads - h;
        if (heads > n_head - h) heads = n_head - h;
        if (heads > x.b->logit_heads) heads = x.b->logit_heads;
        window_logits(&x, h, heads);
        window_softmax(&x, h, heads);
        window_sums(&x, h, heads);
    }
    pool(&x, vk_values(g, (size_t)s->heads * (size_t)x.scored));
    vk_leave(c);
}

/* The weights of every other row of those that count. */
static void halve(const struct fkv_scoring *how, int half, float weight[FKV_MAX_WINDOW])
{
    for (int i = 0, n = 0; i < how->window; i++) {
        const float w = how->weight ? how->weight[i] : 1;
        weight[i] = w > 0 && n++ % 2 == half ? w : 0;
    }
}

/* What the window attends to is scored once more for each half of its rows. */
void vk_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *attention,
              const struct fkv_scoring *how, struct fkv_tensor q, size_t ld, const struct fkv_rows *window, int n,
              struct fkv_tensor g, struct fkv_tensor looked)
{
    const size_t all = (size_t)s->heads * (size_t)(n - how->window);
    for (int half = 0; half < 2 && fkv_tensor_is(looked); half++) {
        float weight[FKV_MAX_WINDOW];
        const struct fkv_scoring sum = {.window = how->window, .weight = weight, .pool_kernel = 1};
        halve(how, half, weight);
        score(r, s, attention, &sum, q, ld, window, n, fkv_tensor_from(looked, (size_t)half * all));
    }
    score(r, s, attention, how, q, ld, window, n, g);
}

/* ---- choice ---------------------------------------------------------------------------------- */

/* The rows of a choice's lists: the best of each of the rows of x[lists][scored], the first `sinks` before all others,
   and the window. */
static void top_k(struct vk_backend *b, struct vk_slice x, int lists, const struct fkv_selection *how,
                  const struct fkv_choice *c)
{
    const int scored = how->n - how->window;
    const uint64_t slices = up_to((uint64_t)scored, SLICE);
    struct {
        uint32_t pass, rows, n, k, sinks, slices, window, ld;
    } push = {.rows = (uint32_t)lists,
              .n = (uint32_t)scored,
              .k = (uint32_t)(how->keep - how->window),
              .sinks = (uint32_t)how->sinks,
              .slices = (uint32_t)slices,
              .window = (uint32_t)how->window,
              .ld = (uint32_t)c->n};
    const struct vk_slice work = vk_first(b->work, (uint64_t)lists * (4 * 256 + 10 + 2 * slices));
    vk_fill_zero(&b->c, vk_first(b->work, (uint64_t)lists * 4 * 256));
    for (push.pass = 0; push.pass < 6; push.pass++)
        vk_dispatch(&b->c, &(struct vk_call){.shader = VK_SHADER_top_k,
                                             .bind = {x, work, vk_choice_rows(c, 0)},
                                             .push = &push,
                                             .push_bytes = sizeof push,
                                             .groups = (uint64_t)lists * slices,
                                             .work = (double)lists * scored});
}

/* The scores of all heads added. */
static struct vk_slice sum_heads(struct vk_backend *b, struct vk_slice g, int heads, int scored)
{
    const struct vk_slice total = vk_first(b->total, (uint64_t)scored);
    const struct {
        uint32_t heads, n;
    } push = {(uint32_t)heads, (uint32_t)scored};
    vk_dispatch(&b->c, &(struct vk_call){.shader = VK_SHADER_sum_heads,
                                         .bind = {g, total},
                                         .push = &push,
                                         .push_bytes = sizeof push,
                                         .groups = up_to((uint64_t)scored, 64),
                                         .work = (double)heads * scored});
    return total;
}

bool vk_select(struct fkv_run *r, struct fkv_tensor g, int heads, const struct fkv_selection *how, struct fkv_choice *c)
{
    struct vk_backend *b = vk_of(r);
    const int scored = how->n - how->window, lists = how->spread == FKV_SPREAD_COMMON ? 1 : heads;
    if (how->spread == FKV_SPREAD_POOLED) return false; /* it needs the host */
    for (int l = 0; l < lists; l++) c->count[l] = how->keep;
    c->is_read = false;
    if (!vk_enter(&b->c, 0)) return true;
    struct vk_slice x = vk_values(g, (size_t)heads * (size_t)scored);
    if (lists < heads) x = sum_heads(b, x, heads, scored);
    top_k(b, x, lists, how, c);
    vk_leave(&b->c);
    return true;
}
