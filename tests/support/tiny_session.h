/* tiny_session.h: an engine over a tiny model and sessions on it, for tests: what fails ends the test with its
   message. */
#ifndef FKV_TESTS_TINY_SESSION_H
#define FKV_TESTS_TINY_SESSION_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastkv.h"
#include "support/tiny_model.h"

/* The engine runs on FKV_TEST_DEVICE where that is set; with experts, which no device has yet, on the CPU. */
static inline fkv_engine *tiny_engine(const struct tiny_model *m, const struct fkv_engine_params *p)
{
    char path[64], err[FKV_ERROR_BYTES];
    fkv_engine *e = NULL;
    struct fkv_engine_params params = *p;
    if (!tiny_model_n_expert(m)) params.device = getenv("FKV_TEST_DEVICE");
    if (params.device && fkv_vulkan_list(NULL, 0, NULL) == 0) _exit(77); /* no device: the test is skipped */
    tiny_model_write(m, path);
    const fkv_status status = fkv_engine_open(&e, path, &params, err);
    unlink(path);
    if (status != FKV_OK) fail_msg("%s", err);
    return e;
}

static inline fkv_session *tiny_session(fkv_engine *e, const struct fkv_session_params *p)
{
    char err[FKV_ERROR_BYTES];
    fkv_session *s = NULL;
    if (fkv_session_open(&s, e, p, err) != FKV_OK) fail_msg("%s", err);
    return s;
}

static inline void sync_or_fail(fkv_session *s, const int32_t *ids, int n)
{
    if (fkv_session_sync(s, ids, (size_t)n) != FKV_OK) fail_msg("%s", fkv_session_error(s));
}

static inline void append_or_fail(fkv_session *s, int32_t id)
{
    if (fkv_session_append(s, id) != FKV_OK) fail_msg("%s", fkv_session_error(s));
}

static inline void assert_same_logits(const fkv_session *a, const fkv_session *b)
{
    assert_memory_equal(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float));
}

/* As they are exported. */
static inline void assert_same_bytes(fkv_session *a, fkv_session *b)
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

/* FastKV at the paper's rates: no floors. */
static inline struct fkv_session_params paper_params(double tsp_rate, double kv_retain, int sinks)
{
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    p.kv.tsp_rate = tsp_rate;
    p.kv.kv_retain = kv_retain;
    p.kv.sinks = sinks;
    p.kv.kv_floor = p.kv.tsp_floor = 0;
    return p;
}

static inline struct fkv_session_params policy_params(const char *policy)
{
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    p.kv.policy = policy;
    return p;
}

#endif
