/* Nothing is allocated between two tokens: this library's own calls are counted, by the linker's --wrap; what a driver
   allocates is its own affair. Skips (77) without a device. */
#include <stdio.h>

#include "support/tiny_session.h"

static int n_calls;

#define WRAPPED(type, name, parameters, arguments) \
    type __real_##name parameters;                 \
    type __wrap_##name parameters;                 \
    type __wrap_##name parameters                  \
    {                                              \
        n_calls++;                                 \
        return __real_##name arguments;            \
    }
WRAPPED(void *, malloc, (size_t n), (n))
WRAPPED(void *, calloc, (size_t n, size_t each), (n, each))
WRAPPED(void *, realloc, (void *at, size_t n), (at, n))
WRAPPED(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))

static void check_tokens(bool exact, const char *gpu_layers)
{
    enum { N = 200, TOKENS = 100 };
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    const struct fkv_session_params session = paper_params(0.2, 0.1, 1);
    int32_t ids[N];
    tiny_model_prompt(11, ids, N);
    m.type = FKV_TYPE_Q8_0;
    p.exact = exact;
    p.gpu_layers = gpu_layers;
    fkv_engine *e = tiny_engine(&m, &p);
    fkv_session *s = tiny_session(e, &session);
    n_calls = 0;
    sync_or_fail(s, ids, N);
    assert_true(n_calls > 0); /* the linker has wrapped them */
    append_or_fail(s, 5);
    n_calls = 0;
    for (int i = 0; i < TOKENS; i++) append_or_fail(s, 5 + i);
    assert_int_equal(n_calls, 0);
    fkv_session_close(s);
    fkv_engine_close(e);
}

static void test_tokens(void **state)
{
    (void)state;
    check_tokens(false, NULL);
    check_tokens(true, "2"); /* the other layers on the CPU */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
