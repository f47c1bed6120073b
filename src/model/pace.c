/* How a prefill and decode steps share the time. The prefill takes as many rows through a layer at a time as the back
   end can, which is fastest; while decode steps take turns with the blocks, as many as those are to wait for. And where
   blocks are short, as those of a short prompt are, a step lets several pass. A row's result does not depend on it. */
#include "base/clock.h"
#include "model/prefill.h"

enum {
    LEAST = 96,  /* fewer rows leave too little of the work for each weight read */
    UNIT = 48,   /* rows of a block are a multiple of it */
    MEMORY = 16, /* blocks after which steps are forgotten that have not come again */
};

/* Seconds that a prefill may take between two decode steps. */
static double seconds_between(struct fkv_workspace *ws)
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
    const double row_s = p->pace.row_s[want], block_s = p->pace.beside ? seconds_between(p->ws) : INFINITY;
    const double fit = isinf(block_s) ? most : row_s > 0 ? block_s / row_s : LEAST;
    int rows = fit < most ? (int)fit / UNIT * UNIT : most;
    if (rows < LEAST) rows = LEAST;
    return but_one(rows < most ? rows : most, n_left);
}

void fkv_pace_look(struct fkv_prefill_pass *p)
{
    const unsigned n_steps = atomic_load(&p->ws->n_steps);
    if (n_steps != p->pace.n_steps)
        p->pace.beside = MEMORY;
    else if (p->pace.beside)
        p->pace.beside--;
    p->pace.n_steps = n_steps;
}

void fkv_pace_note(struct fkv_prefill_pass *p, unsigned want, int rows, double ran)
{
    p->pace.row_s[want] = ran / rows;
}

void fkv_pace_give_way(struct fkv_workspace *ws)
{
    const double between = seconds_between(ws),
                 rest = atomic_load(&ws->stepped_s) + between / 2 - fkv_clock_s(); /* a block ends in the other half */
    if (isfinite(between) && rest > 0) fkv_turns_give_way(&ws->lent, rest);
}
