#include "attention.h"

#include <math.h>
#include <string.h>

static enum guard_side side_of(int i) { return i % 2 ? GUARD_BEFORE : GUARD_AFTER; }

void attention_make(struct attention *t, int k_type, int v_type, int d, int n_rows, int n, enum keys keys, float spread)
{
    *t = (struct attention){.d = d,
                            .n_rows = n_rows,
                            .n = n,
                            .k_type = k_type,
                            .v_type = v_type,
                            .ldq = d + n % 3,
                            .scale = 1 / sqrtf((float)d)};
    t->q = guarded_floats((n_rows - 1) * t->ldq + d, side_of(n_rows));
    for (size_t i = 0; i < (n_rows - 1) * t->ldq + d; i++) t->q[i] = spread * random_normal();
    t->n_keys = guarded(n_rows * sizeof *t->n_keys, GUARD_AFTER);
    for (int i = 0; i < n_rows; i++)
        t->n_keys[i] = keys == KEYS_CAUSAL ? n - (n_rows - 1 - i) : keys == KEYS_ALL ? n : random_int(2 * n + 1);
    for (int i = 0; i < n_rows; i++) t->n_keys[i] = t->n_keys[i] < 0 ? 0 : t->n_keys[i];
    t->k = tiles_random(k_type, false, d, n, 1);
    t->v = tiles_random(v_type, true, d, n, 1);
}

void attention_free(struct attention *t)
{
    tiles_free(&t->k);
    tiles_free(&t->v);
}

struct result run_attend(const struct fkv_kernels *level, const struct attention *t, int row0, int n_rows, int first,
                         int last)
{
    const struct result r = {.ldo = t->d + n_rows % 3,
                             .out = guarded_floats((n_rows - 1) * (t->d + n_rows % 3) + t->d, GUARD_AFTER),
                             .max = guarded_floats(n_rows, GUARD_AFTER),
                             .sum = guarded_floats(n_rows, GUARD_AFTER)};
    const struct fkv_attend a = {.q = t->q + row0 * t->ldq,
                                 .ldq = t->ldq,
                                 .n_keys = t->n_keys + row0,
                                 .first_keys = t->first_keys ? t->first_keys + row0 : NULL,
                                 .n_rows = n_rows,
                                 .d = t->d,
                                 .alone = t->alone,
                                 .scale = t->scale,
                                 .k = t->k.tiles,
                                 .v = t->v.tiles,
                                 .k_type = t->k_type,
                                 .v_type = t->v_type,
                                 .first = first,
                                 .last = last,
                                 .out = r.out,
                                 .ldo = r.ldo,
                                 .max = r.max,
                                 .sum = r.sum,
                                 .scratch = guarded(FKV_ATTEND_SCRATCH, GUARD_AFTER)};
    level->attend(&a);
    for (int i = 0; i < n_rows - 1; i++)
        for (size_t c = t->d; c < r.ldo; c++) assert_true(is_untouched(r.out[i * r.ldo + c]));
    return r;
}

enum attend_arithmetic attend_arithmetic(const struct fkv_kernels *level)
{
    const int avx2 = fkv_simd_find_level("avx2");
    if (avx2 >= 0 && fkv_simd_level_available(avx2) && level->attend == fkv_simd_kernels(avx2)->attend)
        return ATTENDS_BY_INT16;
    return level->kv_elem == FKV_ELEM_F16 ? ATTENDS_BY_F32 : ATTENDS_BY_BF16;
}

struct rounding rounding_of(const struct fkv_kernels *level, const struct attention *t)
{
    static const struct rounding all[] = {[ATTENDS_BY_F32] = {0x1p-19, false},
                                          [ATTENDS_BY_INT16] = {0x1p-12, true},
                                          [ATTENDS_BY_BF16] = {0x1.02p-7, false}};
    const enum attend_arithmetic by = attend_arithmetic(level);
    const bool floats = t->k_type == FKV_ELEM_F32 && t->v_type == FKV_ELEM_F32,
               bytes = t->k_type == FKV_ELEM_Q8_0 || t->v_type == FKV_ELEM_Q8_0;
    return all[floats || (by == ATTENDS_BY_INT16 && t->alone && !bytes) ? ATTENDS_BY_F32 : by];
}

static double largest_of(const float *x, int n)
{
    double largest = 0;
    for (int i = 0; i < n; i++) largest = fmax(largest, fabs((double)x[i]));
    return largest;
}

void fp64_row(const struct attention *t, int row, int first, int last, struct rounding by, struct wanted_row *w)
{
    const int end = t->n_keys[row] < last ? t->n_keys[row] : last;
    if (t->first_keys && t->first_keys[row] > first) first = t->first_keys[row];
    static double logits[4096];
    *w = (struct wanted_row){.max = -INFINITY};
    for (int j = first; j < end; j++) {
        const float *q = t->q + row * t->ldq, *k = t->k.values + (size_t)j * t->d;
        const double largest = largest_of(k, t->d);
        double dot = 0, magnitude = 0;
        for (int c = 0; c < t->d; c++) {
            dot += (double)q[c] * (double)k[c];
            magnitude += fabs((double)q[c]) * (by.of_largest ? largest : fabs((double)k[c]));
        }
        const double unit = (double)t->scale * 1.4426950408889634;
        logits[j] = dot * unit;
        w->max = fmax(w->max, logits[j]);
        w->logit_error = fmax(w->logit_error, by.relative * magnitude * unit);
    }
    double sum = 0;
    for (int j = first; j < end; j++) {
        const double p = exp2(logits[j] - w->max);
        const float *v = t->v.values + (size_t)j * t->d;
        const double largest = largest_of(v, t->d);
        sum += p;
        for (int c = 0; c < t->d; c++) {
            w->out[c] += p * (double)v[c];
            w->magnitude[c] += p * (by.of_largest ? largest : fabs((double)v[c]));
        }
    }
    for (int c = 0; c < t->d && sum > 0; c++) {
        w->out[c] /= sum;
        w->magnitude[c] /= sum;
    }
    w->log_sum = w->max + log2(sum);
}

void check_row(const struct attention *t, const struct wanted_row *w, struct rounding by, const float *out, double max,
               double sum, struct error_sum *e)
{
    if (w->max == -INFINITY) {
        assert_true(max == -INFINITY && sum == 0);
        for (int c = 0; c < t->d; c++) assert_true(out[c] == 0);
        return;
    }
    const double log_error = w->logit_error + 1e-6 * fabs(w->max) + 1e-6;
    if (!(fabs(max - w->max) <= log_error) || !(fabs(max + log2(sum) - w->log_sum) <= log_error + 4 * by.relative))
        fail_msg("types %d %d, d %d, %d rows, %d entries: expected max %.9g, log2 sum %.9g; got %.9g, %.9g; bound %.3g",
                 t->k_type, t->v_type, t->d, t->n_rows, t->n, w->max, w->log_sum, max, max + log2(sum), log_error);
    /* every weight may be off by 2^error, up and down */
    const double bound = exp2(2 * w->logit_error + 2e-6 * fabs(w->max)) - 1 + 4 * by.relative + 2e-5;
    for (int c = 0; c < t->d; c++) {
        const double got = (double)out[c] / sum;
        if (!(fabs(got - w->out[c]) <= bound * w->magnitude[c] + 1e-30))
            fail_msg("types %d %d, d %d, %d rows, %d entries: channel %d: expected %.9g, got %.9g, bound %.3g",
                     t->k_type, t->v_type, t->d, t->n_rows, t->n, c, w->out[c], got, bound * w->magnitude[c]);
        error_add(e, got, w->out[c]);
    }
}

void check_result(const struct fkv_kernels *level, const struct attention *t, int first, int last,
                  const struct result *r, struct error_sum *e)
{
    const struct rounding by = rounding_of(level, t);
    for (int i = 0; i < t->n_rows; i++) {
        struct wanted_row w;
        fp64_row(t, i, first, last, by, &w);
        check_row(t, &w, by, r->out + i * r->ldo, (double)r->max[i], (double)r->sum[i], e);
    }
}
void assert_same_results(const struct result *a, int row0, const struct result *b, int n_rows, int d, const char *what)
{
    for (int i = 0; i < n_rows; i++) assert_same_floats(a->out + (row0 + i) * a->ldo, b->out + i * b->ldo, d, what);
    assert_same_floats(a->max + row0, b->max, n_rows, what);
    assert_same_floats(a->sum + row0, b->sum, n_rows, what);
}
