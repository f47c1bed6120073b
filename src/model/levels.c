/* Levels: where a policy leaves it to the self-check how much is kept, a layer holds the most that may come of it, and
   notes which entries are kept at which level. Lists of the same scores contain one another, so that what is kept at
   one level is kept at all above. */
#include <stdlib.h>
#include <string.h>

#include "model/prefill.h"

int fkv_level_times(int level, int most)
{
    _Static_assert((int)FKV_LEVELS == (int)FKV_MOST_CHECKS, "what is told of them has room");
    static const int times[FKV_LEVELS - 1] = {1, 2, 4};
    return level < FKV_LEVELS - 1 && times[level] < most ? times[level] : most;
}

int fkv_levels_of(int most)
{
    int n = 1;
    while (fkv_level_times(n - 1, most) < most) n++;
    return n;
}

void fkv_levels_drop(struct fkv_prefill_report *report)
{
    for (int l = 0; l < report->n_layer; l++) {
        free(report->level[l]);
        report->level[l] = NULL;
    }
    report->leveled = false;
}

/* ---- in a prefill -------------------------------------------------------------------------------- */

bool fkv_prefill_holds_all(const struct fkv_prefill_pass *p)
{
    return fkv_plan_most(p->plan, p->state.n_rows) >= p->state.n_rows;
}

bool fkv_prefill_levels(const struct fkv_prefill_pass *p)
{
    return p->plan->times > 1 && p->plan->ranking == FKV_RANK_WINDOW && !fkv_prefill_keeps_all(p);
}

enum { NONE = UINT8_MAX };

/* The rows that are chosen and were not at a lower level. lowest: [heads][n_rows] */
static void mark(const struct fkv_prefill_pass *p, uint8_t *lowest, int level)
{
    const struct fkv_ops *ops = p->at->b->ops;
    for (int h = 0; h < p->state.n_kv_head; h++) {
        const int32_t *rows = ops->choice_read(p->at->kept, h);
        uint8_t *of = lowest + (size_t)h * (size_t)p->state.n_rows;
        for (int i = 0, n = ops->choice_count(p->at->kept, h); i < n; i++)
            if (of[rows[i]] == NONE) of[rows[i]] = (uint8_t)level;
    }
}

/* Of the rows that some level has, in their order: for each head how many, then their levels. NULL: no memory. */
static struct fkv_layer_levels *gather(const struct fkv_prefill_pass *p, const uint8_t *lowest)
{
    const size_t heads = (size_t)p->state.n_kv_head, all = heads * (size_t)p->state.n_rows;
    struct fkv_layer_levels *x = malloc(sizeof *x + heads * sizeof *x->count + all);
    if (!x) return NULL;
    x->lowest = (uint8_t *)(x->count + heads);
    uint8_t *to = x->lowest;
    for (size_t h = 0; h < heads; h++) {
        const uint8_t *of = lowest + h * (size_t)p->state.n_rows, *from = to;
        for (int i = 0; i < p->state.n_rows; i++)
            if (of[i] != NONE) *to++ = of[i];
        x->count[h] = (int)(to - from);
    }
    return x;
}

fkv_status fkv_levels_take(struct fkv_prefill_pass *p)
{
    const int n = p->state.n_rows, most = p->plan->times, levels = fkv_levels_of(most);
    if (!fkv_prefill_levels(p)) return FKV_OK;
    uint8_t *lowest = malloc((size_t)p->state.n_kv_head * (size_t)n);
    if (!lowest) return FKV_ERROR_MEMORY;
    memset(lowest, NONE, (size_t)p->state.n_kv_head * (size_t)n);
    fkv_turns_take(&p->ws->turn);
    mark(p, lowest, 0);
    fkv_turns_leave(&p->ws->turn);
    for (int level = 1; level < levels; level++) {
        const int by = fkv_level_times(level, most), keep = p->plan->keep <= n / by ? p->plan->keep * by : n;
        for (size_t i = 0; keep == n && i < (size_t)p->state.n_kv_head * (size_t)n; i++)
            if (lowest[i] == NONE) lowest[i] = (uint8_t)level;
        if (keep == n) break;
        fkv_prefill_select(p, keep);
        fkv_turns_take(&p->ws->turn);
        mark(p, lowest, level);
        fkv_turns_leave(&p->ws->turn);
    }
    struct fkv_prefill_report *report = p->report;
    report->level[p->state.layer] = gather(p, lowest);
    report->leveled = true;
    report->times = most;
    report->kl_most = p->plan->kl;
    free(lowest);
    return report->level[p->state.layer] ? p->at->b->ops->wait(p->at->b) : FKV_ERROR_MEMORY;
}

/* ---- after it ------------------------------------------------------------------------------------ */

struct trim {
    const struct fkv_place *at;
    struct fkv_kv_store *to;
    const struct fkv_kv_store *from;
    double stage_s[FKV_N_STAGES];
};

static void trim_region(void *arg, int thread)
{
    struct trim *t = arg;
    double ignored[FKV_N_STAGES] = {0};
    struct fkv_run r = {t->at->b, thread, thread == 0 ? t->stage_s : ignored};
    r.b->ops->retain(&r, t->to, t->from, t->at->kept);
}

/* The entries of a store that a level has: all but those of this prefill that are of higher ones. Returns the most of
   any head. */
static int choose(const struct fkv_workspace *ws, const struct fkv_place *at, const struct fkv_sequence_layer *l,
                  const struct fkv_layer_levels *x, int level)
{
    int32_t *count = ws->choosing, *rows = count + l->shape.heads, *to = rows;
    const uint8_t *lowest = x->lowest;
    int most = 0;
    for (int h = 0; h < l->shape.heads; h++) {
        const int32_t *from = to;
        const int before = l->b->ops->kv_count(l->store, h) - x->count[h];
        for (int i = 0; i < before; i++) *to++ = i;
        for (int i = 0; i < x->count[h]; i++)
            if (*lowest++ <= level) *to++ = before + i;
        count[h] = (int32_t)(to - from);
        most = count[h] > most ? count[h] : most;
    }
    at->b->ops->choice_write(at->kept, l->shape.heads, count, rows);
    return most;
}

static fkv_status trim_layer(struct fkv_workspace *ws, const struct fkv_place *at, const struct fkv_sequence *q,
                             int layer, const struct fkv_layer_levels *x, int level, struct fkv_kv_store **store)
{
    const struct fkv_sequence_layer *l = &q->layer[layer];
    struct trim t = {.at = at, .from = l->store};
    fkv_status status = l->b->ops->kv_create(l->b, store, &l->shape, q->capacity, false);
    if (status != FKV_OK) return status;
    t.to = *store;
    fkv_turns_take(&ws->turn);
    const int n = choose(ws, at, l, x, level);
    status = l->b->ops->kv_reserve(t.to, n, (int32_t)q->n_seen - 1);
    if (status == FKV_OK) fkv_team_run(l->b->team, trim_region, &t);
    if (status == FKV_OK) status = l->b->ops->wait(l->b);
    fkv_turns_leave(&ws->turn);
    return status;
}

fkv_status fkv_levels_trim(struct fkv_workspace *ws, const struct fkv_sequence *q,
                           const struct fkv_prefill_report *report, int level, struct fkv_kv_store **stores)
{
    const struct fkv_place *at = ws->place;
    fkv_status status = FKV_OK;
    for (int l = 0; l < q->n_layer; l++) stores[l] = NULL;
    for (int l = 0; l < q->n_layer && status == FKV_OK; l++) {
        while (l >= at->end) at++;
        if (report->level[l]) status = trim_layer(ws, at, q, l, report->level[l], level, &stores[l]);
    }
    return status;
}
