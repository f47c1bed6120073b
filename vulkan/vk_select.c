/* Scores of the rows of a prefill, and the choice among them. */
#include "vulkan/vk_internal.h"

enum { SLICE = 2048, ENTRY_TILE = 256, WINDOW_TILE = 8 }; /* of the shaders top_k and window_logits */

static uint64_t up_to(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit; }

/* ---- scores ---------------------------------------------------------------------------------- */

struct scores {
    struct vk_backend *b;
    const struct fkv_kv_store *s;
    const struct fkv_scoring *how;
    struct vk_slice q, all, bases; /* queries; entries, and those before this prefill, of each KV head */
    size_t ldq;
    int query_heads, longest, scored;
};

static struct vk_slice logits_of(const struct scores *x, int heads)
{
    return vk_first(x->b->logits, (uint64_t)heads * (uint64_t)x->how->window * (uint64_t)x->longest);
}
static struct vk_slice stats_of(const struct scores *x, int heads)
{
    return vk_first(x->b->stats, (uint64_t)heads * (uint64_t)x->how->window * 2);
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
              (uint32_t)s->d,           x->how->scale,        vk_entry_words(s->type[VK_K], s->d),
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
    const int w = x->how->window;
    const struct {
        uint32_t h0, query_heads, w, ld;
    } push = {(uint32_t)h, (uint32_t)x->query_heads, (uint32_t)w, (uint32_t)x->longest};
    vk_dispatch(&x->b->c, &(struct vk_call){VK_SHADER_window_softmax,
                                            {0},
                                            {logits_of(x, heads), x->all, stats_of(x, heads)},
                                            &push,
                                            sizeof push,
                                            (uint64_t)(heads * w),
                                            (double)heads * w * x->longest * 2});
}

static void window_sums(const struct scores *x, int h, int heads)
{
    const uint64_t values = (uint64_t)heads * (uint64_t)x->scored;
    const struct {
        uint32_t heads, h0, query_heads, w, ld, scored;
    } push = {(uint32_t)heads,          (uint32_t)h,          (uint32_t)x->query_heads,
              (uint32_t)x->how->window, (uint32_t)x->longest, (uint32_t)x->scored};
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
        uint32_t kv_heads, query_heads, scored, kernel, average;
    } push = {(uint32_t)x->s->heads, (uint32_t)x->query_heads, (uint32_t)x->scored, (uint32_t)x->how->pool_kernel,
              x->how->pool_avg};
    vk_dispatch(&x->b->c, &(struct vk_call){VK_SHADER_window_pool,
                                            {0},
                                            {sums_of(x), g},
                                            &push,
                                            sizeof push,
                                            up_to(values, 64),
                                            (double)values * x->query_heads * x->how->pool_kernel});
}

void vk_score(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_scoring *how, int n_head,
              const float *q, size_t ld, int n, float *g)
{
    struct scores x =
        {.b = vk_of(r), .s = s, .how = how, .ldq = ld, .query_heads = n_head / s->heads, .scored = n - how->window};
    struct vk_context *c = &x.b->c;
    int32_t all[VK_MAX_HEADS];
    if (!vk_enter(c, 2 * sizeof all)) return;
    for (int h = 0; h < s->heads; h++) {
        all[h] = s->base[h] + n;
        x.longest = all[h] > x.longest ? all[h] : x.longest;
    }
    x.all = vk_upload(c, all, (uint64_t)s->heads * sizeof *all);
    x.bases = vk_upload(c, s->base, (uint64_t)s->heads * sizeof *s->base);
    x.q = vk_floats(c, q, (size_t)(how->window - 1) * ld + (size_t)n_head * (size_t)s->d);
    const int visible = vk_visible_heads(s);
    for (int h = 0, heads; h < n_head && vk_ok(c); h += heads) {
        heads = (h / x.query_heads + visible) * x.query_heads - h;
        if (heads > n_head - h) heads = n_head - h;
        if (heads > x.b->logit_heads) heads = x.b->logit_heads;
        window_logits(&x, h, heads);
        window_softmax(&x, h, heads);
        window_sums(&x, h, heads);
    }
    pool(&x, vk_floats(c, g, (size_t)s->heads * (size_t)x.scored));
    vk_leave(c);
}

/* ---- choice ---------------------------------------------------------------------------------- */

/* found[rows][k] = the k largest of each of the rows of x[rows][n], the first `sinks` before all others. */
static void top_k(struct vk_backend *b, struct vk_slice x, int rows, int n, int k, int sinks)
{
    const uint64_t slices = up_to((uint64_t)n, SLICE);
    struct {
        uint32_t pass, rows, n, k, sinks, slices;
    } push = {0, (uint32_t)rows, (uint32_t)n, (uint32_t)k, (uint32_t)sinks, (uint32_t)slices};
    const struct vk_slice work = vk_first(b->work, (uint64_t)rows * (4 * 256 + 10 + 2 * slices)),
                          found = vk_first(b->found, (uint64_t)rows * (uint64_t)k);
    vk_fill_zero(&b->c, vk_first(b->work, (uint64_t)rows * 4 * 256));
    for (push.pass = 0; push.pass < 6; push.pass++)
        vk_dispatch(&b->c, &(struct vk_call){VK_SHADER_top_k,
                                             {0},
                                             {x, work, found},
                                             &push,
                                             sizeof push,
                                             (uint64_t)rows * slices,
                                             (double)rows * n});
}

/* rows[lists][cap]: the first rows, as long as the device has not said which, and the window. */
static void guess_rows(int lists, int n, int window, int cap, int32_t *rows)
{
    for (int i = 0; i < lists; i++)
        for (int j = 0; j < cap; j++) rows[i * cap + j] = j < cap - window ? j : n - cap + j;
}

void vk_select(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap, int32_t *rows)
{
    struct vk_backend *b = vk_of(r);
    const int k = cap - window;
    guess_rows(heads, n, window, cap, rows);
    if (k == 0 || !vk_enter(&b->c, 0)) return;
    b->selected = NULL;
    const struct vk_slice found = vk_first(b->found, (uint64_t)heads * (uint64_t)k);
    const uint64_t bytes = (uint64_t)k * sizeof *rows;
    top_k(b, vk_floats(&b->c, g, (size_t)heads * (size_t)(n - window)), heads, n - window, k, sinks);
    if (vk_download_later(&b->c, found, rows, heads, (size_t)cap * sizeof *rows)) {
        b->selected = rows;
        b->window_rows = window;
    } else {
        for (int h = 0; h < heads && vk_ok(&b->c); h++)
            vk_download(&b->c, (struct vk_slice){found.buffer, found.offset + (uint64_t)h * bytes, bytes},
                        rows + h * cap);
    }
    vk_leave(&b->c);
}

void vk_select_common(struct fkv_run *r, const float *g, int heads, int n, int window, int sinks, int cap,
                      int32_t *rows)
{
    struct vk_backend *b = vk_of(r);
    const int scored = n - window, k = cap - window;
    guess_rows(1, n, window, cap, rows);
    if (k == 0 || !vk_enter(&b->c, 0)) return;
    b->selected = NULL; /* `found` is taken: retention reads the host's rows, which come with the wait below */
    const struct {
        uint32_t heads, n;
    } push = {(uint32_t)heads, (uint32_t)scored};
    vk_dispatch(&b->c, &(struct vk_call){VK_SHADER_sum_heads,
                                         {0},
                                         {vk_floats(&b->c, g, (size_t)heads * (size_t)scored),
                                          vk_first(b->total, (uint64_t)scored)},
                                         &push,
                                         sizeof push,
                                         up_to((uint64_t)scored, 64),
                                         (double)heads * scored});
    top_k(b, vk_first(b->total, (uint64_t)scored), 1, scored, k, sinks);
    vk_download(&b->c, vk_first(b->found, (uint64_t)k), rows);
    vk_leave(&b->c);
}
