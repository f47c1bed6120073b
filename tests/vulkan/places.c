/* Where layers are computed: some on the device and some on the CPU, the plan for little memory, the choice of `auto`,
   and what is said when the device fails: each failure is planted through the environment (vulkan/context.h). Skips
   (77) without a device. test_vulkan_places [PATTERN]: only the tests whose names it matches. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "support/tiny_session.h"
#include "vulkan/vk_internal.h"

enum { N = 200, N_DECODED = 3 };

static int32_t ids[N + N_DECODED];

static struct tiny_model model = {.arch = "qwen2",
                                  .n_layer = 6,
                                  .n_head = 4,
                                  .n_kv_head = 2,
                                  .d_head = 32,
                                  .d_model = 128,
                                  .d_ff = 256,
                                  .type = FKV_TYPE_Q8_0,
                                  .own_output = true,
                                  .seed = 3};

static fkv_status open_on(fkv_engine **e, const char *device, const char *layers,
                          const struct fkv_session_params *session, char *err)
{
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    char path[64];
    p.exact = true;
    p.isa = "reference"; /* other levels may round what attention multiplies */
    p.device = device;
    p.gpu_layers = layers;
    p.session = session;
    *err = 0;
    tiny_model_write(&model, path);
    const fkv_status status = fkv_engine_open(e, path, &p, err);
    unlink(path);
    return status;
}

static fkv_engine *engine_on(const char *device, const char *layers, const struct fkv_session_params *session)
{
    fkv_engine *e = NULL;
    char err[FKV_ERROR_BYTES];
    if (open_on(&e, device, layers, session, err) != FKV_OK) fail_msg("%s", err);
    return e;
}

static void expect_failure(fkv_status want, const char *text, const char *device, const char *layers,
                           const struct fkv_session_params *session)
{
    fkv_engine *e = NULL;
    char err[FKV_ERROR_BYTES];
    assert_int_equal(open_on(&e, device, layers, session, err), want);
    if (!strstr(err, text)) fail_msg("expected \"%s\" in \"%s\"", text, err);
}

static struct fkv_session_params small_session(void)
{
    struct fkv_session_params p = paper_params(0.3, 0.2, 1);
    p.n_ctx = 256;
    return p;
}

/* Prompt and some tokens on both: the same rows kept and propagated, the same logits but for the order of sums. */
static void assert_same_answers(fkv_engine *a, fkv_engine *b)
{
    const struct fkv_session_params p = small_session();
    fkv_session *s[2] = {tiny_session(a, &p), tiny_session(b, &p)};
    for (int i = 0; i < 2; i++) sync_or_fail(s[i], ids, N);
    for (int l = 0; l < model.n_layer; l++)
        for (int h = 0, n = 0; n >= 0; h++) {
            const int32_t *pos[2];
            n = fkv_session_kept(s[0], l, h, &pos[0]);
            assert_int_equal(n, fkv_session_kept(s[1], l, h, &pos[1]));
            if (n > 0) assert_memory_equal(pos[0], pos[1], (size_t)n * sizeof **pos);
        }
    const int32_t *rows[2];
    int layer[2];
    const int n = fkv_session_propagated(s[0], &layer[0], &rows[0]);
    assert_int_equal(n, fkv_session_propagated(s[1], &layer[1], &rows[1]));
    assert_int_equal(layer[0], layer[1]);
    assert_memory_equal(rows[0], rows[1], (size_t)n * sizeof **rows);
    for (int i = 0; i <= N_DECODED; i++) {
        const float *want = fkv_session_logits(s[0]), *got = fkv_session_logits(s[1]);
        float top = 0, most = 0;
        for (int j = 0; j < TINY_VOCAB; j++) {
            top = fmaxf(top, fabsf(want[j]));
            most = fmaxf(most, fabsf(want[j] - got[j]));
        }
        if (!(most <= 1e-4f * top))
            fail_msg("logits %d tokens after the prompt differ by %g of %g", i, (double)most, (double)top);
        for (int k = 0; k < 2 && i < N_DECODED; k++) append_or_fail(s[k], ids[N + i]);
    }
    for (int i = 0; i < 2; i++) fkv_session_close(s[i]);
}

static void test_some_layers_on_the_cpu(void **state)
{
    (void)state;
    fkv_engine *cpu = engine_on("cpu", "0", NULL);
    static const char *const layers[] = {"0", "1", "2", "3", "5", "all", "99"};
    static const int want[] = {0, 1, 2, 3, 5, 6, 6}; /* the TSP layer is layer 2 */
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        fkv_engine *e = engine_on("vulkan", layers[i], NULL);
        assert_int_equal(fkv_engine_info(e)->gpu_layers, want[i]);
        assert_same_answers(cpu, e);
        fkv_engine_close(e);
    }
    fkv_engine_close(cpu);
}

static void test_layers_that_differ(void **state)
{
    (void)state;
    static const struct tiny_layer uneven[] = {{4, 2, 32, false, 0}, {6, 3, 64, false, 0},  {2, 1, 128, false, 0},
                                               {4, 4, 32, false, 0}, {2, 1, 256, false, 0}, {4, 2, 32, false, 0}};
    static const char *const layers[] = {"2", "4", "all"};
    model.layers = uneven;
    fkv_engine *cpu = engine_on("cpu", "0", NULL);
    for (int i = 0; i < 3; i++) {
        fkv_engine *e = engine_on("vulkan", layers[i], NULL);
        assert_same_answers(cpu, e);
        fkv_engine_close(e);
    }
    fkv_engine_close(cpu);
    model.layers = NULL;
}

/* -ctk and -ctv: each type of the cache, its prefill's work type with it. Entries round alike but at the border of a
   step. */
static void test_cache_types(void **state)
{
    (void)state;
    static const struct {
        enum fkv_kv_type k, v;
        double share;
    } cases[] = {{FKV_KV_F32, FKV_KV_F32, 1e-4},
                 {FKV_KV_F16, FKV_KV_F16, 1e-3},
                 {FKV_KV_F16, FKV_KV_BF16, 4e-3},
                 {FKV_KV_BF16, FKV_KV_F16, 4e-3},
                 {FKV_KV_Q8_0, FKV_KV_Q8_0, 1e-2}};
    fkv_engine *e[2] = {engine_on("cpu", NULL, NULL), engine_on("vulkan", "all", NULL)};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fkv_session_params p = small_session();
        fkv_session *s[2];
        p.kv.policy = "full";
        p.k_type = cases[i].k;
        p.v_type = cases[i].v;
        float top = 0, most = 0;
        for (int k = 0; k < 2; k++) {
            s[k] = tiny_session(e[k], &p);
            sync_or_fail(s[k], ids, N);
            append_or_fail(s[k], ids[N]);
        }
        const float *want = fkv_session_logits(s[0]), *got = fkv_session_logits(s[1]);
        for (int j = 0; j < TINY_VOCAB; j++) {
            top = fmaxf(top, fabsf(want[j]));
            most = fmaxf(most, fabsf(want[j] - got[j]));
        }
        if (!((double)most <= cases[i].share * (double)top))
            fail_msg("case %zu: logits differ by %g of %g", i, (double)most, (double)top);
        for (int k = 0; k < 2; k++) fkv_session_close(s[k]);
    }
    for (int k = 0; k < 2; k++) fkv_engine_close(e[k]);
}

static void test_layers_that_make_no_sense(void **state)
{
    (void)state;
    expect_failure(FKV_ERROR_ARGUMENT, "expected a number, auto or all, found many", "vulkan", "many", NULL);
    expect_failure(FKV_ERROR_ARGUMENT, "found -1", "vulkan", "-1", NULL);
    expect_failure(FKV_ERROR_ARGUMENT, "the device is the CPU", "cpu", "3", NULL);
}

static void set_memory(unsigned long bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%lu", bytes);
    setenv("FASTKV_VULKAN_MEMORY", text, 1);
}

/* The device has room for some layers only: the plan is made for them, and holds. */
static void test_little_memory(void **state)
{
    (void)state;
    const struct fkv_session_params p = small_session();
    fkv_engine *cpu = engine_on("cpu", NULL, NULL), *whole = engine_on("vulkan", NULL, &p);
    const struct fkv_model_info *info = fkv_engine_info(whole);
    assert_int_equal(info->gpu_layers, model.n_layer);
    int found = 0, last = model.n_layer;
    for (unsigned long cap = 6 << 20; cap >= 1 << 20; cap -= 256 << 10) {
        char err[FKV_ERROR_BYTES];
        set_memory(cap);
        fkv_engine *e = NULL;
        const fkv_status status = open_on(&e, "vulkan", "auto", &p, err);
        if (status == FKV_ERROR_MEMORY) break; /* not even the back end's own buffers fit */
        if (status != FKV_OK) fail_msg("%s", err);
        const int n = fkv_engine_info(e)->gpu_layers;
        assert_true(n <= last);
        if (n > 0 && n < model.n_layer) {
            if (n != last) assert_same_answers(cpu, e);
            found++;
        }
        last = n;
        fkv_engine_close(e);
    }
    assert_true(found > 0);
    set_memory(1100000);
    expect_failure(FKV_ERROR_MEMORY, "no memory for it on the Vulkan device", "vulkan", "all", &p);
    fkv_engine_close(whole);
    fkv_engine_close(cpu);
}

/* All layers with ever less memory: whatever does not fit, weights, session or K and V as they come, is one error. */
static void test_memory_that_runs_out(void **state)
{
    (void)state;
    int where[4] = {0}; /* in opening, session, prompt, nowhere */
    for (unsigned long cap = 1200 << 10; cap < 6 << 20; cap += 128 << 10) {
        char err[FKV_ERROR_BYTES];
        const struct fkv_session_params p = small_session();
        fkv_engine *e = NULL;
        fkv_session *s = NULL;
        int stage = 0;
        set_memory(cap);
        fkv_status status = open_on(&e, "vulkan", "all", NULL, err);
        if (status == FKV_OK) {
            stage = 1;
            status = fkv_session_open(&s, e, &p, err);
        }
        if (status == FKV_OK) {
            stage = 2;
            status = fkv_session_sync(s, ids, N);
            if (status != FKV_OK) snprintf(err, sizeof err, "%s", fkv_session_error(s));
        }
        if (status == FKV_OK)
            stage = 3;
        else
            assert_int_equal(status, FKV_ERROR_MEMORY);
        if (status != FKV_OK && !strstr(err, "memory")) fail_msg("expected \"memory\" in \"%s\"", err);
        where[stage]++;
        fkv_session_close(s);
        fkv_engine_close(e);
    }
    for (int i = 0; i < 4; i++) assert_true(where[i] > 0);
}

/* All that the device has left, in pieces of so many floats; returns their number. */
static int take_all(struct fkv_backend *b, struct fkv_tensor *taken, int most, size_t floats)
{
    int n = 0;
    while (n < most && b->ops->alloc(b, &taken[n], floats, true) == FKV_OK) n++;
    return n;
}

/* Tokens that find no room leave the session, and the device; when there is memory again, they do. What is left for K
   and V are pieces that hold 256 entries of a layer's heads, and not the 320 that would come next. */
static void test_a_cache_that_cannot_grow(void **state)
{
    (void)state;
    enum { ROOM = 256, LARGE = 1 << 16, SMALL = 1 << 10, MOST = 1024 };
    const size_t piece = (size_t)(model.n_kv_head * model.d_head * (ROOM + 32));
    const int n_free = 2 * model.n_layer + 6; /* the layer that is prefilled, and lists of positions */
    static struct fkv_tensor large[MOST], pieces[MOST], small[MOST];
    float logits[FKV_BATCH_MOST * TINY_VOCAB];
    struct fkv_session_params p = policy_params("full");
    p.n_ctx = 4 * ROOM;
    fkv_engine *plenty = engine_on("vulkan", "all", NULL);
    set_memory(8 << 20);
    fkv_engine *e = engine_on("vulkan", "all", NULL);
    struct fkv_backend *b = e->ws.place[0].b;
    fkv_session *s = tiny_session(e, &p), *whole = tiny_session(plenty, &p);
    const int n_large = take_all(b, large, 2 * model.n_layer + 1, LARGE), n_pieces = take_all(b, pieces, MOST, piece),
              n_small = take_all(b, small, MOST, SMALL);
    assert_true(n_large > 2 * model.n_layer && n_pieces > n_free && n_pieces < MOST && n_small < MOST);
    for (int i = 0; i < n_free; i++) b->ops->free(b, pieces[i], piece);
    sync_or_fail(s, ids, N);
    sync_or_fail(whole, ids, N);
    while (fkv_session_n_seen(s) < ROOM) {
        if (fkv_batch_verify(s, ids, FKV_BATCH_MOST, logits) != FKV_OK) fail_msg("%s", fkv_session_error(s));
        assert_int_equal(fkv_batch_verify(whole, ids, FKV_BATCH_MOST, logits), FKV_OK);
    }
    for (int i = 0; i < 2; i++) assert_int_equal(fkv_session_append(s, 5), FKV_ERROR_MEMORY);
    assert_string_equal(fkv_session_error(s), "out of memory");
    assert_int_equal(fkv_session_n_seen(s), ROOM);
    assert_same_logits(s, whole);
    for (int i = 0; i < n_large; i++) b->ops->free(b, large[i], LARGE);
    append_or_fail(s, 5);
    append_or_fail(whole, 5);
    assert_same_logits(s, whole);
    for (int i = n_free; i < n_pieces; i++) b->ops->free(b, pieces[i], piece);
    for (int i = 0; i < n_small; i++) b->ops->free(b, small[i], SMALL);
    fkv_session_close(s);
    fkv_session_close(whole);
    fkv_engine_close(e);
    fkv_engine_close(plenty);
}

/* Sessions with ever more context until there is no memory for one: those there are go on. */
static void test_a_session_that_cannot_be(void **state)
{
    (void)state;
    struct fkv_session_params p = small_session(), larger = p;
    fkv_engine *plenty = engine_on("vulkan", "all", NULL);
    fkv_session *whole = tiny_session(plenty, &p);
    sync_or_fail(whole, ids, N);
    append_or_fail(whole, 5);
    for (int window = 8; window <= FKV_MAX_WINDOW; window += FKV_MAX_WINDOW - 8) {
        char err[FKV_ERROR_BYTES];
        set_memory(16 << 20);
        fkv_engine *e = engine_on("vulkan", "all", NULL);
        fkv_session *s = tiny_session(e, &p), *more = NULL;
        sync_or_fail(s, ids, N);
        larger.kv.window = window; /* scores take most, or lists and activations */
        for (larger.n_ctx = 512; fkv_session_open(&more, e, &larger, err) == FKV_OK; larger.n_ctx *= 2)
            fkv_session_close(more);
        if (!strstr(err, "no memory for a session")) fail_msg("%s", err);
        append_or_fail(s, 5);
        assert_same_logits(s, whole);
        sync_or_fail(s, ids + 1, N - 1);
        fkv_session_close(s);
        fkv_engine_close(e);
    }
    fkv_session_close(whole);
    fkv_engine_close(plenty);
}

static void expect_cpu(const char *note)
{
    fkv_engine *cpu = engine_on("cpu", NULL, NULL), *e = engine_on("auto", NULL, NULL);
    const struct fkv_model_info *info = fkv_engine_info(e);
    assert_string_equal(info->device, "cpu");
    if (!strstr(info->note, note)) fail_msg("expected \"%s\" in \"%s\"", note, info->note);
    assert_same_answers(cpu, e);
    fkv_engine_close(e);
    fkv_engine_close(cpu);
}

/* What `auto` takes depends on the machine: either a device, which then answers, or the CPU, with the reason. */
static void test_auto(void **state)
{
    (void)state;
    fkv_engine *e = engine_on("auto", NULL, NULL);
    const struct fkv_model_info *info = fkv_engine_info(e);
    if (strcmp(info->device, "cpu") == 0)
        assert_non_null(strstr(info->note, "CPU is faster here: "));
    else
        assert_string_equal(info->note, "");
    fkv_engine_close(e);
}

static void test_device_that_lacks_something(void **state)
{
    (void)state;
    setenv("FASTKV_VULKAN_FAIL", "lack", 1);
    expect_failure(FKV_ERROR_UNSUPPORTED, "no Vulkan device that can run this", "vulkan", NULL, NULL);
    expect_failure(FKV_ERROR_UNSUPPORTED, "FASTKV_VULKAN_FAIL=lack", "vulkan:0", NULL, NULL);
    expect_cpu("no Vulkan device that can run this");
}

/* Widths that the shaders do not take: the device refuses the model, auto takes the CPU. */
static void test_odd_widths(void **state)
{
    (void)state;
    struct tiny_model m = model;
    char path[64], err[FKV_ERROR_BYTES] = "";
    fkv_engine *e = NULL;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.d_ff = 44;
    tiny_model_write(&m, path);
    p.device = "vulkan";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(err,
                        "blk.0.ffn_down.weight: expected one matrix with rows that divide by 32 for a Vulkan device, "
                        "found 1 of 44 values");
    p.device = "auto";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_OK);
    assert_string_equal(fkv_engine_info(e)->device, "cpu");
    fkv_engine_close(e);
    unlink(path);
}

/* Experts: the device refuses the model before it is given anything; auto takes the CPU. */
static void test_experts(void **state)
{
    (void)state;
    struct tiny_model m = model;
    char path[64], err[FKV_ERROR_BYTES] = "";
    fkv_engine *e = NULL;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.arch = "qwen3moe";
    tiny_model_write(&m, path);
    p.device = "vulkan";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(err,
                        "qwen3moe.expert_count: expected 0 on the device vulkan, which has no experts yet, found 8: "
                        "run it on the CPU");
    p.device = "auto";
    assert_int_equal(fkv_engine_open(&e, path, &p, err), FKV_OK);
    assert_string_equal(fkv_engine_info(e)->device, "cpu");
    fkv_engine_close(e);
    unlink(path);
}

/* Lost at the first submission, while weights are brought or tried: an error, or the CPU if nobody asked for the
   device. */
static void test_device_lost_at_once(void **state)
{
    (void)state;
    setenv("FASTKV_VULKAN_FAIL", "lost:1", 1);
    fkv_engine *e = NULL;
    char err[FKV_ERROR_BYTES];
    fkv_status status = open_on(&e, "vulkan", NULL, NULL, err);
    if (status == FKV_OK) { /* nothing was submitted yet: a session is, or its prompt */
        const struct fkv_session_params p = small_session();
        fkv_session *s = NULL;
        status = fkv_session_open(&s, e, &p, err);
        if (status == FKV_OK) {
            status = fkv_session_sync(s, ids, N);
            snprintf(err, sizeof err, "%s", fkv_session_error(s));
        }
        fkv_session_close(s);
        fkv_engine_close(e);
    }
    assert_int_equal(status, FKV_ERROR_DEVICE);
    assert_non_null(strstr(err, "the device was lost"));
    expect_cpu("the device was lost");
}

/* Lost in a prompt, at one or another dispatch of its first layers, each of which is a submission: the session says so,
   then and later, and everything closes. */
static void test_device_lost_later(void **state)
{
    (void)state;
    setenv("FASTKV_VULKAN_SUBMIT", "1", 1);
    for (int n = 2; n < 80; n += 3) {
        char fault[32];
        snprintf(fault, sizeof fault, "lost:%d", n);
        setenv("FASTKV_VULKAN_FAIL", fault, 1);
        const struct fkv_session_params p = small_session();
        fkv_engine *e = engine_on("vulkan", "4", NULL);
        fkv_session *s = tiny_session(e, &p);
        fkv_status status = fkv_session_sync(s, ids, N);
        for (int i = 0; i < 30 && status == FKV_OK; i++) status = fkv_session_append(s, ids[i]);
        assert_int_equal(status, FKV_ERROR_DEVICE);
        assert_non_null(strstr(fkv_session_error(s), "the device was lost"));
        assert_int_equal(fkv_session_sync(s, ids, N), FKV_ERROR_DEVICE);
        fkv_session_close(s);
        fkv_engine_close(e);
    }
}

/* A second session takes what it keeps of the device's memory, and no more. */
static void test_sessions_share_the_workspace(void **state)
{
    (void)state;
    const struct fkv_session_params p = small_session();
    struct fkv_session_stats stats;
    fkv_engine *e = engine_on("vulkan", "all", NULL);
    const struct vk_context *c = &((struct vk_backend *)e->ws.place[0].b)->c;
    fkv_session *a = tiny_session(e, &p);
    sync_or_fail(a, ids, N);
    const uint64_t one = vk_memory_used(c);
    fkv_session *b = tiny_session(e, &p);
    sync_or_fail(b, ids, N);
    const uint64_t two = vk_memory_used(c);
    fkv_session_get_stats(b, &stats);
    printf("device bytes: %llu with one session, %llu with two, which keep %llu each\n", (unsigned long long)one,
           (unsigned long long)two, (unsigned long long)stats.kv_bytes);
    assert_true(two > one && two - one < 3 * stats.kv_bytes); /* room to grow, and positions */
    assert_true(two - one < one / 4);
    fkv_session_close(b);
    assert_int_equal(vk_memory_used(c), one);
    fkv_session_close(a);
    fkv_engine_close(e);
}

static int no_faults(void **state)
{
    (void)state;
    unsetenv("FASTKV_VULKAN_MEMORY");
    unsetenv("FASTKV_VULKAN_FAIL");
    unsetenv("FASTKV_VULKAN_SUBMIT");
    return 0;
}

#define TEST(name) cmocka_unit_test_teardown(name, no_faults)

int main(int argc, char **argv)
{
    char why[FKV_ERROR_BYTES];
    if (fkv_vulkan_list(NULL, 0, why) == 0) {
        fprintf(stderr, "%s\n", why);
        return 77;
    }
    tiny_model_prompt(5, ids, N + N_DECODED);
    const struct CMUnitTest tests[] = {
        TEST(test_some_layers_on_the_cpu),
        TEST(test_layers_that_differ),
        TEST(test_cache_types),
        TEST(test_layers_that_make_no_sense),
        TEST(test_little_memory),
        TEST(test_memory_that_runs_out),
        TEST(test_a_cache_that_cannot_grow),
        TEST(test_a_session_that_cannot_be),
        TEST(test_auto),
        TEST(test_odd_widths),
        TEST(test_experts),
        TEST(test_device_that_lacks_something),
        TEST(test_device_lost_at_once),
        TEST(test_device_lost_later),
        TEST(test_sessions_share_the_workspace),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
