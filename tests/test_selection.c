/* From scores to kept rows, exactly, on every level: golden/selection.jsonl through pooling, addition and selection. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "backend/choose.h"

enum { N_ROWS = 161 };

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* JSON has no infinity: "-inf" stands for it. */
static float *floats(const json_t *array)
{
    const size_t n = json_array_size(array);
    float *x = malloc((n + 1) * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(array, i);
        x[i] = json_is_string(value) ? strtof(json_string_value(value), NULL) : (float)json_number_value(value);
    }
    return x;
}

struct selection {
    const struct fkv_kernels *k;
    const json_t *row;
    const char *kind;
    int n, w, kernel, sinks;
    bool average;
};

/* Maxima and their sums are exact; an average may differ by the last place of one division and its sum. */
static void check_pooled(const struct selection *s, const float *got, const json_t *wanted_values)
{
    float *wanted = floats(wanted_values);
    for (int i = 0; i < s->n - s->w; i++) {
        const int32_t units = (int32_t)(fkv_bits_from_f32(got[i]) - fkv_bits_from_f32(wanted[i]));
        if (got[i] != wanted[i] && (!s->average || abs(units) > 1))
            fail_msg("%s on %s, n %d: pooled score %d: expected %.9g, got %.9g", s->kind, s->k->isa, s->n, i, wanted[i],
                     got[i]);
    }
    free(wanted);
}

static void check_rows(const struct selection *s, const float *scores, int cap, const json_t *wanted, const char *what)
{
    uint32_t *keys = malloc(s->n * sizeof *keys);
    float *copy = malloc(s->n * sizeof *copy);
    int32_t *rows = malloc(cap * sizeof *rows);
    assert_true(keys && copy && rows);
    const int count = fkv_select_rows(s->k, scores, s->n, s->w, cap, s->sinks, keys, copy, rows);
    assert_int_equal(count, json_array_size(wanted));
    for (int i = 0; i < count; i++) {
        const int expected = (int)json_number_value(json_array_get(wanted, i));
        if (rows[i] != expected)
            fail_msg("%s on %s, n %d: %s row %d: expected %d, got %d", s->kind, s->k->isa, s->n, what, i, expected,
                     rows[i]);
    }
    free(keys);
    free(copy);
    free(rows);
}

/* One KV head: its scores are added to total[n - w]. */
static void check_head(const struct selection *s, int head, float *total)
{
    const int scored = s->n - s->w;
    const json_t *queries = json_array_get(json_object_get(s->row, "scores"), head);
    float *g = calloc(scored + 1, sizeof *g), *pooled = malloc((scored + 1) * sizeof *pooled);
    assert_true(g && pooled);
    for (size_t q = 0; q < json_array_size(queries); q++) {
        float *scores = floats(json_array_get(queries, q));
        (s->average ? s->k->pool_avg : s->k->pool_max)(scores, scored, s->kernel, pooled);
        s->k->add(pooled, scored, g);
        free(scores);
    }
    check_pooled(s, g, json_array_get(json_object_get(s->row, "pooled"), head));
    check_rows(s, g, (int)number(s->row, "cap"), json_array_get(json_object_get(s->row, "kept"), head), "kept");
    s->k->add(g, scored, total);
    free(g);
    free(pooled);
}

static void check_selection(const struct fkv_kernels *k, const json_t *row)
{
    const struct selection s = {.k = k,
                                .row = row,
                                .kind = json_string_value(json_object_get(row, "kind")),
                                .n = (int)number(row, "n"),
                                .w = (int)number(row, "w"),
                                .kernel = (int)number(row, "kernel"),
                                .sinks = (int)number(row, "sinks"),
                                .average = strcmp(json_string_value(json_object_get(row, "pool")), "avg") == 0};
    const size_t heads = json_array_size(json_object_get(row, "scores"));
    assert_true(heads > 0);
    float *total = calloc(s.n, sizeof *total);
    assert_non_null(total);
    for (size_t head = 0; head < heads; head++) check_head(&s, (int)head, total);
    check_rows(&s, total, (int)number(row, "propagate_cap"), json_object_get(row, "propagated"), "propagated");
    free(total);
}

static void test_golden(void **state)
{
    (void)state;
    char path[4096];
    const char *folder = getenv("FKV_GOLDEN");
    assert_non_null(folder);
    snprintf(path, sizeof path, "%s/selection.jsonl", folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int n_rows = 0;
    for (json_t *row; (row = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)); n_rows++) {
        for (int level = 0; level < fkv_simd_n_levels(); level++)
            if (fkv_simd_level_available(level)) check_selection(fkv_simd_kernels(level), row);
        json_decref(row);
    }
    fclose(file);
    assert_int_equal(n_rows, N_ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
