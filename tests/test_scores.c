/* Scores that look at values, on every level of the CPU: the worked examples of their methods, and random entries
   against the definitions in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"

enum { MOST = 200, MOST_D = 64, MOST_HEADS = 2, MOST_WINDOW = 5 };

/* One KV head and what its window attends to: logits[query head][row][entry] come about by keys that are unit vectors,
   where there are no more entries than channels. */
struct problem {
    int d, query_heads, window, before, n; /* entries before the prefill's, and those */
    float q[MOST_WINDOW][MOST_HEADS][MOST_D], k[MOST][MOST_D], v[MOST][MOST_D], gram[MOST_D * MOST_D];
    float sinks[MOST_HEADS];
    bool has_sinks;
    struct fkv_scoring how;
};

static struct fkv_tensor tensor_of(float *x) { return (struct fkv_tensor){(struct fkv_buffer *)(void *)x, 0}; }

struct run {
    struct fkv_backend *b;
    struct problem *p;
    struct fkv_kv_store *s;
    float *g, *looked;
    int from, to; /* entries to append */
};

static void append_region(void *arg, int thread)
{
    const struct run *x = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {x->b, thread, stage_s};
    int32_t pos[MOST];
    for (int i = 0; i < MOST; i++) pos[i] = x->from + i;
    const struct fkv_rows rows = {.n = x->to - x->from, .pos = pos};
    r.b->ops->kv_append(&r, &x->s, tensor_of(x->p->k[x->from]), tensor_of(x->p->v[x->from]), MOST_D, &rows);
}

static void score_region(void *arg, int thread)
{
    const struct run *x = arg;
    struct problem *p = x->p;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {x->b, thread, stage_s};
    float q[MOST_WINDOW * MOST_HEADS * MOST_D];
    int32_t pos[MOST_WINDOW];
    for (int i = 0; i < p->window; i++) {
        pos[i] = p->before + p->n - p->window + i;
        for (int h = 0; h < p->query_heads; h++)
            memcpy(q + (i * p->query_heads + h) * p->d, p->q[i][h], (size_t)p->d * sizeof *q);
    }
    const struct fkv_attention how = {.n_head = p->query_heads,
                                      .scale = 1,
                                      .value_gram = tensor_of(p->gram),
                                      .sinks = p->has_sinks ? tensor_of(p->sinks) : (struct fkv_tensor){0}};
    r.b->ops->score(&r, x->s, &how, &p->how, tensor_of(q), (size_t)(p->query_heads * p->d),
                    &(struct fkv_rows){.n = p->window, .pos = pos}, p->n, tensor_of(x->g),
                    x->looked ? tensor_of(x->looked) : (struct fkv_tensor){0});
}

static struct fkv_kv_store *new_store(struct fkv_backend *b, const struct problem *p)
{
    const struct fkv_kv_shape shape = {1, p->d, FKV_ELEM_F32, FKV_ELEM_F32};
    struct fkv_kv_store *s;
    assert_int_equal(b->ops->kv_create(b, &s, &shape, MOST, true), FKV_OK);
    return s;
}

/* g[n - window], and looked[2][n - window] unless it is NULL, on one level, which the CPU has. */
static void score(const char *isa, struct problem *p, float *g, float *looked)
{
    struct fkv_error e = {""};
    struct run x = {.p = p, .g = g, .looked = looked, .to = p->before};
    if (fkv_cpu_backend_create(&x.b, 1, isa, false, false, 256, &e) != FKV_OK) fail_msg("%s", e.text);
    const struct fkv_ops *ops = x.b->ops;
    const struct fkv_extent most = {MOST, MOST_HEADS, p->d, MOST_WINDOW};
    p->how.window = p->window;
    assert_int_equal(ops->prepare(x.b, &most), FKV_OK);
    struct fkv_kv_store *old = x.s = new_store(x.b, p), *all = new_store(x.b, p);
    if (p->before) fkv_team_run(x.b->team, append_region, &x);
    ops->kv_assign(all, old);
    x.s = all;
    x.from = p->before;
    x.to = p->before + p->n;
    fkv_team_run(x.b->team, append_region, &x);
    fkv_team_run(x.b->team, score_region, &x);
    ops->kv_destroy(old);
    ops->kv_destroy(all);
    ops->destroy(x.b);
}

static void expect(struct problem *p, const double *want, double within)
{
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        float g[MOST];
        if (!fkv_simd_level_available(level)) continue;
        score(fkv_simd_level_name(level), p, g, NULL);
        for (int i = 0; i < p->n - p->window; i++)
            if (!(fabs((double)g[i] - want[i]) <= within))
                fail_msg("%s: score %d: expected %.6f, got %.6f", fkv_simd_level_name(level), i, want[i], (double)g[i]);
    }
}

/* ---- examples ------------------------------------------------------------------------------------ */

/* Rows attend to entries as given; what is left of each row goes to its own entry. */
static void attends(struct problem *p, int head, int row, const float *to)
{
    const int scored = p->n - p->window;
    float left = 1;
    for (int i = 0; i < p->n; i++) {
        p->k[i][i] = 1;
        p->q[row][head][i] = -60;
    }
    for (int i = 0; i < scored; i++) {
        p->q[row][head][i] = logf(to[i]);
        left -= to[i];
    }
    if (left > 1e-6f) p->q[row][head][scored + row] = logf(left);
}

static struct problem two_rows(void)
{
    static const float rows[2][2][4] = {{{0.40f, 0.10f, 0.05f, 0.05f}, {0.05f, 0.05f, 0.30f, 0.10f}},
                                        {{0.10f, 0.10f, 0.10f, 0.10f}, {0.06f, 0.02f, 0.02f, 0.50f}}};
    static const float norms[] = {1, 2, 1, 4};
    struct problem p = {.d = 8, .query_heads = 2, .window = 2, .n = 6, .how = {.pool_kernel = 3}};
    for (int h = 0; h < 2; h++)
        for (int i = 0; i < 2; i++) attends(&p, h, i, rows[h][i]);
    for (int i = 0; i < 4; i++) p.v[i][0] = norms[i];
    for (int c = 0; c < 8; c++) p.gram[c * 8 + c] = 1;
    return p;
}

static void test_sum_and_max(void **state)
{
    (void)state;
    struct problem p = two_rows();
    expect(&p, (const double[]){0.61, 0.61, 0.95, 0.95}, 1e-6);
    p.how.pool_kernel = 1;
    expect(&p, (const double[]){0.61, 0.27, 0.47, 0.75}, 1e-6);
    p.how.reduce = FKV_REDUCE_MAX;
    expect(&p, (const double[]){0.40, 0.10, 0.30, 0.50}, 1e-6);
}

/* DefensiveKV's example: averaged rows of the same sum, their largest, the mean at least, times the norm. */
static void test_max_with_values(void **state)
{
    (void)state;
    struct problem p = two_rows();
    p.how.reduce = FKV_REDUCE_MAX;
    p.how.value_norm = p.how.pool_avg = true;
    expect(&p, (const double[]){0.244892, 0.489785, 0.261290, 1.006452}, 1e-6);
    p.how.reduce = FKV_REDUCE_SUM; /* no floor, and each head's own pooling */
    p.how.pool_avg = false;
    expect(&p, (const double[]){0.61, 1.22, 0.95, 3.8}, 1e-5);
}

/* W = ((1 0 2), (0 1 1)), v = (1 2): |(1 2 4)| */
static void test_norm_of_a_projected_value(void **state)
{
    (void)state;
    struct problem p = {.d = 2, .query_heads = 1, .window = 1, .n = 2, .how = {.pool_kernel = 1, .value_norm = true}};
    attends(&p, 0, 0, (const float[]){0.5f});
    p.v[0][0] = 1;
    p.v[0][1] = 2;
    memcpy(p.gram, (const float[]){5, 2, 2, 2}, 4 * sizeof(float));
    expect(&p, (const double[]){0.5 * 4.582576}, 1e-6);
}

static void test_drop(void **state)
{
    (void)state;
    struct problem p = {.d = 4,
                        .query_heads = 1,
                        .window = 1,
                        .n = 4,
                        .how = {.reduce = FKV_REDUCE_DROP, .pool_kernel = 1}};
    attends(&p, 0, 0, (const float[]){0.5f, 0.3f, 0.2f});
    p.v[0][0] = p.v[1][1] = p.v[2][0] = p.v[2][1] = 1;
    expect(&p, (const double[]){0.34, 0.135918, 0.02125}, 1e-5);
}

/* ---- random entries ------------------------------------------------------------------------------ */

static uint32_t random_state = 3;

static float random_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / (float)(1 << 23) - 1.0f;
}

/* What a row's output is without entry `out` (-1: with all), and how much all weigh before they are divided. */
static void output(const struct problem *p, int head, int row, int out, double *o)
{
    const int sees = p->before + p->n - p->window + row + 1;
    double sum = p->has_sinks ? exp((double)p->sinks[head]) : 0;
    memset(o, 0, MOST_D * sizeof *o);
    for (int e = 0; e < sees; e++) {
        double logit = 0;
        for (int c = 0; c < p->d; c++) logit += (double)p->q[row][head][c] * (double)p->k[e][c];
        const double weight = e == out ? 0 : exp(logit);
        sum += weight;
        for (int c = 0; c < p->d; c++) o[c] += weight * (double)p->v[e][c];
    }
    for (int c = 0; c < p->d; c++) o[c] /= sum;
}

static void fill(struct problem *p)
{
    for (int e = 0; e < p->before + p->n; e++)
        for (int c = 0; c < p->d; c++) {
            p->k[e][c] = random_float();
            p->v[e][c] = random_float();
        }
    for (int i = 0; i < p->window; i++)
        for (int h = 0; h < 2; h++)
            for (int c = 0; c < p->d; c++) p->q[i][h][c] = 2 * random_float();
}

/* A dropped entry's score is the square of what outputs change by: over weighted rows, entries from before, a sink. */
static void test_drop_is_what_is_lost(void **state)
{
    (void)state;
    static const float weight[] = {1, 0, 0.5f};
    struct problem p = {.d = 16,
                        .query_heads = 2,
                        .window = 3,
                        .before = 5,
                        .n = 90,
                        .has_sinks = true,
                        .sinks = {0.5f, -1},
                        .how = {.reduce = FKV_REDUCE_DROP, .pool_kernel = 1, .weight = weight}};
    double want[MOST] = {0}, all[MOST_D], without[MOST_D];
    fill(&p);
    for (int i = 0; i < p.window; i++)
        for (int h = 0; h < 2; h++) {
            output(&p, h, i, -1, all);
            for (int e = 0; e < p.n - p.window; e++) {
                output(&p, h, i, p.before + e, without);
                for (int c = 0; c < p.d; c++)
                    want[e] += (double)weight[i] * (all[c] - without[c]) * (all[c] - without[c]);
            }
        }
    double largest = 0;
    for (int e = 0; e < p.n - p.window; e++) largest = fmax(largest, want[e]);
    expect(&p, want, 2e-4 * largest);
}

/* Where the window looks does not depend on what its scores are made of: all the ways to have it tell the same. */
static void test_where_a_window_looks(void **state)
{
    (void)state;
    static const float weight[] = {1, 0, 0.5f, 1};
    const struct fkv_scoring ways[] =
        {{.reduce = FKV_REDUCE_SUM, .pool_kernel = 7},
         {.reduce = FKV_REDUCE_MAX, .pool_kernel = 7, .span = 5},
         {.reduce = FKV_REDUCE_MAX, .pool_kernel = 5, .pool_avg = true, .value_norm = true},
         {.reduce = FKV_REDUCE_DROP, .pool_kernel = 1}};
    struct problem p = {.d = 16, .query_heads = 2, .window = 4, .before = 5, .n = 90, .has_sinks = true};
    float g[MOST], looked[4][2 * MOST];
    const int n = p.n - p.window;
    fill(&p);
    for (int i = 0; i < p.d; i++) p.gram[i * p.d + i] = 1;
    for (int way = 0; way < 4; way++) {
        double sum = 0;
        p.how = ways[way];
        p.how.weight = weight;
        score(NULL, &p, g, looked[way]);
        for (int i = 0; i < 2 * n; i++) {
            sum += (double)looked[way][i];
            if (!(fabs((double)looked[way][i] - (double)looked[0][i]) <= 1e-6))
                fail_msg("way %d, %d: expected %g, got %g", way, i, (double)looked[0][i], (double)looked[way][i]);
        }
        assert_true(sum > 1 && sum < 5); /* of two heads' rows of weight 2.5 */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_a_window_looks),
        cmocka_unit_test(test_sum_and_max),
        cmocka_unit_test(test_max_with_values),
        cmocka_unit_test(test_norm_of_a_projected_value),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_drop_is_what_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
