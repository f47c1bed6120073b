/* What a program can ask of a model's file through the public header, and what it hears of a file that is none. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fastkv.h"
#include "gguf/gguf.h"
#include "support/gguf_writer.h"
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

/* ---- other files ----------------------------------------------------------------------------- */

static void expect_message(const char *path, const char *message)
{
    char err[FKV_ERROR_BYTES] = "";
    fkv_engine *e = NULL;
    assert_int_not_equal(fkv_engine_open(&e, path, NULL, err), FKV_OK);
    if (!strstr(err, message)) fail_msg("\"%s\" lacks \"%s\"", err, message);
}

static void test_files_of_other_formats(void **state)
{
    (void)state;
    static const struct {
        const char *begins, *what;
        size_t n;
    } cases[] = {
        {"PK\3\4....", "found a ZIP archive, as PyTorch's", 8},
        {"\x80\2}q", "found a Python pickle", 4},
        {"tjgg\0\0\0\0", "found a GGML file of 2023", 8},
        {"algg\0\0\0\0", "found a LoRA adapter of 2023", 8},
        {"version https://git-lfs.github.com/spec/v1\n", "found Git LFS's pointer to a file", 43},
        {"<!DOCTYPE html>", "found a web page", 15},
        {"\x1f\x8b\x08\0", "found a file compressed by gzip", 4},
        {"\0\0\0\0\0\0\0\0\0", "begins with zeros", 9},
        {"\4\0\0\0\0\0\0\0{\"a\"", "found a safetensors file", 12},
        {"\5\0\0\0\0\0\0\0{\"a\"", "begins with the bytes 05 00 00 00", 12}, /* a header longer than the file */
        {"abcd", "begins with the bytes 61 62 63 64", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/fkv-XXXXXX";
        FILE *f = fdopen(mkstemp(path), "w");
        assert_non_null(f);
        assert_int_equal(fwrite(cases[i].begins, 1, cases[i].n, f), cases[i].n);
        fclose(f);
        expect_message(path, cases[i].what);
        unlink(path);
    }
}

/* GGUF files that hold another thing than a language model, or a kind of one that cannot run. */
static void test_files_of_other_models(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *type; /* general.type */
        const char *key;         /* with the value 4, or, of a tensor, NULL */
        const char *tensor, *what;
    } cases[] = {
        {"clip", "mmproj", NULL, NULL, "the image half of a model (mmproj)"},
        {"llama", "adapter", NULL, NULL, "llama: the file is a LoRA adapter"},
        {"llama", NULL, "adapter.type", NULL, "a LoRA adapter"},
        {"eagle3", NULL, NULL, NULL, "a draft head"},
        {"gemma4-assistant", NULL, NULL, NULL, "a draft head"},
        {"qwen3", NULL, NULL, "blk.0.nextn.eh_proj.weight", "a draft head"},
        {"bert", NULL, NULL, NULL, "an embedding model"},
        {"qwen3", NULL, "qwen3.pooling_type", "token_embd.weight", "a reranking model"},
        {"qwen2", NULL, NULL, "cls.output.weight", "a classifier"},
        {"llada-moe", NULL, NULL, NULL, "a diffusion model"},
        {"mamba2", NULL, NULL, NULL, "state space layers (Mamba), which are not there yet"},
        {"qwen3next", NULL, NULL, NULL, "gated DeltaNet"},
        {"deepseek2", NULL, NULL, NULL, "latent attention (MLA)"},
        {"novel", NULL, "novel.attention.kv_lora_rank", NULL, "novel: the file is a model with latent attention (MLA)"},
        {"novel", NULL, "novel.ssm.state_size", NULL, "recurrent layers"},
        {"novel", NULL, NULL, NULL,
         "tokenizer.ggml.model: missing"}, /* no idea what it is: the first thing that lacks */
        {"imatrix", "imatrix", NULL, NULL, "an importance matrix"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[] = "/tmp/fkv-XXXXXX";
        static const float zeros[64];
        struct gguf_writer *w = gguf_writer_new(3, 0);
        gguf_put_str(w, "general.architecture", cases[i].arch);
        if (cases[i].type) gguf_put_str(w, "general.type", cases[i].type);
        if (cases[i].key) gguf_put_u32(w, cases[i].key, 4);
        if (cases[i].tensor)
            gguf_put_tensor(w, cases[i].tensor, FKV_TYPE_F32, 2, (const uint64_t[]){32, 2}, zeros, sizeof zeros);
        close(mkstemp(path));
        gguf_writer_finish_to_file(w, path);
        expect_message(path, cases[i].what);
        unlink(path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_info),
        cmocka_unit_test(test_files_of_other_formats),
        cmocka_unit_test(test_files_of_other_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
