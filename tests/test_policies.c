/* What single policies decide, by the worked examples of their papers' descriptions, and the options they have. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "retain/policy.h"
#include "support/tiny_session.h"

enum { N = 300, LAYERS = 6 };

static fkv_engine *engine;
static int32_t ids[N + 4];

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.n_layer = LAYERS;
    tiny_model_prompt(5, ids, N + 4);
    engine = tiny_engine(&m, &p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

/* ---- auto ---------------------------------------------------------------------------------------- */

/* What auto makes of one layer, the TSP layer: 100 scored rows and one of the window, 11 entries and 20 rows at least,
   four times that at most; the best rows are the first. */
static struct fkv_layer_plan auto_layer(const float *even, double mass)
{
    static const float odd[100];
    float looked[200], g[100];
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    const struct fkv_policy *policy = fkv_policy_find("auto");
    struct fkv_layer_state s =
        {.layer = 1, .n_layer = 4, .n_prompt = 101, .n_rows = 101, .n_kv_head = 1, .window = 1, .looked = looked};
    char text[32];
    void *state;
    p.policy = "auto";
    p.kv_budget = 11;
    p.tsp_budget = 20;
    snprintf(text, sizeof text, "%g", mass);
    assert_int_equal(fkv_kv_set(&p, "auto-mass", text, NULL), FKV_OK);
    assert_int_equal(fkv_kv_params_check(&p, 4, NULL), FKV_OK);
    assert_true(p.question && p.score == FKV_KV_SCORE_MAX && p.span == 16);
    memcpy(looked, even, sizeof odd);
    memcpy(looked + 100, odd, sizeof odd);
    for (int i = 0; i < 100; i++) g[i] = (float)(100 - i);
    assert_int_equal(policy->begin(&state, &p, 4, 101), FKV_OK);
    struct fkv_layer_plan plan = fkv_policy_plan(policy, state, &p, &s);
    if (mass > 0) {
        assert_int_equal(plan.keep, 44);
        assert_int_equal(plan.propagate, 80);
        fkv_policy_scored(policy, state, &p, &s, g, &plan);
    }
    policy->end(state);
    return plan;
}

static void test_auto_keeps_until_the_mass_is_met(void **state)
{
    (void)state;
    float even[100], first[100] = {5, 1};
    for (int i = 0; i < 100; i++) even[i] = i ? 1 : 50; /* the first token's does not count */
    /* k rows hold (k - 1) / 99 of it: 0.3 needs 31 rows, and the window's */
    struct fkv_layer_plan plan = auto_layer(even, 0.3);
    assert_int_equal(plan.keep, 32);
    assert_int_equal(plan.propagate, 20 * 32 / 11);
    plan = auto_layer(even, 0.05);
    assert_int_equal(plan.keep, 11);
    assert_int_equal(plan.propagate, 20);
    plan = auto_layer(even, 0.9);
    assert_int_equal(plan.keep, 44);
    assert_int_equal(plan.propagate, 80);
    plan = auto_layer(first, 1);
    assert_int_equal(plan.keep, 11);
    plan = auto_layer(even, 0);
    assert_int_equal(plan.keep, 11);
    assert_int_equal(plan.propagate, 20);
}

/* In a session: more mass never keeps less, and what is measured of a layer is what was wanted. */
static void test_auto_in_a_session(void **state)
{
    (void)state;
    enum { WANTED = 4, TSP = 3 };
    static const char *const masses[WANTED] = {"0", "0.3", "0.5", "0.9"};
    int before[TSP + 1] = {0}, before_on = 0;
    for (int i = 0; i < WANTED; i++) {
        struct fkv_session_params p = paper_params(0.25, 0.24, 1);
        struct fkv_signals signals;
        const int32_t *pos;
        int layer;
        p.kv.policy = "auto";
        p.kv.tsp_layer = TSP;
        assert_int_equal(fkv_kv_set(&p.kv, "auto-mass", masses[i], NULL), FKV_OK);
        assert_int_equal(fkv_kv_set(&p.kv, "auto-back-off", "1", NULL), FKV_OK);
        fkv_session *s = tiny_session(engine, &p);
        sync_or_fail(s, ids, N);
        for (int l = 0; l <= TSP; l++) {
            const int n = fkv_session_kept(s, l, 0, &pos);
            assert_int_equal(n, fkv_session_kept(s, l, 1, &pos));
            assert_true(n >= before[l] && n >= 72 && n <= 288);
            before[l] = n;
        }
        const int on = fkv_session_propagated(s, &layer, &pos);
        assert_true(on >= before_on && on >= 75 && on <= N);
        before_on = on;
        fkv_session_get_signals(s, &signals);
        assert_int_equal(signals.n_layers, 1); /* layer 3 */
        if (before[TSP] < 288) assert_true(signals.mass >= atof(masses[i]) - 1e-6);
        fkv_session_close(s);
    }
    assert_true(before[0] > 72 && before_on > 75);
}

/* ---- presets ------------------------------------------------------------------------------------- */

static void test_presets(void **state)
{
    (void)state;
    const struct fkv_kv_params initial = FKV_KV_PARAMS_INIT;
    const char *name, *about;
    char err[FKV_ERROR_BYTES];
    for (int i = 0; fkv_kv_preset_list(i, &name, &about); i++) {
        struct fkv_kv_params kv = FKV_KV_PARAMS_INIT;
        if (fkv_kv_preset(&kv, name, err) != FKV_OK) fail_msg("%s: %s", name, err);
        assert_int_equal(fkv_kv_params_check(&kv, 8, NULL), FKV_OK);
        assert_non_null(fkv_policy_find(kv.policy));
    }
    struct fkv_kv_params kv = FKV_KV_PARAMS_INIT;
    kv.kv_budget = 77; /* no row names it */
    assert_int_equal(fkv_kv_preset(&kv, "fast", err), FKV_OK);
    assert_true(kv.question && kv.score == FKV_KV_SCORE_MAX && kv.span == 16 && kv.kv_budget == 77);
    assert_int_equal(fkv_kv_preset(&kv, "paper", err), FKV_OK);
    assert_string_equal(kv.policy, "fastkv");
    assert_true(!kv.question && kv.score == FKV_KV_SCORE_SUM && kv.span == 0 && kv.window == initial.window &&
                kv.sinks == 0 && kv.kv_floor == 0 && kv.tsp_floor == 0 && kv.tsp_rate == 0.2 && kv.kv_retain == 0.1 &&
                kv.pool_kernel == initial.pool_kernel && !kv.pool_avg);
    assert_int_equal(fkv_kv_preset(&kv, "best", err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "kv-preset: expected one of safe, fast, paper, found best");
}

/* ---- choices with counts of their own ------------------------------------------------------------ */

static void check_pooled(int least, int first, int second)
{
    static const float g[] = {9, 8, 7, 1, 6, .5f, .4f, .3f};
    const struct fkv_selection how = {.n = 5,
                                      .window = 1,
                                      .keep = 3,
                                      .spread = FKV_SPREAD_POOLED,
                                      .least = least}; /* 2 of a head's 4, and the window */
    float copy[10];
    uint32_t keys[10];
    int32_t count[2], rows[10];
    fkv_choose(g, 2, &how, copy, keys, count, rows);
    assert_int_equal(count[0], first + 1);
    assert_int_equal(count[1], second + 1);
    for (int i = 0; i < first; i++) assert_int_equal(rows[i], i);
    assert_int_equal(rows[first], 4);
    for (int i = 0; i < second; i++) assert_int_equal(rows[first + 1 + i], i);
    assert_int_equal(rows[first + 1 + second], 4);
}

static void test_adakv_pools_the_heads_of_a_layer(void **state)
{
    (void)state;
    check_pooled(0, 3, 1);
    check_pooled(2, 2, 2);
}

/* Random scores: counts add up, guarantees hold, what is kept is never worse than what is not, ties go by head and
   position. */
static void test_pooled_choices(void **state)
{
    (void)state;
    enum { HEADS = 3, ROWS = 60, WINDOW = 4, SINKS = 2, KEEP = 20, LEAST = 5, SCORED = ROWS - WINDOW };
    uint32_t random = 7;
    for (int round = 0; round < 200; round++) {
        float g[HEADS * SCORED], copy[HEADS * ROWS];
        uint32_t keys[HEADS * ROWS];
        int32_t count[HEADS], rows[HEADS * ROWS], sum = 0;
        const struct fkv_selection how = {ROWS, WINDOW, SINKS, KEEP, FKV_SPREAD_POOLED, LEAST};
        for (int i = 0; i < HEADS * SCORED; i++) {
            random = random * 1664525u + 1013904223u;
            g[i] = (float)(random >> 28) + (float)(i / SCORED) * 4; /* many ties; heads that differ */
        }
        fkv_choose(g, HEADS, &how, copy, keys, count, rows);
        bool kept[HEADS][ROWS] = {{false}};
        for (int h = 0, at = 0; h < HEADS; h++) {
            assert_true(count[h] >= WINDOW + SINKS + LEAST);
            for (int i = 0; i < count[h]; i++, at++) {
                assert_true(rows[at] >= 0 && rows[at] < ROWS && (i == 0 || rows[at] > rows[at - 1]));
                kept[h][rows[at]] = true;
            }
            for (int i = 0; i < SINKS; i++) assert_true(kept[h][i]);
            for (int i = 0; i < WINDOW; i++) assert_true(kept[h][SCORED + i]);
            sum += count[h];
        }
        assert_int_equal(sum, HEADS * KEEP);
        for (int h = 0; h < HEADS; h++) /* a head's own order */
            for (int i = SINKS; i < SCORED; i++)
                for (int j = SINKS; j < SCORED; j++)
                    if (kept[h][j] && !kept[h][i])
                        assert_true(g[h * SCORED + j] > g[h * SCORED + i] ||
                                    (g[h * SCORED + j] == g[h * SCORED + i] && j < i));
    }
}

/* ---- scores across layers ------------------------------------------------------------------------ */

/* Shows a policy the scores of layers up to the TSP layer, the last; the ranking it then gives is `want`. */
static void check_ranking(const char *name, const float *g, int layers, int heads, int scored, const float *want)
{
    const struct fkv_policy *policy = fkv_policy_find(name);
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    struct fkv_layer_plan plan = {.ranking = FKV_RANK_WINDOW, .scoring = {.window = 1}, .wants_scores = true};
    void *own = NULL;
    p.policy = name;
    p.window = 1;
    p.tsp_layer = layers - 1;
    assert_int_equal(policy->begin(&own, &p, 8, scored + 1), FKV_OK);
    for (int l = 0; l < layers; l++) {
        const struct fkv_layer_state s = {.layer = l,
                                          .n_layer = 8,
                                          .n_prompt = scored + 1,
                                          .n_rows = scored + 1,
                                          .n_kv_head = heads};
        plan.keep = plan.propagate = scored + 1;
        fkv_policy_scored(policy, own, &p, &s, g + l * heads * scored, &plan);
    }
    assert_non_null(plan.rank);
    for (int i = 0; i < scored; i++)
        if (fabsf(plan.rank[i] - want[i]) > 1e-6f)
            fail_msg("%s: rank %d: expected %g, got %g", name, i, (double)want[i], (double)plan.rank[i]);
    policy->end(own);
}

static void test_structkv_sums_over_layers(void **state)
{
    (void)state;
    static const float g[] = {4, 1, 1, 0, 3, 1, 0, 1, 3}, want[] = {3.24f, 4.51f, 4.71f};
    check_ranking("structkv", g, 3, 1, 3, want);
}

static void test_claa_takes_the_best_standing(void **state)
{
    (void)state;
    static const float g[] = {1, 2, 3, 2, 0, 0, 0, 4, 5, 1, 1, 1, 1, 1, 2, 0}, want[] = {1.5f, 0, 1.224745f, 1.5f};
    check_ranking("claa", g, 2, 2, 4, want);
}

/* The plan of a layer by the policy's name and n rows alive, without state. */
static struct fkv_layer_plan planned(const struct fkv_kv_params *p, int layer, int n_layer, int n_prompt, int n_rows)
{
    const struct fkv_layer_state s = {.layer = layer,
                                      .n_layer = n_layer,
                                      .n_prompt = n_prompt,
                                      .n_rows = n_rows,
                                      .n_kv_head = 1,
                                      .window = p->window};
    return fkv_policy_plan(fkv_policy_find(p->policy), NULL, p, &s);
}

static void test_pyramid_narrows(void **state)
{
    (void)state;
    static const int want[] = {187, 144, 100, 56, 13};
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    p.policy = "pyramid";
    p.kv_budget = 100;
    for (int l = 0; l < 5; l++) assert_int_equal(planned(&p, l, 5, 1000, 1000).keep, want[l]);
    p.kv_budget = 600; /* the first layers have no more than all */
    assert_int_equal(planned(&p, 0, 5, 1000, 1000).keep, 1000);
    assert_int_equal(planned(&p, 2, 5, 1000, 1000).keep, 600);
    assert_int_equal(planned(&p, 4, 5, 1000, 1000).keep, 200);
}

static void test_omnidrop_drops_by_layer(void **state)
{
    (void)state;
    enum { L = 28, WINDOW = 8 };
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    p.policy = "omnidrop";
    p.tsp_floor = 0;
    p.tsp_budget = 16;
    assert_int_equal(fkv_kv_set(&p, "omnidrop-most", "0.2", NULL), FKV_OK);
    int n = 1000 + WINDOW, dropped[L], left[L];
    for (int l = 0; l < L; l++) {
        const int on = planned(&p, l, L, 1000 + WINDOW, n).propagate;
        dropped[l] = n - on;
        left[l] = on - WINDOW;
        n = on;
    }
    assert_int_equal(dropped[0], 0);
    assert_true(dropped[10] == 10 && left[10] == 982);
    assert_true(dropped[14] == 86 && left[14] == 779);
    assert_true(dropped[25] == 20 && left[25] == 82);
    assert_int_equal(dropped[26], 0);
    p.tsp_budget = 300 + WINDOW; /* fewer never go on */
    assert_int_equal(planned(&p, 20, L, 1000 + WINDOW, 310 + WINDOW).propagate, 300 + WINDOW);
    assert_int_equal(fkv_kv_set(&p, "omnidrop-most", "0", NULL), FKV_OK);
    for (int l = 0; l < L; l++) assert_int_equal(planned(&p, l, L, 1000 + WINDOW, 500).propagate, 500);
}

/* Shows asl the scores of layers of which each has one head, of 5 rows and a window of one, three of which go on; tells
   after which layer they do. */
static int asl_fires(const float (*g)[5], int layers)
{
    const struct fkv_policy *policy = fkv_policy_find("asl");
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    void *own = NULL;
    int fired = -1;
    p.policy = "asl";
    p.window = 1;
    p.tsp_budget = 3;
    p.sinks = 0;
    assert_int_equal(fkv_kv_set(&p, "asl-layers", "2", NULL), FKV_OK);
    assert_int_equal(policy->begin(&own, &p, layers, 6), FKV_OK);
    for (int l = 0; l < layers && fired < 0; l++) {
        const struct fkv_layer_state s =
            {.layer = l, .n_layer = layers, .n_prompt = 6, .n_rows = 6, .n_kv_head = 1, .window = 1};
        struct fkv_layer_plan plan = fkv_policy_plan(policy, own, &p, &s);
        if (plan.wants_scores) fkv_policy_scored(policy, own, &p, &s, g[l], &plan);
        if (plan.propagate == 3) fired = l;
    }
    policy->end(own);
    return fired;
}

static void test_asl_waits_for_ranks_to_settle(void **state)
{
    (void)state;
    /* ranks (1 2 3 4 5), (1 4 2 5 3): variance 5/12; then (1 3 2 5 4), with the one before: 0 */
    static const float settles[][5] = {{5, 4, 3, 2, 1}, {5, 2, 4, 1, 3}, {5, 3, 4, 1, 2}, {0}, {0}};
    static const float wanders[][5] = {{5, 4, 3, 2, 1}, {5, 4, 3, 1, 2}, {1, 4, 3, 2, 5}, {5, 1, 3, 2, 4}, {0}};
    static const float constant[][5] = {{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}, {0}, {0}};
    assert_int_equal(asl_fires(settles, 5), 2);
    assert_int_equal(asl_fires(wanders, 5), 3); /* three quarters up, in any case */
    assert_int_equal(asl_fires(constant, 5), 2);
}

static fkv_session *prefilled(const struct fkv_session_params *p)
{
    fkv_session *s = tiny_session(engine, p);
    sync_or_fail(s, ids, N);
    return s;
}

static struct fkv_session_params params_of(const char *policy, const char *option, const char *value)
{
    struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    char err[FKV_ERROR_BYTES];
    p.kv.policy = policy;
    if (option && fkv_kv_set(&p.kv, option, value, err) != FKV_OK) fail_msg("%s", err);
    return p;
}

/* Is what went past the TSP layer the same? */
static bool same_propagated(const fkv_session *a, const fkv_session *b)
{
    int layer;
    const int32_t *x, *y;
    const int n = fkv_session_propagated(a, &layer, &x);
    return fkv_session_propagated(b, &layer, &y) == n && memcmp(x, y, (size_t)n * sizeof *x) == 0;
}

static void test_structkv_without_memory_is_fastkv(void **state)
{
    (void)state;
    const struct fkv_session_params fast = params_of("fastkv", NULL, NULL),
                                    forgets = params_of("structkv", "structkv-decay", "0"),
                                    remembers = params_of("structkv", NULL, NULL), claa = params_of("claa", NULL, NULL);
    fkv_session *a = prefilled(&fast), *b = prefilled(&forgets), *c = prefilled(&remembers), *d = prefilled(&claa);
    assert_true(same_propagated(a, b));
    assert_memory_equal(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float));
    assert_false(same_propagated(a, c));
    assert_false(same_propagated(a, d));
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(c);
    fkv_session_close(d);
}

/* In a session: rows fall away layer by layer, or at a layer that the prompt decides; all layers keep their budget. */
static void test_rows_fall_away(void **state)
{
    (void)state;
    struct fkv_session_params omni = params_of("omnidrop", "omnidrop-most", "0.6"),
                              settled = params_of("asl", "asl-layers", "2");
    fkv_session *a = prefilled(&omni), *b = prefilled(&settled);
    const int32_t *pos;
    int layer;
    assert_true(fkv_session_propagated(a, &layer, &pos) >= 64 && layer == LAYERS - 3);
    assert_int_equal(fkv_session_propagated(b, &layer, &pos), 60);
    assert_true(layer >= LAYERS / 3 && layer <= 3 * LAYERS / 4);
    for (int l = 0; l < LAYERS; l++) assert_int_equal(fkv_session_kept(b, l, 0, &pos), 30);
    append_or_fail(a, ids[N]);
    append_or_fail(b, ids[N]);
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_claa_may_keep_first_layers_whole(void **state)
{
    (void)state;
    const struct fkv_session_params p = params_of("claa", "claa-whole", "2");
    fkv_session *s = prefilled(&p);
    const int32_t *pos;
    for (int l = 0; l < LAYERS; l++) assert_int_equal(fkv_session_kept(s, l, 1, &pos), l < 2 ? N : 30);
    fkv_session_close(s);
}

/* With a guarantee of everything the heads share nothing: SnapKV. Without one they differ. */
static void test_adakv_with_all_guaranteed_is_snapkv(void **state)
{
    (void)state;
    const struct fkv_session_params snap = params_of("snapkv", NULL, NULL),
                                    sure = params_of("adakv", "adakv-guarantee", "1"),
                                    pooled = params_of("adakv", "adakv-guarantee", "0");
    fkv_session *a = prefilled(&snap), *b = prefilled(&sure), *c = prefilled(&pooled);
    bool differ = false;
    for (int l = 0; l < LAYERS; l++) {
        int sum = 0;
        for (int h = 0; h < 2; h++) {
            const int32_t *x, *y, *z;
            const int n = fkv_session_kept(a, l, h, &x);
            assert_int_equal(fkv_session_kept(b, l, h, &y), n);
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
            const int m = fkv_session_kept(c, l, h, &z);
            differ = differ || m != n;
            sum += m;
        }
        assert_int_equal(sum, 2 * 30);
    }
    assert_true(differ);
    append_or_fail(c, ids[N]); /* heads of different lengths decode */
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(c);
}

/* ---- options that all share ---------------------------------------------------------------------- */

/* Are the entries that two sessions keep the same, head by head? */
static bool same_kept(const fkv_session *a, const fkv_session *b)
{
    const int32_t *x, *y;
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < 2; h++) {
            const int n = fkv_session_kept(a, l, h, &x);
            if (fkv_session_kept(b, l, h, &y) != n || memcmp(x, y, (size_t)n * sizeof *x) != 0) return false;
        }
    return true;
}

/* Any policy can pool the heads: snapkv is adakv then, with the question's window and spans, too. */
static void test_pooled_heads_of_any_policy(void **state)
{
    (void)state;
    struct fkv_session_params snap = params_of("snapkv", "kv-heads", "pooled"), ada = params_of("adakv", NULL, NULL);
    snap.kv.question = ada.kv.question = true;
    snap.kv.score = ada.kv.score = FKV_KV_SCORE_MAX;
    snap.kv.span = ada.kv.span = 4;
    fkv_session *a = prefilled(&snap), *b = prefilled(&ada);
    assert_true(same_kept(a, b));
    struct fkv_session_params fast = params_of("fastkv", "kv-heads", "pooled"), equal = params_of("fastkv", NULL, NULL);
    fkv_session *c = prefilled(&fast), *d = prefilled(&equal);
    assert_true(same_propagated(c, d));
    assert_false(same_kept(c, d));
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(c);
    fkv_session_close(d);
}

/* Within a tenth: four layers at a quarter, the others at the rest. */
static void test_first_layers_keep_more(void **state)
{
    (void)state;
    static const int layers[] = {28, 24, 30};
    static const double rest[] = {0.075, 0.07, 2.0 / 26};
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    p.first_layers = 4;
    for (int i = 0; i < 3; i++)
        for (int l = 0; l < layers[i]; l++) {
            const struct fkv_layer_state s = {.layer = l, .n_layer = layers[i]};
            assert_true(fabs(fkv_layer_share(&p, &s) - (l < 4 ? 0.25 : rest[i])) < 1e-12);
        }
    p.kv_retain = 1; /* stays everything */
    for (int l = 0; l < 28; l++)
        assert_true(fkv_layer_share(&p, &(struct fkv_layer_state){.layer = l, .n_layer = 28}) == 1);
    struct fkv_session_params first = params_of("snapkv", "kv-first", "2");
    fkv_session *s = prefilled(&first);
    const int32_t *pos;
    for (int l = 0; l < LAYERS; l++) assert_int_equal(fkv_session_kept(s, l, 1, &pos), l < 2 ? 75 : 9);
    fkv_session_close(s);
}

/* Scores by values choose others, where a device can make them; all of a prompt is all of it. */
static void test_scores_by_values(void **state)
{
    (void)state;
    static const char *const options[][2] = {{"kv-norm", "on"}, {"kv-score", "drop"}};
    const struct fkv_session_params plain = params_of("snapkv", NULL, NULL), full = params_of("full", NULL, NULL);
    fkv_session *a = prefilled(&plain), *all = prefilled(&full);
    for (int i = 0; i < 2; i++) {
        struct fkv_session_params p = params_of("snapkv", options[i][0], options[i][1]);
        fkv_session *b;
        char err[FKV_ERROR_BYTES];
        if (getenv("FKV_TEST_DEVICE")) {
            assert_int_equal(fkv_session_open(&b, engine, &p, err), FKV_ERROR_UNSUPPORTED);
            assert_non_null(strstr(err, options[i][0]));
            continue;
        }
        b = prefilled(&p);
        assert_false(same_kept(a, b));
        fkv_session_close(b);
        p.kv.policy = "fastkv";
        p.kv.kv_retain = p.kv.tsp_rate = 1;
        b = prefilled(&p);
        assert_true(same_kept(all, b));
        assert_same_logits(all, b);
        fkv_session_close(b);
    }
    fkv_session_close(a);
    fkv_session_close(all);
}

/* ---- options by name ----------------------------------------------------------------------------- */

static void expect_refused(struct fkv_kv_params *p, const char *name, const char *value, const char *message)
{
    char err[FKV_ERROR_BYTES];
    assert_int_equal(fkv_kv_set(p, name, value, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, message);
}

static void test_options_by_name(void **state)
{
    (void)state;
    struct fkv_kv_params p = FKV_KV_PARAMS_INIT;
    struct fkv_kv_option o;
    double x;
    int own = 0;
    for (int i = 0; fkv_kv_option_list(i, &o); i++) {
        assert_non_null(o.about);
        own += o.policy != NULL;
        assert_true(o.policy ? o.kind != FKV_OPTION_WORD && !o.words
                             : (o.kind == FKV_OPTION_WORD) == (o.words != NULL));
        if (!o.policy) { /* the defaults of the table are the header's */
            assert_true(fkv_kv_get(&p, o.name, &x));
            assert_true(x == o.initial);
        }
    }
    assert_true(own >= 4);
    assert_int_equal(fkv_kv_set(&p, "kv-retain", "0.25", NULL), FKV_OK);
    assert_true(p.kv_retain == 0.25);
    assert_int_equal(fkv_kv_set(&p, "kv-sinks", "4", NULL), FKV_OK);
    assert_int_equal(p.sinks, 4);
    assert_int_equal(fkv_kv_set(&p, "kv-pool", "avg", NULL), FKV_OK);
    assert_true(p.pool_avg);
    assert_int_equal(fkv_kv_set(&p, "kv-pool", "max", NULL), FKV_OK);
    assert_false(p.pool_avg);
    expect_refused(&p, "kv-pool", "ma", "kv-pool: expected one of max, avg, found ma");
    expect_refused(&p, "kv-pool", "", "kv-pool: expected one of max, avg, found nothing");
    expect_refused(&p, "kv-floor", "-1", "kv-floor: expected at least 0, found -1");
    expect_refused(&p, "kv-retain", "1.5", "kv-retain: expected a share in (0, 1], found 1.5");
    expect_refused(&p, "kv-retain", "much", "kv-retain: expected a number, found much");
    expect_refused(&p, "kv-sinks", "1.5", "kv-sinks: expected a whole number, found 1.5");
    expect_refused(&p, "kv-window", "65", "kv-window: expected 1 to 64, found 65");
    assert_int_equal(fkv_kv_set(&p, "kv-score", "max", NULL), FKV_OK);
    assert_int_equal(fkv_kv_set(&p, "kv-span", "16", NULL), FKV_OK);
    assert_true(p.score == FKV_KV_SCORE_MAX && p.span == 16);
    expect_refused(&p, "kv-span", "256", "kv-span: expected 0 to 255, found 256");
    expect_refused(&p, "kv-colour", "1", "kv-colour: there is no such option of retention");
    expect_refused(&p, "structkv-decay", "0.5",
                   "structkv-decay: an option of the policy structkv, but the policy is fastkv");
    assert_false(fkv_kv_get(&p, "structkv-decay", &x));
    p.policy = "structkv";
    expect_refused(&p, "structkv-decay", "1.5", "structkv-decay: expected 0 to 1, found 1.5");
    assert_int_equal(fkv_kv_set(&p, "structkv-decay", "0.5", NULL), FKV_OK);
    assert_true(fkv_kv_get(&p, "structkv-decay", &x) && x == 0.5);
    p.policy = "adakv"; /* whose first option is another */
    assert_true(fkv_kv_get(&p, "adakv-guarantee", &x) && x == 0.2);
    p.policy = "structkv";
    assert_true(p.kv_retain == 0.25); /* what failed changed nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_keeps_until_the_mass_is_met),
        cmocka_unit_test(test_auto_in_a_session),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_adakv_pools_the_heads_of_a_layer),
        cmocka_unit_test(test_pooled_choices),
        cmocka_unit_test(test_structkv_sums_over_layers),
        cmocka_unit_test(test_claa_takes_the_best_standing),
        cmocka_unit_test(test_pyramid_narrows),
        cmocka_unit_test(test_omnidrop_drops_by_layer),
        cmocka_unit_test(test_asl_waits_for_ranks_to_settle),
        cmocka_unit_test(test_rows_fall_away),
        cmocka_unit_test(test_structkv_without_memory_is_fastkv),
        cmocka_unit_test(test_claa_may_keep_first_layers_whole),
        cmocka_unit_test(test_adakv_with_all_guaranteed_is_snapkv),
        cmocka_unit_test(test_pooled_heads_of_any_policy),
        cmocka_unit_test(test_first_layers_keep_more),
        cmocka_unit_test(test_scores_by_values),
        cmocka_unit_test(test_options_by_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
