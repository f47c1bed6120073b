/* Back-off by the self-check: a prefill whose policy leaves it open how much is kept holds the most. The least that
   answers alike stays: each level is tried by decoding the last token over it. */
#include <stdlib.h>

#include "engine/session.h"

/* The sequence's stores change places with others, where there are others. */
static void exchange(struct fkv_sequence *q, struct fkv_kv_store **stores)
{
    for (int l = 0; l < q->n_layer; l++) {
        struct fkv_kv_store *other = stores[l];
        if (!other) continue;
        stores[l] = q->layer[l].store;
        q->layer[l].store = other;
    }
}

static void destroy(const struct fkv_sequence *q, struct fkv_kv_store **stores)
{
    for (int l = 0; l < q->n_layer; l++) {
        if (stores[l]) q->layer[l].b->ops->kv_destroy(stores[l]);
        stores[l] = NULL;
    }
}

static void note_peak(fkv_session *s, uint64_t besides)
{
    const uint64_t now = fkv_sequence_bytes(s->q) + besides;
    if (now > s->report.kv_peak_bytes) s->report.kv_peak_bytes = now;
}

/* Tries a level: on FKV_OK the session holds it, or all that it held. */
static fkv_status try_level(fkv_session *s, int level, struct fkv_kv_store **stores, double *kl)
{
    const uint64_t all = fkv_sequence_bytes(s->q);
    fkv_status status = fkv_levels_trim(&s->e->ws, s->q, &s->report, level, stores);
    if (status != FKV_OK) return status;
    exchange(s->q, stores);
    note_peak(s, all);
    status = fkv_session_divergence(s, kl);
    if (status != FKV_OK || *kl > s->report.kl_most) exchange(s->q, stores);
    return status;
}

/* The workspace is lent to the caller. */
static fkv_status settle(fkv_session *s, struct fkv_kv_store **stores)
{
    struct fkv_prefill_report *report = &s->report;
    const int levels = fkv_levels_of(report->times);
    struct fkv_signal_sums *told = &report->signals;
    fkv_status status = FKV_OK;
    for (int level = 0; level < levels && status == FKV_OK; level++) {
        double *kl = &told->check[level];
        const bool last = level == levels - 1;
        status = last ? fkv_session_divergence(s, kl) : try_level(s, level, stores, kl);
        if (status != FKV_OK) break;
        destroy(s->q, stores);
        told->n_checks = level + 1;
        told->times = fkv_level_times(level, report->times);
        told->alike = *kl <= report->kl_most;
        if (told->alike) break;
    }
    return status;
}

fkv_status fkv_session_back_off(fkv_session *s)
{
    struct fkv_workspace *ws = &s->e->ws;
    if (!s->report.leveled) return FKV_OK;
    fkv_status status = FKV_ERROR_MEMORY;
    struct fkv_kv_store **stores = calloc((size_t)s->q->n_layer, sizeof *stores);
    if (stores && s->q->n_seen > 1) {
        fkv_turns_take(&ws->lent);
        status = settle(s, stores);
        fkv_turns_leave(&ws->lent);
        destroy(s->q, stores);
    }
    free(stores);
    fkv_levels_drop(&s->report);
    return status;
}
