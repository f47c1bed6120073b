/* Prefill products with f16 and bf16 weights by bfmmla: X is rounded to bf16 once per product, f16 weights as they are
   unpacked.

   A panel is unpacked by chunks of 256 k (16 KiB), [4 strips of 8 rows][k / 4][4 pairs of rows][2 rows][4 k], and used
   by all rows of X. Weight rows past n repeat the last one; they and rows of X past m are not stored. */
#include "simd/i8mm/bf16.h"

enum { CHUNK = 256, STRIPS = FKV_PANEL_ROWS / CELL_COLUMNS, GROUPS = FKV_BLOCK_ROWS / GROUP_ROWS, STEP_BYTES = 64 };

struct panel_scratch {
    int8_t w[STRIPS][CHUNK / 4][STEP_BYTES];
    float sums[GROUPS][STRIPS][GROUP_ROWS][CELL_COLUMNS];
};
_Static_assert(sizeof(struct panel_scratch) <= FKV_PANEL_SCRATCH, "panel scratch");

static size_t group_bytes(int k) { return (size_t)(k / 4) * STEP_GROUP_BYTES; }

size_t fkv_x16_bytes_i8mm(int m, int k) { return ((size_t)row_groups(m) * group_bytes(k) + 63) & ~(size_t)63; }

void fkv_x16_pack_i8mm(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    (void)m;
    for (int row = row0; row < row1; row += GROUP_ROWS) {
        void *group = (char *)packed + (size_t)(row / GROUP_ROWS) * group_bytes(k);
        for (int r = 0; r < GROUP_ROWS; r++) {
            const bool there = row + r < row1;
            pack_row(there ? x + (size_t)(row + r) * ldx : NULL, there ? k : 0, k, group, r);
        }
    }
}

/* 8 values of a row as bf16. */
INLINE float32x4_t load_8(enum fkv_type type, const uint8_t *p)
{
    if (type == FKV_TYPE_BF16) return load_4_f32(p);
    return vreinterpretq_f32_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(load_4_f16(p)), load_4_f16(p + 8)));
}

INLINE void unpack_chunk(enum fkv_type type, const struct fkv_panel *p, int k0, int n_k, struct panel_scratch *s)
{
    for (int first = 0; first < (p->n + CELL_COLUMNS - 1) / CELL_COLUMNS * CELL_COLUMNS; first += 2) {
        const uint8_t *row[2];
        for (int i = 0; i < 2; i++)
            row[i] = (const uint8_t *)p->w + (size_t)(first + i < p->n ? first + i : p->n - 1) * p->w_stride +
                     2 * (size_t)k0;
        int8_t *to = s->w[first / CELL_COLUMNS][0] + first % CELL_COLUMNS * 8;
        for (int k = 0; k < n_k; k += 8, to += 2 * STEP_BYTES) {
            const float32x4_t a = load_8(type, row[0] + 2 * k), b = load_8(type, row[1] + 2 * k);
            vst1q_f32((float *)to, low_halves(a, b));
            vst1q_f32((float *)(to + STEP_BYTES), high_halves(a, b));
        }
    }
}

INLINE void tile(const int halves, const int8_t *w, const int8_t *x, int steps, float *sums)
{
    float32x4_t cell[2][3][4];
    load_group(halves, sums, CELL_COLUMNS, cell);
    for (; steps > 0; steps--) {
        int8x16_t wv[4];
        load_4(&w, wv);
        multiply_cells(halves, wv, &x, cell);
    }
    store_group(halves, sums, CELL_COLUMNS, cell);
}

static void store_rows(const struct fkv_panel *p, const struct panel_scratch *s)
{
    for (int row = 0; row < p->m; row++)
        for (int j = 0; j < p->n; j += CELL_COLUMNS)
            memcpy(p->y + (size_t)row * p->ldy + j, s->sums[row / GROUP_ROWS][j / CELL_COLUMNS][row % GROUP_ROWS],
                   (size_t)(p->n - j < CELL_COLUMNS ? p->n - j : CELL_COLUMNS) * 4);
}

INLINE void run_panel(enum fkv_type type, const struct fkv_panel *p)
{
    struct panel_scratch *s = p->scratch;
    const int groups = row_groups(p->m);
    memset(s->sums, 0, (size_t)groups * sizeof s->sums[0]);
    for (int k = 0; k < p->k; k += CHUNK) {
        const int n_k = p->k - k < CHUNK ? p->k - k : CHUNK;
        unpack_chunk(type, p, k, n_k, s);
        for (int g = 0; g < groups; g++) {
            const int8_t *x = (const int8_t *)p->x + (size_t)g * group_bytes(p->k) + (size_t)(k / 4) * STEP_GROUP_BYTES;
            if (p->prefetch && g < p->n)
                for (int at = 0; at < 2 * n_k; at += 64)
                    __builtin_prefetch((const char *)p->prefetch + (size_t)g * p->w_stride + 2 * (size_t)k + at, 0, 2);
            for (int i = 0; i < (p->n + CELL_COLUMNS - 1) / CELL_COLUMNS; i++) {
                if (p->m - g * GROUP_ROWS > GROUP_ROWS / 2)
                    tile(2, s->w[i][0], x, n_k / 4, s->sums[g][i][0]);
                else
                    tile(1, s->w[i][0], x, n_k / 4, s->sums[g][i][0]);
            }
        }
    }
    store_rows(p, s);
}

void fkv_panel_f16_i8mm(const struct fkv_panel *p) { run_panel(FKV_TYPE_F16, p); }
void fkv_panel_bf16_i8mm(const struct fkv_panel *p) { run_panel(FKV_TYPE_BF16, p); }
