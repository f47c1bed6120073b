/* The GGUF reader on real models, those of them that are there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gguf/gguf.h"
#include "support/gguf_visit.h"
#include "support/model_path.h"

static void check_model(const char *name, const char *arch, uint64_t n_vocab, uint32_t n_layer)
{
    char path[4096], key[64];
    struct fkv_gguf *g;
    struct fkv_error e = {""};
    struct fkv_str s = {0};
    uint64_t n = 0;
    uint32_t layers = 0;
    if (!model_path(name, path, sizeof path)) skip();
    if (fkv_gguf_open(&g, path, &e) != FKV_OK) fail_msg("%s", e.text);
    assert_int_equal(fkv_gguf_str(g, "general.architecture", &s, &e), FKV_OK);
    assert_int_equal(s.n, strlen(arch));
    assert_memory_equal(s.data, arch, s.n);
    assert_int_equal(fkv_gguf_array(g, "tokenizer.ggml.tokens", FKV_GGUF_STRING, &n, &e), FKV_OK);
    assert_int_equal(n, n_vocab);
    snprintf(key, sizeof key, "%s.block_count", arch);
    assert_int_equal(fkv_gguf_u32(g, key, &layers, &e), FKV_OK);
    assert_int_equal(layers, n_layer);
    const struct fkv_gguf_tensor *t = fkv_gguf_find_tensor(g, "token_embd.weight");
    assert_non_null(t);
    assert_int_equal(t->dims[1], n_vocab);
    assert_true(fkv_gguf_n_tensors(g) > 9 * n_layer);
    gguf_visit(g);
    fkv_gguf_close(g);
}

static void test_smollm2(void **state)
{
    (void)state;
    check_model("smollm2-135m", "llama", 49152, 30);
}
static void test_qwen_small(void **state)
{
    (void)state;
    check_model("qwen2.5-coder-0.5b", "qwen2", 151936, 24);
}
static void test_qwen_large(void **state)
{
    (void)state;
    check_model("qwen2.5-coder-1.5b", "qwen2", 151936, 28);
}
static void test_gemma3(void **state)
{
    (void)state;
    check_model("gemma3-270m", "gemma3", 262144, 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2),
        cmocka_unit_test(test_qwen_small),
        cmocka_unit_test(test_qwen_large),
        cmocka_unit_test(test_gemma3),
    };
    char path[4096];
    if (!model_path("smollm2-135m", path, sizeof path)) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
