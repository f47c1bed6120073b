/* Checks of attention whose rows see no entry below one of their own: sliding windows. */
#include "attention.h"

#include <math.h>
#include <string.h>

enum windows {
    WINDOWS_SLIDING, /* the latest entries of those seen */
    WINDOWS_MIXED,   /* any, in any order, some of them empty */
    WINDOWS_ROWS,    /* even rows see the first tile alone, odd ones the end: a gap between them */
};

static void add_windows(struct attention *t, enum windows kind, int size)
{
    t->first_keys = guarded(t->n_rows * sizeof *t->first_keys, size % 2 ? GUARD_BEFORE : GUARD_AFTER);
    for (int i = 0; i < t->n_rows; i++) {
        const int first = kind == WINDOWS_SLIDING ? t->n_keys[i] - size : random_int(t->n + 40);
        t->first_keys[i] = first > 0 ? first : 0;
        if (kind != WINDOWS_ROWS) continue;
        t->first_keys[i] = i % 2 ? t->n - size : 3;
        t->n_keys[i] = i % 2 ? t->n : 30;
    }
}

/* Against fp64, and rows in one call against the same in parts of it. */
static void check_case(const struct fkv_kernels *level, const int types[2], int d, int n_rows, int n, enum keys keys,
                       enum windows kind, int size, struct error_sum *e)
{
    struct attention t;
    attention_make(&t, types[0], types[1], d, n_rows, n, keys, 2);
    add_windows(&t, kind, size);
    const struct result r = run_attend(level, &t, 0, n_rows, 0, n);
    check_result(level, &t, 0, n, &r, e);
    for (int row0 = 0, count = 1; row0 < n_rows; row0 += count, count = 1 + (count * 5 + 1) % 14) {
        const int rows = row0 + count < n_rows ? count : n_rows - row0;
        const struct result some = run_attend(level, &t, row0, rows, 0, n);
        assert_same_results(&r, row0, &some, rows, d, "rows with windows in a call and in a part of it");
    }
    for (int first = 0; first < n; first += 256) {
        const int last = first + 256 < n ? first + 256 : n;
        const struct result range = run_attend(level, &t, 0, n_rows, first, last);
        check_result(level, &t, first, last, &range, e);
    }
    attention_free(&t);
    guarded_release();
}

/* No first keys are first keys of 0, bit for bit. */
static void check_zeros(const struct fkv_kernels *level, int type, int n_rows, int n)
{
    struct attention t;
    attention_make(&t, type, type, 64, n_rows, n, KEYS_MIXED, 2);
    const struct result without = run_attend(level, &t, 0, n_rows, 0, n);
    t.first_keys = guarded(n_rows * sizeof *t.first_keys, GUARD_AFTER);
    memset(t.first_keys, 0, n_rows * sizeof *t.first_keys);
    const struct result with = run_attend(level, &t, 0, n_rows, 0, n);
    assert_same_results(&without, 0, &with, n_rows, 64, "no first keys and first keys of 0");
    attention_free(&t);
    guarded_release();
}

/* The tiles that lie in memory are those from the first one seen on: what is before may not even be read. */
static void check_tiles_before(const struct fkv_kernels *level, int type, int n_rows, int n, int size)
{
    enum { D = 64 };
    struct attention t;
    attention_make(&t, type, type, D, n_rows, n, KEYS_CAUSAL, 2);
    add_windows(&t, WINDOWS_SLIDING, size);
    const struct result wanted = run_attend(level, &t, 0, n_rows, 0, n);
    const size_t hidden = tiles_bytes(type, D, t.first_keys[0] / FKV_TILE * FKV_TILE),
                 bytes = tiles_bytes(type, D, n) - hidden;
    char *k = guarded(bytes, GUARD_BEFORE), *v = guarded(bytes, GUARD_BEFORE);
    memcpy(k, (char *)t.k.tiles + hidden, bytes);
    memcpy(v, (char *)t.v.tiles + hidden, bytes);
    t.k.tiles = k - hidden;
    t.v.tiles = v - hidden;
    const struct result r = run_attend(level, &t, 0, n_rows, 0, n);
    assert_same_results(&wanted, 0, &r, n_rows, D, "with what windows hide and without");
    attention_free(&t);
    guarded_release();
}

/* The logits before a row's window are the largest by far, and its first ones the smallest: neither may count. */
static void check_peaks(const struct fkv_kernels *level, int type, int n_rows)
{
    enum { D = 64, N = 600, LOW = 400 };
    struct attention t;
    struct error_sum e = {0};
    attention_make(&t, type, type, D, n_rows, N, KEYS_ALL, 0);
    float *k = guarded_floats(N * D, GUARD_AFTER);
    memset(k, 0, sizeof *k * N * D);
    for (int j = 0; j < N; j++) k[j * D] = j < LOW ? 100 : (float)(j - LOW) / 2;
    level->kv_pack(&(struct fkv_kv_rows){.k = k, .ld = D, .n = N, .d = D, .k_tiles = t.k.tiles, .k_type = type});
    for (int j = 0; j < N; j++)
        for (int c = 0; c < D; c++) t.k.values[(size_t)j * D + c] = tiles_value(t.k.tiles, type, false, D, j, c);
    t.first_keys = guarded(n_rows * sizeof *t.first_keys, GUARD_AFTER);
    for (int i = 0; i < n_rows; i++) {
        t.q[(size_t)i * t.ldq] = i % 3 ? 8 : 1;
        t.first_keys[i] = i % 5 ? LOW + i % 40 : 0;
    }
    const struct result r = run_attend(level, &t, 0, n_rows, 0, N);
    check_result(level, &t, 0, N, &r, &e);
    attention_free(&t);
    guarded_release();
}

void check_attend_windows(const struct fkv_kernels *level, struct error_sum *e)
{
    const int sizes[] = {1, 5, 31, 32, 33, 64, 100, 256, 300, 700},
              row_counts[] = {1, 2, 6, 13, 31, 40, FKV_ATTEND_ROWS};
    for (int type = 0; type < 4; type++) {
        const int types[2] = {type, type}, others[2] = {type, (type + 1) % 4};
        for (int i = 0; i < 10; i++)
            check_case(level, types, 64, row_counts[i % 6], 580 + i, KEYS_CAUSAL, WINDOWS_SLIDING, sizes[i], e);
        for (int i = 0; i < 6; i++) {
            check_case(level, i % 2 ? types : others, 80, row_counts[i], 333, KEYS_MIXED, WINDOWS_MIXED, 0, e);
            check_case(level, types, 32, row_counts[i], 300, KEYS_ALL, WINDOWS_MIXED, 1, e);
            check_zeros(level, type, row_counts[i], 300);
            check_tiles_before(level, type, row_counts[i], 700, 90);
            check_tiles_before(level, type, row_counts[i], 400, 10);
            check_peaks(level, type, row_counts[i]);
        }
        check_case(level, types, 512, 150, 330, KEYS_CAUSAL, WINDOWS_SLIDING, 60, e);
        check_case(level, types, 64, 48, 900, KEYS_ALL, WINDOWS_ROWS, 50, e);
        check_case(level, types, 64, 288, 700, KEYS_CAUSAL, WINDOWS_SLIDING, 128, e);
        check_zeros(level, type, FKV_ATTEND_ROWS, 400);
        check_tiles_before(level, type, FKV_ATTEND_ROWS, 900, 70);
    }
}
