/* A mixture of experts: every row goes through the few MLPs that its router chooses.

   The rows of a block lie in buckets, one per expert, and experts are taken in groups whose buckets fit the scratch of
   one product. All pieces of all experts of a group are one list that the threads take from: small buckets leave none
   without work. The last product goes by columns of the output: a thread adds up what all experts of the group have
   for its columns, so that no two threads write one value, and sums run by expert, in one order for every batch. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/product.h"
#include "base/memory.h"

/* ---- scratch --------------------------------------------------------------------------------- */

void cpu_routing_lay_out(struct cpu_routing *g, struct fkv_carver *c)
{
    const size_t slots = (size_t)FKV_BLOCK_ROWS * FKV_MOST_USED;
    g->expert = fkv_carve(c, slots * sizeof *g->expert);
    g->chosen = fkv_carve(c, slots * sizeof *g->chosen);
    g->row = fkv_carve(c, slots * sizeof *g->row);
    g->weight = fkv_carve(c, slots * sizeof *g->weight);
    g->bucket = fkv_carve(c, FKV_MOST_EXPERTS * sizeof *g->bucket);
}

/* One call, as every thread sees it. */
struct mixing {
    struct fkv_run *r;
    struct cpu_backend *b;
    const struct fkv_mixture *m;
    int n, d, f; /* rows, their length, an expert's inner one */
    bool vectors;
    unsigned in_wanted, ff_wanted;
};

/* Bytes of n packed rows of k values; of vectors, x16 is the floats. */
static size_t x8_bytes(const struct mixing *x, int n, int k)
{
    return x->vectors ? (size_t)n * x->b->k->v8_bytes(k) : x->b->k->x8_bytes(n, k);
}
static size_t x16_bytes(const struct mixing *x, int n, int k) { return x->vectors ? 0 : x->b->k->x16_bytes(n, k); }

/* The packed buffer: floats, x8, x16, each of a block's rows. */
static char *x8_region(const struct cpu_backend *b)
{
    return (char *)b->packed + (size_t)FKV_BLOCK_ROWS * (size_t)b->max_cols * sizeof(float);
}
static char *x16_region(const struct cpu_backend *b)
{
    return x8_region(b) + b->k->x8_bytes(FKV_BLOCK_ROWS, b->max_cols);
}

/* ---- routing --------------------------------------------------------------------------------- */

static void normalise(const struct mixing *x, const struct fkv_input *in)
{
    int lo, hi;
    fkv_team_share(x->r->b->team, x->r->thread, x->n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++) {
        const float *from = cpu_floats(in->x) + (size_t)i * in->ld;
        float *to = cpu_floats(x->m->rows) + (size_t)i * (size_t)x->d;
        if (fkv_tensor_is(in->norm))
            x->b->k->rms_norm(from, cpu_floats(in->norm), x->d, in->eps, to);
        else
            memcpy(to, from, (size_t)x->d * sizeof *to);
    }
    fkv_team_barrier(x->r->b->team);
}

/* The experts of one row, ascending, and their weights. */
static void choose(const struct mixing *x, const float *logits, int32_t *expert, float *weight)
{
    uint32_t keys[FKV_MOST_EXPERTS];
    const int n_expert = x->m->router->rows, used = x->m->used;
    float largest = -INFINITY, sum = 0;
    x->b->k->top_k(logits, n_expert, used, keys, expert);
    for (int i = 0; i < used; i++) largest = fmaxf(largest, logits[expert[i]]);
    for (int e = 0; e < n_expert && !x->m->norm; e++) sum += expf(logits[e] - largest);
    for (int i = 0; i < used; i++) {
        weight[i] = expf(logits[expert[i]] - largest);
        if (x->m->norm) sum += weight[i];
    }
    for (int i = 0; i < used; i++) weight[i] *= x->m->scale / sum;
}

static void route(const struct mixing *x, const struct fkv_input *in)
{
    const struct cpu_routing *g = &x->b->routing;
    const int n_expert = x->m->router->rows, used = x->m->used;
    const struct fkv_input rows = {.x = x->m->rows, .ld = (size_t)x->d, .n = x->n, .alone = in->alone};
    int lo, hi;
    cpu_product(x->r, &rows,
                &(struct fkv_output){.w = x->m->router,
                                     .bias = x->m->router_bias,
                                     .y = x->m->ff,
                                     .ld = (size_t)n_expert},
                1);
    fkv_team_share(x->r->b->team, x->r->thread, x->n, 1, &lo, &hi);
    for (int i = lo; i < hi; i++)
        choose(x, cpu_floats(x->m->ff) + (size_t)i * (size_t)n_expert, g->expert + i * used, g->chosen + i * used);
    fkv_team_barrier(x->r->b->team);
}

/* ---- buckets --------------------------------------------------------------------------------- */

/* The rows of all experts, sorted by expert; of one, ascending. */
static void fill_buckets(const struct mixing *x, struct cpu_routing *g)
{
    int end[FKV_MOST_EXPERTS] = {0};
    const int n_expert = x->m->router->rows, used = x->m->used, slots = x->n * used;
    for (int i = 0; i < slots; i++) end[g->expert[i]]++;
    g->n_buckets = 0;
    for (int e = 0, first = 0; e < n_expert; e++) {
        if (end[e] > 0) g->bucket[g->n_buckets++] = (struct cpu_bucket){.expert = e, .first = first, .n = end[e]};
        first += end[e];
        end[e] = first - end[e];
    }
    for (int i = 0; i < slots; i++) {
        const int slot = end[g->expert[i]]++;
        g->row[slot] = i / used;
        g->weight[slot] = g->chosen[i];
    }
}

/* Where a bucket's packed rows lie in a group, and where the next one's would. */
static struct cpu_packed after(const struct mixing *x, struct cpu_packed at, int n, int k)
{
    return (struct cpu_packed){at.x8 + x8_bytes(x, n, k), at.x16 + x16_bytes(x, n, k)};
}

static bool fits(const struct mixing *x, struct cpu_packed end)
{
    return end.x8 <= x->b->k->x8_bytes(FKV_BLOCK_ROWS, x->b->max_cols) &&
           end.x16 <= x->b->k->x16_bytes(FKV_BLOCK_ROWS, x->b->max_cols);
}

/* Groups: as many buckets at once as the scratch holds, and at least one. */
static void lay_out_buckets(const struct mixing *x, struct cpu_routing *g)
{
    struct cpu_packed in = {0}, ff = {0};
    for (int i = 0, group = 0; i < g->n_buckets; i++) {
        struct cpu_bucket *u = &g->bucket[i];
        const int slots = u->first + u->n - g->bucket[group].first;
        if (i > group && (slots > x->b->base.block_rows || !fits(x, after(x, in, u->n, x->d)) ||
                          !fits(x, after(x, ff, u->n, x->f)))) {
            group = i;
            in = ff = (struct cpu_packed){0};
        }
        u->group = group;
        u->in = in;
        u->ff = ff;
        in = after(x, in, u->n, x->d);
        ff = after(x, ff, u->n, x->f);
    }
}

static void make_buckets(const struct mixing *x)
{
    if (x->r->thread == 0) {
        fill_buckets(x, &x->b->routing);
        lay_out_buckets(x, &x->b->routing);
    }
    fkv_team_barrier(x->r->b->team);
}

/* ---- a group --------------------------------------------------------------------------------- */

/* Buckets [begin, end), and what goes into one of their two products: rows of the block, or what the experts made of
   them (slots: a row for every bucket it is in). */
struct stage {
    const struct cpu_bucket *bucket;
    int n_buckets;
    bool second;
    int k;
    unsigned wanted;
    const float *floats; /* [slot][ldf] */
    size_t ldf;
};

static struct stage stage_of(const struct mixing *x, int begin, int end, bool second)
{
    struct stage s = {.bucket = x->b->routing.bucket + begin,
                      .n_buckets = end - begin,
                      .second = second,
                      .k = second ? x->f : x->d,
                      .wanted = second ? x->ff_wanted : x->in_wanted,
                      .floats = x->b->packed};
    s.ldf = (size_t)cpu_padded(s.k);
    if (second && s.ldf == (size_t)s.k) s.floats = cpu_floats(x->m->ff);
    return s;
}

static int slot_of(const struct stage *s, const struct cpu_bucket *u) { return u->first - s->bucket->first; }

static struct cpu_input input_of(const struct mixing *x, const struct stage *s, const struct cpu_bucket *u)
{
    const struct cpu_packed *at = s->second ? &u->ff : &u->in;
    const float *floats = s->floats + (size_t)slot_of(s, u) * s->ldf;
    const void *x16 = x->vectors ? (const void *)floats : x16_region(x->b) + at->x16;
    return (struct cpu_input){{floats, x8_region(x->b) + at->x8, x16}, s->ldf, u->n, (int)s->ldf, x->vectors};
}

/* Rows [lo, hi) of a bucket: as floats, if they do not lie there already, and packed. */
static void pack_rows(const struct mixing *x, const struct stage *s, const struct cpu_bucket *u, int lo, int hi)
{
    const struct fkv_kernels *k = x->b->k;
    const struct cpu_input p = input_of(x, s, u);
    float *floats = (float *)(uintptr_t)p.form[PREPARED_FLOATS];
    char *x8 = (char *)(uintptr_t)p.form[PREPARED_X8];
    const struct fkv_input rows = {.x = s->second ? x->m->ff : x->m->rows, .ld = (size_t)s->k};
    for (int i = lo; i < hi && (const float *)s->floats != cpu_floats(x->m->ff); i++)
        cpu_copy_row(k, &rows, s->second ? slot_of(s, u) + i : x->b->routing.row[u->first + i], s->k,
                     floats + (size_t)i * s->ldf);
    for (int i = lo; i < hi && x->vectors && s->wanted & 1u << PREPARED_X8; i++)
        k->v8_pack(floats + (size_t)i * s->ldf, s->k, x8 + (size_t)i * k->v8_bytes(s->k));
    if (x->vectors) return;
    if (s->wanted & 1u << PREPARED_X8) k->x8_pack(floats, s->ldf, u->n, s->k, lo, hi, x8);
    if (s->wanted & 1u << PREPARED_X16)
        k->x16_pack(floats, s->ldf, u->n, s->k, lo, hi, (void *)(uintptr_t)p.form[PREPARED_X16]);
}

static int units_of(const struct cpu_bucket *u) { return (u->n + FKV_PACK_ROWS - 1) / FKV_PACK_ROWS; }

static void pack(const struct mixing *x, const struct stage *s)
{
    int units = 0;
    for (int i = 0; i < s->n_buckets; i++) units += units_of(&s->bucket[i]);
    for (int unit; (unit = fkv_team_take(x->r->b->team, x->r->thread, units)) >= 0;) {
        const struct cpu_bucket *u = s->bucket;
        for (; unit >= units_of(u); u++) unit -= units_of(u);
        const int lo = unit * FKV_PACK_ROWS, hi = lo + FKV_PACK_ROWS;
        pack_rows(x, s, u, lo, hi < u->n ? hi : u->n);
    }
    fkv_team_barrier(x->r->b->team);
}

static struct fkv_weight expert_of(const struct fkv_weight *w, int expert)
{
    struct fkv_weight one = *w;
    one.data = (const char *)w->data + (size_t)expert * w->apart;
    one.n = 1;
    return one;
}

/* tile[rows][n] += the bias from `at` on, if there is one. */
static void add_bias(const struct mixing *x, struct fkv_tensor bias, int at, int n, int rows, float *tile)
{
    for (int i = 0; i < rows && fkv_tensor_is(bias); i++) x->b->k->add(cpu_floats(bias) + at, n, tile + i * n);
}

/* One expert's activations, of so many columns, for the rows of its bucket. */
static void gate_piece(const struct mixing *x, const struct stage *s, const struct cpu_bucket *u, int row, int n)
{
    const struct fkv_weight gate = expert_of(x->m->gate, u->expert), up = expert_of(x->m->up, u->expert);
    const struct cpu_input p = input_of(x, s, u);
    struct cpu_scratch *t = cpu_scratch_of(x->r);
    float *ff = cpu_floats(x->m->ff) + (size_t)slot_of(s, u) * (size_t)x->f + row;
    cpu_multiply(x->r, &p, &gate, false, row, n, t->tile[0], (size_t)n);
    cpu_multiply(x->r, &p, &up, false, row, n, t->tile[1], (size_t)n);
    add_bias(x, x->m->gate_bias, u->expert * x->f + row, n, u->n, t->tile[0]);
    add_bias(x, x->m->up_bias, u->expert * x->f + row, n, u->n, t->tile[1]);
    for (int i = 0; i < u->n; i++)
        cpu_activate(x->b->k, x->m->activation, t->tile[0] + i * n, t->tile[1] + i * n, n,
                     ff + (size_t)i * (size_t)x->f);
}

static void gate(const struct mixing *x, const struct stage *s)
{
    const int most = cpu_piece_rows(x->r, x->vectors, x->n, x->m->gate, s->n_buckets),
              of_up = cpu_piece_rows(x->r, x->vectors, x->n, x->m->up, s->n_buckets),
              rows = most < of_up ? most : of_up, pieces = (x->f + rows - 1) / rows;
    for (int i; (i = fkv_team_take(x->r->b->team, x->r->thread, pieces * s->n_buckets)) >= 0;) {
        const int row = i % pieces * rows;
        gate_piece(x, s, &s->bucket[i / pieces], row, x->f - row < rows ? x->f - row : rows);
    }
    fkv_team_barrier(x->r->b->team);
}

/* y += weight tile, for the rows of a bucket. */
static void combine(const struct mixing *x, const struct cpu_bucket *u, const float *tile, int n, float *y, size_t ld)
{
    const struct cpu_routing *g = &x->b->routing;
    for (int i = 0; i < u->n; i++) {
        float *to = y + (size_t)g->row[u->first + i] * ld;
        const float weight = g->weight[u->first + i];
        for (int c = 0; c < n; c++) to[c] += weight * tile[(size_t)i * (size_t)n + (size_t)c];
    }
}

static void down(const struct mixing *x, const struct stage *s, float *y, size_t ld)
{
    const int rows = cpu_piece_rows(x->r, x->vectors, x->n, x->m->down, 1);
    float *tile = cpu_scratch_of(x->r)->tile[0];
    for (int i; (i = fkv_team_take(x->r->b->team, x->r->thread, (x->d + rows - 1) / rows)) >= 0;) {
        const int row = i * rows, n = x->d - row < rows ? x->d - row : rows;
        for (int e = 0; e < s->n_buckets; e++) {
            const struct cpu_bucket *u = &s->bucket[e];
            const struct fkv_weight w = expert_of(x->m->down, u->expert);
            const struct cpu_input p = input_of(x, s, u);
            cpu_multiply(x->r, &p, &w, false, row, n, tile, (size_t)n);
            add_bias(x, x->m->down_bias, u->expert * x->d + row, n, u->n, tile);
            combine(x, u, tile, n, y + row, ld);
        }
    }
    fkv_team_barrier(x->r->b->team);
}

/* ---- the operation --------------------------------------------------------------------------- */

void cpu_mixture(struct fkv_run *r, const struct fkv_input *in, const struct fkv_mixture *m, struct fkv_tensor y,
                 size_t ld)
{
    struct cpu_backend *b = cpu_of(r);
    struct mixing x = {.r = r,
                       .b = b,
                       .m = m,
                       .n = in->n,
                       .d = m->gate->cols,
                       .f = m->gate->rows,
                       .vectors = cpu_as_vectors(b, in->n, in->alone)};
    assert(m->router->rows <= FKV_MOST_EXPERTS && m->used <= FKV_MOST_USED && in->n <= b->base.block_rows);
    assert(x.d <= b->max_cols && x.f <= b->max_cols);
    x.in_wanted = cpu_wanted(b, x.vectors, m->gate, false) | cpu_wanted(b, x.vectors, m->up, false);
    x.ff_wanted = cpu_wanted(b, x.vectors, m->down, false);
    normalise(&x, in);
    route(&x, in);
    const double t0 = fkv_clock_s();
    make_buckets(&x);
    const struct cpu_routing *g = &b->routing;
    for (int begin = 0, end; begin < g->n_buckets; begin = end) {
        for (end = begin + 1; end < g->n_buckets && g->bucket[end].group == begin;) end++;
        const struct stage first = stage_of(&x, begin, end, false), second = stage_of(&x, begin, end, true);
        pack(&x, &first);
        gate(&x, &first);
        pack(&x, &second);
        down(&x, &second, cpu_floats(y), ld);
    }
    cpu_stage(r, FKV_STAGE_PRODUCT, t0);
}
