/* attend: online softmax over tiles of 32 entries; the cache tile is expanded to floats once for all rows. */
#include "simd/reference/reference.h"
#include "simd/seen.h"

#include <math.h>

void fkv_dot_tile(const float *q, int d, fkv_k_floats k, float logits[FKV_TILE])
{
    float sums[FKV_TILE] = {0};
    for (int c = 0; c < d; c++)
        for (int j = 0; j < FKV_TILE; j++) sums[j] += q[c] * k[c][j];
    memcpy(logits, sums, sizeof sums);
}

/* Row i takes in the entries of a tile that it sees. */
static void add_tile(const struct fkv_attend *a, int i, struct fkv_span seen, fkv_k_floats k, fkv_v_floats v)
{
    float logits[FKV_TILE], *out = a->out + i * a->ldo;
    fkv_dot_tile(a->q + i * a->ldq, a->d, k, logits);
    float max = a->max[i];
    for (int j = seen.from; j < seen.to; j++) {
        logits[j] *= a->scale * 1.44269504f;
        max = fmaxf(max, logits[j]);
    }
    if (max == -INFINITY) return;
    const float shrink = exp2f(a->max[i] - max);
    for (int c = 0; c < a->d; c++) out[c] *= shrink;
    float sum = a->sum[i] * shrink;
    for (int j = seen.from; j < seen.to; j++) {
        const float weight = exp2f(logits[j] - max);
        sum += weight;
        for (int c = 0; c < a->d; c++) out[c] += weight * v[j][c];
    }
    a->max[i] = max;
    a->sum[i] = sum;
}

void fkv_attend_reference(const struct fkv_attend *a)
{
    struct {
        fkv_k_floats k;
        fkv_v_floats v;
    } *tile = a->scratch;
    _Static_assert(sizeof *tile <= FKV_ATTEND_SCRATCH, "scratch of one tile");
    for (int i = 0; i < a->n_rows; i++) {
        a->max[i] = -INFINITY;
        a->sum[i] = 0;
        memset(a->out + i * a->ldo, 0, a->d * sizeof *a->out);
    }
    const struct fkv_span all = fkv_seen_by(a, 0, a->n_rows);
    for (int first = all.from / FKV_TILE * FKV_TILE; first < all.to; first += FKV_TILE) {
        if (fkv_seen_within(a, 0, a->n_rows, first, FKV_TILE).to == 0) continue;
        fkv_expand_k(a->k, a->k_type, a->d, first / FKV_TILE, tile->k);
        fkv_expand_v(a->v, a->v_type, a->d, first / FKV_TILE, tile->v);
        for (int i = 0; i < a->n_rows; i++) {
            const struct fkv_span seen = fkv_span_within(fkv_seen(a, i), first, FKV_TILE);
            if (seen.to > 0) add_tile(a, i, seen, tile->k, tile->v);
        }
    }
}
