/* Attention and scores of the CPU back end, on every level, against plain sums in double: windows by position on lists
   with gaps, sinks, rows that do not see the latest entries, several stores in one step, heads of different lengths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"

enum { HEADS = 2, QUERY_HEADS = 3, N_HEAD = HEADS * QUERY_HEADS, MOST = 1300, STORES = 3, MOST_D = 96 };

static uint32_t state = 1;

static float random_float(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1.0f;
}

static int random_below(int n) { return (int)((random_float() + 1) / 2 * (float)n) % n; }

static struct fkv_tensor tensor_of(float *x) { return (struct fkv_tensor){(struct fkv_buffer *)(void *)x, 0}; }

/* ---- regions ------------------------------------------------------------------------------------- */

struct region {
    struct fkv_backend *b;
    void (*fn)(struct fkv_run *r, void *arg);
    void *arg;
};

static void run_region(void *arg, int thread)
{
    const struct region *g = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {g->b, thread, stage_s};
    g->fn(&r, g->arg);
}

static void run(struct fkv_backend *b, void (*fn)(struct fkv_run *r, void *arg), void *arg)
{
    fkv_team_run(b->team, run_region, &(struct region){b, fn, arg});
}

/* ---- stores -------------------------------------------------------------------------------------- */

/* What a store holds, for the plain sums. */
struct list {
    int n[HEADS];
    int32_t pos[HEADS][MOST];
    float k[HEADS][MOST][MOST_D], v[HEADS][MOST][MOST_D];
};

struct stores {
    struct fkv_backend *b;
    int d, n;
    struct fkv_kv_store *store[STORES];
    struct list *list; /* [STORES] */
};

struct append {
    struct fkv_kv_store *const *stores;
    struct fkv_tensor k, v;
    size_t ld;
    const struct fkv_rows *rows;
};

static void run_append(struct fkv_run *r, void *arg)
{
    const struct append *a = arg;
    r->b->ops->kv_append(r, a->stores, a->k, a->v, a->ld, a->rows);
}

struct retain {
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    const struct fkv_choice *c;
};

static void run_retain(struct fkv_run *r, void *arg)
{
    const struct retain *a = arg;
    r->b->ops->retain(r, a->to, a->from, a->c);
}

/* n entries at ascending positions with gaps, of which each head keeps a number and a selection of its own. */
static struct fkv_kv_store *fill(struct fkv_backend *b, const struct fkv_kv_shape *shape, int n, struct list *list)
{
    struct fkv_kv_store *all, *kept;
    struct fkv_choice *c;
    const size_t ld = (size_t)(HEADS * shape->d);
    float *k = malloc((size_t)n * ld * sizeof *k), *v = malloc((size_t)n * ld * sizeof *v);
    int32_t pos[MOST], count[HEADS], rows[HEADS * MOST];
    for (int i = 0; i < n; i++) pos[i] = i == 0 ? random_below(3) : pos[i - 1] + 1 + random_below(4);
    for (size_t i = 0; i < (size_t)n * ld; i++) {
        k[i] = random_float();
        v[i] = random_float();
    }
    assert_int_equal(b->ops->kv_create(b, &all, shape, MOST, true), FKV_OK);
    assert_int_equal(b->ops->kv_create(b, &kept, shape, MOST, false), FKV_OK);
    assert_int_equal(b->ops->choice_create(b, &c, HEADS, MOST), FKV_OK);
    run(b, run_append, &(struct append){&all, tensor_of(k), tensor_of(v), ld, &(struct fkv_rows){.n = n, .pos = pos}});
    for (int h = 0, at = 0; h < HEADS; h++) {
        count[h] = 0;
        for (int i = 0; i < n; i++)
            if (i == n - 1 || random_below(4) > h) {
                rows[at++] = i;
                count[h]++;
            }
    }
    b->ops->choice_write(c, HEADS, count, rows);
    run(b, run_retain, &(struct retain){kept, all, c});
    for (int h = 0, at = 0; h < HEADS; h++) {
        list->n[h] = count[h];
        assert_int_equal(b->ops->kv_count(kept, h), count[h]);
        for (int i = 0; i < count[h]; i++, at++) {
            list->pos[h][i] = pos[rows[at]];
            assert_int_equal(b->ops->kv_positions(kept, h)[i], pos[rows[at]]);
            memcpy(list->k[h][i], k + (size_t)rows[at] * ld + (size_t)(h * shape->d), (size_t)shape->d * sizeof *k);
            memcpy(list->v[h][i], v + (size_t)rows[at] * ld + (size_t)(h * shape->d), (size_t)shape->d * sizeof *v);
        }
    }
    b->ops->kv_destroy(all);
    b->ops->choice_destroy(c);
    free(k);
    free(v);
    return kept;
}

static void open_stores(struct stores *s, int type)
{
    const struct fkv_kv_shape shape = {HEADS, s->d, type, type};
    s->list = calloc(STORES, sizeof *s->list);
    for (int i = 0; i < STORES; i++) s->store[i] = fill(s->b, &shape, i == 1 ? 40 : MOST - 200 * i, &s->list[i]);
}

static void close_stores(struct stores *s)
{
    for (int i = 0; i < STORES; i++) s->b->ops->kv_destroy(s->store[i]);
    free(s->list);
}

/* ---- attention ----------------------------------------------------------------------------------- */

struct attend {
    const struct stores *s;
    const struct fkv_attention *how;
    struct fkv_rows rows;
    float *q, *out;
};

static void run_attend(struct fkv_run *r, void *arg)
{
    const struct attend *a = arg;
    r->b->ops->attend(r, a->s->store, a->how, tensor_of(a->q), (size_t)(N_HEAD * a->s->d), &a->rows, tensor_of(a->out));
}

static double dot(const float *a, const float *b, int d)
{
    double sum = 0;
    for (int i = 0; i < d; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Does row i see entry e of the head? By the mask's own words. */
static bool sees(const struct fkv_attention *how, const struct fkv_rows *rows, int i, const struct list *l, int kv,
                 int e)
{
    if (e >= l->n[kv] - rows->hidden[i]) return false;
    return !how->window || l->pos[kv][e] > rows->pos[i] - how->window;
}

static void plain_attention(const struct attend *a, int i, int h, double *out)
{
    const struct list *l = &a->s->list[a->rows.sequence[i]];
    const int kv = h / QUERY_HEADS, d = a->s->d;
    const float *q = a->q + (i * N_HEAD + h) * d;
    double sum = fkv_tensor_is(a->how->sinks) ? exp((double)((float *)(void *)a->how->sinks.buffer)[h]) : 0;
    memset(out, 0, (size_t)d * sizeof *out);
    for (int e = 0; e < l->n[kv]; e++) {
        if (!sees(a->how, &a->rows, i, l, kv, e)) continue;
        const double weight = exp(dot(q, l->k[kv][e], d) * (double)a->how->scale);
        sum += weight;
        for (int c = 0; c < d; c++) out[c] += weight * (double)l->v[kv][e][c];
    }
    for (int c = 0; c < d && sum > 0; c++) out[c] /= sum; /* a row that sees nothing gets nothing */
}

static void check_attention(const struct stores *s, const struct fkv_attention *how, const struct fkv_rows *rows,
                            double allowed)
{
    const size_t values = (size_t)(rows->n * N_HEAD * s->d);
    struct attend a = {s, how, *rows, malloc(values * sizeof(float)), malloc(values * sizeof(float))};
    double want[MOST_D];
    for (size_t i = 0; i < values; i++) a.q[i] = 3 * random_float();
    run(s->b, run_attend, &a);
    for (int i = 0; i < rows->n; i++)
        for (int h = 0; h < N_HEAD; h++) {
            plain_attention(&a, i, h, want);
            for (int c = 0; c < s->d; c++) {
                const double got = (double)a.out[(i * N_HEAD + h) * s->d + c];
                if (!(fabs(got - want[c]) <= allowed))
                    fail_msg("%s, window %d, sinks %d, row %d of %d, head %d, channel %d: expected %g, got %g",
                             s->b->isa, how->window, fkv_tensor_is(how->sinks), i, rows->n, h, c, want[c], got);
            }
        }
    free(a.q);
    free(a.out);
}

/* The last position of a store, which every row of it sees. */
static int32_t last_of(const struct stores *s, int store) { return s->list[store].pos[0][s->list[store].n[0] - 1]; }

static void check_rows(const struct stores *s, const struct fkv_attention *how, double allowed)
{
    int32_t pos[64], sequence[64], hidden[64];
    for (int i = 0; i < 8; i++) { /* a decode step of several sequences, a draft of one among them */
        sequence[i] = i < 2 ? 0 : i < 5 ? 1 : 2;
        hidden[i] = i == 2 ? 2 : i == 3 ? 1 : 0;
        pos[i] = s->list[sequence[i]].pos[0][s->list[sequence[i]].n[0] - 1 - hidden[i]];
    }
    const struct fkv_rows step = {.n = 8, .pos = pos, .sequence = sequence, .hidden = hidden, .alone = true};
    check_attention(s, how, &step, allowed);
    for (int i = 0; i < 50; i++) { /* the last rows of a prompt */
        sequence[i] = 2;
        hidden[i] = 49 - i;
        pos[i] = last_of(s, 2) - 49 + i;
    }
    const struct fkv_rows block = {.n = 50, .pos = pos, .sequence = sequence, .hidden = hidden};
    check_attention(s, how, &block, allowed);
}

/* ---- scores -------------------------------------------------------------------------------------- */

enum { WINDOW = 5 };

struct score {
    const struct fkv_kv_store *store;
    const struct fkv_attention *how;
    struct fkv_scoring scoring;
    const int32_t *pos;
    float *q, *g, *looked;
    int n, d;
};

static void run_score(struct fkv_run *r, void *arg)
{
    const struct score *a = arg;
    const struct fkv_rows window = {.n = a->scoring.window, .pos = a->pos};
    r->b->ops->score(r, a->store, a->how, &a->scoring, tensor_of(a->q), (size_t)(a->how->n_head * a->d), &window, a->n,
                     tensor_of(a->g), a->looked ? tensor_of(a->looked) : (struct fkv_tensor){0});
}

/* The window's softmax rows, summed over rows and query heads, or their largest; with a span, not pooled. Sums of every
   other row, and of the others, to halves. */
static void plain_scores(const struct score *a, const int32_t *pos, const float *k, int kv, double *g,
                         double halves[2][MOST])
{
    const int d = a->d, scored = a->n - WINDOW;
    double weight[MOST];
    memset(g, 0, (size_t)scored * sizeof *g);
    memset(halves, 0, 2 * sizeof *halves);
    for (int j = 0; j < QUERY_HEADS; j++)
        for (int i = 0, counted = 0; i < WINDOW; i++) {
            const double by = a->scoring.weight ? (double)a->scoring.weight[i] : 1;
            if (by == 0) continue;
            double *half = halves[counted++ % 2];
            const int h = kv * QUERY_HEADS + j;
            double sum = fkv_tensor_is(a->how->sinks) ? exp((double)((float *)(void *)a->how->sinks.buffer)[h]) : 0;
            for (int e = 0; e <= scored + i; e++) {
                const bool seen = !a->how->window || pos[e] > pos[scored + i] - a->how->window;
                const double x = dot(a->q + (i * N_HEAD + h) * d, k + (e * HEADS + kv) * d, d) * (double)a->how->scale;
                weight[e] = seen ? exp(x) : 0;
                sum += weight[e];
            }
            for (int e = 0; e < scored; e++) {
                const double x = by * weight[e] / sum;
                g[e] = a->scoring.reduce == FKV_REDUCE_MAX ? fmax(g[e], x) : g[e] + x;
                half[e] += x;
            }
        }
    for (int e = scored - 1; e >= 0; e--)
        for (int back = 1; back <= a->scoring.span && back <= e; back++) g[e] = fmax(g[e], g[e - back]);
}

static void check_scores(struct fkv_backend *b, int d, const struct fkv_attention *how,
                         const struct fkv_scoring *scoring)
{
    enum { ROWS = 300 };
    const struct fkv_kv_shape shape = {HEADS, d, FKV_ELEM_F32, FKV_ELEM_F32};
    const size_t ld = (size_t)(HEADS * d);
    struct fkv_kv_store *s;
    float *k = malloc(ROWS * ld * sizeof *k), *q = malloc((size_t)(WINDOW * N_HEAD * d) * sizeof *q),
          *g = malloc(HEADS * ROWS * sizeof *g), *looked = malloc(2 * HEADS * ROWS * sizeof *looked);
    int32_t pos[ROWS];
    double want[MOST], halves[2][MOST];
    for (int i = 0; i < ROWS; i++) pos[i] = i == 0 ? 0 : pos[i - 1] + 1 + random_below(3);
    for (size_t i = 0; i < ROWS * ld; i++) k[i] = random_float();
    for (int i = 0; i < WINDOW * N_HEAD * d; i++) {
        const bool counts = !scoring->weight || scoring->weight[i / (N_HEAD * d)] > 0;
        q[i] = counts ? 3 * random_float() : NAN;
    }
    assert_int_equal(b->ops->kv_create(b, &s, &shape, ROWS, true), FKV_OK);
    run(b, run_append, &(struct append){&s, tensor_of(k), tensor_of(k), ld, &(struct fkv_rows){.n = ROWS, .pos = pos}});
    struct score a = {s, how, *scoring, pos + ROWS - WINDOW, q, g, looked, ROWS, d};
    run(b, run_score, &a);
    for (int kv = 0; kv < HEADS; kv++) {
        plain_scores(&a, pos, k, kv, want, halves);
        for (int e = 0; e < ROWS - WINDOW; e++)
            if (!(fabs((double)g[kv * (ROWS - WINDOW) + e] - want[e]) <= 1e-5))
                fail_msg("%s, window %d, sinks %d, %s%s, span %d: score %d of head %d: expected %g, got %g", b->isa,
                         how->window, fkv_tensor_is(how->sinks), scoring->reduce == FKV_REDUCE_MAX ? "largest" : "sum",
                         scoring->weight ? " by weights" : "", scoring->span, e, kv, want[e],
                         (double)g[kv * (ROWS - WINDOW) + e]);
        for (int half = 0; half < 2; half++)
            for (int e = 0; e < ROWS - WINDOW; e++) {
                const double got = (double)looked[(half * HEADS + kv) * (ROWS - WINDOW) + e];
                if (!(fabs(got - halves[half][e]) <= 1e-5))
                    fail_msg("%s: half %d of head %d looks at %d by %g, got %g", b->isa, half, kv, e, halves[half][e],
                             got);
            }
    }
    b->ops->kv_destroy(s);
    free(k);
    free(q);
    free(g);
    free(looked);
}

/* A worked example: one KV head of two query heads, a window of two rows, four entries scored. Keys are unit vectors,
   so that a query says the logarithm of each entry's share; what a row is short of 1 goes to the window's entries. */
enum { SHOWN = 4, SHOWN_ROWS = SHOWN + 2, SHOWN_D = 64 };

static void check_example(struct fkv_backend *b, struct fkv_scoring scoring, const double want[SHOWN])
{
    static const float share[2][2][SHOWN] = {{{.40f, .10f, .05f, .05f}, {.10f, .10f, .10f, .10f}},
                                             {{.05f, .05f, .30f, .10f}, {.06f, .02f, .02f, .50f}}};
    static const int32_t pos[SHOWN_ROWS] = {0, 1, 2, 3, 4, 5};
    const struct fkv_attention how = {.n_head = 2, .scale = 1};
    const struct fkv_kv_shape shape = {1, SHOWN_D, FKV_ELEM_F32, FKV_ELEM_F32};
    float k[SHOWN_ROWS][SHOWN_D] = {{0}}, q[2][2][SHOWN_D] = {{{0}}}, g[SHOWN];
    struct fkv_kv_store *s;
    for (int e = 0; e < SHOWN_ROWS; e++) k[e][e] = 1;
    for (int row = 0; row < 2; row++)
        for (int h = 0; h < 2; h++) {
            float rest = 1;
            for (int e = 0; e < SHOWN; e++) {
                q[row][h][e] = logf(share[row][h][e]);
                rest -= share[row][h][e];
            }
            for (int e = SHOWN; e <= SHOWN + row; e++) q[row][h][e] = logf(rest / (float)(1 + row));
        }
    assert_int_equal(b->ops->kv_create(b, &s, &shape, SHOWN_ROWS, true), FKV_OK);
    run(b, run_append,
        &(struct append){&s, tensor_of(k[0]), tensor_of(k[0]), SHOWN_D,
                         &(struct fkv_rows){.n = SHOWN_ROWS, .pos = pos}});
    scoring.window = 2;
    run(b, run_score, &(struct score){s, &how, scoring, pos + SHOWN, q[0][0], g, NULL, SHOWN_ROWS, SHOWN_D});
    for (int e = 0; e < SHOWN; e++)
        if (!(fabs((double)g[e] - want[e]) <= 1e-5))
            fail_msg("%s: score %d: expected %g, got %g", b->isa, e, want[e], (double)g[e]);
    b->ops->kv_destroy(s);
}

static void check_examples(struct fkv_backend *b)
{
    static const float last[] = {0, 1};
    check_example(b, (struct fkv_scoring){.pool_kernel = 1}, (double[]){.61, .27, .47, .75});
    check_example(b, (struct fkv_scoring){.pool_kernel = 3}, (double[]){.61, .61, .95, .95});
    check_example(b, (struct fkv_scoring){.pool_kernel = 1, .span = 1}, (double[]){.61, .61, .47, .75});
    check_example(b, (struct fkv_scoring){.pool_kernel = 1, .weight = last}, (double[]){.11, .07, .32, .60});
    check_example(b, (struct fkv_scoring){.pool_kernel = 1, .reduce = FKV_REDUCE_MAX}, (double[]){.40, .10, .30, .50});
    check_example(b, (struct fkv_scoring){.pool_kernel = 3, .reduce = FKV_REDUCE_MAX}, (double[]){.40, .40, .50, .50});
    check_example(b, (struct fkv_scoring){.pool_kernel = 3, .pool_avg = true, .reduce = FKV_REDUCE_MAX},
                  (double[]){.5 / 3, .8 / 3, .9 / 3, .8 / 3});
    check_example(b, (struct fkv_scoring){.pool_kernel = 1, .reduce = FKV_REDUCE_MAX, .weight = last, .span = 2},
                  (double[]){.06, .06, .30, .50});
}

/* ---- on every level ------------------------------------------------------------------------------ */

static struct fkv_backend *open_level(const char *isa, int threads)
{
    struct fkv_backend *b = NULL;
    struct fkv_error e = {""};
    const struct fkv_extent most = {MOST, N_HEAD, MOST_D, 8};
    if (fkv_cpu_backend_create(&b, threads, isa, false, false, 256, &e) != FKV_OK) fail_msg("%s", e.text);
    assert_int_equal(b->ops->prepare(b, &most), FKV_OK);
    return b;
}

static void check_level(struct fkv_backend *b)
{
    enum { N_SCORINGS = 5 };
    static const int windows[] = {0, 1, 7, 40, 333, 100000};
    static const float last[WINDOW] = {[WINDOW - 1] = 1}, some[WINDOW] = {1, 0, 0.5f, 0, 2};
    static const struct fkv_scoring scorings[N_SCORINGS] =
        {{.window = WINDOW, .pool_kernel = 1},
         {.window = WINDOW, .pool_kernel = 1, .reduce = FKV_REDUCE_MAX},
         {.window = WINDOW, .pool_kernel = 1, .weight = some, .span = 16},
         {.window = WINDOW, .pool_kernel = 1, .reduce = FKV_REDUCE_MAX, .weight = some, .span = 400},
         {.window = WINDOW, .pool_kernel = 1, .reduce = FKV_REDUCE_MAX, .weight = last, .span = 1}};
    float sinks[N_HEAD];
    for (int d = 64; d <= MOST_D; d += 32)
        for (int half = 0; half < 2; half++) {
            struct stores s = {.b = b, .d = d};
            open_stores(&s, half ? FKV_ELEM_F16 : FKV_ELEM_F32);
            for (int i = 0; i < 12; i++) {
                for (int h = 0; h < N_HEAD; h++) sinks[h] = 4 * random_float();
                struct fkv_attention how = {.n_head = N_HEAD, .scale = 0.2f, .window = windows[i / 2]};
                if (i % 2) how.sinks = tensor_of(sinks);
                check_rows(&s, &how, half ? 0.02 : 2e-5);
                if (!half) check_scores(b, d, &how, &scorings[i % N_SCORINGS]);
            }
            close_stores(&s);
        }
}

static void test_windows_and_sinks(void **unused)
{
    (void)unused;
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        if (!fkv_simd_level_available(level)) continue;
        struct fkv_backend *b = open_level(fkv_simd_level_name(level), 2);
        check_examples(b);
        check_level(b);
        b->ops->destroy(b);
    }
}

/* A sink of -infinity is none, and a window that holds everything is none: bit for bit. */
static void test_what_changes_nothing(void **unused)
{
    (void)unused;
    for (int level = 0; level < fkv_simd_n_levels(); level++) {
        if (!fkv_simd_level_available(level)) continue;
        struct stores s = {.b = open_level(fkv_simd_level_name(level), 1), .d = 64};
        float none[N_HEAD], q[50 * N_HEAD * 64], out[4][50 * N_HEAD * 64];
        int32_t pos[50], sequence[50], hidden[50];
        open_stores(&s, FKV_ELEM_F16);
        for (int h = 0; h < N_HEAD; h++) none[h] = -INFINITY;
        for (int i = 0; i < 50 * N_HEAD * 64; i++) q[i] = random_float();
        for (int i = 0; i < 50; i++) {
            sequence[i] = 0;
            hidden[i] = 49 - i;
            pos[i] = last_of(&s, 0) - 49 + i;
        }
        for (int alone = 0; alone < 2; alone++) {
            for (int i = 0; i < 4; i++) {
                struct fkv_attention how = {.n_head = N_HEAD, .scale = 0.2f, .window = i & 1 ? 1 << 20 : 0};
                if (i & 2) how.sinks = tensor_of(none);
                struct attend a =
                    {&s,
                     &how,
                     {.n = alone ? 8 : 50, .pos = pos, .sequence = sequence, .hidden = hidden, .alone = alone},
                     q,
                     out[i]};
                run(s.b, run_attend, &a);
            }
            for (int i = 1; i < 4; i++)
                assert_memory_equal(out[0], out[i], (size_t)(alone ? 8 : 50) * N_HEAD * 64 * sizeof(float));
        }
        close_stores(&s);
        s.b->ops->destroy(s.b);
    }
}

static void test_what_nobody_can_do_is_refused(void **unused)
{
    (void)unused;
    const int32_t blocks[1] = {0};
    struct fkv_error e = {""};
    struct fkv_attention how = {.n_head = 1, .scale = 1, .window = 8};
    assert_int_equal(fkv_attention_check(&how, "blk.3", &e), FKV_OK);
    how.soft_cap = 50;
    assert_int_equal(fkv_attention_check(&how, "blk.3", &e), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(e.text, "blk.3: a soft cap of the logits: no back end can do that yet");
    how = (struct fkv_attention){.n_head = 1, .scale = 1, .blocks = blocks};
    assert_int_equal(fkv_attention_check(&how, "blk.3", &e), FKV_ERROR_UNSUPPORTED);
    const float weights[8] = {1};
    struct fkv_scoring scoring = {.window = 8,
                                  .reduce = FKV_REDUCE_MAX,
                                  .weight = weights,
                                  .pool_kernel = 7,
                                  .span = 16};
    const struct fkv_ops ops = {.name = "vulkan"};
    struct fkv_backend b = {.ops = &ops};
    assert_int_equal(fkv_scoring_check(&scoring, &b, &e), FKV_OK);
    scoring.value_norm = true;
    assert_int_equal(fkv_scoring_check(&scoring, &b, &e), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(e.text, "kv-norm: on scores by values, which only the device cpu does, found vulkan");
    scoring = (struct fkv_scoring){.window = 8, .reduce = FKV_REDUCE_DROP, .pool_kernel = 7};
    assert_int_equal(fkv_scoring_check(&scoring, &b, &e), FKV_ERROR_UNSUPPORTED);
    assert_string_equal(e.text, "kv-score: drop scores by values, which only the device cpu does, found vulkan");
    b.scores_values = true;
    assert_int_equal(fkv_scoring_check(&scoring, &b, &e), FKV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_and_sinks),
        cmocka_unit_test(test_what_changes_nothing),
        cmocka_unit_test(test_what_nobody_can_do_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
