#include "simd/avx512/panel.h"

#include <math.h>

enum { PANEL_BYTES = 32 << 10, LINE = 64 };
_Static_assert(PANEL_BYTES + FKV_BLOCK_ROWS * FKV_PANEL_ROWS * sizeof(float) <= FKV_PANEL_SCRATCH,
               "scratch holds a panel and its sums");

/* Weights to fetch, shared out over the tiles of a chunk: `bytes` of each of n rows. */
struct ahead {
    const uint8_t *w;
    size_t stride;
    int lines; /* of each row */
    int next, all;
};

static struct ahead ahead_of(const uint8_t *w, size_t stride, int n, size_t bytes)
{
    const int lines = (int)((bytes + LINE - 1) / LINE) + 1; /* one more: rows start anywhere within a line */
    return (struct ahead){w, stride, lines, 0, w ? n * lines : 0};
}

static void fetch_lines(struct ahead *a, int count)
{
    for (; count > 0 && a->next < a->all; count--, a->next++) {
        const uint8_t *row = a->w + (size_t)(a->next / a->lines) * a->stride;
        _mm_prefetch((const char *)row + a->next % a->lines * LINE, _MM_HINT_T1);
    }
}

static void write_nan(const struct fkv_panel *p, uint32_t columns)
{
    for (int i = 0; i < p->m; i++)
        for (int j = 0; j < p->n; j++)
            if (columns >> j & 1) p->y[i * p->ldy + j] = NAN;
}

void fkv_panel_run_avx512(const struct fkv_panel *p, const struct panel_plan *plan)
{
    void *panel = p->scratch;
    float *sums = (float *)((char *)p->scratch + PANEL_BYTES);
    const int groups = (p->m + plan->group - 1) / plan->group;
    uint32_t broken = 0;
    for (int k0 = 0; k0 < p->k; k0 += plan->chunk) {
        const bool last = p->k - k0 <= plan->chunk;
        const int k = last ? p->k - k0 : plan->chunk;
        const uint8_t *w = (const uint8_t *)p->w + k0 / plan->chunk * plan->chunk_bytes;
        const uint8_t *row[FKV_PANEL_ROWS];
        for (int i = 0; i < FKV_PANEL_ROWS; i++) row[i] = w + (i < p->n ? i : p->n - 1) * p->w_stride;
        broken |= plan->unpack(row, k, panel);

        struct ahead a = ahead_of(last ? p->prefetch : w + plan->chunk_bytes, p->w_stride, p->n, plan->chunk_bytes);
        const int lines_per_tile = (a.all + groups - 1) / groups;
        for (int g = 0; g < groups; g++) {
            fetch_lines(&a, lines_per_tile);
            plan->tile(&(struct panel_tile){p, panel, g, k0, k, sums + g * plan->group * FKV_PANEL_ROWS});
        }
    }
    if (broken) write_nan(p, broken);
}
