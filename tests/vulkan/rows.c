/* Operations on rows. */
#include <stdlib.h>

#include "vulkan/cases.h"
#include "vulkan/support.h"

struct rows {
    struct fkv_tensor x;
    size_t ld;
    int n, heads, d;
    struct fkv_tensor norm;
    struct fkv_rope rope;
    const int32_t *list;
    struct fkv_choice *choice;
};

static void run_head_norm(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->head_norm(r, a->x, a->ld, a->n, a->heads, a->d, a->norm, 1e-6f);
}

/* The first half of the rows is normalised and added to the second. */
static void run_add_normed(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->add_normed(r, a->x, a->n / 2, a->d, a->norm, 1e-6f, fkv_tensor_from(a->x, (size_t)(a->n / 2 * a->d)));
}

static void run_rope(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->rope(r, &a->rope, a->x, a->ld, a->n, a->heads, a->list);
}

static void run_gather(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    struct fkv_choice *c = a->choice;
    if (r->thread == 0) r->b->ops->choice_write(c, 1, &a->n, a->list);
    r->b->ops->gather(r, a->x, a->ld, c);
}

/* table[n_table]: the norm, or the angles. filled: rows of x there are. */
static void check_rows(const char *what, void (*fn)(struct fkv_run *, void *), struct rows a, const float *table,
                       size_t n_table, int filled, double share)
{
    const size_t n = (size_t)filled * a.ld;
    float *x = random_floats(n), *got[N_SIDES];
    for (int i = 0; i < N_SIDES; i++) {
        struct rows here = a;
        const struct fkv_tensor t = side_floats(i, table, n_table);
        here.x = side_floats(i, x, n);
        here.norm = here.rope.cos_sin = t;
        here.choice = side_choice(i, 1, filled);
        on_side(i, fn, &here);
        side(i)->ops->choice_destroy(here.choice);
        got[i] = malloc(n * sizeof *got[i]);
        side_read(i, here.x, n, got[i]);
        side_free(i, here.x, n);
        side_free(i, t, n_table);
    }
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], (size_t)a.n * a.ld, share);
    assert_memory_equal(got[SIDE_CHECK], got[SIDE_FAST], (size_t)a.n * a.ld * sizeof *x);
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(x);
}

/* d, n_rot */
static const int sizes[][2] = {{32, 32}, {80, 80}, {128, 64}, {256, 256}};
enum { N = 9, POSITIONS = 50, N_SIZES = 4 };

static struct rows rows_of_size(int i)
{
    const int d = sizes[i][0];
    return (struct rows){.ld = (size_t)(3 * d + 5), .n = N, .heads = 3, .d = d, .rope = {false, sizes[i][1], d, {0}}};
}

void check_head_norm(void **state)
{
    (void)state;
    seed(4);
    for (int i = 0; i < N_SIZES; i++) {
        float *norm = random_floats((size_t)sizes[i][0]);
        check_rows("head_norm", run_head_norm, rows_of_size(i), norm, (size_t)sizes[i][0], N, 2e-6);
        free(norm);
    }
}

void check_rope(void **state)
{
    int32_t pos[N];
    (void)state;
    seed(14);
    for (int i = 0; i < N; i++) pos[i] = (int32_t)(random_bits() % POSITIONS);
    for (int i = 0; i < N_SIZES; i++) {
        struct rows a = rows_of_size(i);
        const size_t n_table = (size_t)POSITIONS * (size_t)sizes[i][1];
        float *table = random_floats(n_table);
        a.list = pos;
        check_rows("rope by halves", run_rope, a, table, n_table, N, 2e-6);
        a.rope.pairs = true;
        check_rows("rope by pairs", run_rope, a, table, n_table, N, 2e-6);
        free(table);
    }
}

void check_gather(void **state)
{
    (void)state;
    enum { FILLED = 1400, MOST = 700, D = 36 };
    int32_t list[MOST];
    int n = 0;
    seed(5);
    for (int i = 0; i < FILLED && n < MOST; i++)
        if (i < 3 || random_bits() % 5 < 2) list[n++] = i;
    const float none = 0;
    check_rows("gather", run_gather, (struct rows){.ld = D, .n = n, .list = list}, &none, 1, FILLED, 0);
}

void check_add_normed(void **state)
{
    enum { ROWS = 14, D = 96 };
    (void)state;
    seed(9);
    float *norm = random_floats(D);
    const struct rows a = {.n = ROWS, .ld = D, .heads = 1, .d = D};
    check_rows("add_normed", run_add_normed, a, norm, D, ROWS, 1e-5);
    free(norm);
}
