/* Scores, selections and choices. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/problem.h"

/* ---- scores ---------------------------------------------------------------------------------- */

struct score {
    const struct fkv_kv_store *s;
    struct fkv_attention how;
    struct fkv_scoring scoring;
    struct fkv_tensor q, g, looked;
    size_t ld;
    const int32_t *pos;
    int n;
};

static void run_score(struct fkv_run *r, void *arg)
{
    const struct score *a = arg;
    r->b->ops->score(r, a->s, &a->how, &a->scoring, a->q, a->ld,
                     &(struct fkv_rows){.n = a->scoring.window, .pos = a->pos}, a->n, a->g, a->looked);
}

struct scoring {
    int d, type, before, n; /* d: 0 for 64; rows whose entries are the base, and after them */
    struct fkv_scoring how;
    int window; /* sliding */
    bool has_sinks;
};

static void check_case(struct scoring x)
{
    enum { HEADS = 2, QUERY_HEADS = 3, N_HEAD = HEADS * QUERY_HEADS };
    const int d = x.d ? x.d : 64, w = x.how.window, scored = x.n - w;
    const size_t ld = N_HEAD * (size_t)d, nq = (size_t)w * ld,
                 ng = 3 * HEADS * (size_t)scored; /* the scores, then where halves of the window look */
    struct problem p;
    problem_fill(&p, (struct fkv_kv_shape){HEADS, d, x.type, x.type}, x.before, x.n, x.before > 0);
    const struct plain_head *h = &p.plain->head[0];
    const int32_t *pos = h->pos + h->n - w;
    float *q = random_floats(nq), *sinks = random_floats(N_HEAD), *want = malloc(ng * sizeof *want), *got[N_SIDES];
    for (size_t i = 0; x.how.weight && i < nq; i++) q[i] = x.how.weight[i / ld] > 0 ? q[i] : NAN;
    struct score a = {.how = {.n_head = N_HEAD, .scale = 0.2f, .window = x.window},
                      .scoring = x.how,
                      .ld = ld,
                      .pos = pos,
                      .n = x.n};
    plain_score(p.plain, &a.how, x.has_sinks ? sinks : NULL, &x.how, q, &(struct fkv_rows){.n = w, .pos = pos}, x.n,
                want);
    for (int half = 0; half < 2; half++) {
        float weight[FKV_MAX_WINDOW];
        const struct fkv_scoring sum = {.window = w, .weight = weight, .pool_kernel = 1};
        for (int i = 0, n = 0; i < w; i++) {
            weight[i] = x.how.weight ? x.how.weight[i] : 1;
            if (weight[i] > 0 && n++ % 2 != half) weight[i] = 0;
        }
        plain_score(p.plain, &a.how, x.has_sinks ? sinks : NULL, &sum, q, &(struct fkv_rows){.n = w, .pos = pos}, x.n,
                    want + (size_t)(1 + half) * (ng / 3));
    }
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_tensor some = side_floats(i, sinks, N_HEAD), none = {0};
        a.s = p.on[i];
        a.q = side_floats(i, q, nq);
        a.g = side_floats(i, NULL, ng);
        a.looked = fkv_tensor_from(a.g, ng / 3);
        a.how.sinks = x.has_sinks ? some : none;
        on_side(i, run_score, &a);
        got[i] = malloc(ng * sizeof *got[i]);
        side_read(i, a.g, ng, got[i]);
        side_free(i, a.q, nq);
        side_free(i, a.g, ng);
        side_free(i, some, N_HEAD);
    }
    char what[128];
    snprintf(what, sizeof what, "score %s d %d, window %d, %s of %d, %d + %d entries, type %d, sliding %d%s%s, span %d",
             x.how.reduce == FKV_REDUCE_MAX ? "max" : "sum", d, w, x.how.pool_avg ? "average" : "largest",
             x.how.pool_kernel, x.before, x.n, x.type, x.window, x.has_sinks ? ", sinks" : "",
             x.how.weight ? ", weights" : "", x.how.span);
    if (x.type != FKV_ELEM_Q8_0) assert_close(what, want, got[SIDE_CHECK], ng, 1e-5);
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], ng, 1e-5);
    assert_memory_equal(got[SIDE_CHECK], got[SIDE_FAST], ng * sizeof *want);
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(q);
    free(sinks);
    free(want);
    problem_destroy(&p);
}

static struct fkv_scoring by(int window, bool avg, int kernel)
{
    return (struct fkv_scoring){.window = window, .pool_avg = avg, .pool_kernel = kernel};
}

/* Another reduction, weights, a span: each with what else there is. */
static void check_reductions(void)
{
    static const float last[8] = {[7] = 1}, some[20] = {0, 1, 0.5f, 0, 2, [13] = 1, [19] = 1};
    struct fkv_scoring how = {.window = 8, .reduce = FKV_REDUCE_MAX, .pool_kernel = 7};
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 31, .n = 300, .how = how, .has_sinks = true});
    how.pool_avg = true;
    how.span = 3;
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 0, .n = 90, .how = how});
    how = (struct fkv_scoring){.window = 8, .weight = last, .pool_kernel = 7, .span = 16};
    check_case((struct scoring){.type = FKV_ELEM_F16, .before = 0, .n = 300, .how = how});
    how = (struct fkv_scoring){.window = 20, .weight = some, .pool_kernel = 3};
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 31, .n = 90, .how = how, .window = 60});
    how.reduce = FKV_REDUCE_MAX;
    how.span = 255; /* more than there are */
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 5, .n = 90, .how = how});
}

void check_score(void **state)
{
    (void)state;
    seed(8);
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 0, .n = 600, .how = by(8, false, 7)});
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 31, .n = 70, .how = by(8, true, 7)});
    check_case((struct scoring){.type = FKV_ELEM_BF16, .before = 5, .n = 41, .how = by(20, false, 13)});
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 0, .n = 2, .how = by(1, true, 1)});
    check_case((struct scoring){.type = FKV_ELEM_Q8_0, .before = 2, .n = 4, .how = by(3, false, 3)});
    check_case(
        (struct scoring){.type = FKV_ELEM_F32, .before = 100, .n = 300, .how = by(8, false, 7), .has_sinks = true});
    check_case((struct scoring){
        .type = FKV_ELEM_F16, .before = 100, .n = 300, .how = by(8, false, 7), .window = 60, .has_sinks = true});
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 100, .n = 300, .how = by(8, true, 5), .window = 500});
    check_case((struct scoring){.type = FKV_ELEM_F32, .before = 0, .n = 90, .how = by(20, false, 3), .window = 3});
    check_reductions();
    if (few()) return;
    check_case((struct scoring){.d = 320, .type = FKV_ELEM_F32, .before = 31, .n = 60, .how = by(8, false, 7)});
    check_case((struct scoring){.d = 512, .type = FKV_ELEM_F16, .before = 31, .n = 60, .how = by(20, true, 7)});
}

/* ---- selections ------------------------------------------------------------------------------ */

struct selection {
    int heads;
    struct fkv_selection how;
};

struct selecting {
    struct fkv_tensor g;
    const struct selection *a;
    struct fkv_choice *c;
    void *scratch;
};

static void run_select(struct fkv_run *r, void *arg)
{
    const struct selecting *s = arg;
    fkv_select(r, s->g, s->a->heads, &s->a->how, s->c, s->scratch);
}

/* The counts of all lists, then their rows one after the other; freed by the caller. */
static int32_t *rows_of(int i, const float *g, const struct selection *a, int *all)
{
    const struct fkv_ops *ops = side(i)->ops;
    const int lists = a->how.spread == FKV_SPREAD_COMMON ? 1 : a->heads;
    const size_t n = (size_t)a->heads * (size_t)(a->how.n - a->how.window);
    struct selecting s = {side_floats(i, g, n), a, side_choice(i, lists, a->how.n),
                          malloc(fkv_choose_bytes(a->heads, a->how.n))};
    int32_t *made = malloc((size_t)lists * (size_t)(a->how.n + 1) * sizeof *made);
    on_side(i, run_select, &s);
    *all = lists;
    for (int l = 0; l < lists; l++) {
        made[l] = ops->choice_count(s.c, l);
        memcpy(made + *all, ops->choice_read(s.c, l), (size_t)made[l] * sizeof *made);
        *all += made[l];
    }
    side_free(i, s.g, n);
    ops->choice_destroy(s.c);
    free(s.scratch);
    return made;
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

static void check_spread(struct selection a, enum fkv_spread spread, const float *g)
{
    int n_want, n_got;
    a.how.spread = spread;
    a.how.least = (a.how.keep - a.how.window - a.how.sinks) / 3;
    int32_t *want = rows_of(SIDE_CPU, g, &a, &n_want);
    for (int i = 1; i < N_SIDES; i++) {
        int32_t *got = rows_of(i, g, &a, &n_got);
        assert_int_equal(n_want, n_got);
        assert_memory_equal(want, got, (size_t)n_want * sizeof *want);
        free(got);
    }
    free(want);
}

void check_select(void **state)
{
    static const struct selection cases[] = {{3, {.n = 300, .window = 8, .sinks = 1, .keep = 60}},
                                             {2, {.n = 6000, .window = 8, .sinks = 0, .keep = 1200}},
                                             {1, {.n = 4105, .window = 8, .sinks = 4, .keep = 4104}},
                                             {2, {.n = 50, .window = 20, .sinks = 0, .keep = 20}},
                                             {2, {.n = 60, .window = 8, .sinks = 12, .keep = 20}},
                                             {1, {.n = 10, .window = 8, .sinks = 0, .keep = 9}}};
    (void)state;
    seed(9);
    for (int c = 0; c < 6; c++)
        for (int kind = 0; kind < 4; kind++) {
            const size_t n = (size_t)cases[c].heads * (size_t)(cases[c].how.n - cases[c].how.window);
            float *g = malloc(n * sizeof *g);
            for (size_t i = 0; i < n; i++) g[i] = awkward(kind);
            check_spread(cases[c], FKV_SPREAD_EQUAL, g);
            check_spread(cases[c], FKV_SPREAD_POOLED, g);
            if (kind < 3) check_spread(cases[c], FKV_SPREAD_COMMON, g); /* no sums of infinities */
            free(g);
        }
}

/* ---- choices --------------------------------------------------------------------------------- */

enum { LISTS = 3, ROWS = 200 };

/* Lists of the host's come back, whatever another choice does. */
static void check_written(int i, const int32_t *count, const int32_t *rows)
{
    const struct fkv_ops *ops = side(i)->ops;
    static const int32_t few_rows[] = {1, 2}, two = 2;
    struct fkv_choice *c = side_choice(i, LISTS, ROWS), *other = side_choice(i, 1, 2);
    ops->choice_write(c, LISTS, count, rows);
    ops->choice_write(other, 1, &two, few_rows);
    for (int l = 0; l < LISTS; l++) {
        assert_int_equal(ops->choice_count(c, l), count[l]);
        assert_memory_equal(ops->choice_read(c, l), rows, (size_t)count[l] * sizeof *rows);
        rows += count[l];
    }
    assert_memory_equal(ops->choice_read(other, 0), few_rows, sizeof few_rows);
    ops->choice_destroy(c);
    ops->choice_destroy(other);
}

void check_choice_write(void **state)
{
    int32_t count[LISTS], rows[LISTS * ROWS];
    (void)state;
    seed(10);
    for (int t = 0; t < 5; t++) {
        random_choice(LISTS, ROWS, count, rows);
        if (t == 4) count[1] = 0;
        for (int i = 0; i < N_SIDES; i++) check_written(i, count, rows);
    }
}

void check_choice_create(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_choice *c = side_choice(i, 4, 100);
        for (int l = 0; l < 4; l++) assert_int_equal(side(i)->ops->choice_count(c, l), 0);
        side(i)->ops->choice_destroy(c);
    }
}

void check_choice_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++)
        assert_in_range(side(i)->ops->choice_bytes(side(i), 4, 100), 4 * 100 * sizeof(int32_t),
                        4 * 110 * sizeof(int32_t));
}

void check_choice_destroy(void **state)
{
    (void)state;
    for (int i = 0; i < N_SIDES; i++) {
        side(i)->ops->choice_destroy(NULL);
        side(i)->ops->choice_destroy(side_choice(i, 1, 1));
        side_check(i);
    }
}

/* Known at once after a selection; of fewer lists than there is room for. */
void check_choice_count(void **state)
{
    const struct selection a = {2, {.n = 300, .window = 8, .keep = 50}};
    int all;
    (void)state;
    seed(15);
    float *g = random_floats(2 * 292);
    for (int i = 0; i < N_SIDES; i++) {
        int32_t *made = rows_of(i, g, &a, &all);
        assert_int_equal(all, 2 + 2 * 50);
        free(made);
    }
    free(g);
}

/* A second reading, and one after another selection into the same choice. */
void check_choice_read(void **state)
{
    enum { HEADS = 2, N = 300, WINDOW = 8 };
    struct selection a = {HEADS, {.n = N, .window = WINDOW, .keep = 50}};
    (void)state;
    seed(16);
    float *g = random_floats(HEADS * (N - WINDOW));
    for (int i = 0; i < N_SIDES; i++) {
        int32_t first[50];
        struct selecting s = {side_floats(i, g, HEADS * (N - WINDOW)), &a, side_choice(i, HEADS, N), NULL};
        a.how.keep = 50;
        on_side(i, run_select, &s);
        memcpy(first, side(i)->ops->choice_read(s.c, 1), sizeof first);
        assert_memory_equal(side(i)->ops->choice_read(s.c, 1), first, sizeof first);
        a.how.keep = 40;
        on_side(i, run_select, &s);
        const int32_t *rows = side(i)->ops->choice_read(s.c, 1);
        for (int j = 0, at = 0; j < 40; j++) { /* the best 40 are among the best 50 */
            while (at < 50 && first[at] < rows[j]) at++;
            assert_true(at < 50 && first[at] == rows[j]);
        }
        side_free(i, s.g, HEADS * (N - WINDOW));
        side(i)->ops->choice_destroy(s.c);
    }
    free(g);
}

/* ---- golden selections ----------------------------------------------------------------------- */

static void assert_list(const json_t *want, const int32_t *got)
{
    for (size_t i = 0; i < json_array_size(want); i++)
        assert_int_equal(json_integer_value(json_array_get(want, i)), got[i]);
}

static int number(const json_t *row, const char *key) { return (int)json_integer_value(json_object_get(row, key)); }

static void check_golden(const json_t *row)
{
    const json_t *pooled = json_object_get(row, "pooled"), *kept = json_object_get(row, "kept");
    struct selection a = {(int)json_array_size(pooled),
                          {.n = number(row, "n"),
                           .window = number(row, "w"),
                           .sinks = number(row, "sinks"),
                           .keep = number(row, "cap")}};
    const size_t scored = (size_t)(a.how.n - a.how.window);
    int all;
    float *g = malloc((size_t)a.heads * scored * sizeof *g);
    for (int h = 0; h < a.heads; h++)
        for (size_t i = 0; i < scored; i++)
            g[(size_t)h * scored + i] = (float)json_number_value(json_array_get(json_array_get(pooled, (size_t)h), i));
    if (a.how.keep < a.how.n) {
        int32_t *rows = rows_of(SIDE_FAST, g, &a, &all);
        for (int h = 0; h < a.heads; h++) assert_list(json_array_get(kept, (size_t)h), rows + a.heads + h * a.how.keep);
        free(rows);
    }
    a.how.spread = FKV_SPREAD_COMMON;
    a.how.keep = number(row, "propagate_cap");
    if (a.how.keep < a.how.n) {
        int32_t *rows = rows_of(SIDE_FAST, g, &a, &all);
        assert_list(json_object_get(row, "propagated"), rows + 1);
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
