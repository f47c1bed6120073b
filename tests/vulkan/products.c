/* Products, embedding and row operations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quant/quant.h"
#include "vulkan/cases.h"
#include "vulkan/support.h"

/* ---- weights --------------------------------------------------------------------------------- */

/* Where a type's blocks hold halves, which random bits must not make infinite: byte offsets, -1 for none. */
static const int halves[FKV_TYPE_LIMIT][2] =
    {[FKV_TYPE_Q4_0] = {0, -1}, [FKV_TYPE_Q4_1] = {0, 2},    [FKV_TYPE_Q5_0] = {0, -1},   [FKV_TYPE_Q5_1] = {0, 2},
     [FKV_TYPE_Q8_0] = {0, -1}, [FKV_TYPE_Q2_K] = {80, 82},  [FKV_TYPE_Q3_K] = {108, -1}, [FKV_TYPE_Q4_K] = {0, 2},
     [FKV_TYPE_Q5_K] = {0, 2},  [FKV_TYPE_Q6_K] = {208, -1}, [FKV_TYPE_IQ4_NL] = {0, -1}, [FKV_TYPE_IQ4_XS] = {0, -1}};

static void random_block(const struct fkv_quant_type *q, uint8_t *block)
{
    const float x = random_float();
    const fkv_f16 half = fkv_f16_from_f32(x);
    const fkv_bf16 brain = fkv_bf16_from_f32(x);
    for (uint32_t i = 0; i < q->block_bytes; i++) block[i] = (uint8_t)(random_bits() >> 9);
    if (q->type == FKV_TYPE_F32) memcpy(block, &x, 4);
    if (q->type == FKV_TYPE_F16) memcpy(block, &half, 2);
    if (q->type == FKV_TYPE_BF16) memcpy(block, &brain, 2);
    for (int i = 0; i < 2 && q->block_elements > 1 && halves[q->type][i] >= 0; i++) {
        const fkv_f16 scale = fkv_f16_from_f32(random_bits() % 8 ? 0.01f * random_float()
                                                                 : 2e-7f); /* a subnormal now and then */
        memcpy(block + halves[q->type][i], &scale, 2);
    }
}

/* The same weight on every side. */
struct weight {
    struct fkv_weight on[N_SIDES];
    uint8_t *bytes;
};

static struct weight make_weight(const struct fkv_quant_type *q, int rows, int cols)
{
    struct weight w;
    const size_t stride = fkv_quant_row_bytes(q, (size_t)cols), blocks = (size_t)rows * stride / q->block_bytes;
    w.bytes = malloc((size_t)rows * stride);
    for (size_t i = 0; i < blocks; i++) random_block(q, w.bytes + i * q->block_bytes);
    for (int i = 0; i < N_SIDES; i++) {
        struct fkv_error e;
        w.on[i] = (struct fkv_weight){w.bytes, stride, q->type, rows, cols, 1};
        if (side(i)->ops->load_weight(side(i), &w.on[i], q->name, &e) != FKV_OK) fail_msg("%s", e.text);
    }
    return w;
}

/* ---- products -------------------------------------------------------------------------------- */

struct product {
    struct fkv_input in;
    struct fkv_output out;
    const struct fkv_weight *up; /* or NULL: a product, not a gated one */
    const float *up_bias;
};

static void run_product(struct fkv_run *r, void *arg)
{
    const struct product *p = arg;
    if (p->up)
        r->b->ops->gated(r, &p->in, &(struct fkv_gate){p->out.w, p->up, p->out.bias, p->up_bias}, p->out.y, p->out.ld);
    else
        r->b->ops->product(r, &p->in, &p->out, 1);
}

/* ld: a little more than the columns, so that a wrong stride shows. */
static void check_product(const struct fkv_quant_type *q, int n, int rows, int cols, bool plain, bool gated)
{
    const size_t ldx = (size_t)cols + 4, ldy = (size_t)rows + 3, nx = (size_t)n * ldx, ny = (size_t)n * ldy;
    struct weight w = make_weight(q, rows, cols), up = make_weight(q, rows, cols);
    float *x = random_floats(nx), *y = random_floats(ny), *norm = random_floats((size_t)cols),
          *bias = random_floats((size_t)rows);
    float *got[N_SIDES];
    for (int i = 0; i < N_SIDES; i++) {
        float *sx = side_floats(i, x, nx), *sy = side_floats(i, y, ny), *sn = side_floats(i, norm, (size_t)cols),
              *sb = side_floats(i, bias, (size_t)rows);
        struct product p = {{sx, ldx, n, plain ? NULL : sn, 1e-5f},
                            {&w.on[i], plain ? NULL : sb, sy, ldy, !plain, false},
                            gated ? &up.on[i] : NULL,
                            plain ? NULL : sn}; /* a gated one has no more rows than columns */
        on_side(i, run_product, &p);
        got[i] = malloc(ny * sizeof *got[i]);
        side_read(i, sy, ny, got[i]);
        side_free(i, sx, nx);
        side_free(i, sy, ny);
        side_free(i, sn, (size_t)cols);
        side_free(i, sb, (size_t)rows);
    }
    /* the fast path keeps halves of the types that no shader reads */
    const bool converted = q->type == FKV_TYPE_Q2_K || q->type == FKV_TYPE_Q3_K || q->type == FKV_TYPE_IQ4_NL ||
                           q->type == FKV_TYPE_IQ4_XS;
    char what[96];
    snprintf(what, sizeof what, "%s%s [%d x %d] of %d rows", gated ? "gated " : "", q->name, rows, cols, n);
    assert_close(what, got[SIDE_CPU], got[SIDE_CHECK], ny, 1e-5);
    assert_close(what, got[SIDE_CPU], got[SIDE_FAST], ny,
                 fmax(converted ? 2e-3 : 1e-5, 2 * rounding_of_product(q->type)));
    for (int i = 0; i < N_SIDES; i++) free(got[i]);
    free(x);
    free(y);
    free(norm);
    free(bias);
    free(w.bytes);
    free(up.bytes);
}

void test_products(void **state)
{
    (void)state;
    seed(1);
    for (int i = 0; fkv_quant_row(i); i++) {
        if (few() && i % 7) continue;
        const struct fkv_quant_type *q = fkv_quant_row(i);
        const int unit = q->block_elements > 32 ? 256 : 32;
        check_product(q, 1, 67, 2 * unit, false, false);
        check_product(q, 12, 67, 3 * unit, false, false);
    }
    const struct fkv_quant_type *q = fkv_quant_find(FKV_TYPE_Q8_0);
    check_product(q, 1, 1, 32, true, false);
    check_product(q, 2, 3, 96, true, false);
    check_product(q, 5, 67, 96, false, false);
    check_product(q, 8, 67, 96, false, true);
    check_product(q, 130, 129, 160, true, false);
    check_product(fkv_quant_find(FKV_TYPE_F32), 65, 300, 512, false,
                  false); /* more than one binding sees when the range is capped */
}

void test_gated(void **state)
{
    (void)state;
    seed(2);
    check_product(fkv_quant_find(FKV_TYPE_Q4_K), 1, 70, 256, false, true);
    check_product(fkv_quant_find(FKV_TYPE_Q4_0), 37, 70, 96, false, true);
}

/* ---- embedding ------------------------------------------------------------------------------- */

struct embedding {
    const struct fkv_weight *table;
    const int32_t *ids;
    int n;
    float *x;
};

static void run_embed(struct fkv_run *r, void *arg)
{
    const struct embedding *e = arg;
    r->b->ops->embed(r, e->table, e->ids, e->n, e->x);
}

void test_embed(void **state)
{
    (void)state;
    enum { ROWS = 1500, N = 70 };
    seed(3);
    for (int t = 0; fkv_quant_row(t); t++) {
        if (few() && t % 7) continue;
        const struct fkv_quant_type *q = fkv_quant_row(t);
        const int cols = q->block_elements > 32 ? 256 : 96;
        struct weight w = make_weight(q, ROWS, cols);
        const size_t n = (size_t)N * (size_t)cols;
        int32_t ids[N];
        float *got[N_SIDES];
        for (int i = 0; i < N; i++) ids[i] = (int32_t)(random_bits() % ROWS);
        ids[0] = 0;
        ids[1] = ROWS - 1;
        for (int i = 0; i < N_SIDES; i++) {
            float *x = side_floats(i, NULL, n);
            struct embedding e = {&w.on[i], ids, N, x};
            on_side(i, run_embed, &e);
            got[i] = malloc(n * sizeof *got[i]);
            side_read(i, x, n, got[i]);
            side_free(i, x, n);
        }
        assert_close(q->name, got[SIDE_CPU], got[SIDE_CHECK], n, 1e-6);
        assert_close(q->name, got[SIDE_CPU], got[SIDE_FAST], n, 1e-3);
        for (int i = 0; i < N_SIDES; i++) free(got[i]);
        free(w.bytes);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct rows {
    float *x;
    size_t ld;
    int n, heads, d;
    const float *norm;
    struct fkv_rope rope;
    const int32_t *list;
};

static void run_head_norm(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->head_norm(r, a->x, a->ld, a->n, a->heads, a->d, a->norm, 1e-6f);
}

static void run_rope(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->rope(r, &a->rope, a->x, a->ld, a->n, a->heads, a->list);
}

static void run_gather(struct fkv_run *r, void *arg)
{
    const struct rows *a = arg;
    r->b->ops->gather(r, a->x, a->ld, a->list, a->n);
}

/* table[n_table]: the norm, or the angles. filled: rows of x there are. */
static void check_rows(const char *what, void (*fn)(struct fkv_run *, void *), struct rows a, const float *table,
                       size_t n_table, int filled, double share)
{
    const size_t n = (size_t)filled * a.ld;
    float *x = random_floats(n), *got[N_SIDES];
    for (int i = 0; i < N_SIDES; i++) {
        struct rows here = a;
        float *t = side_floats(i, table, n_table);
        here.x = side_floats(i, x, n);
        here.norm = here.rope.cos_sin = t;
        on_side(i, fn, &here);
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

void test_rows(void **state)
{
    (void)state;
    enum { N = 9, POSITIONS = 50 };
    static const int sizes[][2] = {{32, 32}, {80, 80}, {128, 64}, {256, 256}}; /* d, n_rot */
    int32_t pos[N];
    seed(4);
    for (int i = 0; i < N; i++) pos[i] = (int32_t)(random_bits() % POSITIONS);
    for (int i = 0; i < 4; i++) {
        const int d = sizes[i][0], n_rot = sizes[i][1];
        const size_t ld = (size_t)(3 * d + 5), n_table = (size_t)POSITIONS * (size_t)n_rot;
        float *table = random_floats(n_table > (size_t)d ? n_table : (size_t)d);
        struct rows a = {.ld = ld, .n = N, .heads = 3, .d = d, .rope = {false, n_rot, d, NULL}, .list = pos};
        check_rows("head_norm", run_head_norm, a, table, (size_t)d, N, 2e-6);
        check_rows("rope by halves", run_rope, a, table, n_table, N, 2e-6);
        a.rope.pairs = true;
        check_rows("rope by pairs", run_rope, a, table, n_table, N, 2e-6);
        free(table);
    }
}

void test_gather(void **state)
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
