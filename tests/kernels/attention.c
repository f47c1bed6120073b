/* Checks of attention over the KV cache's tiles. */
#include "attention.h"

#include <math.h>
#include <string.h>

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
    t.alone = true;
    const struct rounding by = rounding_of(level, &t);
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
        fp64_row(&t, i, 0, n, by, &w);
        check_row(&t, &w, by, out, max, sum, e);
    }
    attention_free(&t);
    guarded_release();
}

/* A row's numbers are the same in any call of its kind. */
static void check_attend_rows(const struct fkv_kernels *level, int k_type, int v_type, int d, int n_rows, int n,
                              enum keys keys, float spread)
{
    struct attention t;
    attention_make(&t, k_type, v_type, d, n_rows, n, keys, spread);
    for (int kind = 0; kind < (n_rows < 32 ? 2 : 1); kind++) {
        t.alone = kind == 1;
        const struct result all = run_attend(level, &t, 0, n_rows, 0, n);
        for (int row0 = 0, count = 1; row0 < n_rows; row0 += count, count = 1 + (count * 5 + 1) % 14) {
            const int rows = row0 + count < n_rows ? count : n_rows - row0;
            const struct result some = run_attend(level, &t, row0, rows, 0, n);
            assert_same_results(&all, row0, &some, rows, d, "rows of a call and of a part of it");
        }
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
    level->kv_pack(&(struct fkv_kv_rows){.k = k, .ld = D, .n = n, .d = D, .k_tiles = t.k.tiles, .k_type = type});
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
    level->kv_pack(&(struct fkv_kv_rows){.k = k, .ld = D, .n = N, .d = D, .k_tiles = t.k.tiles, .k_type = type});
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
    const int heads[] = {32, 64, 80, 96, 128, 256, 2, 34, 258, 320, 512};
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
        for (int i = 0; i < 11; i++) check_attend_case(level, type, type, heads[i], 25, 97, KEYS_CAUSAL, 2, e);
        check_attend_ranges(level, type, type, 512, 6, 600, KEYS_MIXED, e);
        check_attend_rows(level, type, type, 320, 200, 290, KEYS_CAUSAL, 2);
        check_attend_case(level, type, type, 512, FKV_ATTEND_ROWS, 300, KEYS_CAUSAL, 2, e);
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
    check_attend_windows(level, &sum);
    print_message("attend on %s: relative RMS %.5f %%, on floats %.6f %%\n", level->isa, 100 * error_rms(&sum),
                  100 * error_rms(&exact));
    static const double most[] = {[ATTENDS_BY_F32] = 1e-5, [ATTENDS_BY_INT16] = 1e-3, [ATTENDS_BY_BF16] = 0.01};
    assert_true(error_rms(&exact) < 1e-5);
    assert_true(error_rms(&sum) < most[attend_arithmetic(level)]);
}
