/* Checks of FastKV's scores, pooling and top k. */
#include "support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tiles.h"

static enum guard_side side_of(int i) { return i % 2 ? GUARD_BEFORE : GUARD_AFTER; }

/* ---- window_logits, window_sums -------------------------------------------------------------- */

static void check_logits_case(const struct fkv_kernels *level, int type, int d, int w, int n, int more)
{
    const size_t ldq = d + 3, ld = n + more;
    float *q = guarded_floats((w - 1) * ldq + d, side_of(n));
    for (size_t i = 0; i < (w - 1) * ldq + d; i++) q[i] = random_normal();
    struct tiles k = tiles_random(type, false, d, n, 1.5f);
    float *logits = guarded_floats((w - 1) * ld + n, side_of(w));
    const float scale = 1 / sqrtf((float)d);
    level->window_logits(q, ldq, w, k.tiles, type, d, n, scale, logits, ld);
    for (int i = 0; i < w; i++) {
        for (int j = 0; j < n; j++) {
            double sum = 0, magnitude = 0;
            for (int c = 0; c < d; c++) {
                const double product = (double)q[i * ldq + c] * (double)k.values[(size_t)j * d + c];
                sum += product;
                magnitude += fabs(product);
            }
            const double bound = (d / 4 + 8) * 0x1p-24 * magnitude * (double)scale;
            if (!(fabs((double)logits[i * ld + j] - sum * (double)scale) <= bound))
                fail_msg("type %d, d %d, w %d, n %d: logit %d,%d: expected %.9g, got %.9g", type, d, w, n, i, j,
                         sum * (double)scale, logits[i * ld + j]);
        }
        for (int j = n; j < (int)ld && i < w - 1; j++) assert_true(is_untouched(logits[i * ld + j]));
    }
    tiles_free(&k);
    guarded_release();
}

void check_window_logits(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    for (int type = FKV_ELEM_F32; type <= FKV_ELEM_Q8_0; type++) {
        for (int n = 1; n <= 65; n++) check_logits_case(level, type, 64, 1 + n % 9, n, n % 2 * 3);
        for (int w = 1; w <= FKV_MAX_WINDOW; w += w < 25 ? 1 : 13) check_logits_case(level, type, 80, w, 100, 0);
        const int heads[] = {2, 32, 66, 96, 128, 256, 258, 512};
        for (int i = 0; i < 8; i++) check_logits_case(level, type, heads[i], 8, 333, 1);
    }
}

enum logits_kind { LOGITS_NORMAL, LOGITS_EQUAL, LOGITS_HUGE, LOGITS_SPIKE, LOGITS_SOME_MINUS_INF, N_LOGITS_KINDS };

static float make_logit(enum logits_kind kind, int j)
{
    switch (kind) {
    case LOGITS_EQUAL: return 3.25f;
    case LOGITS_HUGE: return 1e4f * random_normal();
    case LOGITS_SPIKE: return j == 0 ? 80 : -20;
    case LOGITS_SOME_MINUS_INF: return j % 3 == 1 ? -INFINITY : random_normal();
    default: return 2 * random_normal();
    }
}

/* Rows that see all, the latest few, few or none, as row i mod 4 has it. */
static int make_first(int i, int w, int n)
{
    const int end = n - w + i + 1;
    return i % 4 == 0 ? 0 : i % 4 == 1 ? (end > 20 ? end - 20 : 0) : i % 4 == 2 ? random_int(end) : end + random_int(3);
}

/* How rows are weighed, and what becomes of them. */
struct reduction {
    const float *weight;
    bool largest, halves;
};

/* Without first: every row sees from 0 on. */
static void check_sums_case(const struct fkv_kernels *level, enum logits_kind kind, int w, int n, int more,
                            const int32_t *first, float sink, struct reduction by)
{
    const size_t ld = n + more, size = (w - 1) * ld + n;
    float *logits = guarded_floats(size, side_of(n)), *sums = guarded_floats(n - w, side_of(w));
    float *halves = by.halves ? guarded_floats(2 * (n - w), side_of(n + 1)) : NULL;
    double *wanted = calloc(3 * n, sizeof *wanted), *half = wanted + n;
    int counted = 0;
    for (size_t i = 0; i < size; i++) {
        const bool counts = !by.weight || by.weight[i / ld] > 0;
        logits[i] = counts ? make_logit(kind, (int)(i % ld)) : NAN;
    }
    for (int i = 0; i < w; i++) {
        const float *row = logits + i * ld;
        const int from = first ? first[i] : 0;
        double max = (double)sink, sum = 0;
        if (by.weight && by.weight[i] == 0) continue;
        half = wanted + (1 + counted++ % 2) * n;
        for (int j = from; j <= n - w + i; j++) max = fmax(max, (double)row[j]);
        if (max == -INFINITY) continue;
        for (int j = from; j <= n - w + i; j++) sum += exp((double)row[j] - max);
        sum += exp((double)sink - max);
        for (int j = from; j < n - w; j++) {
            const double x = exp((double)row[j] - max) / sum * (by.weight ? (double)by.weight[i] : 1);
            wanted[j] = by.largest ? fmax(wanted[j], x) : wanted[j] + x;
            half[j] += x;
        }
    }
    level->window_sums(logits, ld, w, n, first, sink, by.weight, by.largest, sums, halves);
    for (int i = 0; i < (halves ? 3 : 1); i++)
        for (int j = 0; j < n - w; j++) { /* 1e-30: what is that small beside the largest may become zero */
            const double expected = wanted[i * n + j], got = (double)(i ? halves[(i - 1) * (n - w) + j] : sums[j]);
            if (!(fabs(got - expected) <= 2e-5 * expected + 1e-30))
                fail_msg("kind %d, w %d, n %d, %s: %s %d: expected %.9g, got %.9g", kind, w, n,
                         by.weight ? "weights" : "no weights",
                         i            ? "half"
                         : by.largest ? "largest"
                                      : "sum",
                         j, expected, got);
        }
    free(wanted);
    guarded_release();
}

static void check_sums_seen(const struct fkv_kernels *level, enum logits_kind kind, int w, int n, int more)
{
    const float sinks[] = {-INFINITY, -3, 5, 60};
    const struct reduction sum = {NULL, false, true}, largest = {NULL, true, true};
    check_sums_case(level, kind, w, n, more, NULL, -INFINITY, sum);
    check_sums_case(level, kind, w, n, more, NULL, 1, largest);
    for (int i = 0; i < 4; i++) {
        int32_t *first = guarded(w * sizeof *first, side_of(i));
        for (int r = 0; r < w; r++) first[r] = make_first(r + i, w, n);
        check_sums_case(level, kind, w, n, more, first, sinks[i], sum);
    }
    for (int i = 0; i < 6; i++) {
        int32_t *first = guarded(w * sizeof *first, side_of(i));
        float *weight = guarded_floats(w, side_of(i + 1));
        for (int r = 0; r < w; r++) {
            first[r] = make_first(r + i, w, n);
            weight[r] = i < 2 ? (r == w - 1) : i < 4 ? (float)random_int(3) / 2 : (float)(r % 2);
        }
        check_sums_case(level, kind, w, n, more, i % 3 ? first : NULL, sinks[i % 4],
                        (struct reduction){weight, i % 2, i % 3 == 0});
    }
}

/* No first is first keys of 0, and a sink that is far too small is none, bit for bit. */
static void check_sums_same(const struct fkv_kernels *level, int w, int n)
{
    const float sinks[] = {-INFINITY, -INFINITY, -1e30f};
    float *wanted = guarded_floats(n - w, GUARD_AFTER);
    for (int i = 0; i < 3; i++) {
        float *logits = guarded_floats(w * n, GUARD_AFTER), *sums = guarded_floats(n - w, GUARD_AFTER);
        int32_t *zeros = guarded(w * sizeof *zeros, GUARD_AFTER);
        memset(zeros, 0, w * sizeof *zeros);
        random_restart((uint64_t)n);
        for (int j = 0; j < w * n; j++) logits[j] = make_logit(LOGITS_NORMAL, j);
        level->window_sums(logits, n, w, n, i ? zeros : NULL, sinks[i], NULL, false, i ? sums : wanted, NULL);
        if (i)
            assert_same_floats(wanted, sums, n - w, i == 1 ? "first keys of 0 and none" : "a sink far below and none");
    }
    guarded_release();
}

/* Rows of random logits; the corner is -inf, so that equal rows are equal wherever they stand. */
static float *make_rows(int w, int n)
{
    float *logits = guarded_floats(w * n, GUARD_AFTER);
    random_restart((uint64_t)n);
    for (int i = 0; i < w * n; i++) logits[i] = i % n < n - w ? make_logit(LOGITS_NORMAL, i) : -INFINITY;
    return logits;
}

static float *sums_of(const struct fkv_kernels *level, float *logits, int w, int n, int scored, const float *weight,
                      bool largest)
{
    float *sums = guarded_floats(n - w, GUARD_AFTER), *some = guarded_floats(scored, GUARD_AFTER);
    level->window_sums(logits, n, w, n, NULL, -INFINITY, weight, largest, sums, NULL);
    memcpy(some, sums, scored * sizeof *some);
    return some;
}

/* Bit for bit: weights of 1 are none; of 1 for the last row alone, a window of that row; a row that is there twice
   adds nothing to the largest. */
static void check_sums_weights(const struct fkv_kernels *level, int w, int n)
{
    const int scored = n - w;
    float ones[FKV_MAX_WINDOW], last[FKV_MAX_WINDOW] = {0}, once[FKV_MAX_WINDOW];
    for (int i = 0; i < w; i++) ones[i] = 1, once[i] = i != 1;
    last[w - 1] = 1;
    for (int largest = 0; largest < 2; largest++) {
        assert_same_floats(sums_of(level, make_rows(w, n), w, n, scored, NULL, largest),
                           sums_of(level, make_rows(w, n), w, n, scored, ones, largest), scored,
                           "without weights and with weights of 1");
        assert_same_floats(sums_of(level, make_rows(w, n) + (w - 1) * n, 1, n, scored, NULL, largest),
                           sums_of(level, make_rows(w, n), w, n, scored, last, largest), scored,
                           "a window of one row and that row's weight alone");
        guarded_release();
    }
    float *twice = make_rows(w, n), *copy = make_rows(w, n);
    memcpy(twice + n, twice, n * sizeof *twice);
    memcpy(copy + n, copy, n * sizeof *copy);
    assert_same_floats(sums_of(level, twice, w, n, scored, NULL, true), sums_of(level, copy, w, n, scored, once, true),
                       scored, "the largest of a row twice and once");
    guarded_release();
}

void check_window_sums(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    for (int kind = 0; kind < N_LOGITS_KINDS; kind++) {
        for (int more = 0; more <= 65; more++)
            check_sums_seen(level, kind, 1 + more % 8, 1 + more % 8 + more, more % 3);
        for (int w = 1; w <= FKV_MAX_WINDOW; w++) check_sums_seen(level, kind, w, w + 37, 0);
        check_sums_seen(level, kind, 8, 4001, 5);
    }
    for (int n = 10; n < 100; n += 7) check_sums_same(level, 1 + n % 8, n);
    for (int n = 10; n < 100; n += 7) check_sums_weights(level, 2 + n % 8, n);
}

/* ---- pooling --------------------------------------------------------------------------------- */

enum scores_kind {
    SCORES_NORMAL,
    SCORES_EQUAL,
    SCORES_ZERO,
    SCORES_SIGNED_ZEROS,
    SCORES_MINUS_INF,
    SCORES_HOLES,
    SCORES_ONE_HOT,
    SCORES_DENORMAL,
    SCORES_PLATEAUS,
    SCORES_NEGATIVE,
    SCORES_RISING,
    SCORES_FALLING,
    SCORES_EXTREME,
    SCORES_NAN,
    N_SCORES_KINDS
};

static float make_score(enum scores_kind kind, int i, int n)
{
    switch (kind) {
    case SCORES_EQUAL: return 1.5f;
    case SCORES_ZERO: return 0;
    case SCORES_SIGNED_ZEROS: return random_int(2) ? 0.0f : -0.0f;
    case SCORES_MINUS_INF: return -INFINITY;
    case SCORES_HOLES: return random_int(2) ? -INFINITY : random_uniform();
    case SCORES_ONE_HOT: return i == n / 2;
    case SCORES_DENORMAL: return 1e-43f * random_normal();
    case SCORES_PLATEAUS: return floorf(4 * random_normal());
    case SCORES_NEGATIVE: return -random_uniform();
    case SCORES_RISING: return (float)i;
    case SCORES_FALLING: return (float)-i;
    case SCORES_EXTREME: return random_int(3) ? 3e38f * (2 * random_uniform() - 1) : INFINITY;
    case SCORES_NAN:
        return random_int(4) ? random_normal() : fkv_f32_from_bits(random_int(2) ? 0x7fc00000u : 0xffc12345u);
    default: return random_normal();
    }
}

static float *make_scores(enum scores_kind kind, int n, enum guard_side side)
{
    float *x = guarded_floats(n, side);
    for (int i = 0; i < n; i++) x[i] = make_score(kind, i, n);
    return x;
}

typedef void pool_fn(const float *x, int n, int kernel, float *y);

static void check_pool_case(pool_fn *pool, pool_fn *wanted_pool, enum scores_kind kind, int n, int kernel)
{
    float *x = make_scores(kind, n, side_of(kernel)), *y = guarded_floats(n, side_of(n)),
          *wanted = guarded_floats(n, GUARD_AFTER);
    pool(x, n, kernel, y);
    wanted_pool(x, n, kernel, wanted);
    for (int i = 0; i < n; i++)
        if (y[i] != wanted[i])
            fail_msg("kind %d, n %d, kernel %d, at %d: expected %.9g, got %.9g", kind, n, kernel, i, wanted[i], y[i]);
    guarded_release();
}

static void check_pool(pool_fn *pool, pool_fn *wanted, enum scores_kind last)
{
    const int kernels[] = {1, 3, 5, 7, 9, 13, 31, 63};
    for (int k = 0; k < 8; k++)
        for (int n = 0; n <= 65; n++) check_pool_case(pool, wanted, n % (last + 1), n, kernels[k]);
    for (int kind = 0; kind <= (int)last; kind++)
        for (int k = 0; k < 8; k++) check_pool_case(pool, wanted, kind, 1000 + k, kernels[k]);
}

/* Against the definition: the largest within kernel / 2, nothing outside counts. */
static void plain_max(const float *x, int n, int kernel, float *y)
{
    for (int i = 0; i < n; i++) {
        y[i] = -INFINITY;
        for (int j = 0; j < n; j++)
            if (abs(i - j) <= kernel / 2) y[i] = fmaxf(y[i], x[j]);
    }
}

static void plain_avg(const float *x, int n, int kernel, float *y)
{
    for (int i = 0; i < n; i++) {
        y[i] = 0;
        for (int j = i - kernel / 2; j <= i + kernel / 2; j++) y[i] += j >= 0 && j < n ? x[j] : 0;
        y[i] /= (float)kernel;
    }
}

void check_pool_max(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_pool(level->pool_max, plain_max, SCORES_EXTREME);
}

void check_pool_avg(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    check_pool(level->pool_avg, plain_avg, SCORES_FALLING);
}

/* ---- top k ----------------------------------------------------------------------------------- */

struct ranked {
    float x;
    int index;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (isnan(x->x) != isnan(y->x)) return isnan(x->x) ? 1 : -1;
    if (x->x > y->x) return -1;
    if (x->x < y->x) return 1;
    return x->index - y->index;
}

static int compare_int(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

static void check_top_k_case(const struct fkv_kernels *level, enum scores_kind kind, int n)
{
    const float *x = make_scores(kind, n, side_of(n));
    struct ranked *ranked = malloc((n + 1) * sizeof *ranked);
    int32_t *wanted = malloc((n + 1) * sizeof *wanted);
    for (int i = 0; i < n; i++) ranked[i] = (struct ranked){x[i], i};
    qsort(ranked, n, sizeof *ranked, compare_ranked);
    const int ks[] = {0, 1, 2, n / 10, n / 5, n / 2, n - 1, n};
    for (int c = 0; c < 8; c++) {
        const int k = ks[c];
        if (k < 0 || k > n) continue;
        uint32_t *keys = guarded(n * sizeof *keys, side_of(c));
        int32_t *indices = guarded(k * sizeof *indices, side_of(c + n));
        for (int i = 0; i < k; i++) wanted[i] = ranked[i].index;
        qsort(wanted, k, sizeof *wanted, compare_int);
        level->top_k(x, n, k, keys, indices);
        for (int i = 0; i < k; i++)
            if (indices[i] != wanted[i])
                fail_msg("kind %d, n %d, k %d: index %d: expected %d, got %d", kind, n, k, i, wanted[i], indices[i]);
    }
    free(ranked);
    free(wanted);
    guarded_release();
}

void check_top_k(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    for (int kind = 0; kind < N_SCORES_KINDS; kind++) {
        for (int n = 0; n <= 65; n++) check_top_k_case(level, kind, n);
        check_top_k_case(level, kind, 1000);
        check_top_k_case(level, kind, 4087);
        check_top_k_case(level, kind, 32760);
    }
}
