/* Decoding several sessions in one pass, against one after the other: batch MODEL [depth [rounds]]. Each session has a
   cache of its own. Weights are read and unpacked once for all (on AVX2, types of blocks of 256); attention is not
   shared: bench/results/kernels.md. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fastkv.h"

enum { STEPS = 4, MOST_ROUNDS = 101 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

static void need(fkv_status status, const char *why)
{
    if (status == FKV_OK) return;
    fprintf(stderr, "batch: %s\n", why);
    exit(1);
}

/* Sessions of `depth` tokens: the first is prefilled, the others are copies of it. */
static void open_sessions(fkv_engine *e, int depth, fkv_session *s[FKV_BATCH_MOST])
{
    struct fkv_session_params p = FKV_SESSION_PARAMS_INIT;
    char why[FKV_ERROR_BYTES];
    void *data;
    size_t bytes;
    int32_t *ids = malloc((size_t)depth * sizeof *ids);
    p.kv.policy = "full";
    p.n_ctx = depth + MOST_ROUNDS * STEPS * 3;
    for (int i = 0; ids && i < depth; i++) ids[i] = 100 + i * 7 % 1000;
    for (int i = 0; i < FKV_BATCH_MOST; i++) {
        need(fkv_session_open(&s[i], e, &p, why), why);
        if (i == 0) {
            need(fkv_session_sync(s[0], ids, (size_t)depth), fkv_session_error(s[0]));
            need(fkv_session_export(s[0], &data, &bytes), fkv_session_error(s[0]));
        } else {
            need(fkv_session_import(s[i], data, bytes), fkv_session_error(s[i]));
        }
    }
    fkv_free(data);
    free(ids);
}

static void append(fkv_session *const *s, const int32_t *ids, int n)
{
    need(fkv_batch_append(s, ids, n), fkv_session_error(s[0]));
}

/* Tokens per second of all sessions, n of them at a time. */
static double speed(fkv_session *const *s, int n)
{
    static const int32_t ids[FKV_BATCH_MOST] = {101, 202, 303, 404, 505, 606, 707, 808};
    const double start = fkv_clock_s();
    for (int step = 0; step < STEPS; step++)
        for (int i = 0; i < FKV_BATCH_MOST; i += n) append(s + i, ids + i, n);
    return STEPS * FKV_BATCH_MOST / (fkv_clock_s() - start);
}

int main(int argc, char **argv)
{
    const int depth = argc > 2 ? atoi(argv[2]) : 1024, rounds = argc > 3 ? atoi(argv[3]) : 3;
    char why[FKV_ERROR_BYTES];
    fkv_engine *e;
    fkv_session *s[FKV_BATCH_MOST];
    double alone[MOST_ROUNDS], together[MOST_ROUNDS], ratio[MOST_ROUNDS];
    if (argc < 2 || depth < 1 || rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "usage: batch MODEL.gguf [depth [rounds, 1 to %d]]\n", MOST_ROUNDS);
        return 2;
    }
    need(fkv_engine_open(&e, argv[1], NULL, why), why);
    open_sessions(e, depth, s);
    for (int i = 0; i < rounds; i++) {
        alone[i] = speed(s, 1);
        together[i] = speed(s, FKV_BATCH_MOST);
        ratio[i] = together[i] / alone[i];
    }
    printf("%s, %s, %d threads, depth %d: %d sessions one after the other %.1f tokens/s, together %.1f, %.2fx (medians "
           "of %d)\n",
           fkv_engine_info(e)->name, fkv_engine_info(e)->isa, fkv_engine_info(e)->n_threads, depth, FKV_BATCH_MOST,
           median(alone, rounds), median(together, rounds), median(ratio, rounds), rounds);
    for (int i = 0; i < FKV_BATCH_MOST; i++) fkv_session_close(s[i]);
    fkv_engine_close(e);
    return 0;
}
