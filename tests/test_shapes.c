/* Models whose layers differ: heads, head sizes, windows, rotary tables, scales. The linker sends fkv_hparams_read()
   through here, so that all architectures have local layers, and a scale by a key of the tests. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/model.h"
#include "support/check_model.h"

enum { LAYERS = 6, PROMPT = 150 };

/* ---- architectures with local layers ----------------------------------------------------------- */

static const struct fkv_local_layers *local;
static const struct fkv_arch *their;

fkv_status __real_fkv_hparams_read(struct fkv_hparams *h, const struct fkv_arch *arch, const struct fkv_gguf *g,
                                   struct fkv_warnings *warnings, struct fkv_error *e);
fkv_status __wrap_fkv_hparams_read(struct fkv_hparams *h, const struct fkv_arch *arch, const struct fkv_gguf *g,
                                   struct fkv_warnings *warnings, struct fkv_error *e);

static fkv_status take_scales(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str arch = {"", 0};
    char key[64];
    uint64_t n = 0;
    fkv_status status = their->hparams ? their->hparams(h, g, e) : FKV_OK;
    if (status == FKV_OK) status = fkv_gguf_str(g, "general.architecture", &arch, e);
    snprintf(key, sizeof key, "%.*s." TINY_SCALE, (int)arch.n, arch.data);
    if (status == FKV_OK) status = fkv_gguf_array(g, key, FKV_GGUF_F32, &n, e);
    for (int l = 0; l < (int)n && status == FKV_OK; l++)
        if (fkv_gguf_array_f32(g, key, (uint64_t)l) > 0) h->layer[l].scale = fkv_gguf_array_f32(g, key, (uint64_t)l);
    return status;
}

fkv_status __wrap_fkv_hparams_read(struct fkv_hparams *h, const struct fkv_arch *arch, const struct fkv_gguf *g,
                                   struct fkv_warnings *warnings, struct fkv_error *e)
{
    struct fkv_arch with = *arch;
    their = arch;
    if (!arch->local) with.local = local;
    with.hparams = take_scales;
    return __real_fkv_hparams_read(h, &with, g, warnings, e);
}

/* ---- random shapes ------------------------------------------------------------------------------- */

static uint32_t random_state;

static int one_of(const int *choices, int n)
{
    random_state = random_state * 1664525u + 1013904223u;
    return choices[(random_state >> 8) % (uint32_t)n];
}
#define ONE_OF(...) one_of((const int[]){__VA_ARGS__}, (int)(sizeof(int[]){__VA_ARGS__} / sizeof(int)))

/* The same for the same seed; the first layers have all head sizes. */
static struct tiny_model model_of(uint32_t seed, const char *arch, struct tiny_layer layers[LAYERS])
{
    static const int sizes[] = {512, 64, 96, 256, 80};
    struct tiny_model m = TINY_MODEL_INIT;
    random_state = seed;
    for (int l = 0; l < LAYERS; l++) {
        const int kv = ONE_OF(1, 2, 3, 4);
        layers[l] = (struct tiny_layer){.n_kv_head = kv,
                                        .n_head = kv * ONE_OF(1, 2, 3),
                                        .d_head = sizes[(l + (int)seed) % 5],
                                        .local = ONE_OF(0, 1) == 1};
        layers[l].scale = 0.1f * (float)ONE_OF(0, 5, 8, 15) / sqrtf((float)layers[l].d_head); /* near the rule's */
        if (layers[l].n_head * layers[l].d_head % 32) layers[l].n_head *= 2; /* Vulkan's rows of weights divide by 32 */
    }
    layers[1].local = true;
    m.arch = arch;
    m.seed = seed;
    m.n_layer = LAYERS;
    m.layers = layers;
    m.window = ONE_OF(5, 23, 40);
    if (seed % 2) m.n_rot = ONE_OF(32, 64);
    m.rope_freqs = m.n_rot > 0;
    return m;
}

/* ---- against the plain forward pass ------------------------------------------------------------ */

/* Not all models on a device: each engine's shaders are compiled anew, slowly where it is emulated. */
static uint32_t step(void) { return getenv("FKV_TEST_DEVICE") ? 3 : 1; }

static void test_layers_that_differ(void **state)
{
    (void)state;
    struct tiny_layer layers[LAYERS];
    for (uint32_t seed = 0; seed < 2 * N_TINY_ARCHS; seed += step()) {
        const struct tiny_model m = model_of(seed, tiny_archs[seed / 2], layers);
        check_model(&m, true, 1e-5);
        check_model(&m, false, 0.03); /* bf16 attention: see test_model.c */
    }
}

static void test_fastkv_over_layers_that_differ(void **state)
{
    (void)state;
    struct tiny_layer layers[LAYERS];
    for (uint32_t seed = 10; seed < 10 + N_TINY_ARCHS; seed += step()) {
        struct tiny_model m = model_of(seed, tiny_archs[seed - 10], layers);
        check_fastkv(&m, 0.3, 0.2, 1);
        layers[LAYERS / 2 - 1].local = true; /* the one that chooses the rows that go on */
        check_fastkv(&m, 0.5, 0.1, 0);
        layers[LAYERS / 2 - 1].local = false;
        check_fastkv(&m, 1, 0.3, 4);
    }
}

/* ---- sessions ------------------------------------------------------------------------------------ */

static int32_t ids[PROMPT + 16];
static struct tiny_layer layers[LAYERS];
static struct tiny_model model;
static fkv_engine *engine;

static int set_up(void **state)
{
    static const struct fkv_local_layers any = {.period = 6, .rope_base = 10000};
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    (void)state;
    local = &any;
    model = model_of(3, "qwen3", layers);
    engine = tiny_engine(&model, &p);
    tiny_model_prompt(5, ids, PROMPT + 16);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fkv_engine_close(engine);
    return 0;
}

static fkv_session *session_by(const char *policy, double rate)
{
    struct fkv_session_params p = paper_params(rate < 1 ? 0.4 : 1, rate, 1);
    p.kv.policy = policy;
    return tiny_session(engine, &p);
}

/* Lists of every head of a layer: `count` entries together per head, the sinks and the window among them; of a local
   one, where others keep fewer than all, what its window reaches. */
static void check_counts(const fkv_session *s, int n, int count)
{
    const int32_t *pos;
    for (int l = 0; l < LAYERS; l++) {
        int sum = 0;
        for (int h = 0; h < layers[l].n_kv_head && layers[l].local && count < n; h++) {
            assert_int_equal(fkv_session_kept(s, l, h, &pos), model.window);
            for (int i = 0; i < model.window; i++) assert_int_equal(pos[i], n - model.window + i);
        }
        for (int h = 0; h < layers[l].n_kv_head && !(layers[l].local && count < n); h++) {
            const int here = fkv_session_kept(s, l, h, &pos);
            assert_true(here >= 9 && pos[0] == 0 && pos[here - 8] == n - 8);
            sum += here;
        }
        if (!(layers[l].local && count < n)) assert_int_equal(sum, count * layers[l].n_kv_head);
        assert_int_equal(fkv_session_kept(s, l, layers[l].n_kv_head, &pos), -1);
    }
}

static void test_numbers_of_the_model(void **state)
{
    (void)state;
    const struct fkv_model_info *info = fkv_engine_info(engine);
    assert_true(info->layers_differ && info->d_head == 512);
    int heads = 0;
    for (int l = 0; l < LAYERS; l++) heads = layers[l].n_head > heads ? layers[l].n_head : heads;
    assert_int_equal(info->n_head, heads);
}

/* The scores', the layer's, a question's window. */
static bool has_counts_of_its_own(const char *policy)
{
    return !strcmp(policy, "auto") || !strcmp(policy, "pyramid") || !strcmp(policy, "omnidrop");
}

static void test_every_policy(void **state)
{
    (void)state;
    const char *name, *about;
    for (int i = 0; fkv_policy_list(i, &name, &about); i++) {
        fkv_session *some = session_by(name, 0.2), *all = session_by(name, 1), *full = session_by("full", 1);
        sync_or_fail(some, ids, 100);
        if (!has_counts_of_its_own(name)) check_counts(some, 100, strcmp(name, "full") == 0 ? 100 : 20);
        sync_or_fail(some, ids, PROMPT); /* a turn over lists of unequal shapes */
        append_or_fail(some, 5);
        sync_or_fail(all, ids, PROMPT);
        sync_or_fail(full, ids, PROMPT);
        for (int more = 0; more < 3; more++) {
            assert_same_logits(all, full);
            append_or_fail(all, ids[PROMPT + more]);
            append_or_fail(full, ids[PROMPT + more]);
        }
        fkv_session_close(some);
        fkv_session_close(all);
        fkv_session_close(full);
    }
}

/* Tokens past a local layer's window no longer count: what it sees is by position, whatever was kept. */
static void test_a_window_slides(void **state)
{
    (void)state;
    struct tiny_layer one[2] = {{4, 2, 32, true, 0}, {4, 2, 32, true, 0}};
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    const struct fkv_session_params p = policy_params("full");
    int32_t other[60];
    m.n_layer = 2;
    m.layers = one;
    m.window = 8;
    fkv_engine *e = tiny_engine(&m, &ep);
    fkv_session *a = tiny_session(e, &p), *b = tiny_session(e, &p);
    assert_false(fkv_engine_info(e)->layers_differ);
    memcpy(other, ids, sizeof other);
    other[20] = ids[20] == 7 ? 8 : 7;
    sync_or_fail(a, ids, 21 + 13);
    sync_or_fail(b, other, 21 + 13);
    assert_true(memcmp(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float)) != 0);
    append_or_fail(a, 9); /* position 34 sees 27 on, which saw 20 */
    append_or_fail(b, 9);
    assert_true(memcmp(fkv_session_logits(a), fkv_session_logits(b), TINY_VOCAB * sizeof(float)) != 0);
    append_or_fail(a, 9);
    append_or_fail(b, 9);
    assert_same_logits(a, b);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_engine_close(e);
}

static fkv_session *filled(int n)
{
    fkv_session *s = session_by("adakv", 0.3);
    sync_or_fail(s, ids, n);
    return s;
}

static void test_a_batch_gives_the_bits_of_single_tokens(void **state)
{
    (void)state;
    fkv_session *alone[3], *together[3];
    for (int i = 0; i < 3; i++) {
        alone[i] = filled(PROMPT - 40 * i);
        together[i] = filled(PROMPT - 40 * i);
        append_or_fail(alone[i], ids[i]);
    }
    if (fkv_batch_append(together, ids, 3) != FKV_OK) fail_msg("%s", fkv_session_error(together[0]));
    for (int i = 0; i < 3; i++) {
        assert_same_logits(alone[i], together[i]);
        fkv_session_close(alone[i]);
        fkv_session_close(together[i]);
    }
}

static void test_forks_and_bytes(void **state)
{
    (void)state;
    char err[FKV_ERROR_BYTES];
    fkv_session *a = filled(PROMPT), *b = session_by("adakv", 0.3), *child = NULL;
    void *data, *again;
    size_t bytes, n;
    append_or_fail(a, 5);
    assert_int_equal(fkv_session_export(a, &data, &bytes), FKV_OK);
    if (fkv_session_import(b, data, bytes) != FKV_OK) fail_msg("%s", fkv_session_error(b));
    assert_int_equal(fkv_session_export(b, &again, &n), FKV_OK);
    assert_int_equal(n, bytes);
    assert_memory_equal(data, again, n);
    if (fkv_session_fork(a, PROMPT, &child, err) != FKV_OK) fail_msg("%s", err);
    append_or_fail(child, 5);
    for (int i = 0; i < 3; i++) {
        append_or_fail(a, 6);
        append_or_fail(b, 6);
        append_or_fail(child, 6);
        assert_same_logits(a, b);
        assert_same_logits(a, child);
    }
    fkv_free(data);
    fkv_free(again);
    fkv_session_close(a);
    fkv_session_close(b);
    fkv_session_close(child);
}

/* ---- keys ------------------------------------------------------------------------------------------ */

/* Reads the hyper-parameters of a file of LAYERS layers, with keys besides. */
static fkv_status read_by(const struct fkv_arch *arch, void (*also)(struct gguf_writer *w), struct fkv_hparams *h,
                          struct fkv_error *e)
{
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_warnings warnings = {0};
    struct fkv_gguf *g;
    size_t bytes;
    m.n_layer = LAYERS;
    m.also = also;
    uint8_t *file = tiny_model_make(&m, &bytes);
    *e = (struct fkv_error){""};
    assert_int_equal(fkv_gguf_open_memory(&g, file, bytes, e), FKV_OK);
    const fkv_status status = __real_fkv_hparams_read(h, arch, g, &warnings, e);
    fkv_warnings_destroy(&warnings);
    fkv_gguf_close(g);
    free(file);
    return status;
}

static fkv_status read_keys(const struct fkv_local_layers *how, void (*also)(struct gguf_writer *w),
                            struct fkv_hparams *h, struct fkv_error *e)
{
    return read_by(&(struct fkv_arch){.name = "llama", .local = how}, also, h, e);
}

/* windows: [LAYERS] */
static void expect_windows(const struct fkv_local_layers *how, void (*also)(struct gguf_writer *w), const int *windows)
{
    struct fkv_hparams h;
    struct fkv_error e;
    if (read_keys(how, also, &h, &e) != FKV_OK) fail_msg("%s", e.text);
    for (int l = 0; l < LAYERS; l++) {
        assert_int_equal(h.layer[l].window, windows[l]);
        assert_int_equal(h.layer[l].kind, windows[l] ? FKV_LAYER_LOCAL : FKV_LAYER_FULL);
    }
    fkv_hparams_destroy(&h);
}

static void add_window(struct gguf_writer *w) { gguf_put_u32(w, "llama.attention.sliding_window", 16); }
static void add_window_0(struct gguf_writer *w) { gguf_put_u32(w, "llama.attention.sliding_window", 0); }
static void add_period(struct gguf_writer *w)
{
    add_window(w);
    gguf_put_u32(w, "llama.attention.sliding_window_pattern", 2);
}
static void add_period_0(struct gguf_writer *w)
{
    add_window(w);
    gguf_put_u32(w, "llama.attention.sliding_window_pattern", 0);
}
static void add_bools(struct gguf_writer *w)
{
    add_window(w);
    gguf_put_array(w, "llama.attention.sliding_window_pattern", FKV_GGUF_BOOL, (const uint8_t[]){0, 1, 1, 0, 1, 0},
                   LAYERS);
}
static void add_ones(struct gguf_writer *w)
{
    add_window(w);
    gguf_put_array(w, "llama.attention.sliding_window_pattern", FKV_GGUF_I32, (const int32_t[]){0, 1, 1, 0, 1, 0},
                   LAYERS);
}
static void add_few_bools(struct gguf_writer *w)
{
    add_window(w);
    gguf_put_array(w, "llama.attention.sliding_window_pattern", FKV_GGUF_BOOL, (const uint8_t[]){0, 1}, 2);
}

static void test_which_layers_are_local(void **state)
{
    (void)state;
    static const struct fkv_local_layers threes = {.period = 3};
    static const int none[LAYERS] = {0}, third[] = {16, 16, 0, 16, 16, 0}, second[] = {16, 0, 16, 0, 16, 0},
                     all[] = {16, 16, 16, 16, 16, 16}, listed[] = {0, 16, 16, 0, 16, 0};
    struct fkv_hparams h;
    struct fkv_error e;
    expect_windows(&threes, NULL, none);
    expect_windows(&threes, add_window_0, none);
    expect_windows(&threes, add_window, third);
    expect_windows(&threes, add_period, second);
    expect_windows(&threes, add_period_0, all);
    expect_windows(&threes, add_bools, listed);
    expect_windows(&threes, add_ones, listed);
    expect_windows(NULL, add_bools, none); /* an architecture without: whatever the file says */
    assert_int_equal(read_keys(&threes, add_few_bools, &h, &e), FKV_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "key llama.attention.sliding_window_pattern: expected 6 numbers, found 2"));
    fkv_hparams_destroy(&h);
}

static void add_local_keys(struct gguf_writer *w)
{
    add_period(w);
    gguf_put_u32(w, "llama.attention.key_length_swa", 64);
    gguf_put_u32(w, "llama.attention.value_length_swa", 64);
    gguf_put_u32(w, "llama.rope.dimension_count_swa", 48);
    gguf_put_f32(w, "llama.rope.freq_base_swa", 1234);
}

static void add_scaling(struct gguf_writer *w)
{
    add_period(w);
    gguf_put_f32(w, "llama.rope.scaling.factor", 8);
}

static void test_keys_of_local_layers(void **state)
{
    (void)state;
    static const struct fkv_local_layers as_others = {.period = 6}, own = {.rope_base = 500, .rope_plain = true};
    struct fkv_hparams h;
    struct fkv_error e;
    if (read_keys(&own, add_local_keys, &h, &e) != FKV_OK) fail_msg("%s", e.text);
    const struct fkv_rope_params *near = &h.ropes[h.layer[0].rope], *far = &h.ropes[h.layer[1].rope];
    assert_int_equal(h.n_ropes, 2);
    assert_true(h.layer[0].d_head == 64 && h.layer[1].d_head == 32 && h.d_head == 64);
    assert_true(near->n_rot == 48 && near->base == 1234 && far->n_rot == 32 && far->base == 10000);
    fkv_hparams_destroy(&h);

    if (read_keys(&own, add_scaling, &h, &e) != FKV_OK) fail_msg("%s", e.text);
    near = &h.ropes[h.layer[0].rope], far = &h.ropes[h.layer[1].rope];
    assert_true(near->base == 500 && near->scale == 1 && far->base == 10000 && far->scale == 8);
    fkv_hparams_destroy(&h);

    if (read_keys(&as_others, add_scaling, &h, &e) != FKV_OK) fail_msg("%s", e.text);
    assert_int_equal(h.n_ropes, 1);
    fkv_hparams_destroy(&h);
}

static void add_divisors(struct gguf_writer *w)
{
    static const float ones[16];
    gguf_put_array(w, "llama.rope.dimension_count", FKV_GGUF_I32, (const int32_t[]){32, 32, 16, 32, 32, 32}, LAYERS);
    gguf_put_tensor(w, "rope_freqs.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, ones, sizeof ones);
}

static fkv_status share_the_first(struct fkv_hparams *h, const struct fkv_gguf *g, struct fkv_error *e)
{
    (void)g, (void)e;
    h->layer[4].kv_from = 0;
    return FKV_OK;
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct fkv_hparams h;
    struct fkv_error e;
    assert_int_equal(read_by(&(struct fkv_arch){.name = "llama", .hparams = share_the_first}, NULL, &h, &e),
                     FKV_ERROR_UNSUPPORTED);
    assert_string_equal(e.text, "llama.attention.shared_kv_layers: expected layer 4 to have K and V of its own, found "
                                "those of layer 0");
    fkv_hparams_destroy(&h);
    assert_int_equal(read_keys(NULL, add_divisors, &h, &e), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(
        e.text, "rope_freqs.weight: expected the same number of channels to turn in all layers, found 32 and 16");
    fkv_hparams_destroy(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers_that_differ),   cmocka_unit_test(test_fastkv_over_layers_that_differ),
        cmocka_unit_test(test_numbers_of_the_model), cmocka_unit_test(test_every_policy),
        cmocka_unit_test(test_a_window_slides),      cmocka_unit_test(test_a_batch_gives_the_bits_of_single_tokens),
        cmocka_unit_test(test_forks_and_bytes),      cmocka_unit_test(test_which_layers_are_local),
        cmocka_unit_test(test_keys_of_local_layers), cmocka_unit_test(test_what_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
