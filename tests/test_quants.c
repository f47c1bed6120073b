/* The reference dequantisers against golden/quants.jsonl, bit for bit, and the table of types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "quant/quant.h"

/* Raw blocks at an odd address: weights in a mapped file promise no alignment. */
static uint8_t *bytes_from_hex(const char *hex, size_t n)
{
    uint8_t *bytes = malloc(n + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i + 1] = (uint8_t)byte;
    }
    return bytes;
}

/* That of zlib, of the values' bytes, the lowest first. */
static uint32_t crc32_of(const float *values, size_t n)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < 4 * n; i++) {
        crc ^= fkv_bits_from_f32(values[i / 4]) >> 8 * (i % 4) & 255;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

/* A row has its values, or where they are many their CRC-32. */
static void check_values(const json_t *row, const struct fkv_quant_type *q)
{
    const json_t *values = json_object_get(row, "values"), *crc = json_object_get(row, "crc32");
    const char *hex = json_string_value(json_object_get(row, "raw_hex"));
    const size_t bytes = strlen(hex) / 2, n = bytes / q->block_bytes * q->block_elements;
    assert_true(n > 0 && (crc || n == json_array_size(values)));
    assert_int_equal(bytes, fkv_quant_row_bytes(q, n));
    uint8_t *raw = bytes_from_hex(hex, bytes);
    float *got = malloc(n * sizeof *got);
    assert_non_null(got);
    q->dequantize(raw + 1, got, n);
    if (crc) assert_int_equal(crc32_of(got, n), (uint32_t)json_real_value(crc));
    for (size_t i = 0; i < n && !crc; i++) {
        const float wanted = (float)json_real_value(json_array_get(values, i));
        if (fkv_bits_from_f32(got[i]) != fkv_bits_from_f32(wanted)) {
            fail_msg("%s, case '%s', value %zu: expected %.9g, got %.9g", q->name,
                     json_string_value(json_object_get(row, "case")), i, wanted, got[i]);
        }
    }
    free(got);
    free(raw);
}

static void test_golden(void **state)
{
    (void)state;
    char path[4096], buf[16];
    const char *folder = getenv("FKV_GOLDEN");
    assert_non_null(folder);
    snprintf(path, sizeof path, "%s/quants.jsonl", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int rows_of[FKV_TYPE_LIMIT] = {0}, unsupported = 0;
    json_t *row;
    /* "-0" is an integer to JSON: as a real it keeps its sign. */
    while ((row = json_loadf(file, JSON_DISABLE_EOF_CHECK | JSON_DECODE_INT_AS_REAL, NULL))) {
        const uint32_t type = (uint32_t)json_real_value(json_object_get(row, "type_id"));
        assert_string_equal(fkv_quant_name(type, buf), json_string_value(json_object_get(row, "type")));
        const struct fkv_quant_type *q = fkv_quant_find(type);
        if (json_object_get(row, "supported")) {
            assert_null(q);
            unsupported++;
        } else {
            assert_non_null(q);
            assert_string_equal(q->name, json_string_value(json_object_get(row, "type")));
            check_values(row, q);
            rows_of[type]++;
        }
        json_decref(row);
    }
    fclose(file);
    const struct fkv_quant_type *q;
    for (int i = 0; (q = fkv_quant_row(i)); i++) {
        const int wanted = q->type == FKV_TYPE_F32 ? 0 : q->block_elements == 1 ? 1 : 9;
        assert_int_equal(rows_of[q->type], wanted);
    }
    assert_int_equal(unsupported, 3);
}

static void test_f32_is_copied(void **state)
{
    (void)state;
    const uint32_t bits[] = {0, 0x80000000, 1, 0x3f800000, 0xff7fffff, 0x7f800000, 0x7fc12345};
    enum { N = sizeof bits / sizeof bits[0] };
    uint8_t raw[sizeof bits + 1];
    float got[N];
    memcpy(raw + 1, bits, sizeof bits);
    fkv_quant_find(FKV_TYPE_F32)->dequantize(raw + 1, got, N);
    assert_memory_equal(got, bits, sizeof bits);
}

/* Several blocks in a row: each lands in its own place. */
static void test_rows_of_blocks(void **state)
{
    (void)state;
    enum { BLOCKS = 5 };
    const struct fkv_quant_type *q;
    for (int r = 0; (q = fkv_quant_row(r)); r++) {
        const size_t k = BLOCKS * q->block_elements, bytes = fkv_quant_row_bytes(q, k);
        assert_int_equal(bytes, (size_t)BLOCKS * q->block_bytes);
        uint8_t *raw = malloc(bytes);
        float *whole = malloc(k * sizeof(float)), *block = malloc(q->block_elements * sizeof(float));
        for (size_t i = 0; i < bytes; i++) raw[i] = (uint8_t)(i * 37 % 119); /* no half float of it is a NaN */
        q->dequantize(raw, whole, k);
        for (int b = 0; b < BLOCKS; b++) {
            q->dequantize(raw + (size_t)b * q->block_bytes, block, q->block_elements);
            assert_memory_equal(block, whole + (size_t)b * q->block_elements, q->block_elements * sizeof(float));
        }
        q->dequantize(raw, whole, 0);
        free(raw);
        free(whole);
        free(block);
    }
}

static void test_table(void **state)
{
    (void)state;
    char buf[16];
    int n = 0;
    for (const struct fkv_quant_type *q; (q = fkv_quant_row(n)); n++) {
        assert_ptr_equal(fkv_quant_find(q->type), q);
        assert_string_equal(fkv_quant_name(q->type, buf), q->name);
    }
    assert_int_equal(n, 23);
    assert_null(fkv_quant_row(-1));
    assert_null(fkv_quant_find(99));
    assert_string_equal(fkv_quant_name(99, buf), "type 99");
    assert_string_equal(fkv_quant_name(UINT32_MAX, buf), "type 4294967295");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_f32_is_copied),
        cmocka_unit_test(test_rows_of_blocks),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
