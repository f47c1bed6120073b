/* Prefill products with float weights: f16, bf16 and f32, all multiplied as fp32.

   A panel is widened and transposed by chunks of 128 k (16 KiB) and used by all rows of X. The sum over k runs in order
   within a chunk, then over the chunks, whatever m is. Weight rows past n repeat the last one and are not stored. */
#include "simd/neon/activations.h"
#include "simd/neon/tile_f32.h"

enum { CHUNK = 128, HALVES = FKV_PANEL_ROWS / COLUMNS };

struct panel_scratch {
    float w[HALVES][CHUNK][COLUMNS];
    float sums[FKV_BLOCK_ROWS][HALVES][COLUMNS];
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

typedef float32x4_t load_4_fn(const void *p);

INLINE void unpack(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s, size_t value_bytes,
                   load_4_fn *load)
{
    for (int first = 0; first < (p->n > COLUMNS ? 2 * COLUMNS : COLUMNS); first += 4) {
        const char *row[4];
        for (int i = 0; i < 4; i++)
            row[i] = (const char *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride +
                     (size_t)k0 * value_bytes;
        for (int k = 0; k < n_k; k += 4) {
            float32x4_t v[4];
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) v[i] = load(row[i] + (size_t)k * value_bytes);
            transpose_4x4(v);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) vst1q_f32(&s->w[first / COLUMNS][k + i][first % COLUMNS], v[i]);
        }
    }
}

static void unpack_f16(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 2, load_4_f16);
}
static void unpack_bf16(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 2, load_4_bf16);
}
static void unpack_f32(const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    unpack(p, k0, n_k, s, 4, load_4_f32);
}

static void store_rows(const struct fkv_panel *p, const struct panel_scratch *s)
{
    for (int row = 0; row < p->m; row++)
        for (int j = 0; j < p->n; j += COLUMNS)
            memcpy(p->y + (size_t)row * p->ldy + j, s->sums[row][j / COLUMNS],
                   (size_t)(p->n - j < COLUMNS ? p->n - j : COLUMNS) * 4);
}

static void run_panel(const struct fkv_panel *p, size_t ldx, size_t value_bytes,
                      void (*unpack_chunk)(const struct fkv_panel *, int, int, struct panel_scratch *))
{
    struct panel_scratch *s = p->scratch;
    const int halves = p->n > COLUMNS ? 2 : 1;
    memset(s->sums, 0, (size_t)p->m * sizeof s->sums[0]);
    for (int k = 0; k < p->k; k += CHUNK) {
        const int n_k = p->k - k < CHUNK ? p->k - k : CHUNK;
        unpack_chunk(p, k, n_k, s);
        for (int row = 0; row < p->m; row += TILE_ROWS) {
            const float *x = (const float *)p->x + (size_t)row * ldx + k;
            if (p->prefetch && row / TILE_ROWS < p->n)
                for (size_t at = 0; at < (size_t)n_k * value_bytes; at += 64)
                    __builtin_prefetch((const char *)p->prefetch + (size_t)(row / TILE_ROWS) * p->w_stride +
                                           (size_t)k * value_bytes + at,
                                       0, 2);
            for (int half = 0; half < halves; half++)
                tile_f32(p->m - row < TILE_ROWS ? p->m - row : TILE_ROWS, true, x, ldx,
                         (const float(*)[COLUMNS])s->w[half], n_k, s->sums[row][half], HALVES * COLUMNS);
        }
    }
    store_rows(p, s);
}

void fkv_panel_f16_neon(const struct fkv_panel *p) { run_panel(p, x16_stride(p->k), 2, unpack_f16); }
void fkv_panel_bf16_neon(const struct fkv_panel *p) { run_panel(p, x16_stride(p->k), 2, unpack_bf16); }
void fkv_panel_f32_neon(const struct fkv_panel *p) { run_panel(p, p->ldx, 4, unpack_f32); }
