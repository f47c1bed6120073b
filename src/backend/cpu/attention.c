/* Attention of rows over stores, by tasks of one query head (rows of a prefill) or one piece of a KV head's entries
   (rows that are alone). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"

enum { TASKS = 4, /* of each thread, at least */ ROW_STEP = 32 };

static const float log2_e = 1.44269504f;

int cpu_first_at(const int32_t *pos, int n, int32_t least)
{
    int low = 0;
    while (n > 0) {
        const int half = n / 2;
        if (pos[low + half] < least) {
            low += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return low;
}

static struct cpu_view view_of(const struct fkv_kv_store *s, int kv, const struct fkv_attention *how,
                               const struct fkv_rows *rows, int row)
{
    const struct kv_head *h = &s->head[kv];
    const int end = h->n - (rows->hidden ? rows->hidden[row] : 0);
    return (struct cpu_view){how->window ? cpu_first_at(h->pos, end, rows->pos[row] - how->window + 1) : 0, end};
}

/* The logit of a query head's sink, -infinity without one. */
static float sink_of(const struct fkv_attention *how, int head)
{
    return fkv_tensor_is(how->sinks) ? cpu_floats(how->sinks)[head] : -INFINITY;
}

/* A row that sees nothing gets nothing. */
float cpu_normaliser(float max, float sum, float sink_logit)
{
    const float sink = sink_logit * log2_e, top = fmaxf(max, sink);
    if (top == -INFINITY) return 0;
    const float weight = exp2f(max - top);
    return weight / (sum * weight + exp2f(sink - top));
}

/* ---- many rows ------------------------------------------------------------------------------------ */

/* Rows [row, row + n) of one query head. */
static void attend_rows(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *how, int h,
                        const float *q, size_t ld, const struct fkv_rows *rows, int row, int n, float *out)
{
    const int kv = h / (how->n_head / s->shape.heads), d = s->shape.d;
    const size_t at = (size_t)row * ld + (size_t)h * (size_t)d;
    const struct kv_part k = cpu_kv_part(s, kv, true, 0), v = cpu_kv_part(s, kv, false, 0);
    int32_t first[FKV_ATTEND_ROWS], end[FKV_ATTEND_ROWS];
    float max[FKV_ATTEND_ROWS], sum[FKV_ATTEND_ROWS];
    int lowest = 0, last = 0;
    for (int i = 0; i < n; i++) {
        const struct cpu_view view = view_of(s, kv, how, rows, row + i);
        first[i] = view.first;
        end[i] = view.end;
        lowest = i == 0 || view.first < lowest ? view.first : lowest;
        last = view.end > last ? view.end : last;
    }
    cpu_of(r)->k->attend(&(struct fkv_attend){.q = q + at,
                                              .ldq = ld,
                                              .first_keys = how->window ? first : NULL,
                                              .n_keys = end,
                                              .n_rows = n,
                                              .d = d,
                                              .scale = how->scale,
                                              .k = k.tiles,
                                              .v = v.tiles,
                                              .k_type = k.type,
                                              .v_type = v.type,
                                              .first = lowest / 256 * 256,
                                              .last = last,
                                              .out = out + at,
                                              .ldo = ld,
                                              .max = max,
                                              .sum = sum,
                                              .scratch = cpu_scratch_of(r)->attend});
    const float sink = sink_of(how, h);
    for (int i = 0; i < n; i++) {
        const float inverse = cpu_normaliser(max[i], sum[i], sink);
        for (int c = 0; c < d; c++) out[at + (size_t)i * ld + (size_t)c] *= inverse;
    }
}

/* Query rows of a task: at most as many as the kernel likes best, fewer if that leaves every thread a few tasks; shared
   out evenly. */
static int task_rows(struct fkv_run *r, int n, int n_head)
{
    const int wanted = (TASKS * fkv_team_size(r->b->team) + n_head - 1) / n_head, most = cpu_of(r)->k->attend_rows,
              least = (n + most - 1) / most;
    const int parts = wanted > least ? wanted : least;
    return ((n + parts - 1) / parts + ROW_STEP - 1) / ROW_STEP * ROW_STEP;
}

/* Rows [begin, begin + n), of one sequence, whose entries lie in one segment. */
static void attend_many(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *how,
                        const float *q, size_t ld, const struct fkv_rows *rows, int begin, int n, float *out)
{
    assert(s->n_shared == 0);
    const int share = task_rows(r, n, how->n_head), parts = (n + share - 1) / share;
    for (int task; (task = fkv_team_take(r->b->team, r->thread, parts * how->n_head)) >= 0;) {
        const int row = task % parts * share, here = n - row < share ? n - row : share;
        attend_rows(r, s, how, task / parts, q, ld, rows, begin + row, here, out);
    }
    fkv_team_barrier(r->b->team);
}

/* ---- rows that are alone: by pieces --------------------------------------------------------------- */

static struct cpu_pieces pieces_of(const struct fkv_kv_store *s, int kv, const struct fkv_attention *how,
                                   const struct fkv_rows *rows, int row)
{
    const struct cpu_view view = view_of(s, kv, how, rows, row);
    const int first = view.first / CPU_CHUNK;
    return (struct cpu_pieces){view, first, (view.end + CPU_CHUNK - 1) / CPU_CHUNK - first};
}

/* One piece's result: out[query heads][d], then max and sum of each. Pieces are numbered through all KV heads of all
   rows. */
static float *piece_at(struct cpu_backend *b, int piece, int query_heads, int d)
{
    return b->part + (size_t)piece * (size_t)(query_heads * (d + 2));
}

/* The query heads that share a KV head read its piece together. */
static void attend_piece(struct fkv_run *r, const struct fkv_kv_store *s, const struct fkv_attention *how,
                         const float *q, int kv, struct cpu_pieces p, int piece, float *part)
{
    const int begin = (p.first + piece) * CPU_CHUNK,
              end = begin + CPU_CHUNK < p.view.end ? begin + CPU_CHUNK : p.view.end;
    const int query_heads = how->n_head / s->shape.heads, d = s->shape.d;
    const struct kv_part k = cpu_kv_part(s, kv, true, begin), v = cpu_kv_part(s, kv, false, begin);
    int32_t first_keys[FKV_ATTEND_ROWS], n_keys[FKV_ATTEND_ROWS];
    for (int j = 0; j < query_heads; j++) {
        first_keys[j] = p.view.first;
        n_keys[j] = p.view.end;
    }
    float *max = part + (size_t)query_heads * (size_t)d;
    cpu_of(r)->k->attend(&(struct fkv_attend){.q = q + (size_t)(kv * query_heads) * (size_t)d,
                                              .ldq = (size_t)d,
                                              .first_keys = p.view.first > begin ? first_keys : NULL,
                                              .n_keys = n_keys,
                                              .n_rows = query_heads,
                                              .d = d,
                                              .alone = true,
                                              .scale = how->scale,
                                              .k = k.tiles,
                                              .v = v.tiles,
                                              .k_type = k.type,
                                              .v_type = v.type,
                                              .first = begin,
                                              .last = end,
                                              .out = part,
                                              .ldo = (size_t)d,
                                              .max = max,
                                              .sum = max + query_heads,
                                              .scratch = cpu_scratch_of(r)->attend});
}

/* out[d] of query head j of a KV head from its n pieces, in their order. */
static void merge_pieces(struct cpu_backend *b, int first, int n, int query_heads, int j, int d, float sink_logit,
                         float *out)
{
    const float sink = sink_logit * log2_e;
    float top = sink;
    for (int p = 0; p < n; p++) top = fmaxf(top, piece_at(b, first + p, query_heads, d)[query_heads * d + j]);
    float sum = 0;
    memset(out, 0, (size_t)d * sizeof *out);
    if (top == -INFINITY) return;
    for (int p = 0; p < n; p++) {
        const float *part = piece_at(b, first + p, query_heads, d), *max = part + query_heads * d;
        const float weight = exp2f(max[j] - top);
        sum += weight * max[query_heads + j];
        for (int c = 0; c < d; c++) out[c] += weight * part[j * d + c];
    }
    sum += exp2f(sink - top);
    for (int c = 0; c < d; c++) out[c] /= sum;
}

static const struct fkv_kv_store *store_of(struct fkv_kv_store *const *stores, const struct fkv_rows *rows, int row)
{
    return stores[rows->sequence ? rows->sequence[row] : 0];
}

static void attend_alone(struct fkv_run *r, struct fkv_kv_store *const *stores, const struct fkv_attention *how,
                         const float *q, size_t ld, const struct fkv_rows *rows, float *out)
{
    struct cpu_backend *b = cpu_of(r);
    const int heads = stores[0]->shape.heads, d = stores[0]->shape.d, query_heads = how->n_head / heads;
    struct cpu_pieces *all = cpu_scratch_of(r)->pieces; /* of a row and KV head: [row * heads + head] */
    int total = 0;
    for (int at = 0; at < rows->n * heads; at++) {
        all[at] = pieces_of(store_of(stores, rows, at / heads), at % heads, how, rows, at / heads);
        total += all[at].n;
    }
    for (int task; (task = fkv_team_take(b->base.team, r->thread, total)) >= 0;) {
        int at = 0, piece = task;
        for (; piece >= all[at].n; at++) piece -= all[at].n;
        attend_piece(r, store_of(stores, rows, at / heads), how, q + (size_t)(at / heads) * ld, at % heads, all[at],
                     piece, piece_at(b, task, query_heads, d));
    }
    fkv_team_barrier(b->base.team);
    int lo, hi;
    fkv_team_share(b->base.team, r->thread, rows->n * how->n_head, 1, &lo, &hi);
    for (int at = 0, first = 0; at < rows->n * heads; first += all[at++].n)
        for (int j = 0; j < query_heads; j++) {
            const int h = at % heads * query_heads + j, merged = at * query_heads + j;
            if (merged >= lo && merged < hi)
                merge_pieces(b, first, all[at].n, query_heads, j, d, sink_of(how, h),
                             out + (size_t)(at / heads) * ld + (size_t)h * (size_t)d);
        }
    fkv_team_barrier(b->base.team);
}

void cpu_attend(struct fkv_run *r, struct fkv_kv_store *const *stores, const struct fkv_attention *how,
                struct fkv_tensor q, size_t ld, const struct fkv_rows *rows, struct fkv_tensor out)
{
    const double t0 = fkv_clock_s();
    const bool alone = rows->alone || rows->n == 1;
    assert(rows->n >= 1 && rows->n <= (rows->alone ? FKV_STEP_ROWS : r->b->block_rows));
    assert(how->n_head % stores[0]->shape.heads == 0 && how->n_head <= cpu_of(r)->most.n_head &&
           stores[0]->shape.d <= cpu_of(r)->most.d && stores[0]->head[0].n <= cpu_of(r)->most.n_entries);
    if (alone && !r->b->exact && how->n_head / stores[0]->shape.heads <= FKV_ATTEND_ROWS)
        attend_alone(r, stores, how, cpu_floats(q), ld, rows, cpu_floats(out));
    else
        for (int row = 0, end; row < rows->n; row = end) {
            end = fkv_rows_end(rows, row);
            attend_many(r, store_of(stores, rows, row), how, cpu_floats(q), ld, rows, row, end - row, cpu_floats(out));
        }
    cpu_stage(r, FKV_STAGE_ATTENTION, t0);
}
