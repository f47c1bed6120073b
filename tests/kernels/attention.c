/* Checks of the KV cache's tiles and of attention over them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tiles.h"

static enum guard_side side_of(int i) { return i % 2 ? GUARD_BEFORE : GUARD_AFTER; }

/* ---- kv_pack --------------------------------------------------------------------------------- */

enum { MOST_ENTRIES = 256 };

static void check_q8_0_group(const float *x, const float *stored, int n)
{
    double largest = 0, scale = 0;
    for (int c = 0; c < n; c++) largest = fmax(largest, fabs((double)x[c]));
    scale = largest / 127;
    /* the scale rounds to half precision: 2^-11, or 2^-25 below its normal range; then half a step */
    const double off = scale * 0x1p-11 + 0x1p-25, bound = 0.505 * (scale + off) + 127 * off;
    for (int c = 0; c < n; c++)
        if (fabs((double)(stored[c] - x[c])) > bound)
            fail_msg("q8_0: %g stored as %g, largest %g", x[c], stored[c], largest);
}

static void check_stored(const float *x, int type, const float *stored, int d)
{
    if (type == FKV_ELEM_Q8_0) {
        for (int c = 0; c < d; c += 32) check_q8_0_group(x + c, stored + c, d - c < 32 ? d - c : 32);
        return;
    }
    for (int c = 0; c < d; c++) {
        const float wanted = type == FKV_ELEM_F32   ? x[c]
                             : type == FKV_ELEM_F16 ? fkv_f32_from_f16(fkv_f16_from_f32(x[c]))
                                                    : fkv_f32_from_bf16(fkv_bf16_from_f32(x[c]));
        const bool flushed = type == FKV_ELEM_BF16 && stored[c] == 0 &&
                             fabsf(wanted) <= 0x1p-126f; /* the instruction does that */
        if (stored[c] != wanted && !flushed) fail_msg("type %d: %.9g stored as %.9g", type, x[c], stored[c]);
    }
}

static float make_value(int e)
{
    const float scales[] = {1, 1e-3f, 3e4f, 1e-7f, 0, 1e-41f, 1, 1};
    return scales[e % 8] * fmaxf(-2, fminf(2, random_normal()));
}

/* One of K and V after kv_pack: entries 0 .. first - 1 as before, then n from x, then zeros up to the tile's end. */
static void check_packed(const char *tiles, const char *before, int type, bool is_v, int d, int first, int n,
                         const float *x, size_t ld)
{
    const int dp = fkv_padded_head(d), end = (first + n + FKV_TILE - 1) / FKV_TILE * FKV_TILE;
    float stored[FKV_MAX_HEAD];
    for (int e = 0; e < end; e++) {
        for (int c = 0; c < dp; c++) stored[c] = tiles_value(tiles, type, is_v, d, e, c);
        if (e < first) {
            for (int c = 0; c < dp; c++) {
                const float old = tiles_value(before, type, is_v, d, e, c);
                assert_memory_equal(&stored[c], &old, sizeof old);
            }
            continue;
        }
        if (e < first + n) check_stored(x + (e - first) * ld, type, stored, d);
        for (int c = e < first + n ? d : 0; c < dp; c++) assert_true(stored[c] == 0);
    }
}

static void check_pack_case(const struct fkv_kernels *level, int k_type, int v_type, int d, int first, int n)
{
    const size_t ld = d + n % 4, k_bytes = tiles_bytes(k_type, d, first + n),
                 v_bytes = tiles_bytes(v_type, d, first + n);
    float *k = guarded_floats(n ? (n - 1) * ld + d : 0, side_of(first)),
          *v = guarded_floats(n ? (n - 1) * ld + d : 0, side_of(n));
    for (int e = 0; e < n; e++)
        for (int c = 0; c < d; c++) {
            k[e * ld + c] = make_value(e);
            v[e * ld + c] = make_value(e + 1);
        }
    char *k_tiles = guarded(k_bytes, GUARD_AFTER), *v_tiles = guarded(v_bytes, GUARD_AFTER),
         *k_before = malloc(k_bytes + 1), *v_before = malloc(v_bytes + 1);
    memcpy(k_before, k_tiles, k_bytes);
    memcpy(v_before, v_tiles, v_bytes);
    const struct fkv_kv_rows r = {k, v, ld, n, d, first, k_tiles, v_tiles, k_type, v_type};
    level->kv_pack(&r);
    if (n > 0) {
        check_packed(k_tiles, k_before, k_type, false, d, first, n, k, ld);
        check_packed(v_tiles, v_before, v_type, true, d, first, n, v, ld);
    } else {
        assert_memory_equal(k_tiles, k_before, k_bytes);
    }
    /* The same rows one by one, K and V apart: the same bytes. */
    char *again = guarded(k_bytes, GUARD_AFTER);
    memcpy(again, k_before, k_bytes);
    for (int e = 0; e < n; e++)
        level->kv_pack(&(struct fkv_kv_rows){k + e * ld, NULL, ld, 1, d, first + e, again, NULL, k_type, v_type});
    assert_memory_equal(again, k_tiles, k_bytes);
    again = guarded(v_bytes, GUARD_AFTER);
    memcpy(again, v_before, v_bytes);
    level->kv_pack(&(struct fkv_kv_rows){NULL, v, ld, n, d, first, NULL, again, k_type, v_type});
    assert_memory_equal(again, v_tiles, v_bytes);
    free(k_before);
    free(v_before);
    guarded_release();
}

void check_kv_pack(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    const int heads[] = {32, 64, 80, 2, 34, 128, 256, 96};
    for (int types = 0; types < 16; types++) {
        for (int n = 0; n <= 65; n += 1 + n % 4) check_pack_case(level, types / 4, types % 4, 32, n * 11 % 70, n);
        for (int i = 0; i < 8; i++) check_pack_case(level, types / 4, types % 4, heads[i], 31, 34);
    }
    for (int type = 0; type < 4; type++)
        for (int first = 0; first <= 33; first++) check_pack_case(level, type, type, 80, first, 1 + first % 3);
}

/* ---- attend ---------------------------------------------------------------------------------- */

struct attention {
    int d, n_rows, n; /* n entries */
    int k_type, v_type;
    float *q; /* [n_rows][ldq] */
    size_t ldq;
    int32_t *n_keys;
    struct tiles k, v;
    float scale;
};

struct result {
    float *out, *max, *sum;
    size_t ldo;
};

enum keys { KEYS_CAUSAL, KEYS_ALL, KEYS_MIXED };

static void attention_make(struct attention *t, int k_type, int v_type, int d, int n_rows, int n, enum keys keys,
                           float spread)
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

static void attention_free(struct attention *t)
{
    tiles_free(&t->k);
    tiles_free(&t->v);
}

static struct result run_attend(const struct fkv_kernels *level, const struct attention *t, int row0, int n_rows,
                                int first, int last)
{
    const struct result r = {.ldo = t->d + n_rows % 3,
                             .out = guarded_floats((n_rows - 1) * (t->d + n_rows % 3) + t->d, GUARD_AFTER),
                             .max = guarded_floats(n_rows, GUARD_AFTER),
                             .sum = guarded_floats(n_rows, GUARD_AFTER)};
    const struct fkv_attend a = {.q = t->q + row0 * t->ldq,
                                 .ldq = t->ldq,
                                 .n_keys = t->n_keys + row0,
                                 .n_rows = n_rows,
                                 .d = t->d,
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

/* What one row should give in fp64: logits in units of log 2. */
struct wanted_row {
    double max, log_sum;                               /* log2 of the sum of 2^logit */
    double logit_error;                                /* the most a logit may be off, by the magnitudes */
    double out[FKV_MAX_HEAD], magnitude[FKV_MAX_HEAD]; /* softmax(q K) V and softmax(q K) |V| */
};

/* Relative error of one product in q . k or p v: bf16 arithmetic rounds both factors by up to 2^-8, fp32 neither. A
   level may use bf16 unless the cache holds floats. */
static double product_error(const struct fkv_kernels *level, const struct attention *t)
{
    const bool exact = level->kv_elem == FKV_ELEM_F16 || (t->k_type == FKV_ELEM_F32 && t->v_type == FKV_ELEM_F32);
    return exact ? 0x1p-19 : 0x1.02p-7;
}

static void fp64_row(const struct attention *t, int row, int first, int last, double relative, struct wanted_row *w)
{
    const int end = t->n_keys[row] < last ? t->n_keys[row] : last;
    static double logits[4096];
    *w = (struct wanted_row){.max = -INFINITY};
    for (int j = first; j < end; j++) {
        double dot = 0, magnitude = 0;
        for (int c = 0; c < t->d; c++) {
            const double product = (double)t->q[row * t->ldq + c] * (double)t->k.values[(size_t)j * t->d + c];
            dot += product;
            magnitude += fabs(product);
        }
        const double unit = (double)t->scale * 1.4426950408889634;
        logits[j] = dot * unit;
        w->max = fmax(w->max, logits[j]);
        w->logit_error = fmax(w->logit_error, relative * magnitude * unit);
    }
    double sum = 0;
    for (int j = first; j < end; j++) {
        const double p = exp2(logits[j] - w->max);
        sum += p;
        for (int c = 0; c < t->d; c++) {
            w->out[c] += p * (double)t->v.values[(size_t)j * t->d + c];
            w->magnitude[c] += p * fabs((double)t->v.values[(size_t)j * t->d + c]);
        }
    }
    for (int c = 0; c < t->d && sum > 0; c++) {
        w->out[c] /= sum;
        w->magnitude[c] /= sum;
    }
    w->log_sum = w->max + log2(sum);
}

static void check_row(const struct attention *t, const struct wanted_row *w, double relative, const float *out,
                      double max, double sum, struct error_sum *e)
{
    if (w->max == -INFINITY) {
        assert_true(max == -INFINITY && sum == 0);
        for (int c = 0; c < t->d; c++) assert_true(out[c] == 0);
        return;
    }
    const double log_error = w->logit_error + 1e-6 * fabs(w->max) + 1e-6;
    if (!(fabs(max - w->max) <= log_error) || !(fabs(max + log2(sum) - w->log_sum) <= log_error + 4 * relative))
        fail_msg("types %d %d, d %d, %d rows, %d entries: expected max %.9g, log2 sum %.9g; got %.9g, %.9g; bound %.3g",
                 t->k_type, t->v_type, t->d, t->n_rows, t->n, w->max, w->log_sum, max, max + log2(sum), log_error);
    /* every weight may be off by 2^error, up and down */
    const double bound = exp2(2 * w->logit_error + 2e-6 * fabs(w->max)) - 1 + 4 * relative + 2e-5;
    for (int c = 0; c < t->d; c++) {
        const double got = (double)out[c] / sum;
        if (!(fabs(got - w->out[c]) <= bound * w->magnitude[c] + 1e-30))
            fail_msg("types %d %d, d %d, %d rows, %d entries: channel %d: expected %.9g, got %.9g, bound %.3g",
                     t->k_type, t->v_type, t->d, t->n_rows, t->n, c, w->out[c], got, bound * w->magnitude[c]);
        error_add(e, got, w->out[c]);
    }
}

static void check_result(const struct fkv_kernels *level, const struct attention *t, int first, int last,
                         const struct result *r, struct error_sum *e)
{
    const double relative = product_error(level, t);
    for (int i = 0; i < t->n_rows; i++) {
        struct wanted_row w;
        fp64_row(t, i, first, last, relative, &w);
        check_row(t, &w, relative, r->out + i * r->ldo, (double)r->max[i], (double)r->sum[i], e);
    }
}

static void check_attend_case(const struct fkv_kernels *level, int k_type, int v_type, int d, int n_rows, int n,
                              enum keys keys, float spread, struct error_sum *e)
{
    struct attention t;
    attention_make(&t, k_type, v_type, d, n_rows, n, keys, spread);
    const struct result r = run_attend(level, &t, 0, n_rows, 0, n);
    check_result(level, &t, 0, n, &r, e);
    attention_free(&t);
    guarded_release();
}

/* Decoding: ranges of 256 (and the rest) merged as a caller does it. */
static void check_attend_ranges(const struct fkv_kernels *level, int k_type, int v_type, int d, int n_rows, int n,
                                enum keys keys, struct error_sum *e)
{
    struct attention t;
    attention_make(&t, k_type, v_type, d, n_rows, n, keys, 2);
    const double relative = product_error(level, &t);
    struct result parts[16];
    int n_parts = 0;
    for (int first = 0; first < n; first += 256) {
        parts[n_parts] = run_attend(level, &t, 0, n_rows, first, first + 256 < n ? first + 256 : n);
        check_result(level, &t, first, first + 256 < n ? first + 256 : n, &parts[n_parts++], e);
    }
    for (int i = 0; i < n_rows; i++) {
        double max = -INFINITY, sum = 0;
        float out[FKV_MAX_HEAD] = {0};
        for (int p = 0; p < n_parts; p++) max = fmax(max, (double)parts[p].max[i]);
        for (int p = 0; p < n_parts && max > -INFINITY; p++) {
            const double weight = exp2((double)parts[p].max[i] - max);
            sum += weight * (double)parts[p].sum[i];
            for (int c = 0; c < d; c++) out[c] += (float)weight * parts[p].out[i * parts[p].ldo + c];
        }
        struct wanted_row w;
        fp64_row(&t, i, 0, n, relative, &w);
        check_row(&t, &w, relative, out, max, sum, e);
    }
    attention_free(&t);
    guarded_release();
}

/* A row's numbers are the same in any call. */
static void check_attend_rows(const struct fkv_kernels *level, int k_type, int v_type, int d, int n_rows, int n,
                              enum keys keys, float spread)
{
    struct attention t;
    attention_make(&t, k_type, v_type, d, n_rows, n, keys, spread);
    const struct result all = run_attend(level, &t, 0, n_rows, 0, n);
    for (int row0 = 0, count = 1; row0 < n_rows; row0 += count, count = 1 + (count * 5 + 1) % 14) {
        const int rows = row0 + count < n_rows ? count : n_rows - row0;
        const struct result some = run_attend(level, &t, row0, rows, 0, n);
        for (int i = 0; i < rows; i++)
            assert_same_floats(all.out + (row0 + i) * all.ldo, some.out + i * some.ldo, d,
                               "rows of a call and of a part of it");
        assert_same_floats(all.max + row0, some.max, rows, "maxima");
        assert_same_floats(all.sum + row0, some.sum, rows, "sums");
    }
    attention_free(&t);
    guarded_release();
}

/* Zero but for channel 0 of two entries, of which the later has the larger logit by 3: in even rows 43 and 46, both far
   above all before. */
static void check_attend_rise(const struct fkv_kernels *level, int type, int n_rows, int n, int first_peak,
                              int second_peak)
{
    enum { D = 64 };
    struct attention t;
    attention_make(&t, type, type, D, n_rows, n, KEYS_ALL, 0);
    float *k = guarded_floats((size_t)n * D, GUARD_AFTER);
    memset(k, 0, sizeof *k * (size_t)n * D);
    k[first_peak * D] = 43;
    k[second_peak * D] = 46;
    level->kv_pack(&(struct fkv_kv_rows){k, NULL, D, n, D, 0, t.k.tiles, NULL, type, type});
    for (int j = 0; j < n; j++)
        for (int c = 0; c < D; c++) t.k.values[(size_t)j * D + c] = tiles_value(t.k.tiles, type, false, D, j, c);
    for (int i = 0; i < n_rows; i++) t.q[(size_t)i * t.ldq] = i % 2 ? 1 : 8;
    const struct result r = run_attend(level, &t, 0, n_rows, 0, n);
    const double logits[] = {(double)t.k.values[first_peak * D], (double)t.k.values[second_peak * D]},
                 share = exp(logits[0] - logits[1]);
    for (int i = 0; i < n_rows; i++) {
        if (i < 2 || i >= n_rows - 2) {
            const struct result alone = run_attend(level, &t, i, 1, 0, n);
            assert_same_floats(r.out + i * r.ldo, alone.out, D,
                               "a row beside one whose largest logit rises, and alone");
            assert_same_floats(r.sum + i, alone.sum, 1, "its sum");
        }
        if (i % 2) continue;
        assert_true(fabs((double)r.max[i] - logits[1] * 1.4426950408889634) <
                    0x1p-7 * logits[1] * 1.44); /* q and k may be rounded to bf16 */
        assert_true(fabs((double)r.sum[i] - 1 - share) < 0.02);
        for (int c = 0; c < D; c++) {
            const double first = (double)t.v.values[first_peak * D + c],
                         second = (double)t.v.values[second_peak * D + c];
            assert_true(fabs((double)r.out[i * r.ldo + c] / (double)r.sum[i] -
                             (second + share * first) / (1 + share)) <= 0.02 * (fabs(first) + fabs(second)));
        }
    }
    attention_free(&t);
    guarded_release();
}

/* An entry that is not a number, with a large one after it, spoils the rows that see it, and those alone. */
static void check_attend_not_a_number(const struct fkv_kernels *level, int type)
{
    enum { D = 32, N = 64, ROWS = 6, BROKEN = 48, LARGE = 56 };
    if (type == FKV_ELEM_Q8_0) return; /* what kv_pack makes of a NaN is not said */
    struct attention t;
    attention_make(&t, type, type, D, ROWS, N, KEYS_ALL, 0);
    float *k = guarded_floats(N * D, GUARD_AFTER);
    memset(k, 0, sizeof *k * N * D);
    k[BROKEN * D] = NAN;
    k[LARGE * D] = 100;
    level->kv_pack(&(struct fkv_kv_rows){k, NULL, D, N, D, 0, t.k.tiles, NULL, type, type});
    for (int i = 0; i < ROWS; i++) {
        t.q[(size_t)i * t.ldq] = 1 / t.scale;
        t.n_keys[i] = i % 2 ? BROKEN : N;
    }
    const struct result r = run_attend(level, &t, 0, ROWS, 0, N);
    for (int i = 0; i < ROWS; i++) {
        const struct result alone = run_attend(level, &t, i, 1, 0, N);
        if (i % 2)
            assert_same_floats(r.out + i * r.ldo, alone.out, D,
                               "a row beside one that sees what is not a number, and alone");
        else
            assert_true(isnan(r.out[i * r.ldo]) || isnan(r.sum[i]));
        if (i % 2) assert_true(fabsf(r.sum[i] - BROKEN) < 1e-3f);
    }
    attention_free(&t);
    guarded_release();
}

static void check_attend_hostile(const struct fkv_kernels *level, int type)
{
    struct error_sum e = {0};
    const float spreads[] = {0, 1e-30f, 30,
                             3000}; /* q of nothing, next to nothing; softmax of one entry, logits of many thousands */
    for (int i = 0; i < 4; i++) check_attend_case(level, type, type, 64, 13, 300, KEYS_MIXED, spreads[i], &e);
    struct attention t;
    attention_make(&t, type, type, 80, 5, 70, KEYS_ALL, 1);
    memset(t.k.tiles, 0, tiles_bytes(type, 80, 70));
    memset(t.v.tiles, 0, tiles_bytes(type, 80, 70));
    memset(t.k.values, 0, sizeof(float) * 70 * 80);
    memset(t.v.values, 0, sizeof(float) * 70 * 80);
    const struct result r = run_attend(level, &t, 0, 5, 0, 70);
    for (int i = 0; i < 5; i++)
        assert_true(r.max[i] == 0 && fabsf(r.sum[i] - 70) < 1e-4f && r.out[i * r.ldo + 79] == 0);
    attention_free(&t);
    guarded_release();
}

void check_attend(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    const int heads[] = {32, 64, 80, 96, 128, 256, 2, 34};
    struct error_sum sum = {0}, exact = {0};
    for (int types = 0; types < 16; types++) {
        struct error_sum *e = types == 0 ? &exact : &sum;
        const int k = types / 4, v = types % 4;
        check_attend_case(level, k, v, 80, 40, 300, KEYS_CAUSAL, 2, e);
        check_attend_case(level, k, v, 128, 7, 290, KEYS_MIXED, 2, e);
        for (int n = 1; n <= 65; n += 3) check_attend_case(level, k, v, 32, 1 + n % 12, n, KEYS_CAUSAL, 2, e);
        check_attend_ranges(level, k, v, 64, 1 + types % 8, 700, KEYS_ALL, e);
        check_attend_rows(level, k, v, 80, 27, 333, KEYS_CAUSAL, 2);
    }
    for (int type = 0; type < 4; type++) {
        struct error_sum *e = type == 0 ? &exact : &sum;
        for (int i = 0; i < 8; i++) check_attend_case(level, type, type, heads[i], 25, 97, KEYS_CAUSAL, 2, e);
        for (int n_rows = 1; n_rows <= 25; n_rows++)
            check_attend_case(level, type, type, 32, n_rows, 40 + n_rows, KEYS_CAUSAL, 2, e);
        check_attend_case(level, type, type, 64, FKV_ATTEND_ROWS, 1000, KEYS_CAUSAL, 2, e);
        check_attend_ranges(level, type, type, 128, 6, 1300, KEYS_MIXED, e);
        check_attend_rows(level, type, type, 64, FKV_ATTEND_ROWS, 600, KEYS_CAUSAL, 2);
        check_attend_rows(level, type, type, 64, FKV_ATTEND_ROWS, 600, KEYS_CAUSAL,
                          40); /* logits of hundreds: the largest so far rises by much */
        check_attend_rows(level, type, type, 128, 31, 300, KEYS_MIXED, 40);
        for (int n_rows = 33; n_rows <= 48; n_rows += 15)
            check_attend_rows(level, type, type, 32, n_rows, 100, KEYS_MIXED, 2);
        for (int i = 0; i < 5; i++) {
            const int rows[] = {2, 20, 34, 48, FKV_ATTEND_ROWS};
            check_attend_rise(level, type, rows[i], 320, 100, 270);
            check_attend_rise(level, type, rows[i], 310, 100, 270);
            check_attend_rise(level, type, rows[i], 320, 40, 60);
        }
        check_attend_not_a_number(level, type);
        check_attend_hostile(level, type);
    }
    print_message("attend on %s: relative RMS %.5f %%, on floats %.6f %%\n", level->isa, 100 * error_rms(&sum),
                  100 * error_rms(&exact));
    assert_true(error_rms(&exact) < 1e-5);
    assert_true(error_rms(&sum) < (level->kv_elem == FKV_ELEM_F16 ? 1e-5 : 0.01));
}
