/* What a prefill tells of how well its prompt compresses, and the self-check after it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/logits.h"
#include "support/tiny_session.h"

enum { N = 300, LAYERS = 4, HEADS = 2, WINDOW = 8, MEASURED = 3 };

static int32_t ids[N + 8];
static fkv_engine *engine;

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.n_layer = LAYERS;
    p.exact = true;
    tiny_model_prompt(4, ids, N + 8);
    engine = tiny_engine(&m, &p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

static fkv_session *prefilled(const char *policy, double kv_rate)
{
    struct fkv_session_params p = paper_params(1, kv_rate, 1);
    p.kv.policy = policy;
    fkv_session *s = tiny_session(engine, &p);
    sync_or_fail(s, ids, N);
    return s;
}

/* ---- signals ------------------------------------------------------------------------------------- */

/* shares[LAYERS][HEADS][N - WINDOW] of the window's rows, from a session that drops nothing. */
static void look(float *shares)
{
    struct fkv_session_params p = paper_params(1, 1, 1);
    p.kv.policy = "full";
    fkv_session *s = tiny_session(engine, &p);
    sync_or_fail(s, ids, N - WINDOW);
    assert_int_equal(fkv_session_attention(s, ids + N - WINDOW, WINDOW, shares), FKV_OK);
    fkv_session_close(s);
}

static void test_mass_is_the_attention_on_what_is_kept(void **state)
{
    (void)state;
    static float shares[LAYERS * HEADS * (N - WINDOW)];
    struct fkv_signals signals;
    double mass[HEADS], entropy = 0;
    fkv_session *s = prefilled("snapkv", 0.1);
    look(shares);
    for (int h = 0; h < HEADS; h++) {
        const float *x = shares + (MEASURED * HEADS + h) * (N - WINDOW);
        const int32_t *pos;
        const int n = fkv_session_kept(s, MEASURED, h, &pos);
        double all = 0, on = 0;
        for (int i = 1; i < N - WINDOW; i++) all += (double)x[i];
        for (int i = 0; i < n; i++) on += pos[i] > 0 && pos[i] < N - WINDOW ? (double)x[pos[i]] : 0;
        for (int i = 1; i < N - WINDOW; i++) entropy -= (double)x[i] / all * log((double)x[i] / all);
        mass[h] = on / all;
    }
    fkv_session_get_signals(s, &signals);
    assert_int_equal(signals.n_layers, 1);
    assert_true(fabs(signals.mass - (mass[0] + mass[1]) / 2) < 1e-4);
    assert_true(fabs(signals.mass_least - fmin(mass[0], mass[1])) < 1e-4);
    assert_true(fabs(signals.entropy - entropy / HEADS / log(N - WINDOW - 1)) < 1e-4);
    assert_true(signals.mass > 0.1 && signals.mass < 0.99);
    assert_true(signals.halves > 0 && signals.halves < 1);
    assert_true(isnan(signals.overlap));
    fkv_session_close(s);
}

/* More is kept, more is covered; without anything dropped there is nothing to tell. */
static void test_more_entries_cover_more(void **state)
{
    (void)state;
    static const double rates[] = {0.1, 0.2, 0.4, 0.8};
    struct fkv_signals signals;
    double before = 0;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        fkv_session *s = prefilled("snapkv", rates[i]);
        fkv_session_get_signals(s, &signals);
        assert_true(signals.mass > before && signals.mass < 1);
        assert_true(signals.mass_least <= signals.mass);
        before = signals.mass;
        fkv_session_close(s);
    }
    static const char *const untold[] = {"full", "streamingllm", "random"};
    for (size_t i = 0; i < sizeof untold / sizeof *untold; i++) {
        fkv_session *s = prefilled(untold[i], 0.1);
        fkv_session_get_signals(s, &signals);
        assert_int_equal(signals.n_layers, 0);
        assert_true(isnan(signals.mass) && isnan(signals.mass_least) && isnan(signals.halves) &&
                    isnan(signals.entropy));
        fkv_session_close(s);
    }
}

/* Of an ascending list, how many are in another. */
static int common(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
    int both = 0;
    for (int i = 0; i < n_a; i++)
        for (int j = 0; j < n_b; j++) both += a[i] == b[j];
    return both;
}

/* The rows that the layer before would have let go on are those that it does when it is the TSP layer. */
static void test_overlap_of_two_layers(void **state)
{
    (void)state;
    struct fkv_session_params p = paper_params(0.3, 0.1, 1);
    struct fkv_signals signals;
    static int32_t before[N];
    const int32_t *pos;
    int layer;
    p.kv.tsp_layer = 1;
    fkv_session *s = tiny_session(engine, &p);
    sync_or_fail(s, ids, N);
    const int n = fkv_session_propagated(s, &layer, &pos);
    assert_int_equal(n, 90);
    memcpy(before, pos, (size_t)n * sizeof *pos);
    fkv_session_close(s);
    p.kv.tsp_layer = 2;
    s = tiny_session(engine, &p);
    sync_or_fail(s, ids, N);
    fkv_session_get_signals(s, &signals);
    assert_int_equal(fkv_session_propagated(s, &layer, &pos), n);
    const int both = common(before, n - WINDOW, pos, n - WINDOW);
    assert_true(both < n - WINDOW);
    assert_true(fabs(signals.overlap - (double)both / (2 * (n - WINDOW) - both)) < 1e-9);
    fkv_session_close(s);
}

/* They change nothing else, and can be left out. */
static void test_signals_are_only_told(void **state)
{
    (void)state;
    struct fkv_session_params p = paper_params(0.3, 0.1, 1);
    struct fkv_signals signals;
    fkv_session *with = tiny_session(engine, &p);
    assert_int_equal(fkv_kv_set(&p.kv, "kv-signals", "off", NULL), FKV_OK);
    fkv_session *without = tiny_session(engine, &p);
    sync_or_fail(with, ids, N);
    sync_or_fail(without, ids, N);
    fkv_session_get_signals(without, &signals);
    assert_int_equal(signals.n_layers, 0);
    fkv_session_get_signals(with, &signals);
    assert_int_equal(signals.n_layers, 1);
    assert_memory_equal(fkv_session_logits(with), fkv_session_logits(without), TINY_VOCAB * sizeof(float));
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < HEADS; h++) {
            const int32_t *a, *b;
            const int n = fkv_session_kept(with, l, h, &a);
            assert_int_equal(n, fkv_session_kept(without, l, h, &b));
            assert_memory_equal(a, b, (size_t)n * sizeof *a);
        }
    fkv_session_close(with);
    fkv_session_close(without);
}

/* ---- the self-check ------------------------------------------------------------------------------ */

/* It is what a fork decodes in place of the last token, and leaves no trace. */
static void test_self_check_decodes_the_last_token(void **state)
{
    (void)state;
    static const struct {
        double rate;
        enum fkv_kv_type type;
    } cases[] = {{0.05, FKV_KV_F32}, {0.1, FKV_KV_F16}, {0.1, FKV_KV_Q8_0}, {1, FKV_KV_F32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fkv_session_params p = paper_params(1, cases[i].rate, 1);
        void *before, *after;
        size_t n_before, n_after;
        double kl = -1;
        p.kv.policy = "snapkv";
        p.k_type = p.v_type = cases[i].type;
        fkv_session *s = tiny_session(engine, &p);
        sync_or_fail(s, ids, N);
        assert_int_equal(fkv_session_export(s, &before, &n_before), FKV_OK);
        if (fkv_session_self_check(s, &kl) != FKV_OK) fail_msg("%s", fkv_session_error(s));
        assert_int_equal(fkv_session_export(s, &after, &n_after), FKV_OK);
        assert_int_equal(n_before, n_after);
        assert_memory_equal(before, after, n_before);
        fkv_free(before);
        fkv_free(after);
        if (cases[i].rate == 1)
            assert_true(kl < 1e-6);
        else
            assert_true(kl > 1e-5 && kl < 10);
        fkv_session_close(s);
    }
}

/* Less is kept, more is lost: over prompts, not over each. */
static void test_self_check_grows_with_what_is_lost(void **state)
{
    (void)state;
    if (getenv("FKV_TEST_FEW")) skip(); /* 24 prompts */
    double sum[3] = {0}, kl;
    static const double rates[] = {0.05, 0.3, 0.9};
    for (int i = 0; i < 3; i++)
        for (uint32_t seed = 1; seed <= 8; seed++) {
            int32_t prompt[N];
            struct fkv_session_params p = paper_params(1, rates[i], 1);
            p.kv.policy = "snapkv";
            tiny_model_prompt(seed, prompt, N);
            fkv_session *s = tiny_session(engine, &p);
            sync_or_fail(s, prompt, N);
            assert_int_equal(fkv_session_self_check(s, &kl), FKV_OK);
            sum[i] += kl;
            fkv_session_close(s);
        }
    assert_true(sum[0] > sum[1] && sum[1] > sum[2]);
}

static void test_self_checks_that_cannot_be(void **state)
{
    (void)state;
    struct fkv_session_params p = paper_params(1, 0.1, 1);
    double kl;
    fkv_session *s = tiny_session(engine, &p);
    assert_int_equal(fkv_session_self_check(s, &kl), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(fkv_session_error(s), "two tokens or more"));
    sync_or_fail(s, ids, N);
    fkv_session_append(s, ids[N]);
    assert_int_equal(fkv_session_self_check(s, &kl), FKV_OK);
    fkv_session_cancel(s);
    assert_int_equal(fkv_session_self_check(s, &kl), FKV_ERROR_CANCELLED);
    fkv_session_cut(s, N);
    assert_int_equal(fkv_session_self_check(s, &kl), FKV_ERROR_ARGUMENT);
    fkv_session_close(s);
}

/* ---- back-off ------------------------------------------------------------------------------------ */

/* The window is the last 64 tokens; so many entries at least, of which the policy keeps `times` as many if the
   self-check finds more than kl. first: tokens of an earlier turn, which stays whole. */
struct wanted {
    enum fkv_kv_type type;
    int first, budget;
    const char *times;
    double kl;
};

static fkv_session *backing_off(struct wanted w)
{
    char kl[32];
    struct fkv_session_params p = paper_params(1, 1, 1);
    p.k_type = p.v_type = w.type;
    p.kv.policy = "auto";
    p.kv.kv_budget = w.budget;
    snprintf(kl, sizeof kl, "%.17g", w.kl);
    assert_int_equal(fkv_kv_set(&p.kv, "auto-mass", "0.000001", NULL), FKV_OK);
    assert_int_equal(fkv_kv_set(&p.kv, "auto-back-off", w.times, NULL), FKV_OK);
    assert_int_equal(fkv_kv_set(&p.kv, "auto-kl", kl, NULL), FKV_OK);
    fkv_session *s = tiny_session(engine, &p);
    if (w.first) sync_or_fail(s, ids, w.first);
    sync_or_fail(s, ids, N);
    return s;
}

static void assert_same_entries(fkv_session *a, fkv_session *b, int count)
{
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < HEADS; h++) {
            const int32_t *x, *y;
            const int n = fkv_session_kept(a, l, h, &x);
            assert_int_equal(n, count);
            assert_int_equal(n, fkv_session_kept(b, l, h, &y));
            assert_memory_equal(x, y, (size_t)n * sizeof *x);
        }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fkv_session_append(a, ids[N + i]), FKV_OK);
        assert_int_equal(fkv_session_append(b, ids[N + i]), FKV_OK);
        assert_memory_equal(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float));
    }
}

/* Each level is what a session without back-off keeps of so many entries: the same positions, the same answer bit for
   bit, and the same self-check, which decides which one stays. */
static void check_levels(enum fkv_kv_type type, int first)
{
    enum { BUDGET = 66, LEVELS = 4 };
    static const int times[LEVELS] = {1, 2, 4, 1000};
    double kl[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        fkv_session *s = backing_off((struct wanted){type, first, i == 3 ? N : BUDGET * times[i], "1", 0});
        assert_int_equal(fkv_session_self_check(s, &kl[i]), FKV_OK);
        fkv_session_close(s);
    }
    assert_true(kl[1] < kl[0]);
    for (int i = 0; i < LEVELS; i++) {
        /* level i is the first that is good enough; of the last, no bound is met */
        const double bound = i == 0 ? 100 : i == 1 ? (kl[0] + kl[1]) / 2 : 0;
        if (i == 3 && kl[2] <= 0) break; /* all that is held answers alike */
        const int count = i == 3 || first + BUDGET * times[i] > N ? N : first + BUDGET * times[i];
        struct fkv_signals told;
        fkv_session *s = backing_off((struct wanted){type, first, BUDGET, i == 3 ? "1000" : "4", bound}),
                    *alone = backing_off((struct wanted){type, first, i == 3 ? N : BUDGET * times[i], "1", 0});
        fkv_session_get_signals(s, &told);
        assert_int_equal(told.n_checks, i + 1);
        assert_int_equal(told.times, times[i]);
        assert_int_equal(told.alike, kl[i] <= bound);
        for (int level = 0; level <= i; level++) assert_true(told.check[level] == kl[level]);
        assert_same_entries(s, alone, count);
        fkv_session_close(s);
        fkv_session_close(alone);
    }
}

static void test_back_off_keeps_the_least_that_answers_alike(void **state)
{
    (void)state;
    check_levels(FKV_KV_F32, 0);
    check_levels(FKV_KV_F16, 60);
    check_levels(FKV_KV_Q8_0, 0);
}

/* Nothing is checked where nothing is dropped. */
static void test_no_back_off_of_what_is_whole(void **state)
{
    (void)state;
    struct fkv_signals told;
    fkv_session *s = backing_off((struct wanted){FKV_KV_F32, 0, N, "4", 0});
    fkv_session_get_signals(s, &told);
    assert_int_equal(told.n_checks, 0);
    assert_int_equal(told.times, 1);
    fkv_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mass_is_the_attention_on_what_is_kept),
        cmocka_unit_test(test_more_entries_cover_more),
        cmocka_unit_test(test_overlap_of_two_layers),
        cmocka_unit_test(test_signals_are_only_told),
        cmocka_unit_test(test_self_check_decodes_the_last_token),
        cmocka_unit_test(test_self_check_grows_with_what_is_lost),
        cmocka_unit_test(test_self_checks_that_cannot_be),
        cmocka_unit_test(test_back_off_keeps_the_least_that_answers_alike),
        cmocka_unit_test(test_no_back_off_of_what_is_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
