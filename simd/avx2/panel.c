/* The run over the panels of a call (panel.h). */
#include "simd/avx2/panel.h"

static int groups_of(const struct fkv_panel *p, const struct plane *plane)
{
    return (p->m + plane->x_rows - 1) / plane->x_rows;
}

/* Of 32 weight rows. */
INLINE float *sums_of(float *sums, const struct plane *plane, int group, int half)
{
    return sums + (size_t)(2 * group + half) * (size_t)plane->x_rows * HALF;
}

/* Lines that are wanted next come in while others are multiplied: part `i` of `parts`, one weight row after the
   other. */
INLINE void prefetch_part(const char *rows, int n, size_t stride, size_t bytes, int i, int parts)
{
    if (!rows) return;
    const int lines = n * (int)((bytes + 63) / 64);
    for (int line = lines * i / parts; line < lines * (i + 1) / parts; line++)
        _mm_prefetch(rows + (size_t)(line % n) * stride + (size_t)(line / n) * 64, _MM_HINT_T1);
}

/* Where the weights lie that come after those of chunk `at` of the 32 rows from `first` on: in the next rows, in the
   next chunk, in the next call; NULL: nowhere. */
INLINE const char *wanted_next(const struct fkv_panel *p, int first, size_t at, size_t bytes, bool last)
{
    if (first + FKV_PANEL_ROWS < p->n) return (const char *)p->w + (size_t)(first + FKV_PANEL_ROWS) * p->w_stride + at;
    return last ? p->prefetch : (const char *)p->w + at + bytes;
}

/* All rows of X times a chunk of 32 weight rows. */
INLINE void run_chunk(const struct fkv_panel *p, const struct format *f, const struct plane *plane, int b, int n_blocks,
                      const char *next, size_t bytes, float *sums)
{
    struct panel_scratch *s = p->scratch;
    const int groups = groups_of(p, plane), halves = p->n > HALF ? 2 : 1;
    f->unpack(p, b, n_blocks, s);
    for (int g = 0; g < groups; g++) {
        const void *x = plane->x + ((size_t)g * (size_t)(p->k / 32) + (size_t)b) * plane->block_bytes;
        prefetch_part(next, p->n, p->w_stride, bytes, g, groups);
        for (int half = 0; half < halves; half++) f->tile(s, half, x, n_blocks, sums_of(sums, plane, g, half));
    }
}

static void store_rows(const struct fkv_panel *p, const struct plane *plane, float *sums)
{
    for (int row = 0; row < p->m; row++) {
        const int group = row / plane->x_rows, at = row % plane->x_rows * HALF, first = p->n < HALF ? p->n : HALF;
        float *y = p->y + (size_t)row * p->ldy;
        memcpy(y, sums_of(sums, plane, group, 0) + at, (size_t)first * 4);
        memcpy(y + first, sums_of(sums, plane, group, 1) + at, (size_t)(p->n - first) * 4);
    }
}

/* `n` weight rows from `first` on, or as many as there are. */
INLINE struct fkv_panel panel_part(const struct fkv_panel *p, int first, int n)
{
    struct fkv_panel part = *p;
    part.w = (const char *)p->w + (size_t)first * p->w_stride;
    part.y += first;
    part.n = p->n - first < n ? p->n - first : n;
    if (first + n < p->n) part.prefetch = (const char *)part.w + (size_t)n * p->w_stride;
    return part;
}

/* Chunk after chunk, so that a chunk of X comes from memory once for all weight rows. */
static void run_chunks(const struct fkv_panel *p, const struct format *f, const struct plane *plane)
{
    struct panel_scratch *s = p->scratch;
    const int blocks = p->k / 32;
    for (int first = 0; first < p->n; first += FKV_PANEL_ROWS)
        memset(s->sums[first / FKV_PANEL_ROWS], 0, (size_t)(groups_of(p, plane) * plane->x_rows) * 2 * HALF * 4);
    for (int b = 0; b < blocks; b += plane->chunk_blocks) {
        const int n_blocks = blocks - b < plane->chunk_blocks ? blocks - b : plane->chunk_blocks;
        const size_t at = 32 * (size_t)b / f->values * f->bytes, bytes = 32 * (size_t)n_blocks / f->values * f->bytes;
        for (int first = 0; first < p->n; first += FKV_PANEL_ROWS) {
            const struct fkv_panel part = panel_part(p, first, FKV_PANEL_ROWS);
            run_chunk(&part, f, plane, b, n_blocks, wanted_next(p, first, at, bytes, b + n_blocks == blocks), bytes,
                      s->sums[first / FKV_PANEL_ROWS]);
        }
    }
    for (int first = 0; first < p->n; first += FKV_PANEL_ROWS) {
        const struct fkv_panel part = panel_part(p, first, FKV_PANEL_ROWS);
        store_rows(&part, plane, s->sums[first / FKV_PANEL_ROWS]);
    }
}

/* X that the last cache level has room for is better read again for every 32 rows than their sums for every chunk. */
void fkv_panel_run_avx2(const struct fkv_panel *p, const struct format *f, const struct plane *plane)
{
    const size_t x_bytes = (size_t)groups_of(p, plane) * (size_t)(p->k / 32) * plane->block_bytes;
    const int step = x_bytes > 2 << 20 ? p->n : FKV_PANEL_ROWS;
    for (int first = 0; first < p->n; first += step) {
        const struct fkv_panel part = panel_part(p, first, step);
        run_chunks(&part, f, plane);
    }
}
