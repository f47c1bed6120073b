/* What a program can ask of a model's file through the public header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastkv.h"
#include "support/tiny_model.h"

static void test_file_info(void **state)
{
    const struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params params = FKV_ENGINE_PARAMS_INIT;
    struct fkv_tensor_info t;
    struct fkv_metadata key;
    fkv_engine *e;
    char path[64], text[64], err[FKV_ERROR_BYTES] = "";
    uint64_t parameters = 0, bytes = 0;
    bool found = false, has_tokens = false;
    (void)state;
    tiny_model_write(&m, path);
    params.vocab_only = true;
    if (fkv_engine_open(&e, path, &params, err) != FKV_OK) fail_msg("%s", err);
    for (size_t i = 0; fkv_tensor_list(e, i, &t); i++) {
        parameters += t.dims[0] * t.dims[1] * t.dims[2] * t.dims[3];
        bytes += t.bytes;
        if (strcmp(t.name, "blk.1.ffn_up.weight")) continue;
        found = true;
        assert_string_equal(t.type, "F32");
        assert_int_equal(t.n_dims, 2);
        assert_true(t.dims[0] == (uint64_t)m.d_model && t.dims[1] == (uint64_t)m.d_ff && t.dims[2] == 1);
    }
    assert_true(found);
    assert_true(parameters == fkv_engine_info(e)->n_params && bytes == fkv_engine_info(e)->weight_bytes);
    size_t n_keys = 0;
    for (; fkv_metadata_list(e, n_keys, &key); n_keys++) {
        if (key.key_bytes != 21 || memcmp(key.key, "tokenizer.ggml.tokens", 21)) continue;
        has_tokens = true;
        assert_true(key.is_array && key.count == TINY_VOCAB);
        assert_string_equal(key.type, "string");
    }
    assert_true(has_tokens && n_keys > 10);
    assert_int_equal(fkv_metadata_text(e, "general.architecture", text, sizeof text), 5);
    assert_string_equal(text, "llama");
    assert_int_equal(fkv_metadata_text(e, "general.architecture", text, 3), 5); /* cut to fit */
    assert_string_equal(text, "ll");
    assert_int_equal(fkv_metadata_text(e, "llama.block_count", text, sizeof text), 1);
    assert_string_equal(text, "4");
    assert_int_equal(fkv_metadata_text(e, "tokenizer.ggml.tokens", text, sizeof text), 0);
    assert_int_equal(fkv_metadata_text(e, "no.such.key", text, sizeof text), 0);
    assert_string_equal(text, "");
    fkv_engine_close(e);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_file_info)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
