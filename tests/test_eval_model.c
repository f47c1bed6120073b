/* What `fastkv eval` measures of a real model, against the same measured another way: token by token, in sessions of
   their own. Skipped where smollm2-135m is missing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/logits.h"
#include "eval/distance.h"
#include "eval/run.h"
#include "support/model_path.h"

enum { LENGTH = 300, SEED = 3 };

static fkv_engine *engine;
static struct eval_sources sources;
static struct eval_runner runner;
static const struct eval_task *task;
static struct eval_sample sample;
static struct eval_request request;

static void expect_near(double found, double wanted, double within)
{
    if (!(fabs(found - wanted) <= within)) fail_msg("found %.12g, wanted %.12g", found, wanted);
}

static bool go_on(void *user, uint64_t done, uint64_t all)
{
    (void)user;
    (void)done;
    (void)all;
    return true;
}

static void watch(void *user, fkv_session *session)
{
    (void)user;
    (void)session;
}

static int set_up(void **state)
{
    char path[4096], err[FKV_ERROR_BYTES];
    struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
    (void)state;
    params.n_threads = 1; /* tests run side by side */
    if (!model_path("smollm2-135m", path, sizeof path)) return 0;
    if (fkv_engine_open(&engine, path, &params, err) != FKV_OK || !eval_sources_open(&sources, NULL, err)) return -1;
    runner = (struct eval_runner){.engine = engine,
                                  .session = FKV_SESSION_PARAMS_INIT,
                                  .go_on = go_on,
                                  .watch = watch,
                                  .user = NULL};
    runner.session.n_ctx = LENGTH + 2 * EVAL_FORCED;
    struct eval_meter meter = {.engine = engine};
    task = eval_task_list(0);
    if (!eval_runner_open(&runner) ||
        !eval_task_sample(task, &sources, SEED, LENGTH, 0, eval_request_measure, &meter, &sample))
        return -1;
    return eval_request_make(engine, &sample, &request, err) == FKV_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (!engine) return 0;
    eval_request_release(&request);
    eval_sample_release(&sample);
    eval_runner_close(&runner);
    eval_sources_close(&sources);
    fkv_engine_close(engine);
    return 0;
}

static struct fkv_kv_params options(const char *policy, double retain)
{
    struct fkv_kv_params kv = FKV_KV_PARAMS_INIT;
    kv.policy = policy;
    kv.kv_retain = kv.tsp_rate = retain;
    kv.kv_floor = kv.tsp_floor = 0;
    return kv;
}

/* ---- the other way --------------------------------------------------------------------------- */

static fkv_session *start(const struct fkv_kv_params *kv)
{
    struct fkv_session_params params = runner.session;
    fkv_session *s;
    params.kv = *kv;
    assert_int_equal(fkv_session_open(&s, engine, &params, NULL), FKV_OK);
    assert_int_equal(fkv_session_sync(s, request.ids, request.n), FKV_OK);
    return s;
}

static void begin_answer(fkv_session *s)
{
    assert_int_equal(fkv_session_cut(s, request.n), FKV_OK);
    for (size_t i = 0; i < request.n_prefix; i++) assert_int_equal(fkv_session_append(s, request.prefix[i]), FKV_OK);
}

/* Greedy ids, the end included. */
static int say(fkv_session *s, int32_t *ids)
{
    int n = 0;
    begin_answer(s);
    while (n < task->n_predict) {
        ids[n] = eval_likeliest(fkv_session_logits(s), runner.n_vocab);
        if (fkv_token_is_end(engine, ids[n++]) || n == task->n_predict) break;
        assert_int_equal(fkv_session_append(s, ids[n - 1]), FKV_OK);
    }
    return n;
}

/* Mean KL of two sessions led through the same ids, and the share of equal likeliest ids. */
static double apart(fkv_session *x, fkv_session *y, const int32_t *ids, int n, double *top1, double *gold)
{
    double sum = 0;
    *top1 = *gold = 0;
    begin_answer(x);
    begin_answer(y);
    for (int i = 0; i < n; i++) {
        const float *p = fkv_session_logits(x), *q = fkv_session_logits(y);
        sum += fkv_divergence(p, q, runner.n_vocab) / n;
        *gold += (eval_log_p(q, runner.n_vocab, ids[i]) - eval_log_p(p, runner.n_vocab, ids[i])) / n;
        *top1 += eval_likeliest(p, runner.n_vocab) == eval_likeliest(q, runner.n_vocab) ? 1.0 / n : 0;
        assert_int_equal(fkv_session_append(x, ids[i]), FKV_OK);
        assert_int_equal(fkv_session_append(y, ids[i]), FKV_OK);
    }
    return sum;
}

static void text_of(const int32_t *ids, int n, char *text, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < n; i++) {
        const char *bytes;
        const size_t some = fkv_token_bytes(engine, ids[i], false, &bytes);
        assert_true(used + some < size);
        if (some) memcpy(text + used, bytes, some);
        used += some;
    }
    text[used] = '\0';
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_against_single_steps(void **state)
{
    (void)state;
    if (!engine) skip();
    const struct fkv_kv_params all = options("full", 1), half = options("fastkv", 0.5);
    struct eval_metrics of_full, m;
    char err[FKV_ERROR_BYTES], text[4096];
    int32_t ids[256], own[256];
    double top1, gold;
    fkv_session *full = start(&all), *variant = start(&half);
    assert_int_equal(eval_run_start(&runner, &request, (const struct fkv_kv_params *[]){&half}, 1, err), FKV_OK);
    assert_int_equal(eval_run_full(&runner, task->n_predict, &of_full, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 0, &m, err), FKV_OK);
    eval_run_end(&runner);

    const int n = say(full, ids);
    text_of(ids, n, text, sizeof text);
    assert_string_equal(of_full.text, text);
    assert_int_equal(of_full.n_answer, n);
    assert_true(of_full.kv == 1 && of_full.prefill == 1 && of_full.all_kept);
    text_of(own, say(variant, own), text, sizeof text);
    assert_string_equal(m.text, text);
    assert_true(m.kv < 1 && !m.all_kept && m.prefill < 0.8);

    const double kl = apart(full, variant, ids, n < EVAL_FORCED ? n : EVAL_FORCED, &top1, &gold);
    assert_true(kl > 0);
    expect_near(m.kl, kl, 1e-9 * kl);
    expect_near(m.top1, top1, 1e-9);
    const double reference = apart(full, variant, request.answer, (int)request.n_answer, &top1, &gold);
    expect_near(m.kl_reference, reference, 1e-9 * reference);
    expect_near(m.top1_reference, top1, 1e-9);
    expect_near(m.gold, gold, 1e-9 * fabs(gold));
    fkv_session_close(full);
    fkv_session_close(variant);
    free(of_full.text);
    free(m.text);
}

/* A budget of everything is full attention, bit for bit; and the question as a later turn is another measurement. */
static void test_all_is_full(void **state)
{
    (void)state;
    if (!engine) skip();
    struct eval_metrics full, m, seen, hidden;
    char err[FKV_ERROR_BYTES];
    const struct fkv_kv_params all = options("fastkv", 1), tenth = options("snapkv", 0.1), *both[] = {&all, &tenth};
    assert_int_equal(eval_run_start(&runner, &request, both, 2, err), FKV_OK);
    assert_int_equal(eval_run_full(&runner, task->n_predict, &full, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 0, &m, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 1, &seen, err), FKV_OK);
    eval_run_end(&runner);
    assert_true(m.all_kept && m.kl == 0 && m.kl_reference == 0 && m.gold == 0 && m.top1 == 1 && m.kv == 1);
    assert_string_equal(m.text, full.text);
    assert_true(m.kept == full.kept);
    assert_true(seen.prefill == 1 && seen.prefill_s == 0 && full.prefill_s > 0);
    free(m.text);
    free(full.text);
    runner.hidden = true;
    assert_int_equal(eval_run_start(&runner, &request, both + 1, 1, err), FKV_OK);
    assert_int_equal(eval_run_full(&runner, task->n_predict, &full, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 0, &hidden, err), FKV_OK);
    eval_run_end(&runner);
    runner.hidden = false;
    assert_true(seen.kept != hidden.kept);
    assert_true(hidden.kv > 0 && hidden.kv < 1);
    free(seen.text);
    free(hidden.text);
    free(full.text);
}

/* What is marked as the question is what retention looks at. */
static void test_marks(void **state)
{
    (void)state;
    if (!engine) skip();
    struct eval_metrics full, metrics[2];
    struct fkv_kv_params asked = options("snapkv", 0.1);
    const struct fkv_kv_params *const one[] = {&asked};
    char err[FKV_ERROR_BYTES];
    asked.question = true;
    for (int i = 0; i < 2; i++) {
        struct eval_request marked = request;
        marked.marks.question_first = request.n - 20 - (size_t)i;
        marked.marks.question_n = 3;
        assert_int_equal(eval_run_start(&runner, &marked, one, 1, err), FKV_OK);
        assert_int_equal(eval_run_full(&runner, task->n_predict, &full, err), FKV_OK);
        assert_int_equal(eval_run_variant(&runner, task->n_predict, 0, &metrics[i], err), FKV_OK);
        eval_run_end(&runner);
        free(full.text);
        free(metrics[i].text);
    }
    assert_true(metrics[0].kept != metrics[1].kept);
}

static uint64_t kept_of(const fkv_session *s)
{
    const int32_t *positions;
    uint64_t hash = FKV_HASH;
    for (int layer = 0; fkv_session_kept(s, layer, 0, &positions) >= 0; layer++)
        for (int head = 0, n; (n = fkv_session_kept(s, layer, head, &positions)) >= 0; head++)
            hash = fkv_hash(hash, positions, (size_t)n * sizeof *positions);
    return hash;
}

/* A question of a second turn comes when the first turn's prompt, as it would be alone, has been compressed. */
static void test_second_turn(void **state)
{
    (void)state;
    if (!engine) skip();
    enum { IN_TURNS = 600 };
    const struct eval_sample one_turn = sample;
    const struct eval_request one_request = request;
    const struct eval_task *const one_task = task;
    struct eval_meter meter = {.engine = engine};
    struct eval_request first;
    struct eval_metrics full, m, same;
    char err[FKV_ERROR_BYTES];
    for (int t = 0; (task = eval_task_list(t)) && strcmp(task->name, "second_turn");) t++;
    assert_non_null(task);
    assert_true(eval_task_sample(task, &sources, SEED, IN_TURNS, 0, eval_request_measure, &meter, &sample));
    assert_int_equal(eval_request_make(engine, &sample, &request, err), FKV_OK);
    struct eval_sample alone = sample;
    alone.question = sample.earlier;
    alone.earlier.n = 0;
    assert_int_equal(eval_request_make(engine, &alone, &first, err), FKV_OK);
    assert_true(request.later && !first.later);
    assert_int_equal(request.n_context, first.n);
    assert_memory_equal(request.ids, first.ids, first.n * sizeof *first.ids);

    const struct fkv_kv_params tenth = options("snapkv", 0.1), all = options("fastkv", 1), *both[] = {&tenth, &all};
    runner.session.n_ctx = IN_TURNS + 2 * EVAL_FORCED;
    assert_int_equal(eval_run_start(&runner, &request, both, 2, err), FKV_OK);
    assert_int_equal(eval_run_full(&runner, task->n_predict, &full, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 0, &m, err), FKV_OK);
    assert_int_equal(eval_run_variant(&runner, task->n_predict, 1, &same, err), FKV_OK);
    eval_run_end(&runner);
    assert_true(same.all_kept && same.kl == 0 && same.kl_reference == 0);
    assert_string_equal(same.text, full.text);

    struct fkv_session_params params = runner.session;
    fkv_session *turns, *at_once = start(&tenth);
    params.kv = tenth;
    assert_int_equal(fkv_session_open(&turns, engine, &params, NULL), FKV_OK);
    assert_int_equal(fkv_session_sync(turns, first.ids, first.n), FKV_OK);
    assert_int_equal(fkv_session_sync(turns, request.ids, request.n), FKV_OK);
    assert_true(m.kept == kept_of(turns));
    assert_true(m.kept != kept_of(at_once));
    fkv_session_close(turns);
    fkv_session_close(at_once);
    free(full.text);
    free(m.text);
    free(same.text);
    eval_request_release(&first);
    eval_request_release(&request);
    eval_sample_release(&sample);
    runner.session.n_ctx = LENGTH + 2 * EVAL_FORCED;
    sample = one_turn;
    request = one_request;
    task = one_task;
}

/* With a real tokenizer lengths are met, too: a pair of UUIDs is the largest unit. */
static void test_lengths(void **state)
{
    (void)state;
    if (!engine) skip();
    struct eval_meter meter = {.engine = engine};
    for (int t = 0; eval_task_list(t); t++) {
        struct eval_sample s;
        const struct eval_task *any = eval_task_list(t);
        assert_true(eval_task_sample(any, &sources, SEED, 4096, 1, eval_request_measure, &meter, &s));
        const size_t n = eval_request_measure(&meter, any, &s);
        const size_t unit = strcmp(any->name, "niah_multikey_3") ? 64 : 110;
        if (n > 4096 || n <= 4096 - unit) fail_msg("%s: %zu tokens", any->name, n);
        eval_sample_release(&s);
    }
}

static void test_distances(void **state)
{
    (void)state;
    const float even[] = {0, 0, 0, 0}, half[] = {logf(4), logf(2), 0, 0}, broken[] = {0, NAN, 0, 0};
    /* 1/4 each, and 1/2, 1/4, 1/8, 1/8: 1/4 (ln 1/2 + ln 1 + 2 ln 2) */
    expect_near(fkv_divergence(even, half, 4), 0.25 * log(2), 1e-6);
    expect_near(fkv_divergence(half, even, 4), 0.5 * log(2) - 0.25 * log(2), 1e-6);
    assert_true(fkv_divergence(half, half, 4) == 0);
    expect_near(eval_log_p(half, 4, 2), log(0.125), 1e-6);
    assert_int_equal(eval_likeliest(even, 4), 0);
    assert_int_equal(eval_likeliest(broken, 4), -1);
    double x[] = {5, 1, 4, 2, 3, 100}, mean, median, p95;
    eval_summary(x, 6, &mean, &median, &p95);
    expect_near(mean, 115.0 / 6, 1e-12);
    assert_true(median == 3.5 && p95 == 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_single_steps),
                                       cmocka_unit_test(test_all_is_full),
                                       cmocka_unit_test(test_second_turn),
                                       cmocka_unit_test(test_marks),
                                       cmocka_unit_test(test_lengths),
                                       cmocka_unit_test(test_distances)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
