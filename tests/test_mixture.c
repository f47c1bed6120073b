/* A mixture of experts on the CPU, at every level: against its definition in double; with buckets of one row, of all
   rows, and more of them than are multiplied at once; and rows in a batch have the bits that they have alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "quant/quant.h"

enum { D = 64, F = 96, MOST_EXPERTS = 40, MOST_ROWS = FKV_BLOCK_ROWS, GAP = 3 };

static uint32_t random_state;

static float next_float(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(random_state >> 8) / 8388608.0f - 1;
}

static float *random_floats(size_t n, float scale)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = scale * next_float();
    return x;
}

/* The weights, and an input. */
struct problem {
    int n, n_expert, used;
    bool norm;
    float scale, *router, *gate, *up, *down, *x, *norm_weight;
    bool clamped; /* and with biases */
    float *router_bias, *gate_bias, *up_bias, *down_bias;
    fkv_f16 *halves[3]; /* gate, up and down as f16 */
};

static fkv_f16 *to_halves(float *x, size_t n)
{
    fkv_f16 *y = malloc(n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        y[i] = fkv_f16_from_f32(x[i]);
        x[i] = fkv_f32_from_f16(y[i]);
    }
    return y;
}

static struct problem make_problem(uint32_t seed, int n, int n_expert, int used)
{
    const size_t e = (size_t)n_expert, matrix = e * F * D;
    random_state = seed;
    struct problem p = {.n = n,
                        .n_expert = n_expert,
                        .used = used,
                        .norm = seed % 2 == 0,
                        .scale = seed % 3 == 0 ? 2.5f : 1,
                        .router = random_floats(e * D, 0.5f),
                        .gate = random_floats(matrix, 0.2f),
                        .up = random_floats(matrix, 0.2f),
                        .down = random_floats(matrix, 0.2f),
                        .x = random_floats((size_t)n * D, 2),
                        .norm_weight = random_floats(D, 1),
                        .clamped = seed % 2 == 1,
                        .router_bias = random_floats(e, 1),
                        .gate_bias = random_floats(e * F, 8), /* many are beyond the bound of 7 */
                        .up_bias = random_floats(e * F, 8),
                        .down_bias = random_floats(e * D, 3)};
    p.halves[0] = to_halves(p.gate, matrix);
    p.halves[1] = to_halves(p.up, matrix);
    p.halves[2] = to_halves(p.down, matrix);
    return p;
}

static void free_problem(struct problem *p)
{
    for (int i = 0; i < 3; i++) free(p->halves[i]);
    free(p->router_bias), free(p->gate_bias), free(p->up_bias), free(p->down_bias);
    free(p->router), free(p->gate), free(p->up), free(p->down), free(p->x), free(p->norm_weight);
}

/* ---- by the definition --------------------------------------------------------------------------- */

static double dot(const float *w, const double *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)w[i] * x[i];
    return sum;
}

/* What an expert's gate and up make of each other. */
static double activated(const struct problem *p, int f, double g, double u)
{
    if (!p->clamped) return g / (1 + exp(-g)) * u;
    g = fmin(g + (double)p->gate_bias[f], 7);
    u = fmax(fmin(u + (double)p->up_bias[f], 7), -7);
    return (u + 1) * g / (1 + exp(-1.702 * g));
}

/* y[D] += what the row's experts make of it. */
static void plain_row(const struct problem *p, const float *x, double *y)
{
    double normed[D], logits[MOST_EXPERTS], ff[F], squares = 0, all = 0, chosen = 0;
    bool taken[MOST_EXPERTS] = {false};
    for (int c = 0; c < D; c++) squares += (double)x[c] * (double)x[c];
    for (int c = 0; c < D; c++) normed[c] = (double)x[c] / sqrt(squares / D + 1e-5) * (double)p->norm_weight[c];
    for (int e = 0; e < p->n_expert; e++) {
        logits[e] = dot(p->router + e * D, normed, D) + (p->clamped ? (double)p->router_bias[e] : 0);
        all += exp(logits[e]);
    }
    for (int i = 0; i < p->used; i++) {
        int best = -1;
        for (int e = 0; e < p->n_expert; e++)
            if (!taken[e] && (best < 0 || logits[e] > logits[best])) best = e;
        taken[best] = true;
        chosen += exp(logits[best]);
    }
    for (int e = 0; e < p->n_expert; e++) {
        if (!taken[e]) continue;
        for (int f = 0; f < F; f++) {
            const double g = dot(p->gate + (e * F + f) * D, normed, D), u = dot(p->up + (e * F + f) * D, normed, D);
            ff[f] = activated(p, e * F + f, g, u);
        }
        const double weight = exp(logits[e]) / (p->norm ? chosen : all) * (double)p->scale;
        for (int c = 0; c < D; c++)
            y[c] += weight *
                    (dot(p->down + (e * D + c) * F, ff, F) + (p->clamped ? (double)p->down_bias[e * D + c] : 0));
    }
}

/* ---- by the back end ----------------------------------------------------------------------------- */

struct call {
    struct fkv_backend *b;
    struct fkv_input in;
    struct fkv_mixture m;
    struct fkv_tensor y;
};

static struct fkv_tensor tensor(float *x) { return (struct fkv_tensor){(struct fkv_buffer *)(void *)x, 0}; }

static void region(void *arg, int thread)
{
    struct call *c = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {c->b, thread, stage_s};
    c->b->ops->mixture(&r, &c->in, &c->m, c->y, D + GAP);
}

/* y[n][D + GAP] = x and what the experts make of it, for n rows from `row` on. */
static void run(struct fkv_backend *b, const struct problem *p, uint32_t type, int row, int n, bool alone, float *y)
{
    const size_t size = type == FKV_TYPE_F32 ? sizeof(float) : sizeof(fkv_f16);
    const void *data[3] = {p->gate, p->up, p->down};
    struct fkv_weight w[3], router = {p->router, D * sizeof(float), 0, FKV_TYPE_F32, p->n_expert, D, 1};
    float *rows = malloc(sizeof *rows * MOST_ROWS * D), *ff = malloc(sizeof *ff * MOST_ROWS * F);
    for (int i = 0; i < 3; i++) {
        const int out = i < 2 ? F : D, cols = i < 2 ? D : F;
        w[i] = (struct fkv_weight){type == FKV_TYPE_F32 ? data[i] : p->halves[i],
                                   (size_t)cols * size,
                                   D * F * size,
                                   type,
                                   out,
                                   cols,
                                   p->n_expert};
    }
    for (int i = 0; i < n; i++) memcpy(y + i * (D + GAP), p->x + (row + i) * D, D * sizeof *y);
    struct call c = {b,
                     {tensor(y), D + GAP, n, tensor(p->norm_weight), 1e-5f, alone},
                     {.router = &router,
                      .gate = &w[0],
                      .up = &w[1],
                      .down = &w[2],
                      .used = p->used,
                      .norm = p->norm,
                      .scale = p->scale,
                      .rows = tensor(rows),
                      .ff = tensor(ff)},
                     tensor(y)};
    if (p->clamped) {
        c.m.activation = FKV_SILU_CLAMPED;
        c.m.router_bias = tensor(p->router_bias);
        c.m.gate_bias = tensor(p->gate_bias);
        c.m.up_bias = tensor(p->up_bias);
        c.m.down_bias = tensor(p->down_bias);
    }
    fkv_team_run(b->team, region, &c);
    free(rows);
    free(ff);
}

static void check(struct fkv_backend *b, const struct problem *p, uint32_t type, double bound)
{
    float *y = malloc(sizeof *y * (size_t)p->n * (D + GAP));
    double worst = 0, largest = 0;
    run(b, p, type, 0, p->n, false, y);
    for (int i = 0; i < p->n; i++) {
        double want[D];
        for (int c = 0; c < D; c++) want[c] = (double)p->x[i * D + c];
        plain_row(p, p->x + i * D, want);
        for (int c = 0; c < D; c++) {
            worst = fmax(worst, fabs(want[c] - (double)y[i * (D + GAP) + c]));
            largest = fmax(largest, fabs(want[c]));
        }
    }
    printf("%s, %d rows, %d of %d experts, type %u: %.2g of the largest\n", b->isa, p->n, p->used, p->n_expert, type,
           worst / largest);
    assert_true(worst <= bound * largest);
    free(y);
}

/* Rows of a step: together, and one by one. */
static void check_alone(struct fkv_backend *b, const struct problem *p)
{
    float together[FKV_STEP_ROWS * (D + GAP)], one[D + GAP];
    const int n = p->n < FKV_STEP_ROWS ? p->n : FKV_STEP_ROWS;
    run(b, p, FKV_TYPE_F16, 0, n, true, together);
    for (int i = 0; i < n; i++) {
        run(b, p, FKV_TYPE_F16, i, 1, true, one);
        assert_memory_equal(one, together + i * (D + GAP), D * sizeof *one);
    }
}

/* Rows of a block have the bits that they have in a smaller one. */
static void check_blocks(struct fkv_backend *b, const struct problem *p)
{
    float *all = malloc(sizeof *all * (size_t)p->n * (D + GAP)),
          *some = malloc(sizeof *some * (size_t)p->n * (D + GAP));
    run(b, p, FKV_TYPE_F16, 0, p->n, false, all);
    run(b, p, FKV_TYPE_F16, 1, 2, false, some);
    for (int i = 0; i < 2; i++) assert_memory_equal(some + i * (D + GAP), all + (i + 1) * (D + GAP), D * sizeof *all);
    free(all);
    free(some);
}

static void on_level(const char *isa, bool exact)
{
    static const int shapes[][3] = {{1, 8, 2},   {5, 8, 2},    {3, 40, 32}, {100, 4, 1},
                                    {576, 8, 8}, {576, 40, 6}, {300, 1, 1}}; /* rows, experts, used */
    struct fkv_backend *b;
    struct fkv_error e = {""};
    if (fkv_cpu_backend_create(&b, 2, isa, exact, false, 256, &e) != FKV_OK) fail_msg("%s", e.text);
    for (uint32_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct problem p = make_problem(i + 1, shapes[i][0], shapes[i][1], shapes[i][2]);
        check(b, &p, FKV_TYPE_F32, 1e-5);
        check(b, &p, FKV_TYPE_F16, exact ? 1e-5 : 0.01); /* products may round activations to bf16 */
        check_alone(b, &p);
        if (p.n > 2) check_blocks(b, &p);
        free_problem(&p);
    }
    b->ops->destroy(b);
}

static void test_every_level(void **state)
{
    (void)state;
    for (int level = 0; level < fkv_simd_n_levels(); level++)
        if (fkv_simd_level_available(level)) on_level(fkv_simd_level_name(level), false);
    on_level("reference", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_level)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
