/* Checks of the products: panels (prefill), matvec (decode), and the packing of activations for them. */
#include "problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum activations { ACTIVATIONS_X8, ACTIVATIONS_X16, ACTIVATIONS_FLOAT };

static enum activations activations_of(const struct format *f)
{
    return f->rounding == ROUNDS_TO_8_BITS ? ACTIVATIONS_X8
           : f->rounding == ROUNDS_TO_BF16 ? ACTIVATIONS_X16
                                           : ACTIVATIONS_FLOAT;
}

typedef size_t bytes_fn(int m, int k);
typedef void pack_fn(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed);
typedef void panel_fn(const struct fkv_panel *p);
typedef void matvec_fn(const struct fkv_matvec *p);

/* ---- packing --------------------------------------------------------------------------------- */

static void *new_packed(size_t bytes)
{
    assert_int_equal(bytes % 64, 0);
    return guarded(bytes, GUARD_AFTER);
}

/* Packed in two parts when there are rows for two. */
static void *pack_in_parts(bytes_fn *bytes, pack_fn *pack, const float *x, size_t ldx, int m, int k)
{
    void *packed = new_packed(bytes(m, k));
    const int middle = m > FKV_PACK_ROWS ? m / 2 / FKV_PACK_ROWS * FKV_PACK_ROWS : 0;
    pack(x, ldx, m, k, middle, m, packed);
    if (middle > 0) pack(x, ldx, m, k, 0, middle, packed);
    return packed;
}

static void check_bytes(bytes_fn *bytes)
{
    for (int k = 32; k <= 2048; k += 32)
        for (int m = 1; m <= FKV_BLOCK_ROWS; m += m < 25 ? 1 : FKV_BLOCK_ROWS - 25) {
            assert_true(bytes(m, k) > 0);
            assert_int_equal(bytes(m, k) % 64, 0);
            if (m > 1) assert_true(bytes(m, k) >= bytes(m - 1, k));
            if (k > 32) assert_true(bytes(m, k) >= bytes(m, k - 32));
        }
}

/* Shared out to threads in any way, the packed form is the same. */
static void check_pack(bytes_fn *bytes, pack_fn *pack)
{
    for (int m = 1; m <= 49; m++) {
        const int k = 32 * (1 + m * 7 % 35);
        struct problem p;
        problem_make(&p, &format_f32, 0, m, k, W_ZERO, m % N_X_KINDS);
        void *whole = new_packed(bytes(m, k)), *parts = new_packed(bytes(m, k));
        pack(p.x, p.ldx, m, k, 0, m, whole);
        for (int row0 = (m - 1) / FKV_PACK_ROWS * FKV_PACK_ROWS; row0 >= 0; row0 -= FKV_PACK_ROWS)
            pack(p.x, p.ldx, m, k, row0, row0 + FKV_PACK_ROWS < m ? row0 + FKV_PACK_ROWS : m, parts);
        assert_memory_equal(whole, parts, bytes(m, k));
        pack(p.x, p.ldx, m, k, 0, 0, parts);
        problem_free(&p);
        guarded_release();
    }
}

void check_x8_bytes(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference, check_bytes(level->x8_bytes);
}
void check_x8_pack(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference, check_pack(level->x8_bytes, level->x8_pack);
}
void check_x16_bytes(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference, check_bytes(level->x16_bytes);
}
void check_x16_pack(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference, check_pack(level->x16_bytes, level->x16_pack);
}

void check_v8_bytes(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    for (int k = 32; k <= 4096; k += 32) {
        assert_true(level->v8_bytes(k) > 0);
        assert_int_equal(level->v8_bytes(k) % 64, 0);
    }
}

/* Equal vectors pack equally, wherever they lie. */
void check_v8_pack(const struct fkv_kernels *level, const struct fkv_kernels *reference)
{
    (void)reference;
    for (int k = 32; k <= 2080; k += 32)
        for (int kind = 0; kind < N_X_KINDS; kind += 1 + kind % 2) {
            struct problem p;
            problem_make(&p, &format_f32, 0, 1, k, W_ZERO, kind);
            float *elsewhere = guarded_floats(k, GUARD_BEFORE);
            memcpy(elsewhere, p.x, sizeof(float) * k);
            void *a = new_packed(level->v8_bytes(k)), *b = new_packed(level->v8_bytes(k));
            level->v8_pack(p.x, k, a);
            level->v8_pack(elsewhere, k, b);
            assert_memory_equal(a, b, level->v8_bytes(k));
            problem_free(&p);
            guarded_release();
        }
}

/* ---- panels ---------------------------------------------------------------------------------- */

/* Y of a problem in a guarded [m][ldy]; columns from n on must stay untouched. */
static float *run_panel(const struct fkv_kernels *level, panel_fn *panel, const struct problem *p, size_t ldy)
{
    const enum activations a = activations_of(p->f);
    const void *x = p->x;
    if (a == ACTIVATIONS_X8) x = pack_in_parts(level->x8_bytes, level->x8_pack, p->x, p->ldx, p->m, p->k);
    if (a == ACTIVATIONS_X16) x = pack_in_parts(level->x16_bytes, level->x16_pack, p->x, p->ldx, p->m, p->k);
    float *y = guarded_floats((p->m - 1) * ldy + p->n, GUARD_AFTER);
    const struct fkv_panel call = {.w = p->w,
                                   .w_stride = p->w_stride,
                                   .n = p->n,
                                   .k = p->k,
                                   .x = x,
                                   .ldx = p->ldx,
                                   .m = p->m,
                                   .y = y,
                                   .ldy = ldy,
                                   .prefetch = p->m % 2 ? p->w : NULL,
                                   .scratch = guarded(FKV_PANEL_SCRATCH, GUARD_AFTER)};
    panel(&call);
    for (int r = 0; r < p->m - 1; r++)
        for (size_t j = p->n; j < ldy; j++) assert_true(is_untouched(y[r * ldy + j]));
    return y;
}

static void check_panel_case(const struct fkv_kernels *level, panel_fn *panel, const struct format *f, int n, int m,
                             int k, enum w_kind w, enum x_kind x)
{
    struct problem p;
    problem_make(&p, f, n, m, k, w, x);
    const size_t ldy = n + m % 4;
    const float *y = run_panel(level, panel, &p, ldy);
    if (w != W_ANY_BYTES) problem_check(&p, y, ldy, NULL);
    problem_free(&p);
    guarded_release();
}

static int most_rows(const struct fkv_kernels *level, const struct format *f)
{
    return activations_of(f) == ACTIVATIONS_FLOAT ? FKV_PANEL_ROWS : level->panel_rows;
}

static void check_panel_lengths(const struct fkv_kernels *level, panel_fn *panel, const struct format *f)
{
    const int g = f->granule;
    for (int n = 1; n <= FKV_PANEL_ROWS; n++)
        check_panel_case(level, panel, f, n, 1 + n * 5 % 13, g * (1 + n % 3), W_RANDOM, X_NORMAL);
    for (int n = FKV_PANEL_ROWS + 1; n <= most_rows(level, f); n += 1 + n % 17)
        check_panel_case(level, panel, f, n, 1 + n * 5 % 70, g * (1 + n % 3), W_RANDOM, X_NORMAL);
    for (int m = 1; m <= 25; m++) check_panel_case(level, panel, f, m % 2 ? 32 : 17, m, g, W_RANDOM, X_NORMAL);
    for (int k = g; k <= 1280; k += g) check_panel_case(level, panel, f, 3, 2, k, W_RANDOM, X_OUTLIERS);
    check_panel_case(level, panel, f, 32, 7, 2304, W_RANDOM, X_OUTLIERS);
    check_panel_case(level, panel, f, 32, FKV_BLOCK_ROWS, 256, W_RANDOM, X_NORMAL);
    check_panel_case(level, panel, f, 5, FKV_BLOCK_ROWS - 1, 768, W_RANDOM, X_NORMAL);
    check_panel_case(level, panel, f, most_rows(level, f), FKV_BLOCK_ROWS, 512, W_RANDOM, X_NORMAL);
}

/* A row's numbers are the same alone, among others, and in a larger call at another place. */
static void check_panel_rows(const struct fkv_kernels *level, panel_fn *panel, const struct format *f, int k)
{
    enum { ROWS = 29, MANY = 515 };
    struct problem p;
    problem_make(&p, f, 32, ROWS, k, W_RANDOM, X_OUTLIERS);
    const float *y = run_panel(level, panel, &p, 32);
    for (int r = 0; r < ROWS; r++) {
        struct problem one = p;
        one.m = 1;
        one.x = p.x + r * p.ldx;
        assert_same_floats(y + r * 32, run_panel(level, panel, &one, 32), 32, "a row among others and alone");
    }
    struct problem many = p;
    many.m = MANY;
    many.x = guarded_floats(MANY * p.ldx, GUARD_AFTER);
    for (int r = 0; r < MANY; r++) memcpy(many.x + r * p.ldx, p.x + (r * 7 + 3) % ROWS * p.ldx, sizeof(float) * k);
    const float *y_many = run_panel(level, panel, &many, 32);
    for (int r = 0; r < MANY; r++)
        assert_same_floats(y + (r * 7 + 3) % ROWS * 32, y_many + r * 32, 32, "a row in a small and in a large call");
    problem_free(&p);
    guarded_release();
}

static double panel_rms(const struct fkv_kernels *level, panel_fn *panel, const struct format *f)
{
    struct error_sum sum = {0};
    struct problem p;
    problem_make(&p, f, 32, 48, 1536, W_RANDOM, X_NORMAL);
    problem_check(&p, run_panel(level, panel, &p, 32), 32, &sum);
    problem_free(&p);
    guarded_release();
    return error_rms(&sum);
}

/* Of types that share all but how 32 values are unpacked. */
static void check_panel_few_lengths(const struct fkv_kernels *level, panel_fn *panel, const struct format *f)
{
    const int g = f->granule, most = most_rows(level, f);
    for (int n = 1; n <= FKV_PANEL_ROWS; n += 1 + n % 9)
        check_panel_case(level, panel, f, n, 1 + n * 5 % 13, g * (1 + n % 3), W_RANDOM, X_NORMAL);
    for (int k = g; k <= 1280; k += g == 256 ? g : 160)
        check_panel_case(level, panel, f, 3, 2, k, W_RANDOM, X_OUTLIERS);
    check_panel_case(level, panel, f, most, 25, 512 + g, W_RANDOM, X_NORMAL);
}

static void check_panel(const struct fkv_kernels *level, panel_fn *panel, const struct format *f, bool brief)
{
    (brief ? check_panel_few_lengths : check_panel_lengths)(level, panel, f);
    for (int w = 0; w < N_W_KINDS; w++)
        for (int x = 0; x < N_X_KINDS; x++) check_panel_case(level, panel, f, 19, 14, 512, w, x);
    check_panel_case(level, panel, f, 32, 256, 256, W_RANDOM, X_ONE_HOT); /* finds every single weight */
    if (!brief) check_panel_rows(level, panel, f, 256);
    check_panel_rows(level, panel, f, brief ? 256 + f->granule : 768 + f->granule);
    const double rms = panel_rms(level, panel, f);
    print_message("panel_%s on %s: relative RMS %.5f %%\n", f->name, level->isa, 100 * rms);
    assert_true(rms < f->rms_limit);
}

/* ---- matvec ---------------------------------------------------------------------------------- */

/* m vectors as the slot takes them, `stride` bytes apart. */
static void *pack_vectors(const struct fkv_kernels *level, const struct problem *p, const float *x, int m,
                          size_t stride)
{
    char *v = guarded((size_t)m * stride, GUARD_AFTER);
    for (int i = 0; i < m; i++)
        if (activations_of(p->f) == ACTIVATIONS_X8)
            level->v8_pack(x + (size_t)i * p->ldx, p->k, v + (size_t)i * stride);
        else
            memcpy(v + (size_t)i * stride, x + (size_t)i * p->ldx, (size_t)p->k * sizeof *x);
    return v;
}

static size_t vector_bytes(const struct fkv_kernels *level, const struct problem *p)
{
    return activations_of(p->f) == ACTIVATIONS_X8 ? level->v8_bytes(p->k) : (size_t)p->k * sizeof(float);
}

static float *run_matvec(const struct fkv_kernels *level, matvec_fn *matvec, const struct problem *p, const float *x)
{
    float *y = guarded_floats(p->n, p->n % 3 ? GUARD_AFTER : GUARD_BEFORE);
    matvec(&(struct fkv_matvec){.w = p->w,
                                .w_stride = p->w_stride,
                                .n = p->n,
                                .k = p->k,
                                .v = pack_vectors(level, p, x, 1, vector_bytes(level, p)),
                                .m = 1,
                                .y = y});
    return y;
}

/* Each of several vectors, apart by any distance, gets the bits it gets alone; columns from n on stay untouched. */
static void check_matvec_several(const struct fkv_kernels *level, matvec_fn *matvec, const struct format *f, int n,
                                 int m, int k, enum w_kind w, enum x_kind x)
{
    struct problem p;
    problem_make(&p, f, n, m, k, w, x);
    const size_t stride = vector_bytes(level, &p) + (size_t)(64 * (n % 3)), ldy = (size_t)(n + m % 3);
    float *y = guarded_floats((size_t)(m - 1) * ldy + (size_t)n, n % 2 ? GUARD_AFTER : GUARD_BEFORE);
    matvec(&(struct fkv_matvec){.w = p.w,
                                .w_stride = p.w_stride,
                                .n = n,
                                .k = k,
                                .v = pack_vectors(level, &p, p.x, m, stride),
                                .v_stride = stride,
                                .m = m,
                                .y = y,
                                .ldy = ldy});
    for (int i = 0; i < m; i++) {
        const float *alone = run_matvec(level, matvec, &p, p.x + (size_t)i * p.ldx);
        assert_memory_equal(y + (size_t)i * ldy, alone, (size_t)n * sizeof *y);
        for (size_t j = (size_t)n; j < ldy && i < m - 1; j++) assert_true(is_untouched(y[(size_t)i * ldy + j]));
    }
    problem_free(&p);
    guarded_release();
}

static void check_matvec_case(const struct fkv_kernels *level, matvec_fn *matvec, const struct format *f, int n, int k,
                              enum w_kind w, enum x_kind x, struct error_sum *sum)
{
    struct problem p;
    problem_make(&p, f, n, 1, k, w, x);
    const float *y = run_matvec(level, matvec, &p, p.x);
    if (w != W_ANY_BYTES) problem_check(&p, y, n, sum);
    problem_free(&p);
    guarded_release();
}

/* Every single weight: y is column i of W for each i. */
static void check_matvec_one_hot(const struct fkv_kernels *level, matvec_fn *matvec, const struct format *f)
{
    enum { N = 19, K = 512 };
    struct problem all;
    problem_make(&all, f, N, 1, K, W_RANDOM, X_ZERO);
    for (int i = 0; i < K; i++) {
        all.x[i] = 1;
        problem_check(&all, run_matvec(level, matvec, &all, all.x), N, NULL);
        all.x[i] = 0;
        if (i % 16 == 15) { /* room for further buffers; the weights are made anew */
            problem_free(&all);
            guarded_release();
            problem_make(&all, f, N, 1, K, W_RANDOM, X_ZERO);
        }
    }
    problem_free(&all);
    guarded_release();
}

static void check_matvec(const struct fkv_kernels *level, matvec_fn *matvec, const struct format *f, bool brief)
{
    const int g = f->granule;
    for (int n = 0; n <= 33; n += brief ? 1 + n % 8 : 1)
        check_matvec_case(level, matvec, f, n, g * (1 + n % 3), W_RANDOM, X_NORMAL, NULL);
    for (int k = g; k <= 1280; k += brief && g < 256 ? 160 : g)
        check_matvec_case(level, matvec, f, 5, k, W_RANDOM, X_OUTLIERS, NULL);
    check_matvec_case(level, matvec, f, brief ? 5 : 65, 8960, W_RANDOM, X_OUTLIERS, NULL);
    for (int w = 0; w < N_W_KINDS; w++)
        for (int x = 0; x < N_X_KINDS; x++) check_matvec_case(level, matvec, f, 19, 512, w, x, NULL);
    check_matvec_one_hot(level, matvec, f);
    for (int m = 1; m <= FKV_STEP_VECTORS; m += brief ? 7 : 1) {
        for (int n = 1; n <= (brief ? 35 : 67); n += 1 + n * (brief ? 3 : m) % 11)
            check_matvec_several(level, matvec, f, n, m, g * (1 + (n + m) % 9), W_RANDOM, X_OUTLIERS);
        check_matvec_several(level, matvec, f, brief ? 3 : 21, m, 8960, W_RANDOM, m % N_X_KINDS);
    }
    for (int w = 0; w < N_W_KINDS; w++)
        for (int x = 0; x < N_X_KINDS; x += brief ? 3 : 1)
            check_matvec_several(level, matvec, f, 18, 1 + (w + x) % 8, 512, w, x);
    struct error_sum sum = {0};
    for (int i = 0; i < (brief ? 1 : 4); i++)
        check_matvec_case(level, matvec, f, brief ? 64 : 256, 1536, W_RANDOM, X_NORMAL, &sum);
    print_message("matvec_%s on %s: relative RMS %.5f %%\n", f->name, level->isa, 100 * error_rms(&sum));
    assert_true(error_rms(&sum) < f->rms_limit);
}

#define PRODUCT_CHECKS(format, brief)                                                                \
    void check_panel_##format(const struct fkv_kernels *level, const struct fkv_kernels *reference)  \
    {                                                                                                \
        (void)reference;                                                                             \
        check_panel(level, level->panel_##format, &format_##format, brief);                          \
    }                                                                                                \
    void check_matvec_##format(const struct fkv_kernels *level, const struct fkv_kernels *reference) \
    {                                                                                                \
        (void)reference;                                                                             \
        check_matvec(level, level->matvec_##format, &format_##format, brief);                        \
    }
PRODUCT_CHECKS(q8_0, false)
PRODUCT_CHECKS(q4_0, false)
PRODUCT_CHECKS(q4_1, false)
PRODUCT_CHECKS(q5_0, false)
PRODUCT_CHECKS(q4_k, false)
PRODUCT_CHECKS(q5_k, false)
PRODUCT_CHECKS(q6_k, false)
PRODUCT_CHECKS(f16, false)
PRODUCT_CHECKS(bf16, false)
PRODUCT_CHECKS(f32, false)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) PRODUCT_CHECKS(name, true)
#include "simd/unpacked.def"
