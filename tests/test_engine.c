/* Engine and sessions: continuing, cutting back, rebuilding; threads; limits; cancelling; nothing allocated between two
   tokens. */
#define _GNU_SOURCE
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/gguf_writer.h"
#include "support/tiny_session.h"

enum { N = 200 };

static int32_t ids[N + 16];

static int set_up(void **state)
{
    (void)state;
    tiny_model_prompt(11, ids, N + 16);
    return 0;
}

static fkv_engine *engine_of(int n_threads, bool exact, uint32_t type)
{
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.type = type;
    p.n_threads = n_threads;
    p.exact = exact;
    return tiny_engine(&m, &p);
}

static void test_continued_equals_made_whole(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, true, FKV_TYPE_Q8_0);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *whole = tiny_session(e, &p), *parts = tiny_session(e, &p);
    size_t reused;
    sync_or_fail(whole, ids, N);
    sync_or_fail(parts, ids, 1);
    sync_or_fail(parts, ids, 70);
    sync_or_fail(parts, ids, 71);
    for (int i = 71; i < 90; i++) append_or_fail(parts, ids[i]);
    sync_or_fail(parts, ids, N);
    assert_int_equal(fkv_session_sync_kind(parts, &reused), FKV_SYNC_EXTENDED);
    assert_int_equal(reused, 90);
    assert_same_logits(whole, parts);
    fkv_session_close(whole);
    fkv_session_close(parts);
    fkv_engine_close(e);
}

static void test_cutting_back(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, true, FKV_TYPE_F32);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p);
    int32_t other[N];
    memcpy(other, ids, sizeof other);
    for (int i = 120; i < N; i++) other[i] = ids[i] % 100 + 5;
    size_t reused;
    sync_or_fail(a, ids, N);
    sync_or_fail(a, other, N);
    assert_int_equal(fkv_session_sync_kind(a, &reused), FKV_SYNC_CUT_BACK);
    assert_true(reused >= 120);
    sync_or_fail(b, other, N);
    assert_same_logits(a, b);
    sync_or_fail(a, other, 50); /* shorter than what is held */
    sync_or_fail(b, NULL, 0);
    assert_null(fkv_session_logits(b));
    sync_or_fail(b, other, 50);
    assert_same_logits(a, b);
    sync_or_fail(a, other, 50); /* nothing to do */
    assert_int_equal(fkv_session_sync_kind(a, &reused), FKV_SYNC_EXTENDED);
    assert_int_equal(reused, 50);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static void test_a_pruned_cache_is_rebuilt(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p);
    size_t reused;
    sync_or_fail(a, ids, N);
    append_or_fail(a, 5);
    append_or_fail(a, 6);
    sync_or_fail(a, ids, N - 20);
    assert_int_equal(fkv_session_sync_kind(a, &reused), FKV_SYNC_REBUILT);
    assert_int_equal(reused, 0);
    sync_or_fail(b, ids, N - 20);
    assert_same_logits(a, b);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static void test_threads_do_not_change_results(void **state)
{
    (void)state;
    for (int policy = 0; policy < 2; policy++) {
        fkv_engine *one = engine_of(1, false, FKV_TYPE_Q8_0), *two = engine_of(2, false, FKV_TYPE_Q8_0),
                   *three = engine_of(3, false, FKV_TYPE_Q8_0);
        const struct fkv_session_params p = policy ? paper_params(0.2, 0.1, 1) : policy_params("full");
        fkv_session *a = tiny_session(one, &p), *b = tiny_session(two, &p), *c = tiny_session(three, &p);
        fkv_session *all[] = {a, b, c};
        for (int s = 0; s < 3; s++) {
            sync_or_fail(all[s], ids, N);
            for (int i = 0; i < 5; i++) append_or_fail(all[s], ids[N + i]);
        }
        assert_same_logits(a, b);
        assert_same_logits(a, c);
        for (int s = 0; s < 3; s++) fkv_session_close(all[s]);
        fkv_engine_close(one);
        fkv_engine_close(two);
        fkv_engine_close(three);
    }
}

/* ---- sessions on threads of their own -------------------------------------------------------- */

struct runner {
    fkv_engine *e;
    float logits[TINY_VOCAB];
    fkv_status status;
};

static void *run_session(void *arg)
{
    struct runner *r = arg;
    const struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    fkv_session *s;
    r->status = fkv_session_open(&s, r->e, &p, NULL);
    if (r->status != FKV_OK) return NULL;
    r->status = fkv_session_sync(s, ids, N);
    for (int i = 0; i < 10 && r->status == FKV_OK; i++) r->status = fkv_session_append(s, ids[N + i]);
    if (r->status == FKV_OK) memcpy(r->logits, fkv_session_logits(s), sizeof r->logits);
    fkv_session_close(s);
    return NULL;
}

static void test_concurrent_sessions(void **state)
{
    (void)state;
    enum { SESSIONS = 3 };
    fkv_engine *e = engine_of(2, false, FKV_TYPE_Q8_0);
    struct runner r[SESSIONS];
    pthread_t t[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) {
        r[i].e = e;
        assert_int_equal(pthread_create(&t[i], NULL, run_session, &r[i]), 0);
    }
    for (int i = 0; i < SESSIONS; i++) pthread_join(t[i], NULL);
    for (int i = 0; i < SESSIONS; i++) {
        assert_int_equal(r[i].status, FKV_OK);
        assert_memory_equal(r[i].logits, r[0].logits, sizeof r[0].logits);
    }
    fkv_engine_close(e);
}

/* ---- limits and errors ----------------------------------------------------------------------- */

static void test_context_is_refused_with_the_counts(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    struct fkv_session_params p = policy_params("full");
    p.n_ctx = 50;
    fkv_session *s = tiny_session(e, &p);
    assert_int_equal(fkv_session_sync(s, ids, 51), FKV_ERROR_CONTEXT);
    assert_non_null(strstr(fkv_session_error(s), "51 tokens"));
    sync_or_fail(s, ids, 50);
    assert_int_equal(fkv_session_append(s, 5), FKV_ERROR_CONTEXT);
    assert_int_equal(fkv_session_n_seen(s), 50);
    fkv_session_close(s);
    p.n_ctx = FKV_CONTEXT_MAX + 1;
    char err[FKV_ERROR_BYTES];
    assert_int_equal(fkv_session_open(&s, e, &p, err), FKV_ERROR_CONTEXT);
    assert_non_null(strstr(err, "expected 1 to 16777216, found 16777217"));
    fkv_engine_close(e);
}

/* Positions run on beyond what the model was trained for: one decoded there gets what a prefill of it gets. */
static void test_beyond_the_trained_context(void **state)
{
    enum { LONG = TINY_CONTEXT + 40 };
    int32_t many[LONG];
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    struct fkv_session_params p = policy_params("full");
    p.n_ctx = LONG;
    tiny_model_prompt(9, many, LONG);
    fkv_session *whole = tiny_session(e, &p), *step = tiny_session(e, &p);
    sync_or_fail(whole, many, LONG);
    sync_or_fail(step, many, LONG - 1);
    assert_int_equal(fkv_session_append(step, many[LONG - 1]), FKV_OK);
    for (int i = 0; i < TINY_VOCAB; i++) {
        const double difference = (double)fkv_session_logits(whole)[i] - (double)fkv_session_logits(step)[i];
        assert_true(difference < 0.1 && difference > -0.1);
    }
    fkv_session_close(whole);
    fkv_session_close(step);
    fkv_engine_close(e);
}

static void test_ids_outside_the_vocabulary(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *s = tiny_session(e, &p);
    const int32_t bad[] = {5, TINY_VOCAB, -1};
    assert_int_equal(fkv_session_sync(s, bad, 3), FKV_ERROR_ARGUMENT);
    assert_string_equal(fkv_session_error(s), "token 1: expected an id below 320, found 320");
    assert_int_equal(fkv_session_append(s, -1), FKV_ERROR_ARGUMENT);
    fkv_session_close(s);
    fkv_engine_close(e);
}

static bool cancel_half_way(void *user, uint64_t done, uint64_t all)
{
    (void)user;
    return done < all / 2;
}

static void test_cancelling_keeps_what_was_there(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, true, FKV_TYPE_F32);
    struct fkv_session_params p = policy_params("full");
    fkv_session *b = tiny_session(e, &p);
    p.progress = cancel_half_way;
    fkv_session *a = tiny_session(e, &p);
    sync_or_fail(a, ids, 1);
    assert_int_equal(fkv_session_sync(a, ids, N), FKV_ERROR_CANCELLED);
    assert_int_equal(fkv_session_n_seen(a), 1);
    append_or_fail(a, ids[1]);
    sync_or_fail(b, ids, 2);
    assert_same_logits(a, b);
    fkv_session_cancel(a);
    assert_int_equal(fkv_session_append(a, 5), FKV_ERROR_CANCELLED);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static void test_nothing_is_allocated_between_two_tokens(void **state)
{
    (void)state;
    if (getenv("FKV_TEST_DEVICE")) skip(); /* what a GPU's driver allocates is its own affair */
    fkv_engine *e = engine_of(0, false, FKV_TYPE_Q8_0);
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    fkv_session *s = tiny_session(e, &p);
    sync_or_fail(s, ids, N);
    append_or_fail(s, 5);
    const struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 100; i++) append_or_fail(s, 5 + i);
    const struct mallinfo2 after = mallinfo2();
    assert_int_equal(before.uordblks, after.uordblks);
    assert_int_equal(before.hblks, after.hblks);
    fkv_session_close(s);
    fkv_engine_close(e);
}

static void test_memory_plan_is_what_is_held(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    struct fkv_memory_plan plan;
    struct fkv_session_stats stats;
    assert_int_equal(fkv_plan_memory(e, &p, N, 0, &plan, NULL), FKV_OK);
    fkv_session *s = tiny_session(e, &p);
    sync_or_fail(s, ids, N);
    fkv_session_get_stats(s, &stats);
    assert_int_equal(stats.kv_bytes, plan.kv);
    assert_int_equal(stats.kv_full_bytes, plan.kv_full);
    assert_true(stats.kv_peak_bytes <= plan.kv + plan.kv_prefill);
    fkv_session_close(s);
    fkv_engine_close(e);
}

/* Parameters of an older or a newer version, by their size. */
static void test_parameters_of_any_size(void **state)
{
    (void)state;
    struct {
        struct fkv_session_params p;
        char more[16];
    } newer = {FKV_SESSION_PARAMS_INIT, {0}};
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    fkv_session *s = NULL;
    char err[FKV_ERROR_BYTES];
    struct fkv_session_params older = FKV_SESSION_PARAMS_INIT, got = FKV_SESSION_PARAMS_INIT;
    older.n_ctx = 77;
    older.kv.window = 9999; /* behind what the older one has */
    older.size = offsetof(struct fkv_session_params, kv);
    if (fkv_session_open(&s, e, &older, err) != FKV_OK) fail_msg("%s", err);
    fkv_session_get_params(s, &got);
    assert_int_equal(got.n_ctx, 77);
    assert_int_equal(got.kv.window, 8);
    assert_int_equal(got.size, sizeof got);
    got.size = offsetof(struct fkv_session_params, kv);
    got.kv.window = 5;
    fkv_session_get_params(s, &got);
    assert_int_equal(got.size, offsetof(struct fkv_session_params, kv));
    assert_int_equal(got.kv.window, 5); /* a caller's older structure ends before it */
    fkv_session_close(s);
    newer.p.size = sizeof newer;
    assert_int_equal(fkv_session_open(&s, e, &newer.p, err), FKV_OK);
    fkv_session_close(s);
    newer.more[3] = 1;
    assert_int_equal(fkv_session_open(&s, e, &newer.p, err), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(err, "or zeros behind"));
    older.size = 1;
    assert_int_equal(fkv_session_open(&s, e, &older, err), FKV_ERROR_ARGUMENT);
    fkv_engine_close(e);
}

/* A policy's name may lie in memory of the caller's that goes. */
static void test_names_are_copied(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(0, false, FKV_TYPE_F32);
    char name[] = "snapkv";
    struct fkv_session_params p = paper_params(0.2, 0.1, 1), got = FKV_SESSION_PARAMS_INIT;
    p.kv.policy = name;
    fkv_session *s = tiny_session(e, &p);
    memset(name, 'x', sizeof name - 1);
    sync_or_fail(s, ids, N);
    fkv_session_get_params(s, &got);
    assert_string_equal(got.kv.policy, "snapkv");
    fkv_session_close(s);
    fkv_engine_close(e);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void expect_open_error(const struct tiny_model *m, const char *isa, fkv_status want, const char *message)
{
    char path[64], err[FKV_ERROR_BYTES];
    fkv_engine *e = NULL;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    p.isa = isa;
    tiny_model_write(m, path);
    assert_int_equal(fkv_engine_open(&e, path, &p, err), want);
    unlink(path);
    assert_null(e);
    if (!strstr(err, message)) fail_msg("\"%s\" lacks \"%s\"", err, message);
}

static void test_what_cannot_run_is_refused(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    expect_open_error(&m, "mmx", FKV_ERROR_ARGUMENT, "ISA level mmx: expected one that this machine has (reference");
    m.n_kv_head = 3;
    expect_open_error(&m, NULL, FKV_ERROR_FORMAT,
                      "llama.attention.head_count_kv: expected a divisor of the 4 heads, found 3");
    m = (struct tiny_model)TINY_MODEL_INIT;
    m.arch = "novel";
    expect_open_error(&m, NULL, FKV_ERROR_UNSUPPORTED, "general.architecture: expected one of llama, qwen2, ");
    expect_open_error(&m, NULL, FKV_ERROR_UNSUPPORTED, ", found \"novel\"");
    m.arch = "qwen2";
    m.d_head = 33;
    m.n_head = 32;
    expect_open_error(&m, NULL, FKV_ERROR_UNSUPPORTED, "even head size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continued_equals_made_whole),
        cmocka_unit_test(test_cutting_back),
        cmocka_unit_test(test_a_pruned_cache_is_rebuilt),
        cmocka_unit_test(test_threads_do_not_change_results),
        cmocka_unit_test(test_concurrent_sessions),
        cmocka_unit_test(test_context_is_refused_with_the_counts),
        cmocka_unit_test(test_beyond_the_trained_context),
        cmocka_unit_test(test_ids_outside_the_vocabulary),
        cmocka_unit_test(test_cancelling_keeps_what_was_there),
        cmocka_unit_test(test_nothing_is_allocated_between_two_tokens),
        cmocka_unit_test(test_memory_plan_is_what_is_held),
        cmocka_unit_test(test_parameters_of_any_size),
        cmocka_unit_test(test_names_are_copied),
        cmocka_unit_test(test_what_cannot_run_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
