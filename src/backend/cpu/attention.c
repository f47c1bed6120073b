/* Attention of rows over a store, by tasks of one query head (prefill) or one piece of a KV head's entries (one
   row). */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_backend.h"

enum { TASKS = 4, /* of each thread, at least */ ROW_STEP = 32 };

static void divide_rows(float *out, size_t ld, int n, int d, const float *sum)
{
    for (int i = 0; i < n; i++) {
        const float inverse = 1.0f / sum[i];
        for (int c = 0; c < d; c++) out[(size_t)i * ld + c] *= inverse;
    }
}

/* Rows [row, row + n) of one query head. */
static void attend_rows(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, int h, float scale, const float *q,
                        size_t ld, int row, int n, const int32_t *seen, float *out)
{
    const int kv = h / (n_head / s->heads);
    const size_t at = (size_t)row * ld + (size_t)h * (size_t)s->d;
    int32_t n_keys[FKV_ATTEND_ROWS];
    float max[FKV_ATTEND_ROWS], sum[FKV_ATTEND_ROWS];
    for (int i = 0; i < n; i++) n_keys[i] = seen ? s->head[kv].base + seen[row + i] : s->head[kv].n;
    cpu_of(r)->k->attend(&(struct fkv_attend){.q = q + at,
                                              .ldq = ld,
                                              .n_keys = n_keys,
                                              .n_rows = n,
                                              .d = s->d,
                                              .scale = scale,
                                              .k = s->head[kv].k,
                                              .v = s->head[kv].v,
                                              .k_type = s->k_type,
                                              .v_type = s->v_type,
                                              .last = n_keys[n - 1],
                                              .out = out + at,
                                              .ldo = ld,
                                              .max = max,
                                              .sum = sum,
                                              .scratch = cpu_scratch_of(r)->attend});
    divide_rows(out + at, ld, n, s->d, sum);
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

static void attend_many(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q,
                        size_t ld, int n, const int32_t *seen, float *out)
{
    const int share = task_rows(r, n, n_head), parts = (n + share - 1) / share;
    for (int task; (task = fkv_team_take(r->b->team, r->thread, parts * n_head)) >= 0;) {
        const int row = task % parts * share, rows = n - row < share ? n - row : share;
        attend_rows(r, s, n_head, task / parts, scale, q, ld, row, rows, seen, out);
    }
}

/* One piece's result: out[query heads][d], then max and sum of each. Pieces are numbered through all KV heads. */
static float *piece_at(struct cpu_backend *b, int piece, int query_heads, int d)
{
    return b->part + (size_t)piece * (size_t)(query_heads * (d + 2));
}

/* Entries of a head that the only row sees. */
static int keys_of(const struct fkv_kv_store *s, int kv, const int32_t *seen)
{
    return seen ? s->head[kv].base + seen[0] : s->head[kv].n;
}

static int pieces_of(int n_keys) { return (n_keys + CPU_CHUNK - 1) / CPU_CHUNK; }

/* The query heads that share a KV head read its piece together. */
static void attend_piece(struct fkv_run *r, const struct fkv_kv_store *s, int query_heads, float scale, const float *q,
                         int kv, int n_keys, int piece, float *part)
{
    const int first = piece * CPU_CHUNK, last = first + CPU_CHUNK < n_keys ? first + CPU_CHUNK : n_keys;
    int32_t all[FKV_ATTEND_ROWS];
    for (int j = 0; j < query_heads; j++) all[j] = n_keys;
    float *max = part + (size_t)query_heads * (size_t)s->d;
    cpu_of(r)->k->attend(&(struct fkv_attend){.q = q + (size_t)(kv * query_heads) * (size_t)s->d,
                                              .ldq = (size_t)s->d,
                                              .n_keys = all,
                                              .n_rows = query_heads,
                                              .d = s->d,
                                              .scale = scale,
                                              .k = s->head[kv].k,
                                              .v = s->head[kv].v,
                                              .k_type = s->k_type,
                                              .v_type = s->v_type,
                                              .first = first,
                                              .last = last,
                                              .out = part,
                                              .ldo = (size_t)s->d,
                                              .max = max,
                                              .sum = max + query_heads,
                                              .scratch = cpu_scratch_of(r)->attend});
}

/* out[d] of query head j from the pieces of its KV head, in their order. */
static void merge_pieces(struct cpu_backend *b, int first, int n, int query_heads, int j, int d, float *out)
{
    float top = -INFINITY, sum = 0;
    for (int p = 0; p < n; p++) top = fmaxf(top, piece_at(b, first + p, query_heads, d)[query_heads * d + j]);
    memset(out, 0, (size_t)d * sizeof *out);
    for (int p = 0; p < n; p++) {
        const float *part = piece_at(b, first + p, query_heads, d), *max = part + query_heads * d;
        const float weight = exp2f(max[j] - top);
        sum += weight * max[query_heads + j];
        for (int c = 0; c < d; c++) out[c] += weight * part[j * d + c];
    }
    for (int c = 0; c < d; c++) out[c] /= sum;
}

static void attend_one(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q,
                       const int32_t *seen, float *out)
{
    struct cpu_backend *b = cpu_of(r);
    const int query_heads = n_head / s->heads;
    int total = 0;
    for (int kv = 0; kv < s->heads; kv++) total += pieces_of(keys_of(s, kv, seen));
    for (int task; (task = fkv_team_take(b->base.team, r->thread, total)) >= 0;) {
        int kv = 0, piece = task;
        for (; piece >= pieces_of(keys_of(s, kv, seen)); kv++) piece -= pieces_of(keys_of(s, kv, seen));
        attend_piece(r, s, query_heads, scale, q, kv, keys_of(s, kv, seen), piece,
                     piece_at(b, task, query_heads, s->d));
    }
    fkv_team_barrier(b->base.team);
    int lo, hi;
    fkv_team_share(b->base.team, r->thread, n_head, 1, &lo, &hi);
    for (int kv = 0, first = 0; kv < s->heads; first += pieces_of(keys_of(s, kv, seen)), kv++)
        for (int j = 0; j < query_heads; j++) {
            const int h = kv * query_heads + j;
            if (h >= lo && h < hi)
                merge_pieces(b, first, pieces_of(keys_of(s, kv, seen)), query_heads, j, s->d,
                             out + (size_t)h * (size_t)s->d);
        }
}

void cpu_attend(struct fkv_run *r, const struct fkv_kv_store *s, int n_head, float scale, const float *q, size_t ld,
                int n, const int32_t *seen, float *out)
{
    const double t0 = fkv_clock_s();
    if (n == 1 && !r->b->exact && n_head / s->heads <= FKV_ATTEND_ROWS)
        attend_one(r, s, n_head, scale, q, seen, out);
    else
        attend_many(r, s, n_head, scale, q, ld, n, seen, out);
    fkv_team_barrier(r->b->team);
    cpu_stage(r, FKV_STAGE_ATTENTION, t0);
}
