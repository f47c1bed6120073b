/* The window that a prefill is scored by: a number of last rows, or the question, by marks or by the prompt's end. */
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

enum { N = 300, LAYERS = 4, HEADS = 2, CONTROL = 1, END = 2 };

static int32_t ids[N];
static fkv_engine *engine;

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.n_layer = LAYERS;
    tiny_model_prompt(4, ids, N);
    engine = tiny_engine(&m, &p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

/* ---- marks and windows --------------------------------------------------------------------------- */

static struct fkv_session_params asked(const char *policy)
{
    struct fkv_session_params p = paper_params(0.5, 0.1, 1);
    p.kv.policy = policy;
    p.kv.question = true;
    return p;
}

static void mark(fkv_session *s, size_t first, size_t n, size_t head)
{
    const struct fkv_marks marks = {sizeof marks, first, n, head};
    if (fkv_session_mark(s, &marks) != FKV_OK) fail_msg("%s", fkv_session_error(s));
}

/* The last prefill's window has `rows`, of which [from, to) count, and the last. */
static void check_window(const char *what, const fkv_session *s, int rows, int from, int to)
{
    const float *weight;
    const int n = fkv_session_window(s, &weight);
    if (n != rows) fail_msg("%s: expected a window of %d rows, found %d", what, rows, n);
    for (int i = 0; i < n; i++) {
        const bool counts = (i >= from && i < to) || i == n - 1;
        if (weight[i] != (counts ? 1.0f : 0.0f))
            fail_msg("%s: row %d of %d: found the weight %g", what, i, n, (double)weight[i]);
    }
}

/* Every head of every layer holds the last `rows` of `n` tokens, and the first `sinks`. */
static void check_kept(const fkv_session *s, int n, int rows, int sinks)
{
    const int32_t *pos;
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < HEADS; h++) {
            const int count = fkv_session_kept(s, l, h, &pos);
            assert_true(count >= rows + sinks);
            for (int i = 0; i < rows; i++) assert_int_equal(pos[count - rows + i], n - rows + i);
            for (int i = 0; i < sinks; i++) assert_int_equal(pos[i], i);
        }
}

static void test_the_last_rows(void **state)
{
    (void)state;
    struct fkv_session_params p = asked("fastkv");
    const float *weight;
    p.kv.question = false;
    p.kv.window = 11;
    fkv_session *s = tiny_session(engine, &p);
    assert_int_equal(fkv_session_window(s, &weight), 0);
    mark(s, 200, 50, 40);
    sync_or_fail(s, ids, N);
    assert_int_equal(fkv_session_window(s, &weight), 11);
    assert_null(weight);
    check_kept(s, N, 11, 1);
    fkv_session_close(s);
}

/* A template's tail is found by its ids: at[i] from the end is such an id. */
static void test_questions_without_marks(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int end, control, n, rows, to; /* end, control: counted from the end; 0: there is none */
    } cases[] = {
        {"no tail", 0, 0, N, 64, 64},
        {"an end of a turn", 5, 0, N, 64, 59},
        {"an end too far away", 17, 0, N, 64, 64},
        {"the farthest end", 16, 0, N, 64, 48},
        {"a control token", 0, 3, N, 64, 61},
        {"an end before a control token", 9, 2, N, 64, 55},
        {"an end behind a control token", 2, 9, N, 64, 62},
        {"an end that is last", 1, 0, N, 64, 63},
        {"a short prompt", 3, 0, 40, 40, 37},
        {"shorter than a window", 0, 0, 5, 5, 5},
        {"a tail alone", 5, 0, 5, 5, 0},
    };
    const struct fkv_session_params p = asked("fastkv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t prompt[N];
        const int n = cases[i].n;
        memcpy(prompt, ids, sizeof prompt);
        if (cases[i].end) prompt[n - cases[i].end] = END;
        if (cases[i].control) prompt[n - cases[i].control] = CONTROL;
        fkv_session *s = tiny_session(engine, &p);
        sync_or_fail(s, prompt, n);
        check_window(cases[i].what, s, cases[i].rows, 0, cases[i].to);
        check_kept(s, n, cases[i].rows, n > 64);
        fkv_session_close(s);
    }
}

static void test_questions_by_marks(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        size_t first, n;
        int rows, from, to;
    } cases[] = {
        {"before a tail of 5", N - 20, 15, 20, 0, 15},
        {"up to the end", N - 20, 20, 20, 0, 20},
        {"a short one", N - 3, 1, 8, 5, 6},
        {"one too long", N - 100, 94, 64, 0, 58},
        {"its last row alone within reach", N - 100, 37, 64, 0, 1},
        {"out of reach", N - 100, 36, 64, 0, 64},
        {"none", 0, 0, 64, 0, 64},
    };
    const struct fkv_session_params p = asked("fastkv");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fkv_session *s = tiny_session(engine, &p);
        mark(s, cases[i].first, cases[i].n, 0);
        sync_or_fail(s, ids, N);
        check_window(cases[i].what, s, cases[i].rows, cases[i].from, cases[i].to);
        check_kept(s, N, cases[i].rows, 1);
        fkv_session_close(s);
    }
}

static void test_heads_are_kept(void **state)
{
    (void)state;
    static const int heads[] = {0, 1, 30, 64, 200}, kept[] = {1, 1, 30, 64, 64};
    for (int i = 0; i < 5; i++) {
        struct fkv_session_params p = asked("fastkv");
        fkv_session *s = tiny_session(engine, &p);
        const int32_t *rows;
        int layer;
        mark(s, N - 20, 15, (size_t)heads[i]);
        sync_or_fail(s, ids, N);
        check_kept(s, N, 20, kept[i]);
        assert_int_equal(fkv_session_propagated(s, &layer, &rows), N / 2);
        for (int r = 0; r < kept[i]; r++) assert_int_equal(rows[r], r);
        fkv_session_close(s);
    }
    struct fkv_session_params p = asked("fastkv"); /* sinks that are more than the head */
    p.kv.sinks = 12;
    fkv_session *s = tiny_session(engine, &p);
    mark(s, N - 20, 15, 5);
    sync_or_fail(s, ids, N);
    check_kept(s, N, 20, 12);
    fkv_session_close(s);
}

/* Which rows count decides what is kept. */
static void test_weights_choose(void **state)
{
    (void)state;
    const struct fkv_session_params p = asked("snapkv");
    fkv_session *a = tiny_session(engine, &p), *b = tiny_session(engine, &p);
    bool differ = false;
    mark(a, N - 20, 15, 0);
    mark(b, N - 20, 2, 0);
    sync_or_fail(a, ids, N);
    sync_or_fail(b, ids, N);
    for (int l = 0; l < LAYERS; l++)
        for (int h = 0; h < HEADS; h++) {
            const int32_t *x, *y;
            const int n = fkv_session_kept(a, l, h, &x);
            assert_int_equal(fkv_session_kept(b, l, h, &y), n);
            differ |= memcmp(x, y, (size_t)n * sizeof *x) != 0;
        }
    assert_true(differ);
    fkv_session_close(a);
    fkv_session_close(b);
}

/* ---- one turn after another ---------------------------------------------------------------------- */

static void test_marks_of_later_turns(void **state)
{
    (void)state;
    const struct fkv_session_params p = asked("fastkv");
    fkv_session *s = tiny_session(engine, &p);
    mark(s, 150, 30, 10);
    sync_or_fail(s, ids, 200);
    check_window("the first turn", s, 50, 0, 30);
    mark(s, N - 12, 9, 10);
    sync_or_fail(s, ids, N);
    check_window("the second", s, 12, 0, 9);
    check_kept(s, N, 12, 10); /* the head is the first turn's */
    fkv_session_close(s);

    s = tiny_session(engine, &p); /* of what was there before nothing is a row any more */
    sync_or_fail(s, ids, 280);
    mark(s, 150, 30, 0);
    sync_or_fail(s, ids, N);
    check_window("a question of the turn before", s, 20, 0, 20);
    sync_or_fail(s, ids, 0);
    sync_or_fail(s, ids, 280);
    mark(s, 270, 15, 0);
    sync_or_fail(s, ids, N);
    check_window("a question of which some is there", s, 20, 0, 5);
    fkv_session_close(s);
}

static void test_marks_are_used_once(void **state)
{
    (void)state;
    const struct fkv_session_params p = asked("fastkv");
    fkv_session *s = tiny_session(engine, &p);
    mark(s, N - 20, 21, 0);
    assert_int_equal(fkv_session_sync(s, ids, N), FKV_ERROR_ARGUMENT);
    assert_string_equal(fkv_session_error(s), "marks: expected a question among 300 ids, found 21 from 280 on");
    assert_int_equal(fkv_session_n_seen(s), 0);
    sync_or_fail(s, ids, N);
    check_window("after marks that were refused", s, 64, 0, 64);
    mark(s, SIZE_MAX, 2, 0);
    assert_int_equal(fkv_session_sync(s, ids, N), FKV_ERROR_ARGUMENT);
    mark(s, 0, 0, N + 1);
    assert_int_equal(fkv_session_sync(s, ids, N), FKV_ERROR_ARGUMENT);
    assert_string_equal(fkv_session_error(s), "marks: expected a head of 300 ids at most, found 301");
    mark(s, N - 20, 20, 0);
    sync_or_fail(s, ids, N); /* which is there: nothing is computed, and the marks are gone */
    sync_or_fail(s, ids, 0);
    sync_or_fail(s, ids, N);
    check_window("after marks that served nothing", s, 64, 0, 64);
    const struct fkv_marks unsized = {0};
    assert_int_equal(fkv_session_mark(s, &unsized), FKV_ERROR_ARGUMENT);
    fkv_session_close(s);
}

/* ---- several sessions ---------------------------------------------------------------------------- */

static void check_same(fkv_session *a, fkv_session *b)
{
    void *x, *y;
    size_t n, m;
    assert_int_equal(fkv_session_export(a, &x, &n), FKV_OK);
    assert_int_equal(fkv_session_export(b, &y, &m), FKV_OK);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    fkv_free(x);
    fkv_free(y);
}

/* In one prefill each scores by its own window and weights; a fifth width of window is left out. */
static void test_one_prefill_for_several_questions(void **state)
{
    (void)state;
    enum { SESSIONS = 8, LEFT_OUT = 7 };
    static const char *const policies[SESSIONS] = {"full",   "snapkv", "adakv",  "snapkv",
                                                   "snapkv", "adakv",  "snapkv", "snapkv"};
    static const size_t firsts[SESSIONS] = {0, N - 20, N - 20, N - 20, N - 30, N - 25, N - 40, N - 50},
                        counts[SESSIONS] = {0, 15, 3, 20, 25, 25, 25, 25};
    fkv_session *together[SESSIONS];
    for (int i = 0; i < SESSIONS; i++) {
        const struct fkv_session_params p = asked(policies[i]);
        together[i] = tiny_session(engine, &p);
        mark(together[i], firsts[i], counts[i], 10);
    }
    if (fkv_batch_prefill(together, SESSIONS, ids, N) != FKV_OK) fail_msg("%s", fkv_session_error(together[0]));
    for (int i = 0; i < SESSIONS; i++) {
        const struct fkv_session_params p = asked(policies[i]);
        fkv_session *alone = tiny_session(engine, &p);
        mark(alone, firsts[i], counts[i], 10);
        sync_or_fail(alone, ids, N);
        assert_int_equal(fkv_session_n_seen(together[i]), i == LEFT_OUT ? 0 : N);
        if (i != LEFT_OUT) check_same(together[i], alone);
        fkv_session_close(alone);
    }
    sync_or_fail(together[LEFT_OUT], ids, N);
    check_window("marks of a pass that left the session out", together[LEFT_OUT], 64, 0, 64);
    for (int i = 0; i < SESSIONS; i++) fkv_session_close(together[i]);

    const struct fkv_session_params p = asked("full");
    fkv_session *s = tiny_session(engine, &p);
    mark(s, N, 1, 0);
    assert_int_equal(fkv_batch_prefill(&s, 1, ids, N), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_batch_prefill(&s, 1, ids, N), FKV_OK);
    fkv_session_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_rows),       cmocka_unit_test(test_questions_without_marks),
        cmocka_unit_test(test_questions_by_marks),  cmocka_unit_test(test_heads_are_kept),
        cmocka_unit_test(test_weights_choose),      cmocka_unit_test(test_marks_of_later_turns),
        cmocka_unit_test(test_marks_are_used_once), cmocka_unit_test(test_one_prefill_for_several_questions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
