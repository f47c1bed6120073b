/* Models with two sets of rotary angles (longrope), of which a session's context chooses one: sessions of both kinds on
   one engine. That each has the right angles is checked in test_model_files and test_tiny_golden. */
#include <stdio.h>
#include <string.h>

#include "support/tiny_session.h"

enum { SHORT = 96, N = 80 };

static int32_t ids[N];
static fkv_engine *engine;

static void add_factors(struct gguf_writer *w)
{
    float near[16], far[16];
    for (int i = 0; i < 16; i++) {
        near[i] = 1;
        far[i] = 2 + (float)i;
    }
    gguf_put_u32(w, "llama.rope.scaling.original_context_length", SHORT);
    gguf_put_tensor(w, "rope_factors_short.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, near, sizeof near);
    gguf_put_tensor(w, "rope_factors_long.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, far, sizeof far);
}

static int set_up(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.also = add_factors;
    engine = tiny_engine(&m, &p);
    tiny_model_prompt(5, ids, N);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

static fkv_session *open_with(int n_ctx)
{
    struct fkv_session_params p = policy_params("full");
    p.n_ctx = n_ctx;
    return tiny_session(engine, &p);
}

static bool have_same_logits(const fkv_session *a, const fkv_session *b)
{
    return memcmp(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float)) == 0;
}

/* A short session keeps its angles when a long one grows the tables, also in one step with it. */
static void test_both_in_one_step(void **state)
{
    (void)state;
    fkv_session *near = open_with(SHORT), *alone[2] = {open_with(SHORT - 1)};
    sync_or_fail(near, ids, N - 1);
    sync_or_fail(alone[0], ids, N - 1);
    assert_same_logits(near, alone[0]);
    append_or_fail(alone[0], ids[N - 1]);
    fkv_session *far = open_with(SHORT + 1);
    alone[1] = open_with(4 * SHORT);
    sync_or_fail(far, ids, N - 1);
    sync_or_fail(alone[1], ids, N - 1);
    assert_same_logits(far, alone[1]);
    assert_false(have_same_logits(near, far));
    append_or_fail(alone[1], ids[N - 1]);
    const int32_t last[2] = {ids[N - 1], ids[N - 1]};
    assert_int_equal(fkv_batch_append((fkv_session *[]){near, far}, last, 2), FKV_OK);
    assert_same_logits(near, alone[0]);
    assert_same_logits(far, alone[1]);
    for (int i = 0; i < 2; i++) fkv_session_close(alone[i]);
    fkv_session_close(near);
    fkv_session_close(far);
}

/* What one kind of session holds is not for the other. */
static void test_not_shared(void **state)
{
    (void)state;
    fkv_session *near = open_with(SHORT), *far = open_with(2 * SHORT), *other = open_with(3 * SHORT);
    void *data;
    size_t bytes;
    assert_int_equal(fkv_batch_prefill((fkv_session *[]){far, near, other}, 3, ids, N), FKV_OK);
    assert_int_equal(fkv_session_n_seen(near), 0);
    assert_int_equal(fkv_session_n_seen(other), N);
    assert_int_equal(fkv_session_export(far, &data, &bytes), FKV_OK);
    assert_int_equal(fkv_session_import(near, data, bytes), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(fkv_session_error(near),
                        "a saved session: its context has other rotary angles: expected short, found long");
    fkv_session_cut(other, 0);
    assert_int_equal(fkv_session_import(other, data, bytes), FKV_OK);
    fkv_free(data);
    fkv_session_close(near);
    fkv_session_close(far);
    fkv_session_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_in_one_step), cmocka_unit_test(test_not_shared)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
