/* The GGUF reader: what it reads, what it refuses and how it says so, split files, and a file broken in thousands of
   ways. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "gguf/gguf.h"
#include "support/gguf_visit.h"
#include "support/gguf_writer.h"

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

static struct fkv_str str(const char *s) { return (struct fkv_str){s, strlen(s)}; }

static void assert_str(struct fkv_str found, const char *wanted)
{
    assert_int_equal(found.n, strlen(wanted));
    assert_memory_equal(found.data, wanted, found.n);
}

static void assert_failure(fkv_status found, fkv_status wanted, const struct fkv_error *e, const char *message)
{
    assert_string_equal(e->text, message);
    assert_int_equal(found, wanted);
}

/* An open file and the bytes it lies in. */
struct opened {
    uint8_t *bytes;
    struct fkv_gguf *gguf;
};

static struct opened open_writer(struct gguf_writer *w)
{
    struct opened o;
    struct fkv_error e = {""};
    size_t n;
    o.bytes = gguf_writer_finish(w, &n);
    if (fkv_gguf_open_memory(&o.gguf, o.bytes, n, &e) != FKV_OK) fail_msg("%s", e.text);
    gguf_visit(o.gguf);
    return o;
}

static void close_opened(struct opened o)
{
    fkv_gguf_close(o.gguf);
    free(o.bytes);
}

static void expect_refusal(struct gguf_writer *w, fkv_status status, const char *message)
{
    struct fkv_gguf *gguf = NULL;
    struct fkv_error e = {""};
    size_t n;
    uint8_t *bytes = gguf_writer_finish(w, &n);
    assert_failure(fkv_gguf_open_memory(&gguf, bytes, n, &e), status, &e, message);
    assert_null(gguf);
    free(bytes);
}

/* A small model: keys of every kind, tensors of several types, no byte after the last tensor's data. */
static struct gguf_writer *small_model(uint32_t version, uint32_t alignment)
{
    const char *const tokens[] = {"<s>", "", "a", "token with spaces"};
    const float scores[] = {-1.5f, 0, 2, 1e30f};
    const int32_t types[] = {3, 1, -1, 6};
    const int8_t i8 = -8;
    const uint8_t u8 = 200, zeros[1024] = {0}, bools[] = {1, 0, 1};
    const int16_t i16 = -1600;
    const uint16_t u16 = 60000;
    const int64_t i64 = -1;
    const uint64_t u64 = UINT64_C(1) << 40;
    const double f64 = 0.1;
    const float norm[64] = {1, 2, 3};

    struct gguf_writer *w = gguf_writer_new(version, alignment);
    gguf_put_str(w, "general.architecture", "llama");
    gguf_put_u32(w, "u32", 4000000000u);
    gguf_put_i32(w, "i32", -32);
    gguf_put_f32(w, "f32", 0.25f);
    gguf_put_bool(w, "yes", true);
    gguf_put_bool(w, "no", false);
    gguf_put_scalar(w, "u8", FKV_GGUF_U8, &u8);
    gguf_put_scalar(w, "i8", FKV_GGUF_I8, &i8);
    gguf_put_scalar(w, "u16", FKV_GGUF_U16, &u16);
    gguf_put_scalar(w, "i16", FKV_GGUF_I16, &i16);
    gguf_put_scalar(w, "u64", FKV_GGUF_U64, &u64);
    gguf_put_scalar(w, "i64", FKV_GGUF_I64, &i64);
    gguf_put_scalar(w, "f64", FKV_GGUF_F64, &f64);
    gguf_put_array_str(w, "tokens", tokens, LENGTH(tokens));
    gguf_put_array(w, "scores", FKV_GGUF_F32, scores, LENGTH(scores));
    gguf_put_array(w, "types", FKV_GGUF_I32, types, LENGTH(types));
    gguf_put_array(w, "bools", FKV_GGUF_BOOL, bools, LENGTH(bools));
    gguf_put_array(w, "empty", FKV_GGUF_F64, NULL, 0);
    gguf_put_array_str(w, "empty strings", NULL, 0);
    gguf_put_tensor(w, "norm.weight", FKV_TYPE_F32, 1, (const uint64_t[]){64}, norm, sizeof norm);
    gguf_put_tensor(w, "q4_k.weight", FKV_TYPE_Q4_K, 2, (const uint64_t[]){512, 3}, zeros, 6 * 144);
    gguf_put_tensor(w, "q8_0.weight", FKV_TYPE_Q8_0, 3, (const uint64_t[]){32, 2, 2}, zeros, 4 * 34);
    gguf_put_tensor(w, "f16.weight", FKV_TYPE_F16, 4, (const uint64_t[]){5, 1, 1, 3}, zeros, 30);
    return w;
}

/* ---- what is read ---------------------------------------------------------------------------- */

static void test_values(void **state)
{
    (void)state;
    const struct opened o = open_writer(small_model(3, 0));
    const struct fkv_gguf *g = o.gguf;
    struct fkv_error e = {""};
    uint32_t u = 7;
    float f = 7;
    bool b = false;
    struct fkv_str s = {0};

    assert_int_equal(fkv_gguf_str(g, "general.architecture", &s, &e), FKV_OK);
    assert_str(s, "llama");
    assert_int_equal(fkv_gguf_u32(g, "u32", &u, &e), FKV_OK);
    assert_int_equal(u, 4000000000u);
    assert_int_equal(fkv_gguf_u32(g, "u8", &u, &e), FKV_OK);
    assert_int_equal(u, 200);
    assert_int_equal(fkv_gguf_u32(g, "u16", &u, &e), FKV_OK);
    assert_int_equal(u, 60000);
    assert_int_equal(fkv_gguf_f32(g, "f32", &f, &e), FKV_OK);
    assert_true(f == 0.25f);
    assert_int_equal(fkv_gguf_f32(g, "f64", &f, &e), FKV_OK);
    assert_true(f == 0.1f);
    assert_int_equal(fkv_gguf_bool(g, "yes", &b, &e), FKV_OK);
    assert_true(b);
    assert_int_equal(fkv_gguf_bool(g, "no", &b, &e), FKV_OK);
    assert_false(b);

    /* Missing keys leave the defaults. */
    assert_false(fkv_gguf_has(g, "u3"));
    assert_true(fkv_gguf_has(g, "u32"));
    assert_int_equal(fkv_gguf_u32(g, "none", &u, &e), FKV_OK);
    assert_int_equal(fkv_gguf_f32(g, "none", &f, &e), FKV_OK);
    assert_int_equal(fkv_gguf_bool(g, "none", &b, &e), FKV_OK);
    assert_int_equal(fkv_gguf_str(g, "none", &s, &e), FKV_OK);
    assert_int_equal(u, 60000);
    assert_true(f == 0.1f);
    assert_str(s, "llama");
    assert_string_equal(e.text, "");
    close_opened(o);
}

static void test_values_of_the_wrong_kind(void **state)
{
    (void)state;
    const double huge = 1e300;
    struct gguf_writer *w = small_model(3, 0);
    gguf_put_scalar(w, "huge", FKV_GGUF_F64, &huge);
    const struct opened o = open_writer(w);
    const struct fkv_gguf *g = o.gguf;
    struct fkv_error e = {""};
    uint32_t u = 7;
    float f = 7;
    bool b = true;
    uint64_t n = 7;
    struct fkv_str s = str("default");

    const fkv_status bad = FKV_ERROR_FORMAT;
    assert_failure(fkv_gguf_u32(g, "f32", &u, &e), bad, &e, "(memory): key f32: expected an integer, found f32");
    assert_failure(fkv_gguf_u32(g, "yes", &u, &e), bad, &e, "(memory): key yes: expected an integer, found bool");
    assert_failure(fkv_gguf_u32(g, "types", &u, &e), bad, &e,
                   "(memory): key types: expected an integer, found an array of i32");
    assert_failure(fkv_gguf_u32(g, "i8", &u, &e), bad, &e,
                   "(memory): key i8: expected an integer from 0 to 4294967295, found -8");
    assert_failure(fkv_gguf_u32(g, "i16", &u, &e), bad, &e,
                   "(memory): key i16: expected an integer from 0 to 4294967295, found -1600");
    assert_failure(fkv_gguf_u32(g, "i64", &u, &e), bad, &e,
                   "(memory): key i64: expected an integer from 0 to 4294967295, found -1");
    assert_failure(fkv_gguf_u32(g, "u64", &u, &e), bad, &e,
                   "(memory): key u64: expected an integer from 0 to 4294967295, found 1099511627776");
    assert_failure(fkv_gguf_f32(g, "u32", &f, &e), bad, &e, "(memory): key u32: expected a float, found u32");
    assert_failure(fkv_gguf_f32(g, "huge", &f, &e), bad, &e,
                   "(memory): key huge: expected a finite float of 32 bits, found 1e+300");
    assert_failure(fkv_gguf_bool(g, "u8", &b, &e), bad, &e, "(memory): key u8: expected bool, found u8");
    assert_failure(fkv_gguf_str(g, "u8", &s, &e), bad, &e, "(memory): key u8: expected string, found u8");
    assert_failure(fkv_gguf_array(g, "u8", FKV_GGUF_U8, &n, &e), bad, &e,
                   "(memory): key u8: expected an array of u8, found u8");
    assert_failure(fkv_gguf_array(g, "tokens", FKV_GGUF_F32, &n, &e), bad, &e,
                   "(memory): key tokens: expected an array of f32, found an array of string");
    assert_int_equal(u, 7);
    assert_true(f == 7);
    assert_true(b);
    assert_int_equal(n, 7);
    assert_str(s, "default");
    close_opened(o);
}

static void test_arrays(void **state)
{
    (void)state;
    const struct opened o = open_writer(small_model(2, 0));
    const struct fkv_gguf *g = o.gguf;
    struct fkv_error e = {""};
    uint64_t n = 7;
    assert_int_equal(fkv_gguf_array(g, "none", FKV_GGUF_STRING, &n, &e), FKV_OK);
    assert_int_equal(n, 0);
    assert_int_equal(fkv_gguf_array(g, "tokens", FKV_GGUF_STRING, &n, &e), FKV_OK);
    assert_int_equal(n, 4);
    assert_str(fkv_gguf_array_str(g, "tokens", 3), "token with spaces");
    assert_str(fkv_gguf_array_str(g, "tokens", 0), "<s>");
    assert_str(fkv_gguf_array_str(g, "tokens", 1), "");
    assert_int_equal(fkv_gguf_array(g, "scores", FKV_GGUF_F32, &n, &e), FKV_OK);
    assert_int_equal(n, 4);
    assert_true(fkv_gguf_array_f32(g, "scores", 0) == -1.5f && fkv_gguf_array_f32(g, "scores", 3) == 1e30f);
    assert_int_equal(fkv_gguf_array(g, "types", FKV_GGUF_U32, &n, &e), FKV_OK); /* integers serve for one another */
    assert_int_equal(fkv_gguf_array_int(g, "types", 2), -1);
    assert_int_equal(fkv_gguf_array_int(g, "types", 3), 6);
    assert_int_equal(fkv_gguf_array(g, "bools", FKV_GGUF_BOOL, &n, &e), FKV_OK);
    assert_int_equal(fkv_gguf_array_int(g, "bools", 2), 1);
    assert_int_equal(fkv_gguf_array(g, "empty", FKV_GGUF_F64, &n, &e), FKV_OK);
    assert_int_equal(n, 0);

    enum fkv_gguf_kind kind, elem;
    assert_int_equal(fkv_gguf_n_keys(g), 19);
    assert_str(fkv_gguf_key(g, 13, &kind, &elem, &n), "tokens");
    assert_int_equal(kind, FKV_GGUF_ARRAY);
    assert_int_equal(elem, FKV_GGUF_STRING);
    assert_int_equal(n, 4);
    assert_str(fkv_gguf_key(g, 1, &kind, &elem, &n), "u32");
    assert_int_equal(kind, FKV_GGUF_U32);
    assert_int_equal(elem, FKV_GGUF_U32);
    assert_int_equal(n, 1);
    close_opened(o);
}

static void test_tensors(void **state)
{
    (void)state;
    const uint32_t alignments[] = {0, 8, 64, 4096};
    for (size_t i = 0; i < LENGTH(alignments); i++) {
        const uint32_t alignment = alignments[i] ? alignments[i] : 32;
        const struct opened o = open_writer(small_model(i % 2 ? 3 : 2, alignments[i]));
        assert_int_equal(fkv_gguf_n_tensors(o.gguf), 4);
        const struct fkv_gguf_tensor *t = fkv_gguf_tensor(o.gguf, 0);
        const float wanted[64] = {1, 2, 3};
        assert_string_equal(t->name, "norm.weight");
        assert_int_equal(t->bytes, sizeof wanted);
        assert_memory_equal(t->data, wanted, sizeof wanted);
        assert_int_equal((size_t)(t->data - o.bytes) % alignment, 0);

        t = fkv_gguf_find_tensor(o.gguf, "q4_k.weight");
        assert_ptr_equal(t, fkv_gguf_tensor(o.gguf, 1));
        assert_int_equal(t->type, FKV_TYPE_Q4_K);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->dims[0], 512);
        assert_int_equal(t->dims[1], 3);
        assert_int_equal(t->dims[2], 1);
        assert_int_equal(t->dims[3], 1);
        assert_int_equal(t->bytes, 6 * 144);
        assert_int_equal((size_t)(t->data - o.bytes) % alignment, 0);
        assert_null(fkv_gguf_find_tensor(o.gguf, "q4_k.weigh"));
        assert_null(fkv_gguf_find_tensor(o.gguf, ""));
        close_opened(o);
    }
}

static void test_empty_model(void **state)
{
    (void)state;
    const struct opened o = open_writer(gguf_writer_new(3, 0));
    assert_int_equal(fkv_gguf_n_keys(o.gguf), 0);
    assert_int_equal(fkv_gguf_n_tensors(o.gguf), 0);
    assert_false(fkv_gguf_has(o.gguf, "general.architecture"));
    assert_null(fkv_gguf_find_tensor(o.gguf, "x"));
    close_opened(o);
    fkv_gguf_close(NULL);
}

/* Hundreds of thousands of keys, tensors and strings: quadratic work would run into the test's time limit. */
static void test_many_names(void **state)
{
    (void)state;
    enum { N = 300000 };
    const char **strings = malloc(N * sizeof *strings);
    const float zero = 0;
    char name[32];
    struct gguf_writer *w = gguf_writer_new(3, 8);
    assert_non_null(strings);
    for (int i = 0; i < N; i++) {
        strings[i] = "x";
        snprintf(name, sizeof name, "name.%d", i);
        gguf_put_u32(w, name, (uint32_t)i);
        gguf_put_tensor_at(w, str(name), FKV_TYPE_F32, 1, (const uint64_t[]){1}, 0);
    }
    gguf_put_array_str(w, "strings", strings, N);
    gguf_put_tensor(w, "data", FKV_TYPE_F32, 1, (const uint64_t[]){1}, &zero, sizeof zero);
    const struct opened o = open_writer(w); /* which also reads every string */
    uint32_t value = 0;
    assert_int_equal(fkv_gguf_u32(o.gguf, "name.299999", &value, NULL), FKV_OK);
    assert_int_equal(value, N - 1);
    assert_non_null(fkv_gguf_find_tensor(o.gguf, "name.0"));
    close_opened(o);
    free(strings);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_refusal_of(const void *bytes, size_t n, fkv_status status, const char *message)
{
    struct fkv_gguf *gguf = NULL;
    struct fkv_error e = {""};
    assert_failure(fkv_gguf_open_memory(&gguf, bytes, n, &e), status, &e, message);
    assert_null(gguf);
}

static void test_refuses_headers(void **state)
{
    (void)state;
    expect_refusal_of(NULL, 0, FKV_ERROR_FORMAT,
                      "(memory): header: the file ends inside its magic number: expected 4 bytes at byte 0, found 0");
    expect_refusal_of("GGU", 3, FKV_ERROR_FORMAT,
                      "(memory): header: the file ends inside its magic number: expected 4 bytes at byte 0, found 3");
    expect_refusal_of("OGGS....", 8, FKV_ERROR_FORMAT,
                      "(memory): header: expected a GGUF file, found one that begins with the bytes 4f 47 47 53");
    expect_refusal_of(
        "GGUF\3\0\0\0\1\0\0", 11, FKV_ERROR_FORMAT,
        "(memory): header: the file ends inside its number of tensors: expected 8 bytes at byte 8, found 3");
    expect_refusal_of("GGUF\0\0\0\3", 8, FKV_ERROR_UNSUPPORTED,
                      "(memory): header: expected a little-endian file, found a big-endian one");
    expect_refusal(gguf_writer_new(1, 0), FKV_ERROR_UNSUPPORTED, "(memory): header: expected version 2 or 3, found 1");
    expect_refusal(gguf_writer_new(4, 0), FKV_ERROR_UNSUPPORTED, "(memory): header: expected version 2 or 3, found 4");

    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_bool(w, "k", true);
    gguf_claim_counts(w, 0, UINT64_MAX);
    expect_refusal(
        w, FKV_ERROR_FORMAT,
        "(memory): header: expected at most 3 keys in a file of 64 bytes, found a count of 18446744073709551615");
    w = gguf_writer_new(3, 0);
    gguf_put_bool(w, "k", true);
    gguf_claim_counts(w, 2, 1);
    expect_refusal(w, FKV_ERROR_FORMAT,
                   "(memory): header: expected at most 1 tensors in a file of 64 bytes, found a count of 2");
    w = gguf_writer_new(3, 0);
    gguf_put_str(w, "k", "twelve bytes");
    gguf_claim_counts(w, 0, 2);
    expect_refusal(w, FKV_ERROR_FORMAT,
                   "(memory): key 2 of 2: the file ends inside its name: expected 8 bytes at byte 57, found 7");
}

static void test_refuses_keys(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "a", 1);
    gguf_put_u32(w, "b", 1);
    gguf_put_f32(w, "a", 1);
    expect_refusal(w, FKV_ERROR_FORMAT, "(memory): key a: found twice");

    w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "", 1);
    expect_refusal(w, FKV_ERROR_FORMAT, "(memory): key : expected a name of 1 to 65535 bytes, found 0");

    char *long_name = malloc(65537);
    assert_non_null(long_name);
    memset(long_name, 'n', 65536);
    w = gguf_writer_new(3, 0);
    gguf_put_raw(w, (struct fkv_str){long_name, 65536}, FKV_GGUF_BOOL, "", 1);
    expect_refusal(w, FKV_ERROR_FORMAT,
                   "(memory): key "
                   "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...: "
                   "expected a name of 1 to 65535 bytes, found 65536");
    free(long_name);

    w = gguf_writer_new(3, 0);
    gguf_put_raw(w, (struct fkv_str){"k\0\x1b[1m\xff", 7}, 13, "\0\0\0\0", 4);
    expect_refusal(w, FKV_ERROR_FORMAT, "(memory): key k??[1m?: expected a kind from 0 to 12, found 13");

    w = gguf_writer_new(3, 0);
    gguf_put_raw(w, str("flag"), FKV_GGUF_BOOL, "\2", 1);
    expect_refusal(w, FKV_ERROR_FORMAT, "(memory): key flag: expected a bool of 0 or 1, found 2");

    w = gguf_writer_new(3, 0);
    gguf_put_raw(w, str("text"), FKV_GGUF_STRING, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    expect_refusal(
        w, FKV_ERROR_FORMAT,
        "(memory): key text: the file ends inside its value: expected 18446744073709551615 bytes at byte 48, found 16");

    const uint32_t bad_alignments[] = {1, 4, 48, 1 << 21};
    for (size_t i = 0; i < LENGTH(bad_alignments); i++) {
        char message[128];
        snprintf(message, sizeof message,
                 "(memory): key general.alignment: expected a power of two from 8 to 1048576, found %u",
                 bad_alignments[i]);
        expect_refusal(gguf_writer_new(3, bad_alignments[i]), FKV_ERROR_FORMAT, message);
    }
    w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "general.alignment", 0);
    expect_refusal(w, FKV_ERROR_FORMAT,
                   "(memory): key general.alignment: expected a power of two from 8 to 1048576, found 0");
    w = gguf_writer_new(3, 0);
    gguf_put_str(w, "general.alignment", "32");
    expect_refusal(w, FKV_ERROR_FORMAT, "(memory): key general.alignment: expected an integer, found string");
}

/* An array key with this element kind and count and no elements, then 17 bytes of padding. */
static void expect_array_refusal(uint32_t elem, uint64_t count, fkv_status status, const char *message)
{
    uint8_t head[12];
    struct gguf_writer *w = gguf_writer_new(3, 0);
    memcpy(head, &elem, 4);
    memcpy(head + 4, &count, 8);
    gguf_put_raw(w, str("arr"), FKV_GGUF_ARRAY, head, sizeof head);
    expect_refusal(w, status, message);
}

static void test_refuses_arrays(void **state)
{
    (void)state;
    expect_array_refusal(FKV_GGUF_ARRAY, 1, FKV_ERROR_UNSUPPORTED,
                         "(memory): key arr: arrays of arrays are not supported");
    expect_array_refusal(99, 1, FKV_ERROR_FORMAT,
                         "(memory): key arr: expected a kind of element from 0 to 12, found 99");
    expect_array_refusal(FKV_GGUF_U32, UINT64_MAX / 4 + 1, FKV_ERROR_FORMAT,
                         "(memory): key arr: expected at most 3 elements in the 13 bytes that follow, found a count of "
                         "4611686018427387904");
    expect_array_refusal(
        FKV_GGUF_U8, 14, FKV_ERROR_FORMAT,
        "(memory): key arr: expected at most 13 elements in the 13 bytes that follow, found a count of 14");
    expect_array_refusal(FKV_GGUF_STRING, UINT64_MAX, FKV_ERROR_FORMAT,
                         "(memory): key arr: expected at most 1 elements in the 13 bytes that follow, found a count of "
                         "18446744073709551615");
    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_raw(w, str("arr"), FKV_GGUF_ARRAY,
                 "\x8\0\0\0"
                 "\2\0\0\0\0\0\0\0"
                 "\1\0\0\0\0\0\0\0"
                 "a"
                 "\xff\xff\0\0\0\0\0\0",
                 29);
    expect_refusal(w, FKV_ERROR_FORMAT,
                   "(memory): key arr: the file ends inside its strings: expected 65535 bytes at byte 68, found 28");
}

static void expect_tensor_refusal(struct fkv_str name, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                                  uint64_t offset, fkv_status status, const char *message)
{
    struct gguf_writer *w = gguf_writer_new(3, 0);
    const float zeros[64] = {0};
    gguf_put_tensor(w, "first", FKV_TYPE_F32, 1, (const uint64_t[]){64}, zeros, sizeof zeros);
    gguf_put_tensor_at(w, name, type, n_dims, dims, offset);
    expect_refusal(w, status, message);
}

static void test_refuses_tensors(void **state)
{
    (void)state;
    const struct fkv_str t = str("blk.0.ffn_up.weight");
    const fkv_status bad = FKV_ERROR_FORMAT;
    const uint64_t one[] = {1, 1, 1, 1, 1}, none[] = {4, 0}, large[] = {UINT64_C(1) << 33, UINT64_C(1) << 31},
                   wide[] = {UINT64_C(1) << 62, 1}, ten[] = {10}, row[] = {256}, all[] = {64}, more[] = {65};
    char name[128];
    memset(name, 'x', sizeof name);

    expect_tensor_refusal(str("first"), 0, 1, all, 0, bad, "(memory): tensor first: found twice");
    expect_tensor_refusal(str(""), 0, 1, one, 0, bad, "(memory): tensor : expected a name of 1 to 127 bytes, found 0");
    expect_tensor_refusal((struct fkv_str){"a\0b", 3}, 0, 1, one, 0, bad,
                          "(memory): tensor a?b: expected a name without NUL bytes");
    expect_tensor_refusal(
        (struct fkv_str){name, 128}, 0, 1, one, 0, bad,
        "(memory): tensor "
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...: "
        "expected a name of 1 to 127 bytes, found 128");
    expect_tensor_refusal(t, 0, 0, one, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected 1 to 4 dimensions, found 0");
    expect_tensor_refusal(t, 0, 5, one, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected 1 to 4 dimensions, found 5");
    expect_tensor_refusal(t, 0, 2, none, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected dimensions with a product from 1 to "
                          "2^63 - 1, found 0 as dimension 1");
    expect_tensor_refusal(t, 0, 2, large, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected dimensions with a product from 1 to "
                          "2^63 - 1, found 2147483648 as dimension 1");
    expect_tensor_refusal(t, 0, 2, wide, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected a size below 2^64 bytes, found "
                          "4611686018427387904 values of F32");
    expect_tensor_refusal(t, 2, 1, ten, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected rows of a multiple of 32 values (Q4_0), "
                          "found 10");
    expect_tensor_refusal(
        t, 34, 1, row, 0, FKV_ERROR_UNSUPPORTED,
        "(memory): tensor blk.0.ffn_up.weight: type TQ1_0 is not supported (supported: F32, F16, BF16, Q4_0, Q4_1, "
        "Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, "
        "IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, MXFP4)");
    expect_tensor_refusal(
        t, 99, 1, row, 0, FKV_ERROR_UNSUPPORTED,
        "(memory): tensor blk.0.ffn_up.weight: type 99 is not supported (supported: F32, F16, BF16, Q4_0, Q4_1, "
        "Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, "
        "IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS, IQ2_XXS, IQ1_M, IQ1_S, MXFP4)");
    expect_tensor_refusal(t, 0, 1, one, 4, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected an offset that is a multiple of 32, found 4");
    expect_tensor_refusal(t, 0, 1, more, 0, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected 260 bytes at offset 0 of the tensor data, "
                          "found 256 bytes of data in all");
    expect_tensor_refusal(t, 0, 1, one, 256, bad,
                          "(memory): tensor blk.0.ffn_up.weight: expected 4 bytes at offset 256 of the tensor "
                          "data, found 256 bytes of data in all");
    expect_tensor_refusal(
        t, 0, 1, one, UINT64_MAX - 31, bad,
        "(memory): tensor blk.0.ffn_up.weight: expected 4 bytes at offset 18446744073709551584 of the tensor data, "
        "found 256 bytes of data in all");
}

static void test_refuses_paths(void **state)
{
    (void)state;
    struct fkv_gguf *gguf = NULL;
    struct fkv_error e = {""};
    assert_failure(fkv_gguf_open(&gguf, "/nowhere/x.gguf", &e), FKV_ERROR_IO, &e,
                   "/nowhere/x.gguf: No such file or directory");
    assert_failure(fkv_gguf_open(&gguf, "/tmp", &e), FKV_ERROR_IO, &e, "/tmp: expected a regular file");
    assert_null(gguf);
}

/* ---- a file broken in thousands of ways ------------------------------------------------------ */

/* Opens a copy that ends where its heap block ends. What fails must say where; what opens must be readable. */
static bool opens(const uint8_t *bytes, size_t n)
{
    struct fkv_gguf *gguf = NULL;
    struct fkv_error e = {""};
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    const fkv_status status = fkv_gguf_open_memory(&gguf, copy, n, &e);
    if (status == FKV_OK) {
        gguf_visit(gguf);
        fkv_gguf_close(gguf);
    } else {
        assert_true(status == FKV_ERROR_FORMAT || status == FKV_ERROR_UNSUPPORTED); /* and never out of memory */
        static const char *const places[] = {"header: ", "key ", "tensor "};
        const char *place = e.text + strlen("(memory): ");
        bool named = false;
        assert_int_equal(strncmp(e.text, "(memory): ", strlen("(memory): ")), 0);
        for (size_t i = 0; i < LENGTH(places); i++) named |= strncmp(place, places[i], strlen(places[i])) == 0;
        if (!named) fail_msg("%s", e.text);
    }
    free(copy);
    return status == FKV_OK;
}

/* Leaves the process `spare` bytes of address space, so that an allocation on the word of the file fails. Sanitizers
   reserve terabytes and cannot live with that: no limit there. */
static int limit_memory(void **state)
{
    const rlim_t spare = 64 << 20, sanitized = (rlim_t)1 << 40;
    static struct rlimit before;
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    *state = &before;
    const rlim_t used = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
    if (used > sanitized) return 0;
    return setrlimit(RLIMIT_AS, &(struct rlimit){used + spare, before.rlim_max});
}

static int unlimit_memory(void **state) { return setrlimit(RLIMIT_AS, *state); }

static void test_truncated_everywhere(void **state)
{
    (void)state;
    size_t n;
    uint8_t *file = gguf_writer_finish(small_model(3, 8), &n);
    for (size_t i = 0; i < n; i++) assert_false(opens(file, i));
    assert_true(opens(file, n));
    free(file);
}

static void test_every_byte_changed(void **state)
{
    (void)state;
    size_t n;
    uint8_t *file = gguf_writer_finish(small_model(3, 8), &n);
    int opened = 0, refused = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t byte = file[i];
        for (int k = 0; k < 10; k++) {
            file[i] = (uint8_t)(k < 8 ? byte ^ 1 << k : k == 8 ? 0x00 : 0xff);
            if (opens(file, n))
                opened++;
            else
                refused++;
        }
        file[i] = byte;
    }
    assert_true(opened > 1000 && refused > 1000); /* both ends were reached */
    free(file);
}

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Up to four places get a random byte, or a number of eight bytes that is likely to overflow something; half of the
   files are cut too. */
static void test_random_damage(void **state)
{
    (void)state;
    static const uint64_t numbers[] =
        {0, 1, 0xff, 0xffff, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX / 8 + 1, (UINT64_C(1) << 61) + 1};
    size_t n;
    uint64_t seed = 1;
    uint8_t *file = gguf_writer_finish(small_model(2, 8), &n), *damaged = malloc(n);
    assert_non_null(damaged);
    const size_t head =
        n - 1536; /* mostly keys and tensor descriptions; the rest is tensor data, where nothing can break */
    for (int round = 0; round < 50000; round++) {
        memcpy(damaged, file, n);
        for (uint64_t k = 0; k < 1 + next_random(&seed) % 4; k++) {
            const size_t at = next_random(&seed) % (head - 8);
            if (next_random(&seed) % 2)
                damaged[at] = (uint8_t)next_random(&seed);
            else
                memcpy(damaged + at, &numbers[next_random(&seed) % LENGTH(numbers)], 8);
        }
        opens(damaged, next_random(&seed) % 2 ? n : next_random(&seed) % n);
    }
    free(damaged);
    free(file);
}

/* ---- split files ----------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fastkv-test-gguf-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const char *const part_names[] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"};

static int remove_folder(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(part_names); i++) unlink(path_of(part_names[i]));
    unlink(path_of("m.gguf"));
    return rmdir(folder);
}

/* Writes part `no` (from 0) to a file of this name, with one tensor of four floats, all `no`. */
static void write_part(const char *name, uint16_t no, uint16_t count, int32_t n_tensors, const char *tensor)
{
    const float values[] = {(float)no, (float)no, (float)no, (float)no};
    struct gguf_writer *w = gguf_writer_new(3, no == 1 ? 64 : 0);
    if (no == 0) gguf_put_str(w, "general.architecture", "llama");
    gguf_put_scalar(w, "split.no", FKV_GGUF_U16, &no);
    gguf_put_scalar(w, "split.count", FKV_GGUF_U16, &count);
    gguf_put_i32(w, "split.tensors.count", n_tensors);
    gguf_put_tensor(w, tensor, FKV_TYPE_F32, 1, (const uint64_t[]){4}, values, sizeof values);
    gguf_writer_finish_to_file(w, path_of(name));
}

static void write_parts(void)
{
    write_part(part_names[0], 0, 3, 3, "a");
    write_part(part_names[1], 1, 3, 3, "b");
    write_part(part_names[2], 2, 3, 3, "c");
}

static void expect_split_refusal(const char *name, fkv_status status, const char *message)
{
    struct fkv_gguf *gguf = NULL;
    struct fkv_error e = {""};
    assert_failure(fkv_gguf_open(&gguf, path_of(name), &e), status, &e, message);
    assert_null(gguf);
}

static void test_split(void **state)
{
    (void)state;
    struct fkv_gguf *gguf;
    struct fkv_error e = {""};
    write_parts();
    if (fkv_gguf_open(&gguf, path_of(part_names[0]), &e) != FKV_OK) fail_msg("%s", e.text);
    assert_int_equal(fkv_gguf_n_tensors(gguf), 3);
    assert_true(fkv_gguf_has(gguf, "general.architecture"));
    const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        const struct fkv_gguf_tensor *t = fkv_gguf_find_tensor(gguf, names[i]);
        const float wanted[] = {(float)i, (float)i, (float)i, (float)i};
        assert_non_null(t);
        assert_ptr_equal(t, fkv_gguf_tensor(gguf, (size_t)i));
        assert_memory_equal(t->data, wanted, sizeof wanted);
    }
    gguf_visit(gguf);
    fkv_gguf_close(gguf);
}

static void test_split_refusals(void **state)
{
    (void)state;
    const fkv_status bad = FKV_ERROR_FORMAT;
    char message[256];

    write_parts();
    expect_split_refusal(part_names[1], FKV_ERROR_ARGUMENT,
                         "m-00002-of-00003.gguf: expected the first part of a split file, found part 2 of 3");
    write_part("m.gguf", 0, 3, 3, "a");
    expect_split_refusal("m.gguf", FKV_ERROR_ARGUMENT,
                         "m.gguf: expected a name that ends in -00001-of-00003.gguf, as it is the first of 3 parts");
    write_part(part_names[0], 0, 4, 3, "a");
    expect_split_refusal(
        part_names[0], FKV_ERROR_ARGUMENT,
        "m-00001-of-00003.gguf: expected a name that ends in -00001-of-00004.gguf, as it is the first of 4 parts");

    write_parts();
    write_part(part_names[2], 1, 3, 3, "c");
    expect_split_refusal(part_names[0], bad, "m-00003-of-00003.gguf: key split.no: expected 2, found 1");
    write_part(part_names[2], 2, 4, 3, "c");
    expect_split_refusal(part_names[0], bad, "m-00003-of-00003.gguf: key split.count: expected 3, found 4");
    gguf_writer_finish_to_file(gguf_writer_new(3, 0), path_of(part_names[2]));
    expect_split_refusal(part_names[0], bad, "m-00003-of-00003.gguf: key split.no: expected 2, found no such key");
    write_part(part_names[2], 2, 3, 3, "a");
    expect_split_refusal(part_names[0], bad, "m-00001-of-00003.gguf: tensor a: found twice");
    assert_int_equal(truncate(path_of(part_names[2]), 20), 0);
    expect_split_refusal(
        part_names[0], bad,
        "m-00003-of-00003.gguf: header: the file ends inside its number of keys: expected 8 bytes at byte 16, found 4");

    write_parts();
    write_part(part_names[0], 0, 3, 4, "a");
    expect_split_refusal(part_names[0], bad, "m-00001-of-00003.gguf: key split.tensors.count: expected 3, found 4");
    unlink(path_of(part_names[1]));
    snprintf(message, sizeof message, "%s: No such file or directory", path_of(part_names[1]));
    expect_split_refusal(part_names[0], FKV_ERROR_IO, message);

    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "split.count", 2);
    expect_refusal(w, FKV_ERROR_UNSUPPORTED, "(memory): expected a whole file, found one of 2 parts");
}

/* ---- names of another converter --------------------------------------------------------------- */

static float f32_of(const struct fkv_gguf *g, const char *key)
{
    float value = -1;
    assert_int_equal(fkv_gguf_f32(g, key, &value, NULL), FKV_OK);
    return value;
}

static void assert_text(const struct fkv_gguf *g, const char *key, const char *wanted)
{
    struct fkv_str found = {"", 0};
    assert_int_equal(fkv_gguf_str(g, key, &found, NULL), FKV_OK);
    assert_str(found, wanted);
}

static void put_vector(struct gguf_writer *w, const char *name)
{
    static const float zeros[8];
    gguf_put_tensor(w, name, FKV_TYPE_F32, 1, (const uint64_t[]){8}, zeros, sizeof zeros);
}

static struct opened of_arch(struct gguf_writer *w, const char *arch, const char *pre)
{
    gguf_put_str(w, "general.architecture", arch);
    if (pre) gguf_put_str(w, "tokenizer.ggml.pre", pre);
    return open_writer(w);
}

static void test_aliases_of_gptoss(void **state)
{
    (void)state;
    static const float zeros[64];
    uint32_t length = 0;
    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "gptoss.block_count", 2);
    gguf_put_f32(w, "gptoss.rope.scaling.factor", 32);
    put_vector(w, "blk.0.attn_out.bias");
    put_vector(w, "blk.0.attn_sinks");
    put_vector(w, "blk.1.ffn_norm.weight");
    put_vector(w, "output_norm.weight");
    gguf_put_tensor(w, "blk.0.ffn_gate_exps.weight", FKV_TYPE_F32, 3, (const uint64_t[]){8, 4, 2}, zeros, sizeof zeros);
    struct opened o = of_arch(w, "gptoss", "default");
    assert_text(o.gguf, "general.architecture", "gpt-oss");
    assert_text(o.gguf, "gpt-oss.rope.scaling.type", "yarn");
    assert_text(o.gguf, "tokenizer.ggml.pre", "gpt-4o");
    assert_true(f32_of(o.gguf, "gpt-oss.rope.scaling.factor") == 32);
    assert_false(fkv_gguf_has(o.gguf, "gptoss.block_count"));
    assert_int_equal(fkv_gguf_u32(o.gguf, "gpt-oss.expert_feed_forward_length", &length, NULL), FKV_OK);
    assert_int_equal(length, 4);
    static const char *const names[] = {"blk.0.attn_output.bias", "blk.0.attn_sinks.weight",
                                        "blk.1.post_attention_norm.weight", "output_norm.weight"};
    for (size_t i = 0; i < LENGTH(names); i++) assert_non_null(fkv_gguf_find_tensor(o.gguf, names[i]));
    assert_null(fkv_gguf_find_tensor(o.gguf, "blk.1.ffn_norm.weight"));
    close_opened(o);

    w = gguf_writer_new(3, 0); /* every other writer's: nothing changes */
    gguf_put_u32(w, "gpt-oss.expert_feed_forward_length", 7);
    put_vector(w, "blk.0.ffn_norm.weight");
    put_vector(w, "blk.0.post_attention_norm.weight");
    o = of_arch(w, "gpt-oss", "gpt-4o");
    assert_int_equal(fkv_gguf_u32(o.gguf, "gpt-oss.expert_feed_forward_length", &length, NULL), FKV_OK);
    assert_int_equal(length, 7);
    assert_non_null(fkv_gguf_find_tensor(o.gguf, "blk.0.ffn_norm.weight"));
    assert_false(fkv_gguf_has(o.gguf, "gpt-oss.rope.scaling.type"));
    close_opened(o);
}

static void test_aliases_of_gemma(void **state)
{
    (void)state;
    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "gemma3.context_length", 131072);
    gguf_put_f32(w, "gemma3.rope.global.freq_base", 1e6f);
    gguf_put_f32(w, "gemma3.rope.local.freq_base", 1e4f);
    struct opened o = of_arch(w, "gemma3", NULL);
    assert_true(f32_of(o.gguf, "gemma3.rope.freq_base") == 1e6f && f32_of(o.gguf, "gemma3.rope.freq_base_swa") == 1e4f);
    assert_true(f32_of(o.gguf, "gemma3.rope.scaling.factor") == 8);
    assert_true(f32_of(o.gguf, "gemma3.attention.layer_norm_rms_epsilon") == 1e-6f);
    close_opened(o);

    w = gguf_writer_new(3, 0);
    gguf_put_u32(w, "gemma3.context_length", 32768);
    gguf_put_f32(w, "gemma3.rope.global.freq_base", 7); /* the common name counts */
    gguf_put_f32(w, "gemma3.rope.freq_base", 1e6f);
    gguf_put_f32(w, "gemma3.attention.layer_norm_rms_epsilon", 1e-5f);
    o = of_arch(w, "gemma3", NULL);
    assert_true(f32_of(o.gguf, "gemma3.rope.freq_base") == 1e6f);
    assert_true(f32_of(o.gguf, "gemma3.attention.layer_norm_rms_epsilon") == 1e-5f);
    assert_false(fkv_gguf_has(o.gguf, "gemma3.rope.scaling.factor"));
    close_opened(o);

    w = gguf_writer_new(3, 0);
    gguf_put_str(w, "tokenizer.ggml.model", "llama");
    put_vector(w, "blk.3.ffn_gate_inp.per_expert_scale");
    o = of_arch(w, "gemma4", "gemma4");
    assert_text(o.gguf, "tokenizer.ggml.model", "gemma4");
    assert_non_null(fkv_gguf_find_tensor(o.gguf, "blk.3.ffn_down_exps.scale"));
    close_opened(o);
}

static void test_aliases_of_others(void **state)
{
    (void)state;
    enum { N = 128010 };
    const char **tokens = malloc(N * sizeof *tokens);
    assert_non_null(tokens);
    for (int i = 0; i < N; i++) tokens[i] = "x";
    for (int llama3 = 0; llama3 < 2; llama3++) {
        tokens[128009] = llama3 ? "<|eot_id|>" : "x";
        struct gguf_writer *w = gguf_writer_new(3, 0);
        gguf_put_array_str(w, "tokenizer.ggml.tokens", tokens, N);
        struct opened o = of_arch(w, "llama", llama3 ? NULL : "default");
        assert_text(o.gguf, "tokenizer.ggml.pre", llama3 ? "llama-bpe" : "default");
        close_opened(o);
    }
    free(tokens);

    struct gguf_writer *w = gguf_writer_new(3, 0);
    gguf_put_f32(w, "mistral3.rope.scaling.beta_fast", 32);
    gguf_put_f32(w, "mistral3.rope.scaling_beta", 0.25f);
    gguf_put_f32(w, "mistral3.rope.scaling.mscale_all_dim", 1);
    struct opened o = of_arch(w, "mistral3", "default");
    assert_true(f32_of(o.gguf, "mistral3.rope.scaling.yarn_beta_fast") == 32);
    assert_true(f32_of(o.gguf, "mistral3.attention.temperature_scale") == 0.25f);
    assert_true(f32_of(o.gguf, "mistral3.rope.scaling.yarn_log_multiplier") == 1);
    assert_text(o.gguf, "tokenizer.ggml.pre", "tekken");
    close_opened(o);

    w = gguf_writer_new(3, 0);
    put_vector(w, "output_norm.weight");
    o = of_arch(w, "lfm2", NULL);
    assert_non_null(fkv_gguf_find_tensor(o.gguf, "token_embd_norm.weight"));
    assert_text(o.gguf, "tokenizer.ggml.pre", "lfm2");
    close_opened(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_of_the_wrong_kind),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_empty_model),
        cmocka_unit_test(test_many_names),
        cmocka_unit_test(test_aliases_of_gptoss),
        cmocka_unit_test(test_aliases_of_gemma),
        cmocka_unit_test(test_aliases_of_others),
        cmocka_unit_test(test_refuses_headers),
        cmocka_unit_test(test_refuses_keys),
        cmocka_unit_test(test_refuses_arrays),
        cmocka_unit_test(test_refuses_tensors),
        cmocka_unit_test(test_refuses_paths),
        cmocka_unit_test_setup_teardown(test_truncated_everywhere, limit_memory, unlimit_memory),
        cmocka_unit_test_setup_teardown(test_every_byte_changed, limit_memory, unlimit_memory),
        cmocka_unit_test_setup_teardown(test_random_damage, limit_memory, unlimit_memory),
        cmocka_unit_test_setup_teardown(test_split, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_split_refusals, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
