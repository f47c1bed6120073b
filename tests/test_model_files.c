/* Model files as they are found: what they have besides, lack, and spell otherwise. */
#include <string.h>

#include "model/model.h"
#include "support/check_model.h"

enum { N = 61 };

/* Logits after a prompt and a token. */
static void logits_of(const struct tiny_model *m, bool exact, float logits[2][TINY_VOCAB])
{
    int32_t ids[N + 1];
    tiny_model_prompt(m->seed, ids, N + 1);
    struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
    ep.exact = exact;
    fkv_engine *e = tiny_engine(m, &ep);
    const struct fkv_session_params sp = policy_params("full");
    fkv_session *s = tiny_session(e, &sp);
    sync_or_fail(s, ids, N);
    memcpy(logits[0], fkv_session_logits(s), sizeof logits[0]);
    append_or_fail(s, ids[N]);
    memcpy(logits[1], fkv_session_logits(s), sizeof logits[1]);
    fkv_session_close(s);
    fkv_engine_close(e);
}

static void expect_same(const struct tiny_model *a, const struct tiny_model *b, bool exact)
{
    float of_a[2][TINY_VOCAB], of_b[2][TINY_VOCAB];
    logits_of(a, exact, of_a);
    logits_of(b, exact, of_b);
    assert_memory_equal(of_a, of_b, sizeof of_a);
}

static void expect_refused(const struct tiny_model *m, fkv_status want, const char *message)
{
    char path[64], err[FKV_ERROR_BYTES];
    fkv_engine *e = NULL;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    p.device = getenv("FKV_TEST_DEVICE");
    tiny_model_write(m, path);
    const fkv_status status = fkv_engine_open(&e, path, &p, err);
    unlink(path);
    assert_int_equal(status, want);
    if (!strstr(err, message)) fail_msg("\"%s\" lacks \"%s\"", err, message);
}

static void test_biases(void **state)
{
    (void)state;
    for (int a = 0; a < N_TINY_ARCHS; a++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.arch = tiny_archs[a];
        m.biases = true;
        check_model(&m, true, 1e-5);
        m.own_output = true;
        m.without = "blk.1.attn_k.bias";
        check_model(&m, true, 1e-5);
    }
}

static void test_fused_tensors_are_the_separate_ones(void **state)
{
    (void)state;
    static const uint32_t types[] = {FKV_TYPE_F32, FKV_TYPE_BF16, FKV_TYPE_Q8_0};
    for (int i = 0; i < 2 * N_TINY_ARCHS; i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.arch = tiny_archs[i / 2];
        m.type = types[i % 3];
        m.biases = i % 2;
        struct tiny_model fused = m;
        fused.fused = true;
        expect_same(&m, &fused, i < N_TINY_ARCHS);
    }
    struct tiny_model m = TINY_MODEL_INIT;
    m.fused = true;
    m.without = "blk.2.attn_qkv.weight";
    expect_refused(&m, FKV_ERROR_FORMAT, "blk.2.attn_q.weight: expected [128 x 64], the file has no such tensor");
    m.without = "blk.1.ffn_up.weight";
    expect_refused(&m, FKV_ERROR_FORMAT, "blk.1.ffn_gate.weight: expected [96 x 64], the file has no such tensor");
}

static void add_separate_gate(struct gguf_writer *w)
{
    static const float zeros[96 * 64];
    gguf_put_tensor(w, "blk.0.ffn_gate.weight", FKV_TYPE_F32, 2, (const uint64_t[]){64, 96}, zeros, sizeof zeros);
}

static void add_few_kv_heads(struct gguf_writer *w)
{
    gguf_put_array(w, "llama.attention.head_count_kv", FKV_GGUF_I32, (const int32_t[]){2, 2}, 2);
}

static void test_numbers_per_layer(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT, arrays = m;
    arrays.arrays = true;
    expect_same(&m, &arrays, true);
    m.d_ff_more = 32;
    m.biases = true;
    check_model(&m, true, 1e-5);
    m = (struct tiny_model)TINY_MODEL_INIT;
    m.without = "llama.attention.head_count_kv";
    m.also = add_few_kv_heads;
    expect_refused(&m, FKV_ERROR_FORMAT, "key llama.attention.head_count_kv: expected 4 numbers, found 2");
}

static void add_window(struct gguf_writer *w)
{
    gguf_put_u32(w, "llama.attention.sliding_window", 8);
    gguf_put_u32(w, "llama.attention.sliding_window_pattern", 2);
    gguf_put_f32(w, "llama.rope.freq_base_swa", 500);
}

/* These architectures attend to everything: llama.cpp's choice too. */
static void test_windows_are_ignored(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT, window = m;
    window.also = add_window;
    expect_same(&m, &window, true);
}

/* ---- widths and heads ------------------------------------------------------------------------ */

/* A Vulkan device multiplies rows that divide by 32, and says so of others. */
static void check_widths(const struct tiny_model *m, bool exact, double tolerance)
{
    const char *device = getenv("FKV_TEST_DEVICE");
    const bool odd = m->d_model % 32 || m->d_ff % 32 || m->n_head * m->d_head % 32;
    if (odd && !tiny_model_n_expert(m) && device && strcmp(device, "vulkan") == 0)
        expect_refused(m, FKV_ERROR_UNSUPPORTED, "rows that divide by 32 for a Vulkan device");
    else
        check_model(m, exact, tolerance);
}

static void test_widths(void **state)
{
    (void)state;
    static const uint32_t types[] = {FKV_TYPE_F32, FKV_TYPE_F16, FKV_TYPE_BF16};
    for (int i = 0; i < 2 * N_TINY_ARCHS; i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.arch = tiny_archs[i / 2];
        m.type = types[i % 3];
        m.biases = i % 2;
        m.d_model = i < 3 ? 36 : 75;
        m.n_head = i < 3 ? 3 : 6;
        m.n_kv_head = 3;
        m.d_head = 10;
        m.d_ff = i < 3 ? 44 : 91;
        check_widths(&m, true, 1e-5);
        check_widths(&m, false, 0.03); /* bf16 attention: see test_head_sizes() */
    }
    struct tiny_model m = TINY_MODEL_INIT;
    m.type = FKV_TYPE_Q8_0;
    m.d_ff = 44;
    check_widths(&m, true, 1e-5);
    check_widths(&m, false, 0.12); /* 8-bit activations: see test_types() */
}

static void test_head_counts(void **state)
{
    (void)state;
    static const int counts[][2] = {{1, 1}, {3, 1}, {5, 5}, {7, 1}, {12, 4}, {71, 1}};
    for (int i = 0; i < 6; i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.n_head = counts[i][0];
        m.n_kv_head = counts[i][1];
        m.d_head = 8;
        check_widths(&m, true, 1e-5);
        check_widths(&m, false, 0.03);
    }
    struct tiny_model m = TINY_MODEL_INIT;
    m.n_head = FKV_ATTEND_ROWS + 1;
    m.n_kv_head = 1;
    m.d_head = 2;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED, "llama: expected at most 288 query heads for a KV head, found 289");
}

/* ---- rotary keys ----------------------------------------------------------------------------- */

static void add_factor(struct gguf_writer *w) { gguf_put_f32(w, "llama.rope.scaling.factor", 4); }
static void add_old_factor(struct gguf_writer *w) { gguf_put_f32(w, "llama.rope.scale_linear", 4); }
static void add_no_scaling(struct gguf_writer *w)
{
    gguf_put_str(w, "llama.rope.scaling.type", "none");
    gguf_put_f32(w, "llama.rope.scaling.factor", 4);
}
static void add_factor_0(struct gguf_writer *w) { gguf_put_f32(w, "llama.rope.scaling.factor", 0); }
static void add_yarn_1(struct gguf_writer *w)
{
    gguf_put_str(w, "llama.rope.scaling.type", "yarn");
    gguf_put_f32(w, "llama.rope.scaling.factor", 1);
}
static void add_yarn_half(struct gguf_writer *w)
{
    gguf_put_str(w, "llama.rope.scaling.type", "yarn");
    gguf_put_f32(w, "llama.rope.scaling.factor", 0.5f);
}
static void add_yarn(struct gguf_writer *w)
{
    gguf_put_str(w, "llama.rope.scaling.type", "yarn");
    gguf_put_f32(w, "llama.rope.scaling.factor", 4);
}

static void add_more_yarn(struct gguf_writer *w)
{
    add_yarn(w);
    gguf_put_u32(w, "llama.rope.scaling.original_context_length", 96);
    gguf_put_f32(w, "llama.rope.scaling.yarn_beta_fast", 8);
    gguf_put_f32(w, "llama.rope.scaling.yarn_beta_slow", 0.5f);
    gguf_put_f32(w, "llama.rope.scaling.yarn_log_multiplier", 0.7f);
    gguf_put_f32(w, "llama.rope.scaling.attn_factor", 1.3f);
}
/* Contexts of up to n have the short factors. */
static void add_factors(struct gguf_writer *w, uint32_t n)
{
    float near[16], far[16];
    for (int i = 0; i < 16; i++) {
        near[i] = 1 + 0.1f * (float)i;
        far[i] = 2 + 0.3f * (float)i;
    }
    gguf_put_u32(w, "llama.rope.scaling.original_context_length", n);
    gguf_put_tensor(w, "rope_factors_short.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, near, sizeof near);
    gguf_put_tensor(w, "rope_factors_long.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, far, sizeof far);
}
static void add_short(struct gguf_writer *w) { add_factors(w, TINY_CONTEXT); }
static void add_long(struct gguf_writer *w) { add_factors(w, TINY_CONTEXT - 1); }
static void add_long_alone(struct gguf_writer *w)
{
    const float far[16] = {1};
    gguf_put_tensor(w, "rope_factors_long.weight", FKV_TYPE_F32, 1, (const uint64_t[]){16}, far, sizeof far);
}
static void add_other_scaling(struct gguf_writer *w) { gguf_put_str(w, "llama.rope.scaling.type", "ntk"); }

static void add_temperature(struct gguf_writer *w) { gguf_put_f32(w, "mistral3.attention.temperature_scale", 0.1f); }
static void add_few_sections(struct gguf_writer *w)
{
    gguf_put_array(w, "qwen3vl.rope.dimension_sections", FKV_GGUF_I32, (const int32_t[]){2, 3, 4, 0}, 4);
}

static void test_rotary_keys(void **state)
{
    (void)state;
    for (int a = 0; a < N_TINY_ARCHS; a++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.arch = tiny_archs[a];
        m.n_rot = 12;
        check_model(&m, true, 1e-5);
    }
    struct tiny_model m = TINY_MODEL_INIT, plain_one = m;
    m.also = add_factor;
    check_model(&m, true, 1e-5);
    m.also = add_old_factor;
    check_model(&m, true, 1e-5);
    m.also = add_no_scaling;
    expect_same(&m, &plain_one, true);
    m.also = add_factor_0;
    expect_same(&m, &plain_one, true);
    m.also = add_yarn_1;
    expect_same(&m, &plain_one, true);
    static void (*const scaled[])(struct gguf_writer *) = {add_yarn, add_yarn_half, add_more_yarn, add_short, add_long};
    for (size_t i = 0; i < sizeof scaled / sizeof *scaled; i++) {
        m.also = scaled[i];
        check_model(&m, true, 1e-5);
    }
    m.also = add_other_scaling;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED,
                   "llama.rope.scaling.type: expected none, linear, yarn or longrope, found \"ntk\"");
    m.also = add_temperature;
    m.arch = "mistral3";
    m.n_rot = 12;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED, "mistral3.rope.dimension_count: expected 32, a head's whole, beside ");
    m.n_rot = 0;
    m.arch = "qwen3vl";
    m.also = add_few_sections;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED,
                   "qwen3vl.rope.dimension_sections: expected at least 16 pairs of channels in all, found 9");
    m.arch = "llama";
    m.also = add_long_alone;
    expect_refused(&m, FKV_ERROR_FORMAT, "rope_factors_long.weight: expected it beside rope_factors_short.weight");
}

/* ---- tensors that no row asks for -------------------------------------------------------------- */

static const float zeros_64[64];

static void add_sinks(struct gguf_writer *w)
{
    gguf_put_tensor(w, "blk.3.attn_sinks.weight", FKV_TYPE_F32, 1, (const uint64_t[]){4}, zeros_64, 16);
}

static void add_layer(struct gguf_writer *w)
{
    gguf_put_tensor(w, "blk.4.attn_norm.weight", FKV_TYPE_F32, 1, (const uint64_t[]){64}, zeros_64, 256);
}

static void add_what_does_not_matter(struct gguf_writer *w)
{
    gguf_put_tensor(w, "v.blk.0.ln1.weight", FKV_TYPE_F32, 1, (const uint64_t[]){64}, zeros_64, 256);
    gguf_put_tensor(w, "mm.0.bias", FKV_TYPE_F32, 1, (const uint64_t[]){64}, zeros_64, 256);
    gguf_put_tensor(w, "blk.0.attn_rot_embd", FKV_TYPE_F32, 1, (const uint64_t[]){16}, zeros_64, 64);
    gguf_put_tensor(w, "blk.4.nextn.enorm.weight", FKV_TYPE_F32, 1, (const uint64_t[]){64}, zeros_64, 256);
    gguf_put_u32(w, "llama.block_count", 5);
    gguf_put_u32(w, "llama.nextn_predict_layers", 1);
}

static void add_not_causal(struct gguf_writer *w) { gguf_put_bool(w, "llama.attention.causal", false); }

static void test_every_tensor_is_used(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT, plain_one = m;
    m.also = add_sinks;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED,
                   "blk.3.attn_sinks.weight: expected no such tensor in a model of 4 layers");
    m.also = add_layer;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED, "blk.4.attn_norm.weight: expected no such tensor");
    m.also = add_not_causal;
    expect_refused(&m, FKV_ERROR_UNSUPPORTED, "llama.attention.causal: expected true");
    m.also = add_layer;
    m.fused = true;
    m.also = add_separate_gate;
    expect_refused(&m, FKV_ERROR_FORMAT, "blk.0.ffn_up.weight: expected [96 x 64], file has [192 x 64]");
    m.fused = false;
    m.also = add_what_does_not_matter;
    m.without = "llama.block_count";
    expect_same(&m, &plain_one, true);
}

static bool is_odd(const struct fkv_hparams *h, int layer)
{
    (void)h;
    return layer % 2 == 1;
}

/* A table with experts in some layers. */
static void test_a_table_with_experts(void **state)
{
    (void)state;
    enum { EXPERTS = 3, ROWS = 32, COLS = 64 };
    static const struct fkv_weight_name weights[] = {
        FKV_LAYER_ROW("ffn_gate_exps.weight", ffn_gate, FKV_MATRIX(FKV_DIM_FF_EXPERT, FKV_DIM_MODEL),
                      .matrices = FKV_DIM_EXPERTS, .in_layer = is_odd),
        {0},
    };
    static const struct fkv_arch arch = {.name = "experts", .weights = weights};
    static const float values[EXPERTS * ROWS * COLS];
    struct fkv_layer_hparams shapes[] = {{.d_ff_expert = ROWS}, {.d_ff_expert = ROWS}};
    struct fkv_layer layers[2] = {0};
    struct fkv_model m = {.arch = &arch,
                          .h = {.n_layer = 2, .d_model = COLS, .n_expert = EXPERTS, .layer = shapes},
                          .layer = layers};
    struct gguf_writer *w = gguf_writer_new(3, 0);
    struct fkv_gguf *g;
    struct fkv_error e = {""};
    bool seen[1] = {false};
    size_t bytes;
    gguf_put_tensor(w, "blk.1.ffn_gate_exps.weight", FKV_TYPE_F32, 3, (const uint64_t[]){COLS, ROWS, EXPERTS}, values,
                    sizeof values);
    uint8_t *file = gguf_writer_finish(w, &bytes);
    assert_int_equal(fkv_gguf_open_memory(&g, file, bytes, &e), FKV_OK);
    assert_int_equal(fkv_model_bind(&m, g, seen, &e), FKV_OK);
    assert_null(layers[0].ffn_gate.data);
    const struct fkv_weight *gate = &layers[1].ffn_gate;
    assert_ptr_equal(gate->data, fkv_gguf_tensor(g, 0)->data);
    assert_true(seen[0] && gate->n == EXPERTS && gate->rows == ROWS && gate->cols == COLS && gate->stride == 4 * COLS &&
                gate->apart == 4 * COLS * ROWS);
    free(m.vectors);
    m.h.n_expert = 4;
    assert_int_equal(fkv_model_bind(&m, g, seen, &e), FKV_ERROR_FORMAT);
    assert_string_equal(e.text, "blk.1.ffn_gate_exps.weight: expected [4 x 32 x 64], file has [3 x 32 x 64]");
    free(m.vectors);
    fkv_gguf_close(g);
    free(file);
}

static void test_what_is_assumed_is_told(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    fkv_engine *e = tiny_engine(&m, &p);
    assert_null(fkv_engine_warning(e, 0));
    fkv_engine_close(e);
    m.without = "llama.attention.layer_norm_rms_epsilon";
    e = tiny_engine(&m, &p);
    assert_string_equal(fkv_engine_warning(e, 0),
                        "llama.attention.layer_norm_rms_epsilon: not in the file: 1e-05 is assumed");
    assert_null(fkv_engine_warning(e, 1));
    fkv_engine_close(e);
    m.without = "llama.context_length";
    e = tiny_engine(&m, &p);
    assert_string_equal(fkv_engine_warning(e, 0), "llama.context_length: not in the file: 4096 is assumed");
    assert_int_equal(fkv_engine_info(e)->n_ctx_train, 4096);
    fkv_engine_close(e);
    m = (struct tiny_model)TINY_MODEL_INIT;
    m.n_ctx = 1 << 30;
    e = tiny_engine(&m, &p);
    assert_string_equal(fkv_engine_warning(e, 0),
                        "llama.context_length: expected 1 to 16777216 tokens, found 1073741824: 16777216 is assumed");
    assert_int_equal(fkv_engine_info(e)->n_ctx_train, FKV_CONTEXT_MAX);
    fkv_engine_close(e);
}

/* ---- vocabularies ---------------------------------------------------------------------------- */

static void add_strange_tokenizer(struct gguf_writer *w)
{
    gguf_writer_leave_out(w, NULL);
    gguf_put_str(w, "tokenizer.ggml.model", "none");
}

static void add_name_of_two_lines(struct gguf_writer *w)
{
    gguf_writer_leave_out(w, NULL);
    gguf_put_str(w, "general.name", "one\n\x1b[2Jtwo");
}

static void test_a_name_of_two_lines(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.without = "general.name";
    m.also = add_name_of_two_lines;
    fkv_engine *e = tiny_engine(&m, &p);
    assert_string_equal(fkv_engine_info(e)->name, "one  [2Jtwo");
    fkv_engine_close(e);
}

static void add_numbers_for_flags(struct gguf_writer *w)
{
    gguf_put_u32(w, "tokenizer.ggml.add_bos_token", 1);
    gguf_put_u32(w, "tokenizer.ggml.add_space_prefix", 1);
}

static void test_flags_of_another_kind(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.also = add_numbers_for_flags;
    fkv_engine *e = tiny_engine(&m, &p);
    assert_non_null(strstr(fkv_engine_warning(e, 0), "add_bos_token: expected bool, found u32: ignored"));
    assert_non_null(strstr(fkv_engine_warning(e, 1), "add_space_prefix: expected bool, found u32: ignored"));
    fkv_engine_close(e);
}

/* Ids need no tokenizer. */
static void test_a_strange_tokenizer(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT, strange = m;
    strange.without = "tokenizer.ggml.model";
    strange.also = add_strange_tokenizer;
    expect_same(&m, &strange, true);
    m.without = "tokenizer.ggml.model";
    expect_refused(&m, FKV_ERROR_FORMAT, "tokenizer.ggml.model: missing");
}

static void put_rows(struct gguf_writer *w, uint64_t n)
{
    static const float zeros[(TINY_VOCAB + 1) * 64];
    gguf_writer_leave_out(w, NULL);
    gguf_put_tensor(w, "token_embd.weight", FKV_TYPE_F32, 2, (const uint64_t[]){64, n}, zeros, n * 64 * sizeof *zeros);
}

static void add_too_few_rows(struct gguf_writer *w) { put_rows(w, TINY_VOCAB - 1); }
static void add_padded_rows(struct gguf_writer *w) { put_rows(w, TINY_VOCAB + 1); }

static void test_rows_and_tokens(void **state)
{
    (void)state;
    struct tiny_model m = TINY_MODEL_INIT;
    const struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    m.without = "token_embd.weight";
    m.also = add_padded_rows;
    fkv_engine *e = tiny_engine(&m, &p);
    assert_int_equal(fkv_engine_info(e)->n_vocab, TINY_VOCAB + 1);
    fkv_engine_close(e);
    m.also = add_too_few_rows;
    e = tiny_engine(&m, &p);
    assert_int_equal(fkv_engine_info(e)->n_vocab, TINY_VOCAB - 1);
    assert_string_equal(fkv_engine_warning(e, 0),
                        "token_embd.weight: 319 rows for 320 tokens: text with one of the others is refused");
    const struct fkv_session_params sp = FKV_SESSION_PARAMS_INIT;
    const int32_t ids[] = {1, TINY_VOCAB - 1};
    fkv_session *session;
    assert_int_equal(fkv_session_open(&session, e, &sp, NULL), FKV_OK);
    assert_int_equal(fkv_session_sync(session, ids, 2), FKV_ERROR_ARGUMENT);
    assert_int_equal(fkv_session_sync(session, ids, 1), FKV_OK);
    fkv_session_close(session);
    fkv_engine_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_biases),
        cmocka_unit_test(test_fused_tensors_are_the_separate_ones),
        cmocka_unit_test(test_numbers_per_layer),
        cmocka_unit_test(test_windows_are_ignored),
        cmocka_unit_test(test_widths),
        cmocka_unit_test(test_head_counts),
        cmocka_unit_test(test_rotary_keys),
        cmocka_unit_test(test_every_tensor_is_used),
        cmocka_unit_test(test_a_table_with_experts),
        cmocka_unit_test(test_what_is_assumed_is_told),
        cmocka_unit_test(test_a_name_of_two_lines),
        cmocka_unit_test(test_flags_of_another_kind),
        cmocka_unit_test(test_a_strange_tokenizer),
        cmocka_unit_test(test_rows_and_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
