/* Tiny random models of every architecture through the engine, against a plain forward pass that shares none of its
   code; with FastKV in the paper's order there, so that the engine's exact savings are shown to be exact. */
#include "support/check_model.h"

static void test_architectures_exactly(void **state)
{
    (void)state;
    for (int a = 0; a < N_TINY_ARCHS; a++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.arch = tiny_archs[a];
        check_model(&m, true, 1e-5);
        m.rope_freqs = m.own_output = true;
        m.seed = 2;
        check_model(&m, true, 1e-5);
    }
}

static void test_head_sizes(void **state)
{
    (void)state;
    static const int sizes[][3] = {{64, 6, 2},  {80, 2, 1},  {96, 3, 3},
                                   {128, 4, 1}, {256, 1, 1}, {512, 2, 1}}; /* d, heads, KV heads */
    for (int i = 0; i < 6; i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.d_head = sizes[i][0];
        m.n_head = sizes[i][1];
        m.n_kv_head = sizes[i][2];
        m.arch = "qwen3";
        if (m.n_head * m.d_head % 32) continue;
        check_model(&m, true, 1e-5);
        check_model(
            &m, false,
            0.03); /* bf16 attention: 0.3 % a layer (bench of the kernel), amplified by random weights; measured up to
                      0.021 */
    }
}

/* Random weights amplify what 8-bit activations cost: the plain-C level, whose rounding is the least there can be,
   shows up to 0.063 here. */
enum { MOST_RMS_PERCENT = 12 };

static void test_types(void **state)
{
    (void)state;
    const double rounded = MOST_RMS_PERCENT / 100.0;
    static const uint32_t types[] = {FKV_TYPE_F32,  FKV_TYPE_F16,  FKV_TYPE_BF16,   FKV_TYPE_Q8_0,
                                     FKV_TYPE_Q4_0, FKV_TYPE_Q5_0, FKV_TYPE_IQ4_NL, FKV_TYPE_MXFP4};
    for (int i = 0; i < (int)(sizeof types / sizeof *types); i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.type = types[i];
        check_model(&m, true, 1e-5);
        check_model(&m, false, rounded);
    }
    static const uint32_t k_types[] = {FKV_TYPE_Q4_K,    FKV_TYPE_Q6_K,   FKV_TYPE_IQ4_XS, FKV_TYPE_IQ3_S,
                                       FKV_TYPE_IQ3_XXS, FKV_TYPE_IQ2_XS, FKV_TYPE_IQ1_S};
    for (int i = 0; i < (int)(sizeof k_types / sizeof *k_types); i++) {
        struct tiny_model m = TINY_MODEL_INIT;
        m.type = k_types[i];
        m.d_model = 256;
        m.d_head = 64;
        m.d_ff = 256;
        check_model(&m, true, 1e-5);
        check_model(&m, false, rounded);
    }
}

static void check(const char *arch, double tsp_rate, double kv_rate, int sinks)
{
    struct tiny_model m = TINY_MODEL_INIT;
    m.arch = arch;
    m.n_layer = 6;
    check_fastkv(&m, tsp_rate, kv_rate, sinks);
}

static void test_fastkv_equals_the_papers_order(void **state)
{
    (void)state;
    check("llama", 0.2, 0.1, 0);
    check("llama", 0.3, 0.2, 1);
    check("qwen2", 0.5, 0.1, 4);
    check("qwen3", 0.2, 0.4, 0); /* later layers keep all they are given */
    check("qwen3", 1, 0.3, 1);
    check("qwen2", 0.25, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_architectures_exactly),
        cmocka_unit_test(test_head_sizes),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_fastkv_equals_the_papers_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
