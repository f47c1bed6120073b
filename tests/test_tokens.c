/* The tokenizers of real models: golden/tokens.jsonl id for id and byte for byte, and texts made to be slow.
   test_tokens rows FILE GGUF: the rows of another file, without `model` and `pieces` (check_tokenizers.py). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "support/model_path.h"
#include "tokenizer/tokenizer.h"

static const char *const models[] = {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b", "gemma3-270m"};
enum { n_models = sizeof models / sizeof *models, rows_per_model = 64 };

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static struct fkv_tokenizer *load_file(const char *path, double *seconds)
{
    struct fkv_gguf *gguf;
    struct fkv_tokenizer *tokenizer;
    struct fkv_error e;
    if (fkv_gguf_open(&gguf, path, &e)) fail_msg("%s", e.text);
    const double start = cpu_seconds();
    if (fkv_tokenizer_create(&tokenizer, gguf, NULL, &e)) fail_msg("%s: %s", path, e.text);
    *seconds = cpu_seconds() - start;
    fkv_gguf_close(gguf);
    return tokenizer;
}

/* NULL when the model's file is not there. */
static struct fkv_tokenizer *load(const char *model, double *seconds)
{
    char path[4096];
    return model_path(model, path, sizeof path) ? load_file(path, seconds) : NULL;
}

/* Decodes base64; returns the bytes, malloc'ed, and their number. */
static char *from_base64(const char *text, size_t *n)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *bytes = malloc(strlen(text) + 1);
    uint32_t bits = 0;
    int n_bits = 0;
    assert_non_null(bytes);
    *n = 0;
    for (; *text && *text != '='; text++) {
        bits = bits << 6 | (uint32_t)(strchr(alphabet, *text) - alphabet);
        n_bits += 6;
        if (n_bits >= 8) bytes[(*n)++] = (char)(bits >> (n_bits -= 8));
    }
    return bytes;
}

static void check_row(const struct fkv_tokenizer *tokenizer, const json_t *row)
{
    const json_t *wanted = json_object_get(row, "ids"), *pieces = json_object_get(row, "pieces"),
                 *plain = json_object_get(row, "text");
    const unsigned flags = (json_is_true(json_object_get(row, "add_special")) ? FKV_TOKENIZE_ADD_SPECIAL : 0u) |
                           (json_is_true(json_object_get(row, "parse_special")) ? FKV_TOKENIZE_PARSE_SPECIAL : 0u);
    size_t n_text = json_string_length(plain), n_ids;
    char *decoded = plain ? NULL : from_base64(json_string_value(json_object_get(row, "text_b64")), &n_text);
    const char *text = plain ? json_string_value(plain) : decoded;
    int32_t *ids;
    struct fkv_error e;
    if (fkv_tokenizer_encode(tokenizer, text, n_text, flags, &ids, &n_ids, &e)) fail_msg("'%s': %s", text, e.text);
    for (size_t i = 0; i < n_ids && i < json_array_size(wanted); i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(wanted, i));
        if (ids[i] != id) fail_msg("'%s', flags %u, token %zu: expected %d, got %d", text, flags, i, id, ids[i]);
        if (!pieces) continue;
        size_t n_piece;
        char *piece = from_base64(json_string_value(json_array_get(pieces, i)), &n_piece);
        const char *bytes;
        assert_int_equal(fkv_tokenizer_bytes(tokenizer, id, true, &bytes), n_piece);
        assert_memory_equal(bytes, piece, n_piece);
        free(piece);
    }
    if (n_ids != json_array_size(wanted))
        fail_msg("'%s', flags %u: expected %zu tokens, got %zu", text, flags, json_array_size(wanted), n_ids);
    free(ids);
    free(decoded);
}

/* The rows of a file that are this model's (NULL: all); returns their number. */
static int check_rows(const struct fkv_tokenizer *tokenizer, const char *path, const char *model)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int rows = 0;
    json_t *row;
    while ((row = json_loadf(file, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, NULL))) {
        if (!model || strcmp(json_string_value(json_object_get(row, "model")), model) == 0) {
            check_row(tokenizer, row);
            rows++;
        }
        json_decref(row);
    }
    fclose(file);
    return rows;
}

static void test_rows(void **state)
{
    char **names = *state; /* FILE, GGUF */
    double seconds;
    struct fkv_tokenizer *tokenizer = load_file(names[1], &seconds);
    assert_true(check_rows(tokenizer, names[0], NULL) > 0);
    fkv_tokenizer_destroy(tokenizer);
}

static void test_golden(void **state)
{
    const char *model = *state;
    double seconds;
    struct fkv_tokenizer *tokenizer = load(model, &seconds);
    if (!tokenizer) skip();
    char path[4096];
    const char *folder = getenv("FKV_GOLDEN");
    assert_non_null(folder);
    snprintf(path, sizeof path, "%s/tokens.jsonl", folder);
    const int rows = check_rows(tokenizer, path, model);
    assert_int_equal(rows, rows_per_model);
    printf("%s: %d tokens loaded in %.3f s\n", model, fkv_tokenizer_n_vocab(tokenizer), seconds);
    fkv_tokenizer_destroy(tokenizer);
}

enum { MEGABYTE = 1 << 20 };

/* Fills a megabyte by repeating n bytes. */
static void repeat(char *text, const char *pattern, size_t n)
{
    for (size_t i = 0; i < MEGABYTE; i++) text[i] = pattern[i % n];
}

/* Far above what is measured (0.003 to 0.7 s on one core of an AMD EPYC; twice that where other programs share its
   caches, several times that under sanitizers) and far below the hours of a quadratic merge. */
#if defined(NDEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static const double most_seconds = 4.0;
#else
static const double most_seconds = 10.0;
#endif

static void check_time(const struct fkv_tokenizer *tokenizer, const char *name, const char *text)
{
    int32_t *ids;
    size_t n_ids;
    const double start = cpu_seconds();
    assert_int_equal(fkv_tokenizer_encode(tokenizer, text, MEGABYTE, FKV_TOKENIZE_PARSE_SPECIAL, &ids, &n_ids, NULL),
                     FKV_OK);
    const double seconds = cpu_seconds() - start;
    printf("  %-10s %.3f s, %zu tokens\n", name, seconds, n_ids);
    assert_true(n_ids > 0);
    assert_true(seconds < most_seconds);
    free(ids);
}

static void test_time(void **state)
{
    static const struct {
        const char *name, *pattern;
    } texts[] = {
        {"letters", "a"},
        {"spaces", " "},
        {"digits", "7"},
        {"newlines", "\n"},
        {"cjk", "\xe4\xb8\x96\xe7\x95\x8c"},
        {"punctuation", "="},
        {"specials", "<|im_end|>"},
        {"almost", "<|im_end|"},
        {"emoji", "\xf0\x9f\x91\x8d"},
        {"bad utf-8", "\xf4\x90\x80\x80"},
        {"prose", "The quick brown fox jumps over the lazy dog, and it's 12 o'clock already; nobody minds.\n"},
    };
    double seconds;
    struct fkv_tokenizer *tokenizer = load(*state, &seconds);
    if (!tokenizer) skip();
    char *text = malloc(MEGABYTE);
    assert_non_null(text);
    printf("%s, 1 MiB of\n", (const char *)*state);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        repeat(text, texts[i].pattern, strlen(texts[i].pattern));
        check_time(tokenizer, texts[i].name, text);
    }
    uint64_t x = 1;
    for (size_t i = 0; i < MEGABYTE; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        text[i] = (char)(x >> 56);
    }
    check_time(tokenizer, "random", text);
    free(text);
    fkv_tokenizer_destroy(tokenizer);
}

static void test_ends(void **state)
{
    (void)state;
    double seconds;
    struct fkv_tokenizer *tokenizer = load("qwen2.5-coder-0.5b", &seconds);
    if (!tokenizer) skip();
    assert_int_equal(fkv_tokenizer_eos(tokenizer), 151645);
    assert_true(fkv_tokenizer_is_end(tokenizer, 151645));  /* <|im_end|> */
    assert_true(fkv_tokenizer_is_end(tokenizer, 151643));  /* <|endoftext|>, by its name only */
    assert_false(fkv_tokenizer_is_end(tokenizer, 151644)); /* <|im_start|> */
    fkv_tokenizer_destroy(tokenizer);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "rows") == 0) {
        const struct CMUnitTest rows[] = {{argv[2], test_rows, NULL, NULL, argv + 2}};
        return cmocka_run_group_tests(rows, NULL, NULL);
    }
    struct CMUnitTest tests[2 * n_models + 1];
    char path[4096];
    int n = 0, there = 0;
    for (int i = 0; i < n_models; i++) {
        there += model_path(models[i], path, sizeof path);
        tests[n++] = (struct CMUnitTest){models[i], test_golden, NULL, NULL, (void *)models[i]};
        tests[n++] = (struct CMUnitTest){"1 MiB of one thing", test_time, NULL, NULL, (void *)models[i]};
    }
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_ends);
    return there ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
