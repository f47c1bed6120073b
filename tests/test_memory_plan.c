/* The memory plan against what is taken: every reservation of the library is counted (the linker sends fkv_reserve()
   and fkv_unreserve() through here). */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "support/tiny_session.h"

static size_t live, peak;

void *__real_fkv_reserve(size_t bytes);
void *__wrap_fkv_reserve(size_t bytes);
void __real_fkv_unreserve(void *memory, size_t bytes);
void __wrap_fkv_unreserve(void *memory, size_t bytes);

static int fail_at; /* counts down: the reservation at which it comes to 0 fails */

void *__wrap_fkv_reserve(size_t bytes)
{
    if (fail_at > 0 && --fail_at == 0) return NULL;
    live += bytes;
    if (live > peak) peak = live;
    return __real_fkv_reserve(bytes);
}

void __wrap_fkv_unreserve(void *memory, size_t bytes)
{
    if (memory) live -= bytes;
    __real_fkv_unreserve(memory, bytes);
}

/* A session whose prompt fills the context: before the prefill; while it runs, when the full K and V of a layer, and
   its positions, come besides; and after. */
static void check(const struct tiny_model *m, int threads, bool exact, int n_ctx, int window, const char *policy,
                  enum fkv_kv_type type)
{
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    struct fkv_memory_plan plan, full;
    int32_t ids[TINY_CONTEXT];
    ep.n_threads = threads;
    ep.exact = exact;
    p.n_ctx = n_ctx;
    p.kv.window = window;
    p.kv.policy = policy;
    p.k_type = p.v_type = type;
    assert_int_equal(live, 0);
    fkv_engine *e = tiny_engine(m, &ep);
    assert_int_equal(fkv_plan_memory(e, &p, n_ctx, 0, &plan, NULL), FKV_OK);
    p.kv.policy = "full"; /* what is reserved has room for everything; a policy leaves pages of it untouched */
    assert_int_equal(fkv_plan_memory(e, &p, n_ctx, 0, &full, NULL), FKV_OK);
    p.kv.policy = policy;
    fkv_session *s = tiny_session(e, &p);
    const double want = (double)(full.scratch + full.kv), got = (double)live;
    if (got < want * 0.999 || got > want * 1.001 + 4096)
        fail_msg("%d threads, context %d, window %d: expected %.0f bytes, found %.0f", threads, n_ctx, window, want,
                 got);
    tiny_model_prompt(3, ids, n_ctx);
    peak = live;
    sync_or_fail(s, ids, n_ctx);
    assert_true(peak - live >= plan.kv_prefill && peak - live <= plan.kv_prefill + 8 * (size_t)n_ctx * 4 + 4096);
    struct fkv_session_stats stats;
    fkv_session_get_stats(s, &stats);
    assert_int_equal(stats.kv_bytes, plan.kv);
    assert_int_equal(stats.kv_full_bytes, plan.kv_full);
    assert_true(stats.kv_peak_bytes <= plan.kv + plan.kv_prefill);
    assert_true((double)live == got);
    fkv_session_close(s);
    fkv_engine_close(e);
    assert_int_equal(live, 0);
}

static void test_the_plan_is_what_is_taken(void **state)
{
    (void)state;
    static const char *const policies[] = {"full", "fastkv", "snapkv", "streamingllm"};
    struct tiny_model m = TINY_MODEL_INIT;
    for (int i = 0; i < 32; i++)
        check(&m, 1 + i % 3, i % 5 == 4, i & 1 ? TINY_CONTEXT : 224, i & 2 ? 64 : 8, policies[i / 4 % 4],
              i & 8 ? FKV_KV_Q8_0 : FKV_KV_AUTO);
    m.n_head = 8;
    m.n_kv_head = 4;
    m.d_ff = 512;
    m.n_layer = 7;
    check(&m, 2, false, TINY_CONTEXT, 64, "fastkv", FKV_KV_F32);
}

static void test_layers_that_differ(void **state)
{
    (void)state;
    static const struct tiny_layer layers[] = {{8, 8, 32, false, 0},
                                               {4, 2, 64, false, 0},
                                               {4, 2, 64, false, 0},
                                               {2, 1, 512, false, 0},
                                               {6, 2, 80, false, 0}};
    struct tiny_model m = TINY_MODEL_INIT;
    m.n_layer = 5;
    m.layers = layers;
    check(&m, 1, false, 224, 8, "fastkv", FKV_KV_AUTO);
    check(&m, 2, false, TINY_CONTEXT, 8, "full", FKV_KV_Q8_0);
    check(&m, 1, true, TINY_CONTEXT, 64, "snapkv", FKV_KV_F32);
}

/* A second session adds what it keeps, and no activations. */
static void test_sessions_share_the_workspace(void **state)
{
    (void)state;
    const struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    const struct fkv_session_params p = policy_params("full");
    struct fkv_memory_plan plan;
    fkv_engine *e = tiny_engine(&m, &ep);
    fkv_session *a = tiny_session(e, &p);
    const size_t one = live;
    fkv_session *b = tiny_session(e, &p);
    assert_int_equal(fkv_plan_memory(e, &p, TINY_CONTEXT, 0, &plan, NULL), FKV_OK);
    assert_true(live - one < plan.kv + plan.scratch / 8);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

/* Counts that differ from head to head take a little more, which the plan has. */
static void test_uneven_heads(void **state)
{
    (void)state;
    const struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    const struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    struct fkv_memory_plan plan;
    struct fkv_session_stats stats;
    int32_t ids[TINY_CONTEXT];
    char err[FKV_ERROR_BYTES];
    p.kv.policy = "adakv";
    p.n_ctx = TINY_CONTEXT;
    fkv_engine *e = tiny_engine(&m, &ep);
    tiny_model_prompt(3, ids, TINY_CONTEXT);
    for (int n = 40; n <= TINY_CONTEXT; n += 37) {
        fkv_session *s = tiny_session(e, &p);
        assert_int_equal(fkv_plan_memory(e, &p, n, 0, &plan, NULL), FKV_OK);
        sync_or_fail(s, ids, n);
        fkv_session_get_stats(s, &stats);
        assert_true(stats.kv_bytes <= plan.kv);
        fkv_session_close(s);
    }
    assert_int_equal(fkv_plan_memory(e, &p, INT_MAX, 1, &plan, err), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(err, "in all, found 2147483647 and 1 to predict"));
    fkv_engine_close(e);
}

/* The plan has room for the widest window and the longest head of a question. */
static void test_questions(void **state)
{
    (void)state;
    enum { PROMPT = 500 };
    const struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    const struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_session_params p = paper_params(0.3, 0.1, 1);
    struct fkv_memory_plan plan;
    struct fkv_session_stats stats;
    int32_t ids[PROMPT];
    p.kv.question = true;
    p.n_ctx = PROMPT;
    fkv_engine *e = tiny_engine(&m, &ep);
    tiny_model_prompt(3, ids, PROMPT);
    assert_int_equal(fkv_plan_memory(e, &p, PROMPT, 0, &plan, NULL), FKV_OK);
    for (int question = 1; question < 80; question += 13) {
        const struct fkv_marks marks = {sizeof marks, (size_t)(PROMPT - question), (size_t)question, 100};
        fkv_session *s = tiny_session(e, &p);
        assert_int_equal(fkv_session_mark(s, &marks), FKV_OK);
        sync_or_fail(s, ids, PROMPT);
        fkv_session_get_stats(s, &stats);
        assert_true(stats.kv_bytes <= plan.kv && stats.kv_peak_bytes <= plan.kv + plan.kv_prefill);
        if (question > 64) assert_int_equal(stats.kv_bytes, plan.kv);
        fkv_session_close(s);
    }
    fkv_engine_close(e);
}

/* A session that cannot be had, at whichever reservation it fails, leaves the others theirs. */
static void test_a_session_too_large(void **state)
{
    (void)state;
    const struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    const struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_session_params p = policy_params("full");
    int32_t ids[TINY_CONTEXT];
    char err[FKV_ERROR_BYTES];
    fkv_status status = FKV_ERROR_MEMORY;
    int failures = 0;
    p.n_ctx = 64;
    fkv_engine *e = tiny_engine(&m, &ep), *other = tiny_engine(&m, &ep);
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(other, &p), *large = NULL;
    tiny_model_prompt(3, ids, TINY_CONTEXT);
    sync_or_fail(a, ids, 30);
    sync_or_fail(b, ids, 30);
    for (p.n_ctx = TINY_CONTEXT; status != FKV_OK; failures += status != FKV_OK) {
        fail_at = failures + 1;
        status = fkv_session_open(&large, e, &p, err);
        append_or_fail(a, ids[30 + failures % 8]);
        append_or_fail(b, ids[30 + failures % 8]);
        assert_memory_equal(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float));
        assert_true(failures < 30);
    }
    fail_at = 0;
    assert_true(failures >= 5);
    fkv_session_close(large);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
    fkv_engine_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_plan_is_what_is_taken),
        cmocka_unit_test(test_layers_that_differ),
        cmocka_unit_test(test_sessions_share_the_workspace),
        cmocka_unit_test(test_uneven_heads),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_a_session_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
