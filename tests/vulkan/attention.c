/* The store and attention over it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

struct shape {
    int d, heads, query_heads; /* of a KV head */
    int k_type, v_type;
    int base, n; /* entries before the prefill, and in it */
    int rows;    /* of queries: the last of the prefill */
};

struct append {
    struct fkv_kv_store *s;
    const float *k, *v;
    size_t ld;
    int n;
};

static void run_append(struct fkv_run *r, void *arg)
{
    const struct append *a = arg;
    r->b->ops->kv_append(r, a->s, a->k, a->v, a->ld, a->n);
}

static void append(int i, struct fkv_kv_store *s, const float *k, const float *v, size_t ld, int first, int n)
{
    float *sk = side_floats(i, k + (size_t)first * ld, (size_t)n * ld),
          *sv = side_floats(i, v + (size_t)first * ld, (size_t)n * ld);
    struct append a = {s, sk, sv, ld, n};
    on_side(i, run_append, &a);
    side_free(i, sk, (size_t)n * ld);
    side_free(i, sv, (size_t)n * ld);
}

static struct fkv_kv_store *create(int i, const struct shape *x, int capacity, bool whole)
{
    struct fkv_kv_store *s = NULL;
    const int status = side(i)->ops->kv_create(side(i), &s, x->heads, x->d, x->k_type, x->v_type, capacity, whole);
    assert_int_equal(status, FKV_OK);
    return s;
}

/* A store as a later turn finds it: `base` entries, the last head one fewer, taken over by kv_assign; then n appended
   in parts. */
static struct fkv_kv_store *fill(int i, const struct shape *x, const float *k, const float *v, size_t ld)
{
    const struct fkv_ops *ops = side(i)->ops;
    struct fkv_kv_store *kept = create(i, x, x->base + 1, false), *s = create(i, x, x->base + x->n, true);
    if (x->base) {
        append(i, kept, k, v, ld, 0, x->base);
        ops->kv_cut(kept, x->heads - 1, x->base - 1);
    }
    ops->kv_assign(s, kept);
    append(i, s, k, v, ld, x->base, 1);
    for (int row = 1; row < x->n; row += 100)
        append(i, s, k, v, ld, x->base + row, x->n - row < 100 ? x->n - row : 100);
    assert_int_equal(ops->kv_count(s, 0), x->base + x->n);
    ops->kv_destroy(kept);
    return s;
}

struct attend {
    const struct fkv_kv_store *s;
    int n_head, n;
    const float *q;
    size_t ld;
    const int32_t *seen;
    float *out;
};

static void run_attend(struct fkv_run *r, void *arg)
{
    const struct attend *a = arg;
    r->b->ops->attend(r, a->s, a->n_head, 0.3f, a->q, a->ld, a->n, a->seen, a->out);
}

static void check_attend(const struct shape *x, bool all)
{
    const int n_head = x->heads * x->query_heads, entries = x->base + x->n;
    const size_t ld = (size_t)(x->heads * x->d), ldq = (size_t)(n_head * x->d), nq = (size_t)x->rows * ldq;
    float *k = random_floats((size_t)entries * ld), *v = random_floats((size_t)entries * ld), *q = random_floats(nq),
          *got[N_SIDES];
    int32_t *seen = malloc((size_t)x->rows * sizeof *seen);
    for (int i = 0; i < x->rows; i++) seen[i] = x->n - x->rows + i + 1;
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_kv_store *s = fill(i, x, k, v, ld);
        float *sq = side_floats(i, q, nq), *out = side_floats(i, NULL, nq);
        struct attend a = {s, n_head, x->rows, sq, ldq, all ? NULL : seen, out};
        on_side(i, run_attend, &a);
        got[i] = malloc(nq * sizeof *got[i]);
        side_read(i, out, nq, got[i]);
        side_free(i, sq, nq);
        side_free(i, out, nq);
        side(i)->ops->kv_destroy(s);
    }
    char what[96];
    snprintf(what, sizeof what, "attend d %d, %d x %d heads, types %d %d, %d + %d entries, %d rows", x->d, x->heads,
             x->query_heads, x->k_type, x->v_type, x->base, x->n, x->rows);
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], nq, 2e-5);
    assert_close(what, got[SIDE_CPU], got[SIDE_FAST], nq, fmax(2e-5, rounding_of_attend(x->k_type, x->v_type, x->d)));
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(k);
    free(v);
    free(q);
    free(seen);
}

void test_attend(void **state)
{
    (void)state;
    seed(6);
    static const int dims[] = {32, 64, 80, 128, 256};
    for (int i = 0; i < (few() ? 2 : 5); i++) {
        check_attend(&(struct shape){dims[i], 2, 2, FKV_ELEM_F16, FKV_ELEM_F16, 0, 70, 70}, false);
        check_attend(&(struct shape){dims[i], 2, 3, FKV_ELEM_F32, FKV_ELEM_F32, 45, 37, 1}, true);
    }
    for (int t = 0; t < (few() ? 0 : 16); t++)
        check_attend(&(struct shape){64, 2, 1, t / 4, t % 4, 13, 40, t % 2 ? 1 : 34}, t % 3 == 0);
    check_attend(&(struct shape){64, 3, 2, FKV_ELEM_F16, FKV_ELEM_BF16, 300, 733, 1}, false); /* several pieces */
    check_attend(&(struct shape){128, 4, 1, FKV_ELEM_F32, FKV_ELEM_F32, 0, 300, 33},
                 false); /* a head a binding when the range is capped */
}

/* ---- entries from store to store ------------------------------------------------------------- */

struct retain {
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    const int32_t *rows;
    int n;
};

static void run_retain(struct fkv_run *r, void *arg)
{
    const struct retain *a = arg;
    r->b->ops->retain(r, a->to, a->from, a->rows, a->n);
}

/* Rows of a work store go to a cache that has entries already and grows; what attention then sees is what the CPU
   sees. */
static void check_moves(int from_type, int to_type)
{
    enum { BASE = 20, N = 300, KEPT = 70, HEADS = 3, D = 64 };
    const struct shape work = {D, HEADS, 1, from_type, from_type, BASE, N, 1},
                       cache = {D, HEADS, 1, to_type, to_type, 0, 0, 1};
    const size_t ld = HEADS * D;
    float *k = random_floats((BASE + N) * ld), *v = random_floats((BASE + N) * ld), *q = random_floats(ld),
          got[N_SIDES][HEADS * D];
    int32_t rows[HEADS * KEPT];
    for (int h = 0; h < HEADS; h++)
        for (int i = 0; i < KEPT; i++) rows[h * KEPT + i] = (int32_t)(i * 4 + (int)(random_bits() % 4));
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_kv_store *from = fill(i, &work, k, v, ld), *to = create(i, &cache, 400, false);
        append(i, to, k, v, ld, 0, 5);
        side(i)->ops->kv_cut(to, 1, 3); /* heads of different lengths */
        struct retain a = {to, from, rows, KEPT};
        on_side(i, run_retain, &a);
        a.rows = NULL; /* and the first ones as they stand */
        a.n = 9;
        on_side(i, run_retain, &a);
        for (int j = 0; j < 250; j++) append(i, to, k, v, ld, j, 1); /* grows */
        assert_int_equal(side(i)->ops->kv_count(to, 0), 5 + KEPT + 9 + 250);
        assert_int_equal(side(i)->ops->kv_count(to, 1), 3 + KEPT + 9 + 250);
        float *sq = side_floats(i, q, ld), *out = side_floats(i, NULL, ld);
        struct attend b = {to, HEADS, 1, sq, ld, NULL, out};
        on_side(i, run_attend, &b);
        side_read(i, out, ld, got[i]);
        side_free(i, sq, ld);
        side_free(i, out, ld);
        side(i)->ops->kv_destroy(from);
        side(i)->ops->kv_destroy(to);
    }
    assert_close("retained", got[SIDE_CPU], got[SIDE_CHECK], ld, 3e-5);
    assert_close("retained", got[SIDE_CPU], got[SIDE_FAST], ld, 3e-5);
    free(k);
    free(v);
    free(q);
}

void test_cache_moves(void **state)
{
    (void)state;
    seed(7);
    check_moves(FKV_ELEM_F32, FKV_ELEM_F32);
    check_moves(FKV_ELEM_F16, FKV_ELEM_Q8_0);
    check_moves(FKV_ELEM_BF16, FKV_ELEM_F16);
}

/* ---- retention of what a device has chosen --------------------------------------------------- */

/* What lies between a choice and its retention, all in one region. */
enum between { NOTHING, COMMON, COMMON_WINDOW_ONLY, ANOTHER, N_BETWEEN };

struct choice {
    enum between between;
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    const float *g;
    int heads, n, window, cap;
    int32_t *rows, *others;
};

static void run_choice(struct fkv_run *r, void *arg)
{
    const struct choice *a = arg;
    const struct fkv_ops *ops = r->b->ops;
    ops->select(r, a->g, a->heads, a->n, a->window, 1, a->cap, a->rows);
    if (a->between == COMMON) ops->select_common(r, a->g, a->heads, a->n, a->window, 1, a->cap, a->others);
    if (a->between == COMMON_WINDOW_ONLY)
        ops->select_common(r, a->g, a->heads, a->n, a->window, 0, a->window, a->others);
    if (a->between == ANOTHER) ops->select(r, a->g, a->heads, a->n, a->window, 1, a->cap - 3, a->others);
    ops->retain(r, a->to, a->from, a->rows, a->cap);
}

/* The rows chosen, the entries retained; then, from where the rows were, a list of the host's own. */
static void check_choice(enum between between)
{
    enum { N = 200, CAP = 40, WINDOW = 8, HEADS = 2, D = 64, LD = HEADS * D };
    const struct shape work = {D, HEADS, 1, FKV_ELEM_F16, FKV_ELEM_F16, 0, N, 1},
                       cache = {D, HEADS, 1, FKV_ELEM_F16, FKV_ELEM_F16, 0, 0, 1};
    float *k = random_floats(N * LD), *v = random_floats(N * LD), *q = random_floats(LD),
          *g = random_floats(HEADS * (N - WINDOW));
    float got[N_SIDES][2][LD];
    int32_t rows[N_SIDES][HEADS * CAP], chosen[HEADS * CAP], others[HEADS * CAP], own[HEADS * CAP];
    for (int i = 0; i < HEADS * CAP; i++) own[i] = i % CAP * 5 + i / CAP;
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_kv_store *from = fill(i, &work, k, v, LD), *to = create(i, &cache, 3 * CAP, false);
        float *sq = side_floats(i, q, LD), *out = side_floats(i, NULL, LD),
              *sg = side_floats(i, g, HEADS * (N - WINDOW));
        struct choice a = {between, to, from, sg, HEADS, N, WINDOW, CAP, rows[i], others};
        struct attend b = {to, HEADS, 1, sq, LD, NULL, out};
        on_side(i, run_choice, &a);
        if (i == SIDE_CPU) memcpy(chosen, rows[i], sizeof chosen);
        assert_memory_equal(rows[i], chosen, sizeof chosen); /* on_side() waits */
        on_side(i, run_attend, &b);
        side_read(i, out, LD, got[i][0]);
        memcpy(rows[i], own, sizeof own);
        struct retain c = {to, from, rows[i], CAP};
        on_side(i, run_retain, &c);
        on_side(i, run_attend, &b);
        side_read(i, out, LD, got[i][1]);
        side_free(i, sq, LD);
        side_free(i, out, LD);
        side_free(i, sg, HEADS * (N - WINDOW));
        side(i)->ops->kv_destroy(from);
        side(i)->ops->kv_destroy(to);
    }
    for (int i = 1; i < N_SIDES; i++) assert_close("retained", got[SIDE_CPU][0], got[i][0], 2 * LD, 3e-5);
    free(k);
    free(v);
    free(q);
    free(g);
}

void test_retain_what_was_selected(void **state)
{
    (void)state;
    seed(8);
    for (int i = 0; i < N_BETWEEN; i++) check_choice((enum between)i);
}
