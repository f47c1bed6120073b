/* Scores and selections. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

/* ---- scores ---------------------------------------------------------------------------------- */

enum { D = 64, HEADS = 2, QUERY_HEADS = 3 };

struct score {
    struct fkv_kv_store *s;
    struct fkv_scoring how;
    const float *k, *q;
    int base, n;
    float *g;
};

static void run_append(struct fkv_run *r, void *arg)
{
    const struct score *a = arg;
    r->b->ops->kv_append(r, a->s, a->k, a->k, HEADS * D, a->n);
}

static void run_score(struct fkv_run *r, void *arg)
{
    const struct score *a = arg;
    r->b->ops->score(r, a->s, &a->how, HEADS * QUERY_HEADS, a->q, HEADS * QUERY_HEADS * D, a->n, a->g);
}

/* Entries before this prefill: the same rows, taken over. */
static struct fkv_kv_store *store_with_base(int i, int type, const float *k, int base, int n)
{
    struct fkv_kv_store *s = NULL, *kept = NULL;
    const struct fkv_ops *ops = side(i)->ops;
    assert_int_equal(ops->kv_create(side(i), &s, HEADS, D, type, type, base + n, false), FKV_OK);
    assert_int_equal(ops->kv_create(side(i), &kept, HEADS, D, type, type, base + n, false), FKV_OK);
    struct score a = {.s = kept, .k = k, .n = base};
    if (base) on_side(i, run_append, &a);
    ops->kv_assign(s, kept);
    ops->kv_destroy(kept);
    return s;
}

static void check_score(int window, bool avg, int kernel, int base, int n, int type)
{
    const size_t entries = (size_t)(base > n ? base : n), scored = (size_t)(n - window);
    const size_t nk = entries * HEADS * D, nq = (size_t)window * HEADS * QUERY_HEADS * D, ng = HEADS * scored;
    float *k = random_floats(nk), *q = random_floats(nq), *got[N_SIDES];
    for (int i = 0; i < N_SIDES; i++) {
        float *sk = side_floats(i, k, nk), *sq = side_floats(i, q, nq), *g = side_floats(i, NULL, ng);
        struct score a = {store_with_base(i, type, sk, base, n), {window, avg, kernel, 0.2f}, sk, sq, base, n, g};
        on_side(i, run_append, &a);
        on_side(i, run_score, &a);
        got[i] = malloc(ng * sizeof *got[i]);
        side_read(i, g, ng, got[i]);
        side(i)->ops->kv_destroy(a.s);
        side_free(i, sk, nk);
        side_free(i, sq, nq);
        side_free(i, g, ng);
    }
    char what[96];
    snprintf(what, sizeof what, "score window %d, %s of %d, %d + %d entries, type %d", window,
             avg ? "average" : "largest", kernel, base, n, type);
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], ng, 1e-5);
    assert_memory_equal(got[SIDE_CHECK], got[SIDE_FAST], ng * sizeof *k);
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(k);
    free(q);
}

void test_score(void **state)
{
    (void)state;
    seed(8);
    check_score(8, false, 7, 0, 600, FKV_ELEM_F32);
    check_score(8, true, 7, 31, 70, FKV_ELEM_F32);
    check_score(20, false, 13, 5, 41, FKV_ELEM_BF16);
    check_score(1, true, 1, 0, 2, FKV_ELEM_F32);
    check_score(3, false, 3, 2, 4, FKV_ELEM_Q8_0);
}

/* ---- selections ------------------------------------------------------------------------------ */

struct selection {
    const float *g;
    int heads, n, window, sinks, cap;
    int32_t *rows, *common;
};

static void run_select(struct fkv_run *r, void *arg)
{
    const struct selection *a = arg;
    if (a->rows) r->b->ops->select(r, a->g, a->heads, a->n, a->window, a->sinks, a->cap, a->rows);
    if (a->common) r->b->ops->select_common(r, a->g, a->heads, a->n, a->window, a->sinks, a->cap, a->common);
}

static int32_t *rows_of(int i, const float *g, struct selection a, bool common)
{
    const size_t n = (size_t)a.heads * (size_t)(a.n - a.window);
    int32_t *rows = malloc((size_t)a.heads * (size_t)a.cap * sizeof *rows);
    float *sg = side_floats(i, g, n);
    a.g = sg;
    if (common)
        a.common = rows;
    else
        a.rows = rows;
    on_side(i, run_select, &a);
    side_free(i, sg, n);
    return rows;
}

/* Values of which many are equal, and those that do not order by themselves. */
static float awkward(int kind)
{
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-42f, -1e-42f, 3.4e38f, -3.4e38f, 1};
    if (kind == 0) return random_float();
    if (kind == 1) return (float)(random_bits() % 7);
    if (kind == 2) return 0.5f;
    return special[random_bits() % 10];
}

void test_select(void **state)
{
    (void)state;
    static const struct selection cases[] = {{.heads = 3, .n = 300, .window = 8, .sinks = 1, .cap = 60},
                                             {.heads = 2, .n = 6000, .window = 8, .sinks = 0, .cap = 1200},
                                             {.heads = 1, .n = 4105, .window = 8, .sinks = 4, .cap = 4104},
                                             {.heads = 2, .n = 50, .window = 20, .sinks = 0, .cap = 20},
                                             {.heads = 2, .n = 60, .window = 8, .sinks = 12, .cap = 20},
                                             {.heads = 1, .n = 10, .window = 8, .sinks = 0, .cap = 9}};
    seed(9);
    for (int c = 0; c < 6; c++)
        for (int kind = 0; kind < 4; kind++) {
            const struct selection *a = &cases[c];
            const size_t n = (size_t)a->heads * (size_t)(a->n - a->window);
            float *g = malloc(n * sizeof *g);
            for (size_t i = 0; i < n; i++) g[i] = awkward(kind);
            for (int common = 0; common < 2; common++) {
                if (common && kind == 3) continue; /* sums of infinities */
                int32_t *want = rows_of(SIDE_CPU, g, *a, common), *got = rows_of(SIDE_FAST, g, *a, common);
                assert_memory_equal(want, got, (size_t)(common ? 1 : a->heads) * (size_t)a->cap * sizeof *want);
                free(want);
                free(got);
            }
            free(g);
        }
}

static void assert_list(const json_t *want, const int32_t *got)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        assert_int_equal(json_integer_value(json_array_get(want, i)), got[i]);
}

static int number(const json_t *row, const char *key) { return (int)json_integer_value(json_object_get(row, key)); }

static void check_golden(const json_t *row)
{
    const json_t *pooled = json_object_get(row, "pooled"), *kept = json_object_get(row, "kept");
    struct selection a = {.heads = (int)json_array_size(pooled),
                          .n = number(row, "n"),
                          .window = number(row, "w"),
                          .sinks = number(row, "sinks"),
                          .cap = number(row, "cap")};
    const size_t scored = (size_t)(a.n - a.window);
    float *g = malloc((size_t)a.heads * scored * sizeof *g);
    for (int h = 0; h < a.heads; h++)
        for (size_t i = 0; i < scored; i++)
            g[(size_t)h * scored + i] = (float)json_number_value(json_array_get(json_array_get(pooled, (size_t)h), i));
    if (a.cap < a.n) {
        int32_t *rows = rows_of(SIDE_FAST, g, a, false);
        for (int h = 0; h < a.heads; h++) assert_list(json_array_get(kept, (size_t)h), rows + h * a.cap);
        free(rows);
    }
    a.cap = number(row, "propagate_cap");
    if (a.cap < a.n) {
        int32_t *rows = rows_of(SIDE_FAST, g, a, true);
        assert_list(json_object_get(row, "propagated"), rows);
        free(rows);
    }
    free(g);
}

void test_golden_selections(void **state)
{
    (void)state;
    char path[512];
    const char *folder = getenv("FKV_GOLDEN");
    int n = 0;
    snprintf(path, sizeof path, "%s/selection.jsonl", folder ? folder : "tests/golden");
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (json_t *row; (row = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL)); json_decref(row), n++) check_golden(row);
    fclose(f);
    assert_true(n > 100);
}
