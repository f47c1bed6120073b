/* Several sequences: in one pass, forked, cut, as bytes, and taking turns. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/session.h"
#include "support/tiny_session.h"

enum { STEPS = 6, MOST = 1000, SESSIONS_OF_TEST = 4, LONG = 700 };

static int32_t ids[MOST];
static int n_prompt = LONG;
static bool few; /* smaller cases on one engine, where the device is a GPU that the CPU stands for: each compiles its
                    shaders anew */
static fkv_engine *shared;

static int set_up(void **state)
{
    (void)state;
    tiny_model_prompt(21, ids, MOST);
    few = getenv("FKV_TEST_FEW") != NULL;
    if (few) n_prompt = 450;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(shared);
    return 0;
}

static fkv_engine *engine_of(bool exact, uint32_t type)
{
    if (shared && !exact) return shared;
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.type = type;
    p.exact = exact;
    p.n_threads = 2;
    fkv_engine *e = tiny_engine(&m, &p);
    if (few && !exact) shared = e;
    return e;
}

static void leave_engine(fkv_engine *e)
{
    if (e != shared) fkv_engine_close(e);
}

/* The i-th of several sessions, each with a list of its own length and shape. */
static fkv_session *one_of(fkv_engine *e, int i)
{
    static const char *const policies[] = {"full", "fastkv", "adakv", "streamingllm"};
    struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    p.kv.policy = policies[i % 4];
    fkv_session *s = tiny_session(e, &p);
    sync_or_fail(s, ids + i, i == 3 ? 1 : n_prompt - 60 * i);
    return s;
}

/* ---- in one pass --------------------------------------------------------------------------------- */

static void check_batches(bool exact, uint32_t type)
{
    fkv_engine *e = engine_of(exact, type);
    fkv_session *alone[FKV_BATCH_MOST], *together[FKV_BATCH_MOST];
    for (int i = 0; i < FKV_BATCH_MOST; i++) {
        alone[i] = one_of(e, i);
        together[i] = one_of(e, i);
    }
    for (int step = 0; step < STEPS; step++) {
        const int n = FKV_BATCH_MOST - step; /* of any number */
        for (int i = 0; i < n; i++) append_or_fail(alone[i], ids[step * 8 + i]);
        if (fkv_batch_append(together, ids + step * 8, n) != FKV_OK) fail_msg("%s", fkv_session_error(together[0]));
        for (int i = 0; i < n; i++) assert_same_logits(alone[i], together[i]);
    }
    for (int i = 0; i < FKV_BATCH_MOST; i++) {
        fkv_session_close(alone[i]);
        fkv_session_close(together[i]);
    }
    leave_engine(e);
}

static void test_a_batch_gives_the_bits_of_single_tokens(void **state)
{
    (void)state;
    check_batches(false, FKV_TYPE_Q8_0);
    if (few) return;
    check_batches(false, FKV_TYPE_F32);
    check_batches(true, FKV_TYPE_Q8_0);
    check_batches(false, FKV_TYPE_BF16);
    check_batches(false, FKV_TYPE_Q5_0);
}

static void check_verify(bool exact, uint32_t type)
{
    fkv_engine *e = engine_of(exact, type);
    float logits[FKV_BATCH_MOST][TINY_VOCAB];
    for (int i = 0; i < 3; i++) {
        fkv_session *a = one_of(e, i), *b = one_of(e, i);
        const size_t before = fkv_session_n_seen(b);
        if (fkv_batch_verify(b, ids, FKV_BATCH_MOST, logits[0]) != FKV_OK) fail_msg("%s", fkv_session_error(b));
        for (int j = 0; j < FKV_BATCH_MOST; j++) {
            append_or_fail(a, ids[j]);
            assert_memory_equal(fkv_session_logits(a), logits[j], sizeof logits[j]);
        }
        assert_same_logits(a, b);
        assert_int_equal(fkv_session_cut(b, before + 3), FKV_OK); /* three were right */
        assert_null(fkv_session_logits(b));
        assert_int_equal(fkv_session_cut(a, before + 3), FKV_OK);
        append_or_fail(a, 9);
        append_or_fail(b, 9);
        assert_same_logits(a, b);
        fkv_session_close(a);
        fkv_session_close(b);
    }
    leave_engine(e);
}

static void test_a_draft_gives_the_logits_of_appends(void **state)
{
    (void)state;
    check_verify(false, FKV_TYPE_Q8_0);
    if (!few) check_verify(true, FKV_TYPE_F32);
}

static void test_batches_that_cannot_be(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_F32), *other = engine_of(false, FKV_TYPE_F32);
    fkv_session *a = one_of(e, 0), *b = one_of(e, 1), *c = one_of(other, 0);
    const int32_t bad[] = {5, TINY_VOCAB};
    const size_t before = fkv_session_n_seen(a);
    assert_int_equal(fkv_batch_append((fkv_session *[]){a, b}, bad, 2), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(fkv_session_error(b), "expected an id below 320, found 320"));
    assert_int_equal(fkv_batch_append((fkv_session *[]){a, a}, ids, 2), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_append((fkv_session *[]){a, c}, ids, 2), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_append((fkv_session *[]){a}, ids, 0), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_append((fkv_session *[]){a}, ids, 9), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_session_n_seen(a), before);
    assert_non_null(fkv_session_logits(a)); /* nothing has changed */
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(c);
    fkv_engine_close(e);
    fkv_engine_close(other);
}

enum { BROKEN = 7 };

/* Whoever takes token BROKEN has no logits. */
static void put_broken_embeddings(struct gguf_writer *w)
{
    enum { D = 64 };
    static float table[TINY_VOCAB][D];
    for (int i = 0; i < TINY_VOCAB; i++)
        for (int j = 0; j < D; j++) table[i][j] = i == BROKEN ? INFINITY : sinf((float)(i * D + j));
    gguf_put_tensor(w, "token_embd.weight", FKV_TYPE_F32, 2, (const uint64_t[]){D, TINY_VOCAB}, table, sizeof table);
}

static void test_one_of_a_batch_that_is_not_a_number(void **state)
{
    enum { N = 3 };
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.own_output = true;
    m.without = "token_embd.weight";
    m.also = put_broken_embeddings;
    fkv_engine *e = tiny_engine(&m, &p);
    fkv_session *alone[N], *s[N];
    const int32_t broken[N] = {30, BROKEN, 40}, well[N] = {30, 31, 40};
    for (int i = 0; i < N; i++) {
        const struct fkv_session_params params = policy_params("full");
        alone[i] = tiny_session(e, &params);
        s[i] = tiny_session(e, &params);
        int32_t prompt[50];
        for (int j = 0; j < 50; j++) prompt[j] = 20 + (ids[j] + i) % 100;
        sync_or_fail(alone[i], prompt, 50);
        sync_or_fail(s[i], prompt, 50);
    }
    assert_int_equal(fkv_batch_append((fkv_session *[]){s[0], s[0]}, well, 2), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_append(s, broken, N), FKV_ERROR_NUMBER);
    for (int i = 0; i < N; i++) {
        assert_int_equal(fkv_session_n_seen(s[i]), 50);
        assert_same_logits(s[i], alone[i]); /* those of the prompt */
        assert_int_equal(*fkv_session_error(s[i]) != '\0', i == 1);
    }
    assert_non_null(strstr(fkv_session_error(s[1]), "not a number"));
    assert_int_equal(fkv_batch_append((fkv_session *[]){s[0], s[2]}, (int32_t[]){30, 40}, 2), FKV_OK);
    append_or_fail(s[1], 31);
    for (int i = 0; i < N; i++) {
        append_or_fail(alone[i], well[i]);
        assert_same_logits(s[i], alone[i]);
        fkv_session_close(alone[i]);
        fkv_session_close(s[i]);
    }
    fkv_engine_close(e);
}

/* ---- one prefill for several ----------------------------------------------------------------------- */

/* Every policy, with windows that differ. */
static int sessions_of_all(fkv_engine *e, fkv_session **sessions, int most)
{
    const char *name, *about;
    int n = 0;
    for (int i = 0; fkv_policy_list(i, &name, &about); i++) {
        for (int window = 4; window <= 24 && n < most; window += 20) {
            struct fkv_session_params p = paper_params(0.3, 0.2, 1);
            p.kv.policy = n == 0 ? "full" : name;
            p.kv.window = window;
            p.kv.sinks = window / 8;
            sessions[n++] = tiny_session(e, &p);
        }
    }
    return n;
}

static bool same(double a, double b) { return a == b || (isnan(a) && isnan(b)); }

/* Signals, and the work as it is counted. */
static void check_same_signals(fkv_session *a, fkv_session *b)
{
    struct fkv_signals x, y;
    struct fkv_session_stats s, t;
    fkv_session_get_signals(a, &x);
    fkv_session_get_signals(b, &y);
    assert_true(x.n_layers == y.n_layers);
    assert_true(same(x.mass, y.mass) && same(x.mass_least, y.mass_least) && same(x.halves, y.halves));
    assert_true(same(x.overlap, y.overlap) && same(x.agreement, y.agreement) && same(x.entropy, y.entropy));
    fkv_session_get_stats(a, &s);
    fkv_session_get_stats(b, &t);
    assert_true(s.prefill_work == t.prefill_work && s.prefill_work > 0);
}

static void check_same_bytes(fkv_session *a, fkv_session *b)
{
    assert_same_bytes(a, b);
    assert_same_logits(a, b);
}

/* What one pass keeps for each is what each keeps alone, bit for bit, and goes on as that does; where rows stay behind,
   what went on is the same, too, and so is the work it counts as. */
static void check_one_prefill(bool exact, uint32_t type)
{
    enum { SESSIONS = 24 };
    fkv_engine *e = engine_of(exact, type);
    fkv_session *alone[SESSIONS], *together[SESSIONS];
    const int n = sessions_of_all(e, alone, few ? 10 : SESSIONS);
    int parted = 0, layer;
    const int32_t *positions, *others;
    assert_int_equal(sessions_of_all(e, together, n), n);
    if (fkv_batch_prefill(together, n, ids, n_prompt) != FKV_OK) fail_msg("%s", fkv_session_error(together[0]));
    for (int i = 0; i < n; i++) {
        sync_or_fail(alone[i], ids, n_prompt);
        const int n_on = fkv_session_propagated(alone[i], &layer, &positions);
        if (fkv_session_n_seen(together[i]) == 0) { /* products by a library do not round alike */
            assert_true(n_on >= 0 && type == FKV_TYPE_F32 && !exact);
            sync_or_fail(together[i], ids, n_prompt);
        }
        assert_int_equal(fkv_session_n_seen(together[i]), n_prompt);
        assert_int_equal(fkv_session_propagated(together[i], &layer, &others), n_on);
        if (n_on > 0) assert_memory_equal(positions, others, (size_t)n_on * sizeof *others);
        parted += n_on >= 0;
        check_same_signals(alone[i], together[i]);
        check_same_bytes(alone[i], together[i]);
        append_or_fail(alone[i], ids[5]);
        append_or_fail(together[i], ids[5]);
        assert_same_logits(alone[i], together[i]);
        assert_int_equal(fkv_session_cut(together[i], n_prompt), FKV_OK);
    }
    assert_true(parted >= (few ? 2 : 8) && parted < n);
    for (int i = 0; i < n; i++) {
        fkv_session_close(alone[i]);
        fkv_session_close(together[i]);
    }
    leave_engine(e);
}

static void test_one_prefill_fills_several_sessions(void **state)
{
    (void)state;
    check_one_prefill(false, FKV_TYPE_Q8_0);
    if (few) return;
    check_one_prefill(false, FKV_TYPE_F32);
    check_one_prefill(true, FKV_TYPE_Q8_0);
}

static void test_prefills_that_cannot_be_one(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_F32);
    fkv_session *s[SESSIONS_OF_TEST];
    assert_int_equal(sessions_of_all(e, s, SESSIONS_OF_TEST), SESSIONS_OF_TEST);
    assert_int_equal(fkv_batch_prefill(s, 0, ids, n_prompt), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_prefill(s, 2, ids, 0), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_prefill((fkv_session *[]){s[2], s[0]}, 2, ids, n_prompt), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(fkv_session_error(s[2]), "expected full attention in the first session, found policy "));
    assert_int_equal(fkv_batch_prefill((fkv_session *[]){s[0], s[2], s[2]}, 3, ids, n_prompt), FKV_ERROR_ARGUMENT);
    assert_non_null(strstr(fkv_session_error(s[2]), "session 2 is not one"));
    sync_or_fail(s[1], ids, 9);
    assert_int_equal(fkv_batch_prefill(s, 2, ids, n_prompt), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_session_n_seen(s[1]), 9);
    for (int i = 0; i < SESSIONS_OF_TEST; i++) fkv_session_close(s[i]);
    fkv_engine_close(e);
}

/* ---- forks --------------------------------------------------------------------------------------- */

static fkv_session *fork_of(fkv_session *s, size_t n)
{
    char err[FKV_ERROR_BYTES];
    fkv_session *child = NULL;
    if (fkv_session_fork(s, n, &child, err) != FKV_OK) fail_msg("%s", err);
    return child;
}

/* A fork at token n goes on like a session made whole, and neither disturbs the other; also a fork of a fork, cut into
   what is shared. */
static void check_fork(fkv_engine *e, size_t n)
{
    const struct fkv_session_params p = policy_params("full");
    fkv_session *trunk = tiny_session(e, &p), *whole = tiny_session(e, &p);
    sync_or_fail(trunk, ids, n_prompt);
    fkv_session *fork = fork_of(trunk, n);
    sync_or_fail(whole, ids, (int)n);
    for (int i = 0; i < 40; i++) {
        append_or_fail(trunk, ids[i]);
        append_or_fail(fork, ids[300 + i]);
        append_or_fail(whole, ids[300 + i]);
        assert_same_logits(whole, fork);
    }
    fkv_session *second = fork_of(fork, n + 20);
    assert_int_equal(fkv_session_cut(fork, n - 3), FKV_OK);
    assert_int_equal(fkv_session_cut(whole, n + 20), FKV_OK);
    fkv_session_close(trunk);
    append_or_fail(fork, 3);
    append_or_fail(second, 4);
    append_or_fail(whole, 4);
    assert_same_logits(whole, second);
    assert_int_equal(fkv_session_cut(whole, n - 3), FKV_OK);
    append_or_fail(whole, 3);
    assert_same_logits(whole, fork);
    sync_or_fail(whole, ids, MOST - 1); /* a turn over shared segments */
    sync_or_fail(fork, ids, MOST - 1);
    assert_same_logits(whole, fork);
    fkv_session_close(whole);
    fkv_session_close(fork);
    fkv_session_close(second);
}

static void test_forks_go_their_own_way(void **state)
{
    (void)state;
    for (int exact = 0; exact < (few ? 1 : 2); exact++) {
        fkv_engine *e = engine_of(exact, FKV_TYPE_Q8_0);
        check_fork(e, n_prompt);
        check_fork(e, n_prompt - 100);
        if (!few) check_fork(e, 512);
        if (!few) check_fork(e, 100);
        leave_engine(e);
    }
}

/* Forks of forks, more than a store has segments; pruned lists, whose heads have different lengths. */
static void test_chains_of_forks(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    m.n_ctx = 12000;
    ep.n_threads = 2;
    fkv_engine *e = tiny_engine(&m, &ep);
    struct fkv_session_params p = paper_params(1, 0.9, 1);
    p.kv.policy = "adakv";
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p), *forks[12];
    for (int i = 0; i < 12; i++) {
        int32_t more[10000];
        const int n = 600 * (i + 1);
        for (int j = 0; j < n; j++) more[j] = ids[j % MOST];
        sync_or_fail(a, more, n);
        sync_or_fail(b, more, n);
        forks[i] = fork_of(a, (size_t)n);
        append_or_fail(forks[i], 7);
        append_or_fail(b, 7);
        assert_same_logits(b, forks[i]);
        assert_int_equal(fkv_session_cut(b, (size_t)n), FKV_OK);
    }
    for (int i = 0; i < 12; i++) {
        append_or_fail(forks[i], 8);
        fkv_session_close(forks[i]);
    }
    append_or_fail(a, 9);
    append_or_fail(b, 9);
    assert_same_logits(a, b);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static void test_forks_that_cannot_be(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_F32);
    const struct fkv_session_params p = paper_params(0.2, 0.1, 1);
    fkv_session *s = tiny_session(e, &p), *child = NULL;
    char err[FKV_ERROR_BYTES];
    sync_or_fail(s, ids, n_prompt);
    append_or_fail(s, 5);
    assert_int_equal(fkv_session_fork(s, n_prompt - 1, &child, err), FKV_ERROR_ARGUMENT);
    assert_string_equal(err, "fork: expected 0 or 700 to 701 of the session's tokens, found 699");
    assert_int_equal(fkv_session_cut(s, n_prompt - 1), FKV_ERROR_ARGUMENT);
    child = fork_of(s, 0);
    assert_int_equal(fkv_session_n_seen(child), 0);
    sync_or_fail(child, ids, 20);
    fkv_session_close(child);
    child = fork_of(s, n_prompt);
    append_or_fail(child, 5);
    assert_same_logits(s, child);
    fkv_session_close(child);
    fkv_session_close(s);
    fkv_engine_close(e);
}

/* ---- as bytes ------------------------------------------------------------------------------------ */

static void check_bytes(fkv_engine *e, enum fkv_kv_type k, enum fkv_kv_type v)
{
    struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    p.kv.policy = "adakv";
    p.k_type = k;
    p.v_type = v;
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p);
    void *data, *again;
    size_t bytes, n;
    sync_or_fail(a, ids, n_prompt);
    append_or_fail(a, 5);
    assert_int_equal(fkv_session_export(a, &data, &bytes), FKV_OK);
    sync_or_fail(b, ids + 50, 60); /* goes */
    if (fkv_session_import(b, data, bytes) != FKV_OK) fail_msg("%s", fkv_session_error(b));
    assert_int_equal(fkv_session_export(b, &again, &n), FKV_OK);
    assert_int_equal(n, bytes);
    assert_memory_equal(data, again, n);
    append_or_fail(a, 6);
    append_or_fail(b, 6);
    assert_same_logits(a, b);
    fkv_free(data);
    fkv_free(again);
    fkv_session_close(a);
    fkv_session_close(b);
}

static void test_export_and_import(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_Q8_0);
    check_bytes(e, FKV_KV_AUTO, FKV_KV_AUTO);
    check_bytes(e, FKV_KV_F32, FKV_KV_F32);
    check_bytes(e, FKV_KV_F16, FKV_KV_BF16);
    check_bytes(e, FKV_KV_Q8_0, FKV_KV_Q8_0);
    leave_engine(e);
}

/* Every byte changed, every length: refused, and that means empty and usable. */
static void test_import_trusts_nothing(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_F32);
    const struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p);
    uint8_t *data;
    void *made;
    size_t bytes;
    sync_or_fail(a, ids, 60);
    assert_int_equal(fkv_session_export(a, &made, &bytes), FKV_OK);
    data = made;
    for (size_t i = 0; i < bytes; i += i < 1200 ? 1 : 97) {
        data[i] ^= 0xff;
        const fkv_status status = fkv_session_import(b, data, bytes);
        data[i] ^= 0xff;
        assert_int_not_equal(status, FKV_OK);
        assert_int_equal(fkv_session_n_seen(b), 0);
        assert_true(*fkv_session_error(b));
    }
    for (size_t n = 0; n < bytes; n += n < 1200 ? 1 : 97) assert_int_not_equal(fkv_session_import(b, data, n), FKV_OK);
    sync_or_fail(b, ids, 60);
    append_or_fail(a, 3);
    append_or_fail(b, 3);
    assert_same_logits(a, b);
    fkv_free(made);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static void add_rope_scaling(struct gguf_writer *w) { gguf_put_f32(w, "llama.rope.scaling.factor", 2); }
static void add_description(struct gguf_writer *w) { gguf_put_str(w, "general.description", "the same"); }

/* Of the same shapes, but other weights, or other metadata of the architecture; what only describes does not count. */
static void test_import_knows_the_model(void **state)
{
    (void)state;
    const struct {
        uint32_t seed;
        void (*also)(struct gguf_writer *w);
        fkv_status want;
    } cases[] = {{1, NULL, FKV_OK},
                 {1, add_description, FKV_OK},
                 {2, NULL, FKV_ERROR_UNSUPPORTED},
                 {1, add_rope_scaling, FKV_ERROR_UNSUPPORTED}};
    fkv_engine *e = engine_of(false, FKV_TYPE_F32);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *a = tiny_session(e, &p);
    void *data;
    size_t bytes;
    sync_or_fail(a, ids, 60);
    assert_int_equal(fkv_session_export(a, &data, &bytes), FKV_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
        m.seed = cases[i].seed;
        m.also = cases[i].also;
        fkv_engine *other = tiny_engine(&m, &params);
        fkv_session *b = tiny_session(other, &p);
        assert_int_equal(fkv_session_import(b, data, bytes), cases[i].want);
        assert_int_equal(fkv_session_n_seen(b), cases[i].want == FKV_OK ? 60 : 0);
        if (cases[i].want != FKV_OK) assert_non_null(strstr(fkv_session_error(b), "it is another model's: expected "));
        fkv_session_close(b);
        fkv_engine_close(other);
    }
    fkv_free(data);
    fkv_session_close(a);
    fkv_engine_close(e);
}

/* ---- where tokens look ---------------------------------------------------------------------------- */

enum { LOOKING = 11, CHOSEN = 40, LAYERS = 4, KV_HEADS = 2 }; /* LOOKING: more than a step takes */
static float shares[LAYERS][KV_HEADS][LONG];

/* A policy that ranks by the attention of the same tokens keeps none that got less than one that it drops. */
static void check_choice(const fkv_session *s, int layer, int head)
{
    const int32_t *kept;
    const int n = fkv_session_kept(s, layer, head, &kept);
    const float *x = shares[layer][head];
    float least = 1, most = 0, sum = 0;
    assert_int_equal(n, CHOSEN + LOOKING);
    for (int p = 1; p < LONG; p++) { /* 0 is kept in any case */
        while (*kept < p) kept++;
        if (*kept == p) least = x[p] < least ? x[p] : least;
        if (*kept != p) most = x[p] > most ? x[p] : most;
    }
    for (int p = 0; p < LONG; p++) sum += x[p];
    assert_true(least > 0 && least < 1);
    assert_true(least >= most * 0.9999f);
    assert_true(sum > 0.5f && sum < 1); /* the rest fell on the tokens themselves */
}

static void test_attention_is_what_policies_rank_by(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(true, FKV_TYPE_F32);
    struct fkv_session_params p = policy_params("full");
    fkv_session *s = tiny_session(e, &p), *other = tiny_session(e, &p);
    sync_or_fail(s, ids, LONG);
    sync_or_fail(other, ids, LONG);
    if (fkv_session_attention(s, ids + LONG, LOOKING, shares[0][0]) != FKV_OK) fail_msg("%s", fkv_session_error(s));
    assert_int_equal(fkv_session_n_seen(s), LONG);
    assert_null(fkv_session_logits(s));
    append_or_fail(s, 7);
    append_or_fail(other, 7);
    assert_same_logits(s, other);

    p = paper_params(1, 0.1, 1);
    p.kv.policy = "snapkv";
    p.kv.window = LOOKING;
    p.kv.pool_kernel = 1;
    p.kv.kv_budget = CHOSEN + LOOKING;
    fkv_session *ranked = tiny_session(e, &p);
    sync_or_fail(ranked, ids, LONG + LOOKING);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int head = 0; head < KV_HEADS; head++) check_choice(ranked, layer, head);
    fkv_session_close(s);
    fkv_session_close(other);
    fkv_session_close(ranked);
    fkv_engine_close(e);
}

static void expect_no_attention(fkv_session *s, const int32_t *looking, size_t n, const char *message)
{
    const size_t before = fkv_session_n_seen(s);
    assert_int_equal(fkv_session_attention(s, looking, n, shares[0][0]), FKV_ERROR_ARGUMENT);
    assert_string_equal(fkv_session_error(s), message);
    assert_int_equal(fkv_session_n_seen(s), before);
}

static void test_attention_that_cannot_be(void **state)
{
    (void)state;
    static const int32_t bad[] = {5, TINY_VOCAB};
    fkv_engine *e = engine_of(false, FKV_TYPE_F32);
    fkv_session *s = one_of(e, 0), *pruned = one_of(e, 1), *child;
    expect_no_attention(s, ids, 0, "attention: expected ids behind tokens of a session, found 0 and 700");
    expect_no_attention(s, bad, 2, "token 701: expected an id below 320, found 320");
    expect_no_attention(pruned, ids, 3,
                        "attention: expected a session that holds all it has seen, and alone; found one that was "
                        "pruned by fastkv");
    child = fork_of(s, n_prompt);
    expect_no_attention(child, ids, 3,
                        "attention: expected a session that holds all it has seen, and alone; found one that was "
                        "forked");
    assert_int_equal(fkv_session_cut(child, 0), FKV_OK);
    expect_no_attention(child, ids, 1, "attention: expected ids behind tokens of a session, found 1 and 0");
    fkv_session_close(child);
    fkv_session_close(pruned);
    fkv_session_close(s);
    fkv_engine_close(e);
}

/* ---- turns --------------------------------------------------------------------------------------- */

struct turns {
    fkv_engine *e;
    fkv_session *decoding;
    atomic_int steps;
    atomic_bool done;
    int blocks, starved, seen;
};

static void *decode_on(void *arg)
{
    struct turns *t = arg;
    while (!atomic_load(&t->done)) {
        if (fkv_session_n_seen(t->decoding) >= MOST - 8) assert_int_equal(fkv_session_cut(t->decoding, 20), FKV_OK);
        append_or_fail(t->decoding, 5);
        atomic_fetch_add(&t->steps, 1);
    }
    return NULL;
}

/* Called between the blocks of the prefill. Waits until the other session stands in the queue, or computes: in either
   case it comes before the next block, and by then has counted the step before. */
static bool between_blocks(void *user, uint64_t done, uint64_t all)
{
    struct turns *t = user;
    (void)done, (void)all;
    for (bool waits = false; !waits; sched_yield()) {
        pthread_mutex_lock(&t->e->ws.turn.lock);
        waits = t->e->ws.turn.taken;
        pthread_mutex_unlock(&t->e->ws.turn.lock);
    }
    const int steps = atomic_load(&t->steps);
    if (t->blocks++ > 0 && steps == t->seen) t->starved++;
    t->seen = steps;
    return true;
}

static bool count_blocks(void *user, uint64_t done, uint64_t all)
{
    struct turns *t = user;
    (void)done, (void)all;
    t->blocks++;
    return true;
}

static void test_a_decoding_session_gets_a_turn_after_every_block(void **state)
{
    (void)state;
    struct turns t = {.e = engine_of(false, FKV_TYPE_Q8_0)};
    struct fkv_session_params p = policy_params("full");
    t.decoding = tiny_session(t.e, &p);
    p.progress = between_blocks;
    p.progress_user = &t;
    fkv_session *prompt = tiny_session(t.e, &p);
    sync_or_fail(t.decoding, ids, 20);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, decode_on, &t), 0);
    while (atomic_load(&t.steps) == 0) sched_yield();
    sync_or_fail(prompt, ids, MOST);
    const int blocks = t.blocks;
    fkv_engine_pace(t.e, 1e-6, 0.5); /* smaller blocks, for as long as others take turns, with the same bits */
    fkv_session *paced = tiny_session(t.e, &p);
    sync_or_fail(paced, ids, MOST);
    atomic_store(&t.done, true);
    pthread_join(thread, NULL);
    assert_true(blocks >= 8);
    assert_true(t.blocks - blocks >= 2 * blocks);
    assert_int_equal(t.starved, 0);
    assert_same_bytes(prompt, paced);
    t.blocks = 0;
    p.progress = count_blocks;
    fkv_session *alone = tiny_session(t.e, &p);
    sync_or_fail(alone, ids, MOST);
    assert_int_equal(t.blocks, blocks);
    assert_same_bytes(prompt, alone);
    fkv_session_close(alone);
    fkv_session_close(paced);
    fkv_session_close(t.decoding);
    fkv_session_close(prompt);
    fkv_engine_close(t.e);
}

static double soon; /* when leave_soon() leaves */

static void *leave_soon(void *turns)
{
    while (fkv_clock_s() < soon) sched_yield();
    fkv_turns_leave(turns);
    return NULL;
}

/* A step lets a prefill that has the workspace go on: until it is over, or its share of the time is. */
static void test_giving_way(void **state)
{
    (void)state;
    struct fkv_turns turns;
    pthread_t thread;
    fkv_turns_init(&turns);
    double begun = fkv_clock_s();
    fkv_turns_give_way(&turns, 100);
    assert_true(fkv_clock_s() - begun < 50); /* nobody has it */
    fkv_turns_take(&turns);
    begun = fkv_clock_s();
    fkv_turns_give_way(&turns, 0.02);
    assert_true(fkv_clock_s() - begun >= 0.02);
    soon = fkv_clock_s() + 0.02;
    assert_int_equal(pthread_create(&thread, NULL, leave_soon, &turns), 0);
    fkv_turns_give_way(&turns, 100);
    assert_true(fkv_clock_s() >= soon && fkv_clock_s() < soon + 50);
    pthread_join(thread, NULL);
    fkv_turns_destroy(&turns);
}

/* ---- cancelling ---------------------------------------------------------------------------------- */

/* When nothing runs, it is the next call that ends, whichever it is, and no other. */
static void test_a_cancel_ends_one_call(void **state)
{
    (void)state;
    fkv_engine *e = engine_of(false, FKV_TYPE_Q8_0);
    const struct fkv_session_params p = policy_params("full");
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p), *empty = tiny_session(e, &p);
    fkv_session *both[] = {a, b};
    float logits[2][TINY_VOCAB];
    sync_or_fail(a, ids, 100);
    sync_or_fail(b, ids, 100);
    fkv_session_cancel(a);
    assert_int_equal(fkv_session_append(a, 5), FKV_ERROR_CANCELLED);
    assert_same_logits(a, b);
    append_or_fail(a, 5);
    append_or_fail(b, 5);
    fkv_session_cancel(b);
    assert_int_equal(fkv_batch_append(both, ids, 2), FKV_ERROR_CANCELLED);
    assert_string_equal(fkv_session_error(a), "");
    assert_string_equal(fkv_session_error(b), "cancelled");
    assert_int_equal(fkv_batch_append(both, (int32_t[]){7, 7}, 2), FKV_OK);
    fkv_session_cancel(a);
    assert_int_equal(fkv_batch_verify(a, ids, 2, logits[0]), FKV_ERROR_CANCELLED);
    assert_int_equal(fkv_batch_verify(a, ids, 2, logits[0]), FKV_OK);
    assert_int_equal(fkv_batch_verify(b, ids, 2, logits[0]), FKV_OK);
    fkv_session_cancel(a);
    fkv_session_cancel(a);
    assert_int_equal(fkv_session_sync(a, ids, n_prompt), FKV_ERROR_CANCELLED);
    sync_or_fail(a, ids, n_prompt);
    sync_or_fail(b, ids, n_prompt);
    assert_same_logits(a, b);
    fkv_session_cancel(a);
    assert_int_equal(fkv_session_attention(a, ids, 1, shares[0][0]), FKV_ERROR_CANCELLED);
    assert_int_equal(fkv_session_attention(a, ids, 1, shares[0][0]), FKV_OK);
    fkv_session_cancel(empty);
    assert_int_equal(fkv_batch_prefill(&empty, 1, ids, 100), FKV_ERROR_CANCELLED);
    assert_int_equal(fkv_batch_prefill(&empty, 1, ids, 100), FKV_OK);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(empty);
    leave_engine(e);
}

struct waiter {
    fkv_engine *e;
    fkv_session *s;
    pthread_t thread;
    fkv_status status;
    atomic_bool done;
    bool in_time;
    int blocks;
};

static void *sync_in_queue(void *arg)
{
    struct waiter *w = arg;
    w->status = fkv_session_sync(w->s, ids, n_prompt);
    atomic_store(&w->done, true);
    return NULL;
}

static bool somebody_waits(fkv_engine *e)
{
    pthread_mutex_lock(&e->ws.lent.lock);
    const bool waits = e->ws.lent.first;
    pthread_mutex_unlock(&e->ws.lent.lock);
    return waits;
}

/* In a prefill, which goes on when the other one has given up its place, or after 5 s. */
static bool cancel_who_waits(void *user, uint64_t done, uint64_t all)
{
    struct waiter *w = user;
    (void)done, (void)all;
    if (w->blocks++ > 0) return true;
    assert_int_equal(pthread_create(&w->thread, NULL, sync_in_queue, w), 0);
    while (!somebody_waits(w->e)) sched_yield();
    fkv_session_cancel(w->s);
    for (const double t0 = fkv_clock_s(); !atomic_load(&w->done) && fkv_clock_s() - t0 < 5;) sched_yield();
    w->in_time = atomic_load(&w->done);
    return true;
}

static void test_who_waits_can_be_cancelled(void **state)
{
    (void)state;
    struct waiter w = {.e = engine_of(false, FKV_TYPE_Q8_0)};
    struct fkv_session_params p = policy_params("full");
    w.s = tiny_session(w.e, &p);
    p.progress = cancel_who_waits;
    p.progress_user = &w;
    fkv_session *first = tiny_session(w.e, &p);
    sync_or_fail(w.s, ids, 20);
    sync_or_fail(first, ids, n_prompt);
    pthread_join(w.thread, NULL);
    assert_true(w.in_time);
    assert_int_equal(w.status, FKV_ERROR_CANCELLED);
    assert_int_equal(fkv_session_n_seen(w.s), 20);
    sync_or_fail(w.s, ids, n_prompt);
    append_or_fail(w.s, 5);
    append_or_fail(first, 5);
    fkv_session_close(w.s);
    fkv_session_close(first);
    fkv_engine_close(w.e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_batch_gives_the_bits_of_single_tokens),
        cmocka_unit_test(test_a_draft_gives_the_logits_of_appends),
        cmocka_unit_test(test_batches_that_cannot_be),
        cmocka_unit_test(test_one_of_a_batch_that_is_not_a_number),
        cmocka_unit_test(test_one_prefill_fills_several_sessions),
        cmocka_unit_test(test_prefills_that_cannot_be_one),
        cmocka_unit_test(test_forks_go_their_own_way),
        cmocka_unit_test(test_chains_of_forks),
        cmocka_unit_test(test_forks_that_cannot_be),
        cmocka_unit_test(test_export_and_import),
        cmocka_unit_test(test_import_trusts_nothing),
        cmocka_unit_test(test_import_knows_the_model),
        cmocka_unit_test(test_attention_is_what_policies_rank_by),
        cmocka_unit_test(test_attention_that_cannot_be),
        cmocka_unit_test(test_a_decoding_session_gets_a_turn_after_every_block),
        cmocka_unit_test(test_giving_way),
        cmocka_unit_test(test_a_cancel_ends_one_call),
        cmocka_unit_test(test_who_waits_can_be_cancelled),
    };
    const struct CMUnitTest few_tests[] = {
        cmocka_unit_test(test_a_batch_gives_the_bits_of_single_tokens),
        cmocka_unit_test(test_a_draft_gives_the_logits_of_appends),
        cmocka_unit_test(test_one_prefill_fills_several_sessions),
        cmocka_unit_test(test_forks_go_their_own_way),
        cmocka_unit_test(test_export_and_import),
        cmocka_unit_test(test_a_cancel_ends_one_call),
        cmocka_unit_test(test_attention_is_what_policies_rank_by),
    };
    return getenv("FKV_TEST_FEW") ? cmocka_run_group_tests(few_tests, set_up, tear_down)
                                  : cmocka_run_group_tests(tests, set_up, NULL);
}
