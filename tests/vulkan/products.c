/* Products and embedding. */
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
    {[FKV_TYPE_Q4_0] = {0, -1},   [FKV_TYPE_Q4_1] = {0, 2},     [FKV_TYPE_Q5_0] = {0, -1},
     [FKV_TYPE_Q5_1] = {0, 2},    [FKV_TYPE_Q8_0] = {0, -1},    [FKV_TYPE_Q2_K] = {80, 82},
     [FKV_TYPE_Q3_K] = {108, -1}, [FKV_TYPE_Q4_K] = {0, 2},     [FKV_TYPE_Q5_K] = {0, 2},
     [FKV_TYPE_Q6_K] = {208, -1}, [FKV_TYPE_IQ4_NL] = {0, -1},  [FKV_TYPE_IQ4_XS] = {0, -1},
     [FKV_TYPE_IQ3_S] = {0, -1},  [FKV_TYPE_IQ3_XXS] = {0, -1}, [FKV_TYPE_IQ2_S] = {0, -1},
     [FKV_TYPE_IQ2_XS] = {0, -1}, [FKV_TYPE_IQ2_XXS] = {0, -1}, [FKV_TYPE_IQ1_S] = {0, -1},
     [FKV_TYPE_IQ1_M] = {-1, -1}, [FKV_TYPE_MXFP4] = {-1, -1}};

static void random_block(const struct fkv_quant_type *q, uint8_t *block)
{
    const float x = random_float();
    const fkv_f16 half = fkv_f16_from_f32(x);
    const fkv_bf16 brain = fkv_bf16_from_f32(x);
    for (uint32_t i = 0; i < q->block_bytes; i++) block[i] = (uint8_t)(random_bits() >> 9);
    if (q->type == FKV_TYPE_F32) memcpy(block, &x, 4);
    if (q->type == FKV_TYPE_F16) memcpy(block, &half, 2);
    if (q->type == FKV_TYPE_BF16) memcpy(block, &brain, 2);
    if (q->type == FKV_TYPE_MXFP4) block[0] = (uint8_t)(118 + block[0] % 8);
    for (int i = 0; i < 4 && q->type == FKV_TYPE_IQ1_M; i++) /* a half in four nibbles: about 0.01 */
        block[49 + 2 * i] = (uint8_t)((block[49 + 2 * i] & 15) | "\x00\x00\x10\x20"[i]);
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
        w.on[i] =
            (struct fkv_weight){.data = w.bytes, .stride = stride, .type = q->type, .rows = rows, .cols = cols, .n = 1};
        if (side(i)->ops->load_weight(side(i), &w.on[i], q->name, &e) != FKV_OK) fail_msg("%s", e.text);
    }
    return w;
}

/* ---- products -------------------------------------------------------------------------------- */

struct product {
    struct fkv_input in;
    struct fkv_output out;
    const struct fkv_weight *up; /* or NULL: a product, not a gated one */
    struct fkv_tensor up_bias;
    enum fkv_activation activation;
};

static void run_product(struct fkv_run *r, void *arg)
{
    const struct product *p = arg;
    if (p->up)
        r->b->ops->gated(r, &p->in, &(struct fkv_gate){p->out.w, p->up, p->out.bias, p->up_bias, p->activation},
                         p->out.y, p->out.ld);
    else
        r->b->ops->product(r, &p->in, &p->out, 1);
}

/* ld: a little more than the columns, so that a wrong stride shows. */
static void check_shape(const struct fkv_quant_type *q, int n, int rows, int cols, bool plain, bool gated)
{
    const size_t ldx = (size_t)cols + 4, ldy = (size_t)rows + 3, nx = (size_t)n * ldx, ny = (size_t)n * ldy;
    struct weight w = make_weight(q, rows, cols), up = make_weight(q, rows, cols);
    float *x = random_floats(nx), *y = random_floats(ny), *norm = random_floats((size_t)cols),
          *bias = random_floats((size_t)rows);
    float *got[N_SIDES];
    for (int i = 0; i < N_SIDES; i++) {
        const struct fkv_tensor none = {0}, sx = side_floats(i, x, nx), sy = side_floats(i, y, ny),
                                sn = side_floats(i, norm, (size_t)cols), sb = side_floats(i, bias, (size_t)rows);
        struct product p = {.in = {.x = sx, .ld = ldx, .n = n, .norm = plain ? none : sn, .eps = 1e-5f},
                            .out = {.w = &w.on[i], .bias = plain ? none : sb, .y = sy, .ld = ldy, .add = !plain},
                            .up = gated ? &up.on[i] : NULL,
                            .up_bias = plain ? none : sb,
                            .activation = n % 2 ? FKV_GELU : FKV_SILU};
        on_side(i, run_product, &p);
        got[i] = malloc(ny * sizeof *got[i]);
        side_read(i, sy, ny, got[i]);
        side_free(i, sx, nx);
        side_free(i, sy, ny);
        side_free(i, sn, (size_t)cols);
        side_free(i, sb, (size_t)rows);
    }
    /* the fast path keeps halves of the types that no shader reads */
    const bool converted = q->block_elements > 1 &&
                           (q->type == FKV_TYPE_Q2_K || q->type == FKV_TYPE_Q3_K || q->type > FKV_TYPE_Q6_K);
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

static void check_shapes(void **state)
{
    (void)state;
    seed(1);
    for (int i = 0; fkv_quant_row(i); i++) {
        if (few() && i % 7) continue;
        const struct fkv_quant_type *q = fkv_quant_row(i);
        const int unit = q->block_elements > 32 ? 256 : 32;
        check_shape(q, 1, 67, 2 * unit, false, false);
        check_shape(q, 12, 67, 3 * unit, false, false);
    }
    const struct fkv_quant_type *q = fkv_quant_find(FKV_TYPE_Q8_0);
    check_shape(q, 1, 1, 32, true, false);
    check_shape(q, 2, 3, 96, true, false);
    check_shape(q, 5, 67, 96, false, false);
    check_shape(q, 8, 67, 96, false, true);
    check_shape(q, 130, 129, 160, true, false);
    check_shape(fkv_quant_find(FKV_TYPE_F32), 65, 300, 512, false,
                false); /* more than one binding sees when the range is capped */
}

void check_gated(void **state)
{
    (void)state;
    seed(2);
    check_shape(fkv_quant_find(FKV_TYPE_Q4_K), 1, 70, 256, false, true);
    check_shape(fkv_quant_find(FKV_TYPE_Q4_0), 37, 70, 96, false, true);
    check_shape(fkv_quant_find(FKV_TYPE_Q4_0), 2, 70, 96, false, true);
    check_shape(fkv_quant_find(FKV_TYPE_Q4_0), 38, 70, 96, false, true);
}

/* ---- embedding ------------------------------------------------------------------------------- */

struct embedding {
    const struct fkv_weight *table;
    const int32_t *ids;
    int n;
    struct fkv_tensor x;
};

static void run_embed(struct fkv_run *r, void *arg)
{
    const struct embedding *e = arg;
    r->b->ops->embed(r, e->table, e->ids, e->n, 1.5f, e->x);
}

void check_embed(void **state)
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
            const struct fkv_tensor x = side_floats(i, NULL, n);
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

/* ---- rows that are alone --------------------------------------------------------------------- */

/* Rows of a step get the bits that each of them gets alone. */
static void check_alone(int i, const struct fkv_quant_type *q, int n)
{
    enum { ROWS = 64, COLS = 256 };
    struct weight w = make_weight(q, ROWS, COLS);
    float *x = random_floats(COLS * (size_t)n), together[ROWS * FKV_STEP_ROWS], alone[ROWS];
    const struct fkv_tensor sx = side_floats(i, x, COLS * (size_t)n), sy = side_floats(i, NULL, ROWS * (size_t)n);
    struct product p = {.in = {.x = sx, .ld = COLS, .n = n, .alone = true},
                        .out = {.w = &w.on[i], .y = sy, .ld = ROWS}};
    on_side(i, run_product, &p);
    side_read(i, sy, ROWS * (size_t)n, together);
    for (int row = 0; row < n; row++) {
        p.in = (struct fkv_input){.x = fkv_tensor_from(sx, COLS * (size_t)row), .ld = COLS, .n = 1};
        on_side(i, run_product, &p);
        side_read(i, sy, ROWS, alone);
        assert_memory_equal(alone, together + ROWS * row, sizeof alone);
    }
    side_free(i, sx, COLS * (size_t)n);
    side_free(i, sy, ROWS * (size_t)n);
    free(x);
    free(w.bytes);
}

void check_product(void **state)
{
    const struct fkv_quant_type *q4 = fkv_quant_find(FKV_TYPE_Q4_K);
    check_shapes(state);
    for (int i = 0; i < N_SIDES; i++)
        for (int n = 1; n <= FKV_STEP_ROWS; n += 7) check_alone(i, q4, n);
}

/* ---- weights in memory ----------------------------------------------------------------------- */

void check_load_weight(void **state)
{
    enum { ROWS = 6, COLS = 64, BYTES = ROWS * COLS / 32 * 34 };
    (void)state;
    seed(11);
    struct weight w = make_weight(fkv_quant_find(FKV_TYPE_Q8_0), ROWS, COLS);
    assert_ptr_equal(w.on[SIDE_CPU].data, w.bytes);      /* where the file is mapped */
    assert_ptr_not_equal(w.on[SIDE_FAST].data, w.bytes); /* on the device */
    free(w.bytes);
}

void check_weight_bytes(void **state)
{
    const struct fkv_weight w = {.stride = 68, .type = FKV_TYPE_Q8_0, .rows = 10, .cols = 64, .n = 1},
                            odd = {.type = FKV_TYPE_Q2_K, .rows = 10, .cols = 256, .n = 1};
    (void)state;
    assert_int_equal(side(SIDE_CPU)->ops->weight_bytes(side(SIDE_CPU), &w), 0);
    assert_int_equal(side(SIDE_FAST)->ops->weight_bytes(side(SIDE_FAST), &w), 680);
    assert_int_equal(side(SIDE_FAST)->ops->weight_bytes(side(SIDE_FAST), &odd), 10 * 256 * 2); /* becomes halves */
    assert_int_equal(side(SIDE_CHECK)->ops->weight_bytes(side(SIDE_CHECK), &odd), 10 * 256 * 4);
}

/* Not there yet: models with experts are refused before anything is loaded (test_vulkan_places). */
void check_mixture(void **state)
{
    (void)state;
    assert_null(side(SIDE_FAST)->ops->mixture);
    assert_non_null(side(SIDE_CPU)->ops->mixture);
}
