/* call_kernel LEVEL CASE CALLS: calls one kernel on zeros that many times and prints the useful operations of a call.
   Counting what two numbers of calls execute gives a call's instructions (instructions.py). No case: lists them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/simd.h"

enum {
    K = 1536,
    MATVEC_ROWS = 256,
    HEAD = 128,
    ENTRIES = 1024,
    LONG_ROW = 8960,
    SCORES = 32768,
    WINDOW = 8,
    PREFILL_ROWS = 96
};

static void *zeros(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!p) exit(1);
    return memset(p, 0, (bytes + 63) & ~(size_t)63);
}

static struct {
    const struct fkv_kernels *level;
    char *weights, *tiles;
    float *x, *y, *scores;
    void *packed8, *packed16, *vector8, *scratch;
    int32_t n_keys[PREFILL_ROWS];
} t;

static void make(const struct fkv_kernels *level)
{
    t.level = level;
    t.weights = zeros((size_t)MATVEC_ROWS * K * 4);
    t.tiles = zeros(fkv_tile_bytes(FKV_ELEM_F32, HEAD) * ENTRIES / FKV_TILE);
    t.x = zeros((size_t)FKV_BLOCK_ROWS * K * 4);
    t.y = zeros((size_t)FKV_BLOCK_ROWS * K * 4);
    t.scores = zeros((size_t)SCORES * 2 * 4);
    t.packed8 = zeros(level->x8_bytes(FKV_BLOCK_ROWS, K));
    t.packed16 = zeros(level->x16_bytes(FKV_BLOCK_ROWS, K));
    t.vector8 = zeros(level->v8_bytes(K));
    t.scratch = zeros(FKV_ATTEND_SCRATCH);
    for (int i = 0; i < PREFILL_ROWS; i++) t.n_keys[i] = ENTRIES;
}

/* ---- cases: one call each -------------------------------------------------------------------- */

static void panel(void (*kernel)(const struct fkv_panel *), const void *packed)
{
    const struct fkv_panel p = {.w = t.weights,
                                .w_stride = (size_t)K * 4,
                                .n = FKV_PANEL_ROWS,
                                .k = K,
                                .x = packed,
                                .ldx = K,
                                .m = FKV_BLOCK_ROWS,
                                .y = t.y,
                                .ldy = FKV_PANEL_ROWS,
                                .scratch = t.scratch};
    kernel(&p);
}

static void attend(int rows, int k_type, int v_type)
{
    const struct fkv_attend a = {.q = t.x,
                                 .ldq = HEAD,
                                 .n_keys = t.n_keys,
                                 .n_rows = rows,
                                 .d = HEAD,
                                 .scale = 0.1f,
                                 .k = t.tiles,
                                 .v = t.tiles,
                                 .k_type = k_type,
                                 .v_type = v_type,
                                 .first = 0,
                                 .last = ENTRIES,
                                 .out = t.y,
                                 .ldo = HEAD,
                                 .max = t.scores,
                                 .sum = t.scores + PREFILL_ROWS,
                                 .scratch = t.scratch};
    t.level->attend(&a);
}

static void matvec(void (*kernel)(const struct fkv_matvec *), const void *v)
{
    kernel(&(struct fkv_matvec){
        .w = t.weights, .w_stride = (size_t)K * 4, .n = MATVEC_ROWS, .k = K, .v = v, .m = 1, .y = t.y});
}

#define PRODUCT(format, x, v)                                               \
    static void panel_##format(void) { panel(t.level->panel_##format, x); } \
    static void matvec_##format(void) { matvec(t.level->matvec_##format, v); }
PRODUCT(q8_0, t.packed8, t.vector8)
PRODUCT(q4_0, t.packed8, t.vector8)
PRODUCT(q4_1, t.packed8, t.vector8)
PRODUCT(q5_0, t.packed8, t.vector8)
PRODUCT(q4_k, t.packed8, t.vector8)
PRODUCT(q5_k, t.packed8, t.vector8)
PRODUCT(q6_k, t.packed8, t.vector8)
PRODUCT(f16, t.packed16, t.x)
PRODUCT(bf16, t.packed16, t.x)
PRODUCT(f32, t.x, t.x)

/* As the engine calls it: keys are f16 while a layer is prefilled, the rest is of the level's own type. */
static void attend_prefill(void) { attend(PREFILL_ROWS, FKV_ELEM_F16, t.level->kv_elem); }
static void attend_decode(void) { attend(6, t.level->kv_elem, t.level->kv_elem); }
static void attend_decode_f16(void) { attend(6, FKV_ELEM_F16, FKV_ELEM_F16); }
static void window_logits(void)
{
    t.level->window_logits(t.x, HEAD, WINDOW, t.tiles, FKV_ELEM_F16, HEAD, ENTRIES, 0.1f, t.scores, ENTRIES);
}
static void window_sums(void)
{
    t.level->window_sums(t.scores, SCORES / WINDOW, WINDOW, SCORES / WINDOW, NULL, -INFINITY, NULL, false, t.y, NULL);
}
static void pool_max(void) { t.level->pool_max(t.scores, SCORES, 7, t.y); }
static void top_k(void)
{
    t.level->top_k(t.scores, SCORES, SCORES / 10, (uint32_t *)(t.scores + SCORES), (int32_t *)t.y);
}
static void x8_pack(void) { t.level->x8_pack(t.x, K, FKV_BLOCK_ROWS, K, 0, FKV_BLOCK_ROWS, t.packed8); }
static void rms_norm(void) { t.level->rms_norm(t.x, t.x, K, 1e-6f, t.y); }
static void rope_half(void) { t.level->rope_half(t.y, 12, HEAD, HEAD, t.x); }
static void swiglu(void) { t.level->swiglu(t.x, t.x, LONG_ROW, t.y); }

#define PRODUCT_CASES(format)                                                        \
    {"panel_" #format, panel_##format, (double)FKV_PANEL_ROWS * FKV_BLOCK_ROWS * K}, \
        {"matvec_" #format, matvec_##format, (double)MATVEC_ROWS * K},
static const struct {
    const char *name;
    void (*call)(void);
    double operations; /* multiply-adds of a product, values of the rest */
} cases[] = {
    PRODUCT_CASES(q8_0) PRODUCT_CASES(q4_0) PRODUCT_CASES(q4_1) PRODUCT_CASES(q5_0) PRODUCT_CASES(q4_k)
        PRODUCT_CASES(q5_k) PRODUCT_CASES(q6_k) PRODUCT_CASES(f16) PRODUCT_CASES(bf16)
            PRODUCT_CASES(f32){"attend_prefill", attend_prefill, 2.0 * PREFILL_ROWS *ENTRIES *HEAD},
    {"attend_decode", attend_decode, 2.0 * 6 * ENTRIES *HEAD},
    {"attend_decode_f16", attend_decode_f16, 2.0 * 6 * ENTRIES *HEAD},
    {"window_logits", window_logits, (double)WINDOW *ENTRIES *HEAD},
    {"window_sums", window_sums, SCORES},
    {"pool_max", pool_max, SCORES},
    {"top_k", top_k, SCORES},
    {"x8_pack", x8_pack, (double)FKV_BLOCK_ROWS *K},
    {"rms_norm", rms_norm, K},
    {"rope_half", rope_half, 12 * HEAD},
    {"swiglu", swiglu, LONG_ROW},
};
enum { N_CASES = sizeof cases / sizeof *cases };

int main(int argc, char **argv)
{
    if (argc < 4) {
        for (int i = 0; i < N_CASES; i++) puts(cases[i].name);
        return 0;
    }
    const int level = fkv_simd_find_level(argv[1]);
    if (level < 0 || !fkv_simd_level_available(level))
        return fprintf(stderr, "call_kernel: error: no level %s here\n", argv[1]), 1;
    make(fkv_simd_kernels(level));
    for (int i = 0; i < N_CASES; i++) {
        if (strcmp(cases[i].name, argv[2]) != 0) continue;
        for (int n = atoi(argv[3]); n > 0; n--) cases[i].call();
        printf("%.0f\n", cases[i].operations);
        return 0;
    }
    return fprintf(stderr, "call_kernel: error: no case %s\n", argv[2]), 1;
}
