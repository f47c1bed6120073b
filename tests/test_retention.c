/* The properties every policy and back end must show (FastKV's numbers 1, 2, 4, 5 and 6; number 3, equal choices from
   equal scores, is checked on the kernels and in test_selection). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "retain/policy.h"
#include "support/tiny_session.h"

enum { N = 300, LAYERS = 6 };

static int32_t ids[N + 16];
static fkv_engine *engine;

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.n_layer = LAYERS;
    tiny_model_prompt(3, ids, N + 16);
    engine = tiny_engine(&m, &p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

static fkv_session *prefilled(const struct fkv_session_params *p, int n)
{
    fkv_session *s = tiny_session(engine, p);
    sync_or_fail(s, ids, n);
    return s;
}

/* Entries of a head ascend, hold the window and the sinks, and number exactly `count`. */
static void check_head(const fkv_session *s, int layer, int head, int n, int window, int sinks, int count)
{
    const int32_t *pos;
    assert_int_equal(fkv_session_kept(s, layer, head, &pos), count);
    for (int i = 1; i < count; i++) assert_true(pos[i - 1] < pos[i]);
    for (int i = 0; i < window; i++) assert_int_equal(pos[count - window + i], n - window + i);
    for (int i = 0; i < sinks; i++) assert_int_equal(pos[i], i);
}

/* The same for all heads of a layer, whose counts may differ: together they are heads * count. */
static void check_layer(const fkv_session *s, int layer, int n, int window, int sinks, int count)
{
    const int32_t *pos;
    int sum = 0;
    for (int h = 0; h < 2; h++) {
        const int here = fkv_session_kept(s, layer, h, &pos);
        assert_true(here >= window + sinks);
        check_head(s, layer, h, n, window, sinks, here);
        sum += here;
    }
    assert_int_equal(sum, 2 * count);
}

static void test_rates_of_one_are_full_attention(void **state)
{
    (void)state;
    const struct fkv_session_params full = policy_params("full");
    fkv_session *a = prefilled(&full, N);
    for (int sinks = 0; sinks < 2; sinks++) {
        const struct fkv_session_params one = paper_params(1, 1, sinks);
        fkv_session *b = prefilled(&one, N);
        assert_same_logits(a, b);
        fkv_session_close(b);
    }
    /* the floors keep short prompts whole */
    const struct fkv_session_params floors = policy_params("fastkv");
    fkv_session *b = prefilled(&floors, N);
    assert_same_logits(a, b);
    append_or_fail(a, 5);
    append_or_fail(b, 5);
    assert_same_logits(a, b);
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_early_layers_do_not_depend_on_tsp_rate(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1), q = paper_params(0.6, 0.1, 1);
    fkv_session *a = prefilled(&p, N), *b = prefilled(&q, N);
    for (int l = 0; l <= LAYERS / 2 - 1; l++)
        for (int h = 0; h < 2; h++) {
            const int32_t *x, *y;
            const int n = fkv_session_kept(a, l, h, &x);
            assert_int_equal(fkv_session_kept(b, l, h, &y), n);
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
        }
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_logits_do_not_depend_on_kv_rate(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1), q = paper_params(0.2, 0.7, 1);
    fkv_session *a = prefilled(&p, N), *b = prefilled(&q, N);
    assert_same_logits(a, b);
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_budgets(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 2);
    fkv_session *s = prefilled(&p, N);
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < 2; h++) check_head(s, l, h, N, 8, 2, 30);
    const int32_t *pos;
    int layer;
    const int n = fkv_session_propagated(s, &layer, &pos);
    assert_int_equal(n, 60);
    assert_int_equal(layer, LAYERS / 2 - 1);
    for (int i = 1; i < n; i++) assert_true(pos[i - 1] < pos[i]);
    assert_int_equal(pos[0], 0);
    assert_int_equal(pos[n - 8], N - 8);
    fkv_session_close(s);
}

static void test_absolute_budgets_and_floors(void **state)
{
    (void)state;
    struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    p.kv.kv_budget = 40;
    p.kv.tsp_budget = 100;
    fkv_session *s = prefilled(&p, N);
    for (int l = 0; l < LAYERS; l++) check_head(s, l, 0, N, 8, 1, 40);
    const int32_t *pos;
    int layer;
    assert_int_equal(fkv_session_propagated(s, &layer, &pos), 100);
    fkv_session_close(s);

    p = paper_params(0.2, 0.1, 1);
    p.kv.kv_floor = 50;
    p.kv.tsp_floor = 90;
    s = prefilled(&p, N);
    for (int l = 0; l < LAYERS; l++) check_head(s, l, 0, N, 8, 1, 50);
    assert_int_equal(fkv_session_propagated(s, &layer, &pos), 90);
    fkv_session_close(s);

    p = paper_params(0.001, 0.001, 3); /* never less than the window and the sinks */
    s = prefilled(&p, N);
    for (int l = 0; l < LAYERS; l++) check_head(s, l, 0, N, 8, 3, 11);
    fkv_session_close(s);
}

static void test_short_prompts(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    for (int n = 1; n < 24; n++) {
        fkv_session *s = prefilled(&p, n);
        const int32_t *pos;
        for (int l = 0; l < LAYERS; l++) assert_int_equal(fkv_session_kept(s, l, 0, &pos), n < 9 ? n : 9);
        append_or_fail(s, 7);
        fkv_session_close(s);
    }
}

static void test_decoding_positions(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    fkv_session *s = prefilled(&p, N);
    for (int i = 0; i < 3; i++) append_or_fail(s, ids[N + i]);
    const int32_t *pos;
    for (int l = 0; l < LAYERS; l++) {
        const int n = fkv_session_kept(s, l, 1, &pos);
        assert_int_equal(n, 33);
        for (int i = 0; i < 3; i++) assert_int_equal(pos[n - 3 + i], N + i);
    }
    assert_int_equal(fkv_session_n_seen(s), N + 3);
    fkv_session_close(s);
}

/* The policy from *i on, which is then behind it; false past the last. With FKV_TEST_FEW, where a device is slow, one
   of each kind: rows that go on, counts per head, decisions by scores. */
static bool next_policy(int *i, const char **name)
{
    static const char *const few[] = {"fastkv", "adakv", "auto"};
    const char *about;
    while (fkv_policy_list((*i)++, name, &about)) {
        bool wanted = !getenv("FKV_TEST_FEW");
        for (size_t k = 0; k < sizeof few / sizeof *few; k++) wanted |= strcmp(*name, few[k]) == 0;
        if (wanted) return true;
    }
    return false;
}

/* What the policy's plans keep in each layer, where nothing is decided from data. */
static void planned(const struct fkv_kv_params *params, int sinks, int count[LAYERS])
{
    struct fkv_kv_params kv = *params;
    struct fkv_error e;
    assert_int_equal(fkv_kv_params_check(&kv, LAYERS, &e), FKV_OK);
    struct fkv_layer_state at =
        {.n_layer = LAYERS, .n_prompt = N, .n_rows = N, .sinks = sinks, .n_kv_head = 2, .window = kv.question ? 64 : 8};
    for (; at.layer < LAYERS; at.layer++) {
        const struct fkv_layer_plan plan = fkv_policy_plan(fkv_policy_find(kv.policy), NULL, &kv, &at);
        count[at.layer] = plan.keep;
        at.n_rows = plan.propagate;
    }
}

static void test_policies(void **state)
{
    (void)state;
    const char *name;
    for (int i = 0; next_policy(&i, &name);) {
        struct fkv_session_params p = paper_params(0.2, 0.1, 2);
        p.kv.policy = name;
        int count[LAYERS];
        if (strcmp(name, "auto") == 0) assert_int_equal(fkv_kv_set(&p.kv, "auto-mass", "0", NULL), FKV_OK);
        planned(&p.kv, 2, count);
        fkv_session *s = prefilled(&p, N);
        /* a window that is the question is here 64 tokens, which are kept */
        const int window = count[0] == 66 ? 64 : 8;
        for (int l = 0; l < LAYERS; l++) check_layer(s, l, N, window, 2, count[l]);
        append_or_fail(s, 9);
        fkv_session_close(s);
        /* a full budget is the full cache */
        p = paper_params(1, 1, 2);
        p.kv.policy = name;
        const struct fkv_session_params f = policy_params("full");
        fkv_session *a = prefilled(&p, N), *b = prefilled(&f, N);
        append_or_fail(a, 9);
        append_or_fail(b, 9);
        assert_same_logits(a, b);
        fkv_session_close(a);
        fkv_session_close(b);
    }
}

/* No two policies are the same by other names: what they keep of one prompt differs. */
static void test_policies_differ(void **state)
{
    (void)state;
    enum { MOST = 32 };
    uint64_t kept[MOST];
    const char *name, *names[MOST];
    for (int i = 0, n = 0; next_policy(&i, &name); n++) {
        struct fkv_session_params p = paper_params(0.5, 0.3, 2);
        p.kv.policy = name;
        p.kv.question = true; /* as auto has it, and so on */
        p.kv.score = FKV_KV_SCORE_MAX;
        p.kv.span = 16;
        if (strcmp(name, "auto") == 0) /* four times as much would be all */
            assert_int_equal(fkv_kv_set(&p.kv, "auto-back-off", "1", NULL), FKV_OK);
        fkv_session *s = prefilled(&p, N);
        names[n] = name;
        kept[n] = FKV_HASH;
        for (int l = 0; l < LAYERS; l++)
            for (int h = 0; h < 2; h++) {
                const int32_t *pos;
                const int count = fkv_session_kept(s, l, h, &pos);
                kept[n] = fkv_hash(kept[n], pos, (size_t)count * sizeof *pos);
            }
        for (int j = 0; j < n; j++)
            if (kept[n] == kept[j]) fail_msg("%s and %s keep the same", name, names[j]);
        fkv_session_close(s);
    }
}

/* Does the policy choose by scores among a prompt's rows? */
static bool chooses_by_scores(const struct fkv_kv_params *kv)
{
    const struct fkv_layer_state state =
        {.n_layer = LAYERS, .n_prompt = N, .n_rows = N, .sinks = 2, .n_kv_head = 2, .window = 8};
    const struct fkv_layer_plan plan = fkv_policy_plan(fkv_policy_find(kv->policy), NULL, kv, &state);
    return plan.ranking == FKV_RANK_WINDOW && plan.keep < N;
}

/* Budgets, window and sinks are the same by any score; what is kept is not. */
static void test_scores_by_maximum_and_spans(void **state)
{
    (void)state;
    const char *name;
    for (int i = 0; next_policy(&i, &name);) {
        struct fkv_session_params p = paper_params(0.2, 0.1, 2);
        p.kv.policy = name;
        if (fkv_policy_find(name)->settle) continue; /* its scores are its own */
        fkv_session *sum = prefilled(&p, N);
        p.kv.score = FKV_KV_SCORE_MAX;
        fkv_session *largest = prefilled(&p, N);
        p.kv.span = 16;
        fkv_session *spans = prefilled(&p, N);
        const bool scores = chooses_by_scores(&p.kv);
        int count[LAYERS];
        planned(&p.kv, 2, count);
        bool by_maximum = false, by_span = false;
        for (int l = 0; l < LAYERS; l++) {
            const int32_t *a, *b, *c;
            check_layer(largest, l, N, 8, 2, count[l]);
            check_layer(spans, l, N, 8, 2, count[l]);
            const int n = fkv_session_kept(sum, l, 0, &a);
            by_maximum |= n != fkv_session_kept(largest, l, 0, &b) || memcmp(a, b, (size_t)n * sizeof *a) != 0;
            by_span |= n != fkv_session_kept(spans, l, 0, &c) || memcmp(b, c, (size_t)n * sizeof *a) != 0;
        }
        assert_true(by_maximum == scores && by_span == scores);
        fkv_session_close(sum);
        fkv_session_close(largest);
        fkv_session_close(spans);
    }
}

static void test_streamingllm_keeps_sinks_and_the_latest(void **state)
{
    (void)state;
    struct fkv_session_params p = paper_params(1, 0.1, 4);
    p.kv.policy = "streamingllm";
    fkv_session *s = prefilled(&p, N);
    const int32_t *pos;
    assert_int_equal(fkv_session_kept(s, 3, 1, &pos), 30);
    for (int i = 0; i < 30; i++) assert_int_equal(pos[i], i < 4 ? i : N - 30 + i);
    fkv_session_close(s);
}

/* Drawn anew in every layer, and with every seed. */
static void test_random_is_seeded(void **state)
{
    (void)state;
    const int32_t *pos[4];
    fkv_session *s[3];
    for (int i = 0; i < 3; i++) {
        struct fkv_session_params p = paper_params(1, 0.1, 2);
        p.kv.policy = "random";
        assert_int_equal(fkv_kv_set(&p.kv, "random-seed", i < 2 ? "7" : "8", NULL), FKV_OK);
        s[i] = prefilled(&p, N);
        assert_int_equal(fkv_session_kept(s[i], 1, 0, &pos[i]), 30);
    }
    assert_memory_equal(pos[0], pos[1], 30 * sizeof *pos[0]);
    assert_memory_not_equal(pos[0], pos[2], 30 * sizeof *pos[0]);
    assert_int_equal(fkv_session_kept(s[0], 1, 1, &pos[3]), 30);
    assert_memory_equal(pos[0], pos[3], 30 * sizeof *pos[0]); /* the same in every head */
    assert_int_equal(fkv_session_kept(s[0], 2, 0, &pos[3]), 30);
    assert_memory_not_equal(pos[0], pos[3], 30 * sizeof *pos[0]);
    assert_true(pos[0][10] < N / 2); /* 20 of 290, all over */
    for (int i = 0; i < 3; i++) fkv_session_close(s[i]);
}

static void test_later_turns_keep_what_earlier_ones_kept(void **state)
{
    (void)state;
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    fkv_session *s = prefilled(&p, 200);
    int32_t before[20];
    const int32_t *pos;
    assert_int_equal(fkv_session_kept(s, 4, 0, &pos), 20);
    memcpy(before, pos, sizeof before);
    sync_or_fail(s, ids, N); /* a turn of 100 rows: 10 more */
    assert_int_equal(fkv_session_kept(s, 4, 0, &pos), 30);
    assert_memory_equal(pos, before, sizeof before);
    for (int i = 20; i < 30; i++) assert_true(pos[i] >= 200);
    for (int i = 0; i < 8; i++) assert_int_equal(pos[22 + i], N - 8 + i);
    fkv_session_close(s);
}

static bool cancelling;

static bool go_on_half_way(void *user, uint64_t done, uint64_t all)
{
    (void)user;
    return !cancelling || done < all / 2;
}

/* A turn that is cancelled half way leaves what the turn before kept, bit for bit as in a session that had none, and
   can be made again. */
static void test_a_cancelled_turn_leaves_the_one_before(void **state)
{
    (void)state;
    enum { FIRST = 160 };
    const char *name;
    for (int i = 0; next_policy(&i, &name);) {
        struct fkv_session_params p = paper_params(0.2, 0.3, 2);
        void *before, *after;
        size_t n_before, n_after;
        p.kv.policy = name;
        p.progress = go_on_half_way;
        fkv_session *s = prefilled(&p, FIRST), *other = prefilled(&p, FIRST);
        append_or_fail(other, 3); /* its logits go, as the cancelled one's do */
        assert_int_equal(fkv_session_cut(other, FIRST), FKV_OK);
        assert_int_equal(fkv_session_export(other, &before, &n_before), FKV_OK);
        cancelling = true;
        assert_int_equal(fkv_session_sync(s, ids, N), FKV_ERROR_CANCELLED);
        cancelling = false;
        assert_int_equal(fkv_session_n_seen(s), FIRST);
        assert_int_equal(fkv_session_export(s, &after, &n_after), FKV_OK);
        assert_int_equal(n_before, n_after);
        assert_memory_equal(before, after, n_before);
        sync_or_fail(s, ids, N);
        sync_or_fail(other, ids, N);
        assert_same_logits(s, other);
        fkv_free(before);
        fkv_free(after);
        fkv_session_close(s);
        fkv_session_close(other);
    }
}

static void test_cache_types(void **state)
{
    (void)state;
    static const enum fkv_kv_type types[] = {FKV_KV_F32, FKV_KV_F16, FKV_KV_BF16, FKV_KV_Q8_0};
    const struct fkv_session_params first = paper_params(0.5, 0.4, 1);
    fkv_session *a = prefilled(&first, N);
    append_or_fail(a, 5);
    double scale = 0;
    for (int i = 0; i < TINY_VOCAB; i++) scale += (double)(fkv_session_logits(a)[i] * fkv_session_logits(a)[i]);
    for (int k = 0; k < 4; k++)
        for (int v = 0; v < 4; v++) {
            struct fkv_session_params p = first;
            p.k_type = types[k];
            p.v_type = types[v];
            fkv_session *s = prefilled(&p, N);
            append_or_fail(s, 5);
            double error = 0;
            for (int i = 0; i < TINY_VOCAB; i++) {
                const double d = (double)(fkv_session_logits(s)[i] - fkv_session_logits(a)[i]);
                error += d * d;
            }
            assert_true(error < 0.05 * 0.05 * scale);
            fkv_session_close(s);
        }
    fkv_session_close(a);
}

static void test_bad_options_name_the_option(void **state)
{
    (void)state;
    char err[FKV_ERROR_BYTES];
    fkv_session *s = NULL;
    struct fkv_session_params p = paper_params(1.5, 0.1, 1);
    assert_int_equal(fkv_session_open(&s, engine, &p, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "tsp-rate: expected a share in (0, 1], found 1.5");
    p = paper_params(0.2, 0, 1);
    assert_int_equal(fkv_session_open(&s, engine, &p, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "kv-retain: expected a share in (0, 1], found 0");
    p = paper_params(0.2, 0.1, 1);
    p.kv.pool_kernel = 6;
    assert_int_equal(fkv_session_open(&s, engine, &p, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "kv-pool-kernel: expected an odd number, found 6");
    p = paper_params(0.2, 0.1, 1);
    p.kv.tsp_layer = LAYERS;
    assert_int_equal(fkv_session_open(&s, engine, &p, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "tsp-layer: expected -1 to 5, found 6");
    p = policy_params("h2o");
    assert_int_equal(fkv_session_open(&s, engine, &p, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "kv-policy: there is no policy named h2o");
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates_of_one_are_full_attention),
        cmocka_unit_test(test_early_layers_do_not_depend_on_tsp_rate),
        cmocka_unit_test(test_logits_do_not_depend_on_kv_rate),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_absolute_budgets_and_floors),
        cmocka_unit_test(test_short_prompts),
        cmocka_unit_test(test_decoding_positions),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_policies_differ),
        cmocka_unit_test(test_scores_by_maximum_and_spans),
        cmocka_unit_test(test_streamingllm_keeps_sinks_and_the_latest),
        cmocka_unit_test(test_random_is_seeded),
        cmocka_unit_test(test_later_turns_keep_what_earlier_ones_kept),
        cmocka_unit_test(test_a_cancelled_turn_leaves_the_one_before),
        cmocka_unit_test(test_cache_types),
        cmocka_unit_test(test_bad_options_name_the_option),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
