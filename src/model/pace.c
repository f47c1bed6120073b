/* How many rows a prefill takes through a layer at a time: as many as the back end can, which is fastest; while decode
   steps take turns with the blocks, as many as those are to wait for. A row's result does not depend on it. */
#include "model/prefill.h"

enum {
    LEAST = 96,  /* fewer rows leave too little of the work for each weight read */
    UNIT = 48,   /* rows of a block are a multiple of it */
    MEMORY = 16, /* blocks after which others are forgotten that have not come again */
};
static const double waited_s = 2e-5; /* a turn that nobody has takes a microsecond */

/* Seconds that a block may take beside decode steps. */
static double block_seconds(struct fkv_workspace *ws)
{
    const double gap = atomic_load(&ws->gap_s), share = atomic_load(&ws->share), step = atomic_load(&ws->step_s);
    const double by_gap = gap > 0 ? gap - step : INFINITY,
                 by_share = share > 0 && share < 1 ? step * share / (1 - share) : INFINITY;
    return fmax(0, fmin(by_gap, by_share));
}

/* One row alone would go through the kernels of decoding, which round differently. */
static int but_one(int rows, int n_left) { return rows > 2 && n_left - rows == 1 ? rows - 1 : rows; }

int fkv_pace_rows(const struct fkv_prefill_pass *p, unsigned want, int n_left)
{
    const int most = p->at->b->block_rows < n_left ? p->at->b->block_rows : n_left;
    const double row_s = p->pace.row_s[want], block_s = p->pace.beside ? block_seconds(p->ws) : INFINITY;
    const double fit = isinf(block_s) ? most : row_s > 0 ? block_s / row_s : LEAST;
    int rows = fit < most ? (int)fit / UNIT * UNIT : most;
    if (rows < LEAST) rows = LEAST;
    return but_one(rows < most ? rows : most, n_left);
}

void fkv_pace_waited(struct fkv_prefill_pass *p, double wait)
{
    if (wait > waited_s)
        p->pace.beside = MEMORY;
    else if (p->pace.beside)
        p->pace.beside--;
}

void fkv_pace_note(struct fkv_prefill_pass *p, unsigned want, int rows, double ran)
{
    p->pace.row_s[want] = ran / rows;
}
