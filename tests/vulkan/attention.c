/* Attention over stores that have gaps and differ from head to head: against the definition, and against the CPU. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/cases.h"
#include "vulkan/problem.h"

/* ---- appending ------------------------------------------------------------------------------- */

struct appending {
    struct fkv_kv_store *stores[3];
    struct fkv_tensor x;
    struct fkv_rows rows;
};

static void run_append(struct fkv_run *r, void *arg)
{
    const struct appending *a = arg;
    r->b->ops->kv_append(r, a->stores, a->x, a->x, 128, &a->rows);
}

/* Rows of several sequences go to their stores, each with its position. */
void check_kv_append(void **state)
{
    static const int32_t pos[] = {7, 8, 100, 3}, sequence[] = {0, 0, 1, 2};
    const struct fkv_kv_shape shape = {2, 64, FKV_ELEM_F32, FKV_ELEM_F32};
    (void)state;
    seed(21);
    float *x = random_floats(4 * 128), got[64];
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_ops *ops = side(i)->ops;
        struct appending a = {.x = side_floats(i, x, 4 * 128), .rows = {.n = 4, .pos = pos, .sequence = sequence}};
        for (int s = 0; s < 3; s++) assert_int_equal(ops->kv_create(side(i), &a.stores[s], &shape, 10, s == 0), FKV_OK);
        for (int s = 1; s < 3; s++) side_reserve(i, a.stores[s], 1, 9);
        on_side(i, run_append, &a);
        for (int row = 0; row < 4; row++) {
            struct fkv_kv_store *s = a.stores[sequence[row]];
            assert_int_equal(ops->kv_count(s, 1), row < 2 ? 2 : 1);
            assert_int_equal(ops->kv_positions(s, 1)[row == 1], pos[row]);
            ops->kv_export(s, 1, true, row == 1, 1, got);
            assert_memory_equal(got, x + row * 128 + 64, sizeof got);
        }
        for (int s = 0; s < 3; s++) ops->kv_destroy(a.stores[s]);
        side_free(i, a.x, 4 * 128);
    }
    free(x);
}

/* ---- attending ------------------------------------------------------------------------------- */

struct attend {
    struct fkv_kv_store *const *stores;
    struct fkv_attention how;
    struct fkv_rows rows;
    struct fkv_tensor q, out;
    size_t ld;
};

static void run_attend(struct fkv_run *r, void *arg)
{
    const struct attend *a = arg;
    r->b->ops->attend(r, a->stores, &a->how, a->q, a->ld, &a->rows, a->out);
}

/* out[rows][ld] of one side. */
static void attend_on(int i, struct fkv_kv_store *const *stores, struct fkv_attention how, const float *sinks,
                      const struct fkv_rows *rows, const float *q, size_t ld, float *out)
{
    const size_t n = (size_t)rows->n * ld;
    struct attend a = {stores, how, *rows, side_floats(i, q, n), side_floats(i, NULL, n), ld};
    if (sinks) a.how.sinks = side_floats(i, sinks, (size_t)how.n_head);
    on_side(i, run_attend, &a);
    side_read(i, a.out, n, out);
    side_free(i, a.q, n);
    side_free(i, a.out, n);
    if (sinks) side_free(i, a.how.sinks, (size_t)how.n_head);
}

struct attending {
    struct fkv_kv_shape shape;
    int query_heads, before, n; /* of a KV head; rows whose entries are the base, and after them */
    int rows, window;
    bool has_sinks, alone, skip; /* skip: every other row only, as after a choice */
};

/* The rows are the last, of which each sees those before it. */
static void describe_rows(const struct problem *p, const struct attending *x, int32_t *pos, int32_t *hidden)
{
    const struct plain_head *h = &p->plain->head[0];
    for (int i = 0; i < x->rows; i++) {
        hidden[i] = (x->rows - 1 - i) * (x->skip ? 2 : 1);
        pos[i] = h->pos[h->n - 1 - hidden[i]];
    }
}

static void check_case(const struct attending *x)
{
    const int n_head = x->shape.heads * x->query_heads;
    const struct fkv_attention how = {.n_head = n_head, .scale = 0.3f, .window = x->window};
    const size_t ld = (size_t)(n_head * x->shape.d), n = (size_t)x->rows * ld;
    float *q = random_floats(n), *sinks = random_floats((size_t)n_head), *want = malloc(n * sizeof *want),
          *got[N_SIDES];
    int32_t pos[PLAIN_ENTRIES], hidden[PLAIN_ENTRIES];
    struct problem p;
    problem_fill(&p, x->shape, x->before, x->n, x->before > 0);
    describe_rows(&p, x, pos, hidden);
    const struct fkv_rows rows = {.n = x->rows, .pos = pos, .hidden = hidden, .alone = x->alone};
    plain_attend(p.plain, &how, x->has_sinks ? sinks : NULL, q, &rows, want);
    for (int i = 0; i < N_SIDES; i++) {
        got[i] = malloc(n * sizeof *got[i]);
        attend_on(i, &p.on[i], how, x->has_sinks ? sinks : NULL, &rows, q, ld, got[i]);
    }
    char what[160];
    snprintf(what, sizeof what, "attend d %d, %d x %d heads, types %d %d, %d + %d entries, %d rows, window %d%s%s%s",
             x->shape.d, x->shape.heads, x->query_heads, x->shape.k_type, x->shape.v_type, x->before, x->n, x->rows,
             x->window, x->has_sinks ? ", sinks" : "", x->alone ? ", alone" : "", x->skip ? ", some" : "");
    const double rounding =
        fmax(2e-5, x->alone || x->rows == 1 ? 0 : rounding_of_attend(x->shape.k_type, x->shape.v_type, x->shape.d));
    if (x->shape.k_type != FKV_ELEM_Q8_0 && x->shape.v_type != FKV_ELEM_Q8_0)
        assert_close(what, want, got[SIDE_CHECK], n, 2e-5);
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], n, 2e-5);
    assert_close(what, got[SIDE_CPU], got[SIDE_FAST], n, rounding);
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(q);
    free(sinks);
    free(want);
    problem_destroy(&p);
}

static void check_shapes(void)
{
    static const int dims[] = {32, 64, 80, 128, 256, 320, 512};
    for (int i = 0; i < (few() ? 2 : 7); i++) {
        const struct fkv_kv_shape halves = {2, dims[i], FKV_ELEM_F16, FKV_ELEM_F16},
                                  floats = {2, dims[i], FKV_ELEM_F32, FKV_ELEM_F32};
        check_case(
            &(struct attending){halves, 2, 0, 70, .rows = dims[i] > 256 ? 33 : 70}); /* a capped binding sees all */
        check_case(&(struct attending){floats, 3, 45, 37, .rows = 1});
    }
    for (int t = 0; t < (few() ? 0 : 16); t++)
        check_case(&(struct attending){{2, 64, t / 4, t % 4}, 1, 13, 40, .rows = t % 2 ? 1 : 34});
    const struct fkv_kv_shape mixed = {3, 64, FKV_ELEM_F16, FKV_ELEM_BF16}, four = {4, 128, FKV_ELEM_F32, FKV_ELEM_F32};
    check_case(&(struct attending){mixed, 2, 300, 733, .rows = 1}); /* several pieces */
    check_case(&(struct attending){four, 1, 0, 300, .rows = 33});   /* a head a binding when the range is capped */
}

/* Windows and sinks, by rows, by pieces, and of the rows that go on. */
static void check_windows(void)
{
    static const int windows[] = {5, 300, 1, 64, 5000};
    for (int i = 0; i < (few() ? 1 : 5); i++) {
        struct attending x = {.shape = {3, 64, i % 2 ? FKV_ELEM_F16 : FKV_ELEM_F32, FKV_ELEM_F16},
                              .query_heads = 2,
                              .before = 200,
                              .n = 450,
                              .rows = 70,
                              .window = windows[i],
                              .has_sinks = i < 2};
        check_case(&x);
        x.skip = true;
        check_case(&x);
        x.rows = 1;
        check_case(&x);
        x.skip = false;
        x.rows = FKV_STEP_ROWS;
        x.alone = true;
        check_case(&x);
    }
    check_case(&(struct attending){{2, 64, FKV_ELEM_F32, FKV_ELEM_F32}, 2, 0, 70, .rows = 70, .has_sinks = true});
    check_case(&(struct attending){{2, 64, FKV_ELEM_F32, FKV_ELEM_F32}, 2, 0, 70, .rows = 1, .has_sinks = true});
}

/* A sink of -infinity is none, and of a huge logit takes everything. */
static void check_sinks(int rows)
{
    enum { HEADS = 4, D = 64, LD = HEADS * D };
    const struct fkv_attention how = {.n_head = HEADS, .scale = 0.3f};
    float none[HEADS], huge[HEADS], *q = random_floats((size_t)rows * LD),
                                    *out[2] = {random_floats((size_t)rows * LD), random_floats((size_t)rows * LD)};
    int32_t pos[PLAIN_ENTRIES], hidden[PLAIN_ENTRIES];
    struct problem p;
    problem_fill(&p, (struct fkv_kv_shape){2, D, FKV_ELEM_F16, FKV_ELEM_F16}, 0, 300, false);
    describe_rows(&p, &(struct attending){.rows = rows}, pos, hidden);
    const struct fkv_rows r = {.n = rows, .pos = pos, .hidden = hidden};
    for (int h = 0; h < HEADS; h++) {
        none[h] = -INFINITY;
        huge[h] = 1e30f;
    }
    for (int i = 0; i < N_SIDES; i++) {
        attend_on(i, &p.on[i], how, NULL, &r, q, LD, out[0]);
        attend_on(i, &p.on[i], how, none, &r, q, LD, out[1]);
        assert_memory_equal(out[0], out[1], (size_t)rows * LD * sizeof(float));
        attend_on(i, &p.on[i], how, huge, &r, q, LD, out[1]);
        for (int c = 0; c < rows * LD; c++) assert_true(fabsf(out[1][c]) < 1e-30f);
    }
    free(q);
    free(out[0]);
    free(out[1]);
    problem_destroy(&p);
}

/* ---- several sequences ----------------------------------------------------------------------- */

/* A step of several sequences, and a draft of one: every row gets the bits that it gets alone. */
static void check_step(int window)
{
    enum { HEADS = 4, D = 64, LD = HEADS * D, STORES = 3, ROWS = 5 };
    static const int32_t sequence[ROWS] = {0, 1, 1, 1, 2}, hidden[ROWS] = {0, 2, 1, 0, 0};
    const struct fkv_attention how = {.n_head = HEADS, .scale = 0.3f, .window = window};
    struct problem p[STORES];
    int32_t pos[ROWS];
    float *q = random_floats(ROWS * LD), together[ROWS * LD], alone[LD];
    for (int s = 0; s < STORES; s++)
        problem_fill(&p[s], (struct fkv_kv_shape){2, D, FKV_ELEM_F16, FKV_ELEM_F16}, 500, 10 + 300 * s, true);
    for (int i = 0; i < ROWS; i++) {
        const struct plain_head *h = &p[sequence[i]].plain->head[0];
        pos[i] = h->pos[h->n - 1 - hidden[i]];
    }
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_kv_store *stores[STORES] = {p[0].on[i], p[1].on[i], p[2].on[i]};
        const struct fkv_rows rows = {.n = ROWS, .pos = pos, .hidden = hidden, .sequence = sequence, .alone = true};
        attend_on(i, stores, how, NULL, &rows, q, LD, together);
        for (int row = 0; row < ROWS; row++) {
            const struct fkv_rows one = {.n = 1, .pos = pos + row, .hidden = hidden + row};
            attend_on(i, &stores[sequence[row]], how, NULL, &one, q + row * LD, LD, alone);
            assert_memory_equal(alone, together + row * LD, sizeof alone);
        }
    }
    for (int s = 0; s < STORES; s++) problem_destroy(&p[s]);
    free(q);
}

void check_attend(void **state)
{
    (void)state;
    seed(6);
    check_shapes();
    check_windows();
    check_sinks(1);
    check_sinks(40);
    check_step(0);
    check_step(100);
}
