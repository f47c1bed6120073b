/* The self-test: every shader once through its operation, on small data, against the CPU back end in plain C. What a
   person attaches to a bug report about a device we have never seen. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "quant/quant.h"
#include "vulkan/vk_internal.h"

enum {
    COLS = 512,
    WEIGHT_ROWS = 384,
    ROWS = 70, /* of weights and activations */
    D = 64,
    KV_HEADS = 2,
    HEADS = 6,
    ENTRIES = 600,
    WINDOW = 8,
    RETAINED = 100,
    Q_WIDTH = HEADS * D,
    KV_WIDTH = KV_HEADS * D,
    SCORED = 5000,
    CAP = 500,
    MOST = ENTRIES * KV_WIDTH, /* floats of any input or output */
};

/* What checks compute with on one back end. */
struct bench {
    struct fkv_backend *b;
    struct fkv_tensor x, y, table; /* [MOST] inputs, results, norms and angles */
    struct fkv_weight w, up;
    struct fkv_kv_store *full, *kept;
    struct fkv_choice *rows; /* room for KV_HEADS lists of SCORED + WINDOW */
};

enum { NONE = -1 };
enum result { RESULT_Y, RESULT_X, RESULT_ROWS, RESULT_COMMON_ROWS };

struct check {
    const char *name;
    uint32_t type; /* of the weights: enum fkv_type; of K and V: enum fkv_kv_elem */
    bool cache;    /* it needs K and V, else weights */
    void (*run)(struct fkv_run *r, struct bench *b);
    enum result result;
    size_t n; /* of the result */
    double allowed, multiply_adds, bytes;
    int rounds; /* enum vk_shader: variants of this one round what they multiply, or NONE do */
};

/* ---- the operations -------------------------------------------------------------------------- */

static const int32_t few_rows[] = {3, 40, 41, WEIGHT_ROWS - 1};

static void multiply(struct fkv_run *r, struct bench *b, int n)
{
    const struct fkv_input in = {.x = b->x, .ld = COLS, .n = n, .norm = b->table, .eps = 1e-5f};
    r->b->ops->product(r, &in, &(struct fkv_output){.w = &b->w, .bias = b->table, .y = b->y, .ld = WEIGHT_ROWS}, 1);
}

static void run_product(struct fkv_run *r, struct bench *b) { multiply(r, b, ROWS); }
static void run_matvec(struct fkv_run *r, struct bench *b) { multiply(r, b, 1); }
static void run_embed(struct fkv_run *r, struct bench *b) { r->b->ops->embed(r, &b->w, few_rows, 4, 1, b->y); }

static void run_gather(struct fkv_run *r, struct bench *b)
{
    const int32_t n = 4;
    r->b->ops->choice_write(b->rows, 1, &n, few_rows);
    r->b->ops->gather(r, b->x, 128, b->rows);
}

static void run_head_norm(struct fkv_run *r, struct bench *b)
{
    r->b->ops->head_norm(r, b->x, Q_WIDTH, ROWS, HEADS, D, b->table, 1e-6f);
}

static void run_gated(struct fkv_run *r, struct bench *b)
{
    const struct fkv_input in = {.x = b->x, .ld = COLS, .n = ROWS, .norm = b->table, .eps = 1e-5f};
    r->b->ops->gated(r, &in, &(struct fkv_gate){.gate = &b->w, .up = &b->up}, b->y, WEIGHT_ROWS);
}

static void run_rope(struct fkv_run *r, struct bench *b)
{
    const struct fkv_rope rope = {false, D, D, b->table};
    r->b->ops->rope(r, &rope, b->x, Q_WIDTH, 4, HEADS, few_rows);
}

/* n rows, the last that came; entry i of `full` is at position 3 i, but the last rows follow each other. */
static void attend(struct fkv_run *r, struct fkv_kv_store *s, struct bench *b, int n, int window, bool has_sinks)
{
    const struct fkv_attention how = {.n_head = HEADS,
                                      .scale = 0.125f,
                                      .window = window,
                                      .sinks = has_sinks ? b->table : (struct fkv_tensor){0}};
    int32_t pos[ROWS], hidden[ROWS];
    for (int i = 0; i < n; i++) {
        pos[i] = 3 * (ENTRIES - n + i);
        hidden[i] = n - 1 - i;
    }
    r->b->ops->attend(r, &s, &how, b->x, Q_WIDTH, &(struct fkv_rows){.n = n, .pos = pos, .hidden = hidden}, b->y);
}

static void run_attend(struct fkv_run *r, struct bench *b) { attend(r, b->full, b, ROWS, 0, false); }
static void run_attend_one(struct fkv_run *r, struct bench *b) { attend(r, b->full, b, 1, 0, false); }
static void run_attend_window(struct fkv_run *r, struct bench *b) { attend(r, b->full, b, ROWS, 500, true); }
static void run_attend_one_window(struct fkv_run *r, struct bench *b) { attend(r, b->full, b, 1, 500, true); }

static void run_retain(struct fkv_run *r, struct bench *b)
{
    int32_t rows[KV_HEADS * RETAINED], count[KV_HEADS] = {RETAINED, RETAINED / 2};
    for (int i = 0; i < KV_HEADS * RETAINED; i++) rows[i] = i % RETAINED * 5 + i / RETAINED;
    r->b->ops->choice_write(b->rows, KV_HEADS, count, rows);
    r->b->ops->kv_cut(b->kept, 0);
    r->b->ops->retain(r, b->kept, b->full, b->rows);
    attend(r, b->kept, b, 1, 0, false);
}

static void score(struct fkv_run *r, struct bench *b, int window, bool has_sinks)
{
    const struct fkv_attention how = {.n_head = HEADS,
                                      .scale = 0.125f,
                                      .window = window,
                                      .sinks = has_sinks ? b->table : (struct fkv_tensor){0}};
    const struct fkv_scoring scoring = {.window = WINDOW, .pool_kernel = 7};
    int32_t pos[WINDOW];
    for (int i = 0; i < WINDOW; i++) pos[i] = 3 * (ENTRIES - WINDOW + i);
    r->b->ops->score(r, b->full, &how, &scoring, b->x, Q_WIDTH, &(struct fkv_rows){.n = WINDOW, .pos = pos}, ENTRIES,
                     b->y, (struct fkv_tensor){0});
}

static void run_score(struct fkv_run *r, struct bench *b) { score(r, b, 0, false); }
static void run_score_window(struct fkv_run *r, struct bench *b) { score(r, b, 500, true); }

static void select(struct fkv_run *r, struct bench *b, enum fkv_spread spread)
{
    const struct fkv_selection how = {.n = SCORED + WINDOW,
                                      .window = WINDOW,
                                      .sinks = 1,
                                      .keep = CAP,
                                      .spread = spread};
    r->b->ops->select(r, b->x, KV_HEADS, &how, b->rows);
}

static void run_select(struct fkv_run *r, struct bench *b) { select(r, b, FKV_SPREAD_EQUAL); }
static void run_select_common(struct fkv_run *r, struct bench *b) { select(r, b, FKV_SPREAD_COMMON); }

#define PRODUCTS(NAME, block_values, block_bytes)                                                                    \
    {"product " #NAME,                                                                                               \
     FKV_TYPE_##NAME,                                                                                                \
     false,                                                                                                          \
     run_product,                                                                                                    \
     RESULT_Y,                                                                                                       \
     ROWS * WEIGHT_ROWS,                                                                                             \
     1e-5,                                                                                                           \
     (double)ROWS * WEIGHT_ROWS * COLS,                                                                              \
     (double)WEIGHT_ROWS * COLS / (block_values) * (block_bytes) + 4.0 * ROWS * (COLS + WEIGHT_ROWS),                \
     VK_SHADER_product},                                                                                             \
    {                                                                                                                \
        "matvec " #NAME, FKV_TYPE_##NAME, false, run_matvec, RESULT_Y, WEIGHT_ROWS, 1e-5, (double)WEIGHT_ROWS *COLS, \
            (double)WEIGHT_ROWS *COLS / (block_values) * (block_bytes) + 4.0 * (COLS + WEIGHT_ROWS), NONE            \
    }
#define KV_BYTES(bytes) ((double)ENTRIES * KV_WIDTH * 2 * (bytes))
#define CACHE(name, elem, run, n, allowed, macs, bytes, rounds)          \
    {                                                                    \
        name, elem, true, run, RESULT_Y, n, allowed, macs, bytes, rounds \
    }

static const struct check checks[] = {
    PRODUCTS(F32, 1, 4),
    PRODUCTS(F16, 1, 2),
    PRODUCTS(BF16, 1, 2),
    PRODUCTS(Q8_0, 32, 34),
    PRODUCTS(Q4_0, 32, 18),
    PRODUCTS(Q4_1, 32, 20),
    PRODUCTS(Q5_0, 32, 22),
    PRODUCTS(Q5_1, 32, 24),
    PRODUCTS(Q4_K, 256, 144),
    PRODUCTS(Q5_K, 256, 176),
    PRODUCTS(Q6_K, 256, 210),
    {"gated, swiglu", FKV_TYPE_Q8_0, false, run_gated, RESULT_Y, ROWS *WEIGHT_ROWS, 1e-5, 2.0 * ROWS *WEIGHT_ROWS *COLS,
     2.0 * WEIGHT_ROWS *COLS / 32 * 34, VK_SHADER_product},
    {"embed", FKV_TYPE_Q8_0, false, run_embed, RESULT_Y, 4 * COLS, 1e-6, 0, 4.0 * COLS * 5, NONE},
    {"gather", FKV_TYPE_F32, false, run_gather, RESULT_X, 4 * 128, 0, 0, 4.0 * 128 * 8, NONE},
    {"rms_norm", FKV_TYPE_F32, false, run_head_norm, RESULT_X, ROWS *Q_WIDTH, 1e-5, (double)ROWS *Q_WIDTH,
     8.0 * ROWS *Q_WIDTH, NONE},
    {"rope", FKV_TYPE_F32, false, run_rope, RESULT_X, 4 * Q_WIDTH, 1e-5, 8.0 * Q_WIDTH, 32.0 * Q_WIDTH, NONE},
    CACHE("attend f32", FKV_ELEM_F32, run_attend, ROWS *Q_WIDTH, 2e-5, 2.0 * ROWS * Q_WIDTH * ENTRIES, KV_BYTES(4),
          VK_SHADER_attend),
    CACHE("attend f16", FKV_ELEM_F16, run_attend, ROWS *Q_WIDTH, 2e-5, 2.0 * ROWS * Q_WIDTH * ENTRIES, KV_BYTES(2),
          VK_SHADER_attend),
    CACHE("attend_one f32", FKV_ELEM_F32, run_attend_one, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * ENTRIES, KV_BYTES(4), NONE),
    CACHE("attend_one f16", FKV_ELEM_F16, run_attend_one, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * ENTRIES, KV_BYTES(2), NONE),
    CACHE("attend_one bf16", FKV_ELEM_BF16, run_attend_one, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * ENTRIES, KV_BYTES(2), NONE),
    CACHE("attend_one q8_0", FKV_ELEM_Q8_0, run_attend_one, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * ENTRIES, KV_BYTES(1.125),
          NONE),
    CACHE("attend f16, window, sinks", FKV_ELEM_F16, run_attend_window, ROWS *Q_WIDTH, 2e-5,
          2.0 * ROWS * Q_WIDTH * ENTRIES, KV_BYTES(2), VK_SHADER_attend),
    CACHE("attend_one, window, sinks", FKV_ELEM_F16, run_attend_one_window, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * ENTRIES,
          KV_BYTES(2), NONE),
    CACHE("kv_copy and attend_one", FKV_ELEM_F16, run_retain, Q_WIDTH, 2e-5, 2.0 * Q_WIDTH * RETAINED,
          6.0 * RETAINED * KV_WIDTH * 2, NONE),
    CACHE("window scores", FKV_ELEM_F32, run_score, KV_HEADS *(ENTRIES - WINDOW), 1e-5,
          (double)WINDOW *Q_WIDTH *ENTRIES, KV_BYTES(2), NONE),
    CACHE("window scores, window, sinks", FKV_ELEM_F32, run_score_window, KV_HEADS *(ENTRIES - WINDOW), 1e-5,
          (double)WINDOW *Q_WIDTH *ENTRIES, KV_BYTES(2), NONE),
    {"top_k", FKV_TYPE_F32, false, run_select, RESULT_ROWS, KV_HEADS *CAP, 0, 0, 6.0 * 4 * KV_HEADS *SCORED, NONE},
    {"sum_heads and top_k", FKV_TYPE_F32, false, run_select_common, RESULT_COMMON_ROWS, CAP, 0, 0, 6.0 * 4 * SCORED,
     NONE},
};

/* ---- data ------------------------------------------------------------------------------------ */

static uint32_t next_bits(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static float next_float(uint32_t *state) { return (float)(next_bits(state) >> 8) / (float)(1 << 23) - 1.0f; }

/* A weight's bytes: random, but for the floats and the scales, which must stay small. */
static void fill_weight(uint8_t *bytes, const struct fkv_quant_type *q, uint32_t *state)
{
    const size_t blocks = (size_t)WEIGHT_ROWS * COLS / q->block_elements;
    for (size_t i = 0; i < blocks; i++, bytes += q->block_bytes) {
        const float x = next_float(state) / 16;
        const fkv_f16 half = fkv_f16_from_f32(x);
        const fkv_bf16 brain = fkv_bf16_from_f32(x);
        for (uint32_t j = 0; j < q->block_bytes; j++) bytes[j] = (uint8_t)(next_bits(state) >> 9);
        if (q->type == FKV_TYPE_F32)
            memcpy(bytes, &x, 4);
        else if (q->type == FKV_TYPE_BF16)
            memcpy(bytes, &brain, 2);
        else if (q->type == FKV_TYPE_Q6_K)
            memcpy(bytes + q->block_bytes - 2, &half, 2);
        else
            memcpy(bytes, &half, 2);
        if (q->block_bytes % 4 == 0 && q->block_elements > 1)
            memcpy(bytes + 2, &half, 2); /* the types that have a minimum */
    }
}

static void append(struct fkv_run *r, struct bench *b, int first, int n)
{
    const struct fkv_tensor x = fkv_tensor_from(b->x, (size_t)first * KV_WIDTH);
    int32_t pos[ENTRIES];
    for (int i = 0; i < n; i++) pos[i] = 3 * (first + i);
    r->b->ops->kv_append(r, &b->full, x, x, KV_WIDTH, &(struct fkv_rows){.n = n, .pos = pos});
}

static fkv_status create_cache(struct bench *b, int type)
{
    const struct fkv_ops *ops = b->b->ops;
    const struct fkv_kv_shape shape = {KV_HEADS, D, type, type};
    const fkv_status status = ops->kv_create(b->b, &b->full, &shape, ENTRIES, true);
    return status == FKV_OK ? ops->kv_create(b->b, &b->kept, &shape, ENTRIES, true) : status;
}

/* ---- running --------------------------------------------------------------------------------- */

struct region {
    struct bench *b;
    const struct check *check;
};

static void run_region(void *arg, int thread)
{
    const struct region *g = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {g->b->b, thread, stage_s};
    g->check->run(&r, g->b);
}

static void fill_region(void *arg, int thread)
{
    struct region *g = arg;
    double stage_s[FKV_N_STAGES] = {0};
    struct fkv_run r = {g->b->b, thread, stage_s};
    for (int row = 0; row < ENTRIES; row += 200) append(&r, g->b, row, 200);
}

static bool is_rows(const struct check *check)
{
    return check->result == RESULT_ROWS || check->result == RESULT_COMMON_ROWS;
}

static fkv_status take_result(struct bench *b, const struct check *check, float *result)
{
    const struct fkv_ops *ops = b->b->ops;
    const int lists = check->result == RESULT_ROWS ? KV_HEADS : 1;
    if (is_rows(check)) {
        for (size_t i = 0; i < check->n; i++)
            result[i] = (float)ops->choice_read(b->rows, (int)i / (int)(check->n / lists))[i % (check->n / lists)];
    } else {
        const float *read = ops->read(b->b, check->result == RESULT_X ? b->x : b->y, check->n, result);
        if (read != result) memcpy(result, read, check->n * sizeof *result);
    }
    return ops->wait(b->b);
}

/* Runs the check twice on one back end, from the same data: the second run's time and its result, floats or indices, to
   result[]. */
static fkv_status run_on(struct bench *b, const struct check *check, const float *data, const uint8_t *weight,
                         float *result, double *ms, struct fkv_error *e)
{
    const struct fkv_ops *ops = b->b->ops;
    const struct fkv_quant_type *q = fkv_quant_find(check->cache ? FKV_TYPE_F32 : check->type);
    struct region g = {b, check};
    fkv_status status = FKV_OK;
    ops->write(b->b, b->x, data, MOST);
    ops->write(b->b, b->table, data + 100, MOST - 100);
    if (check->cache) {
        status = create_cache(b, (int)check->type);
        if (status == FKV_OK) fkv_team_run(b->b->team, fill_region, &g);
    } else {
        b->w = b->up = (struct fkv_weight){.data = weight,
                                           .stride = fkv_quant_row_bytes(q, COLS),
                                           .type = q->type,
                                           .rows = WEIGHT_ROWS,
                                           .cols = COLS,
                                           .n = 1};
        status = ops->load_weight(b->b, &b->w, check->name, e);
        if (status == FKV_OK) status = ops->load_weight(b->b, &b->up, check->name, e);
    }
    for (int i = 0; i < 2 && status == FKV_OK; i++) {
        const double start = fkv_clock_s();
        fkv_team_run(b->b->team, run_region, &g);
        status = ops->wait(b->b);
        *ms = 1e3 * (fkv_clock_s() - start);
    }
    if (status == FKV_OK) status = take_result(b, check, result);
    if (check->cache) {
        ops->kv_destroy(b->full);
        ops->kv_destroy(b->kept);
        b->full = b->kept = NULL;
    }
    if (status != FKV_OK && !*e->text)
        fkv_fail(e, status, "%s: %s", check->name, *b->b->error.text ? b->b->error.text : fkv_status_text(status));
    return status;
}

static double error_of(const struct check *check, const float *want, const float *got)
{
    double most = 0, top = 0, wrong = 0;
    for (size_t i = 0; i < check->n; i++) {
        const double d = fabs((double)want[i] - (double)got[i]);
        most = d > most || isnan(d) ? d : most;
        top = fmax(top, fabs((double)want[i]));
        wrong += want[i] != got[i];
    }
    return is_rows(check) ? wrong : most / (top > 0 ? top : 1);
}

/* What passes need besides their activations; sessions share it. */
static const struct fkv_extent extent = {SCORED + WINDOW, HEADS, D, WINDOW};

static fkv_status open_bench(struct bench *b)
{
    struct fkv_tensor *all[] = {&b->x, &b->y, &b->table};
    fkv_status status = b->b->ops->prepare(b->b, &extent);
    for (int i = 0; i < 3 && status == FKV_OK; i++) status = b->b->ops->alloc(b->b, all[i], MOST, false);
    if (status == FKV_OK) status = b->b->ops->choice_create(b->b, &b->rows, KV_HEADS, SCORED + WINDOW);
    return status;
}

static void close_bench(struct bench *b)
{
    const struct fkv_tensor all[] = {b->x, b->y, b->table};
    if (!b->b) return;
    b->b->ops->choice_destroy(b->rows);
    for (int i = 0; i < 3; i++)
        if (fkv_tensor_is(all[i])) b->b->ops->free(b->b, all[i], MOST);
    b->b->ops->destroy(b->b);
}

/* The device's memory that scratch takes, against what is said for plans. */
static bool check_scratch(struct vk_backend *b, void (*report)(void *, const struct fkv_vulkan_check *), void *user)
{
    char name[64];
    const uint64_t before = vk_memory_used(&b->c);
    const double start = fkv_clock_s();
    if (b->base.ops->prepare(&b->base, &extent) != FKV_OK) return false;
    const double taken = (double)(vk_memory_used(&b->c) - before),
                 said = (double)b->base.ops->scratch_bytes(&b->base, &extent).device;
    snprintf(name, sizeof name, "scratch of %.0f KiB", taken / 1024);
    const struct fkv_vulkan_check done = {.name = name,
                                          .error = fabs(taken - said) / said,
                                          .allowed = 1e-3,
                                          .ms = 1e3 * (fkv_clock_s() - start),
                                          .bytes = 0};
    report(user, &done);
    return done.error <= done.allowed;
}

static double allowed(const struct check *check, const struct bench *gpu)
{
    const uint32_t constants[VK_MAX_CONSTANTS] = {check->type, check->type, vk_chunks(D)};
    const double rounding = check->rounds == NONE ? 0
                                                  : vk_rounding(&((struct vk_backend *)gpu->b)->c,
                                                                (enum vk_shader)check->rounds, constants);
    return fmax(check->allowed, rounding);
}

/* data: floats [MOST], then a weight's bytes, then two results. */
static fkv_status run_checks(struct bench *cpu, struct bench *gpu, float *data,
                             void (*report)(void *, const struct fkv_vulkan_check *), void *user, struct fkv_error *e)
{
    uint8_t *weight = (uint8_t *)(data + MOST);
    float *want = data + MOST + WEIGHT_ROWS * COLS, *got = want + MOST;
    uint32_t state = 1;
    int bad = 0;
    for (int i = 0; i < MOST; i++) data[i] = next_float(&state);
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        const struct check *check = &checks[i];
        double cpu_ms = 0;
        struct fkv_vulkan_check done = {.name = check->name,
                                        .allowed = allowed(check, gpu),
                                        .multiply_adds = check->multiply_adds,
                                        .bytes = check->bytes};
        if (!check->cache) fill_weight(weight, fkv_quant_find(check->type), &state);
        fkv_status status = run_on(cpu, check, data, weight, want, &cpu_ms, e);
        if (status == FKV_OK) status = run_on(gpu, check, data, weight, got, &done.ms, e);
        if (status != FKV_OK) return status;
        done.error = error_of(check, want, got);
        if (!(done.error <= done.allowed)) bad++;
        report(user, &done);
    }
    return bad ? fkv_fail(e, FKV_ERROR_NUMBER, "%d of %zu checks are out of bounds", bad,
                          sizeof checks / sizeof *checks)
               : FKV_OK;
}

fkv_status fkv_vulkan_self_test(const char *device, void (*report)(void *user, const struct fkv_vulkan_check *check),
                                void *user, char *err)
{
    struct fkv_error e = {""};
    struct bench cpu = {0}, gpu = {0};
    float *data = malloc((size_t)(3 * MOST + WEIGHT_ROWS * COLS) * sizeof *data);
    fkv_status status = data ? FKV_OK : fkv_fail(&e, FKV_ERROR_MEMORY, "no memory for the self-test");
    if (status == FKV_OK) status = fkv_vulkan_backend_create(&gpu.b, device, false, COLS, &e);
    if (status == FKV_OK) status = fkv_cpu_backend_create(&cpu.b, 1, "reference", true, false, COLS, &e);
    const bool fits = status == FKV_OK && check_scratch((struct vk_backend *)gpu.b, report, user);
    if (status == FKV_OK && (open_bench(&cpu) != FKV_OK || open_bench(&gpu) != FKV_OK))
        status = fkv_fail(&e, FKV_ERROR_MEMORY, "no memory for the self-test's data");
    if (status == FKV_OK) status = run_checks(&cpu, &gpu, data, report, user, &e);
    if (status == FKV_OK && !fits)
        status = fkv_fail(&e, FKV_ERROR_NUMBER, "scratch takes other memory than plans are told");
    close_bench(&cpu);
    close_bench(&gpu);
    free(data);
    if (err) memcpy(err, e.text, sizeof e.text);
    return status;
}
