/* How well a prompt compressed: what a prefill found out on its way, and the self-check after it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/logits.h"
#include "engine/session.h"

/* ---- signals ------------------------------------------------------------------------------------- */

/* The mean of the least tenth of x[n], or of one; x is changed. */
static double least_tenth(float *x, int n)
{
    const int tenth = n < 20 ? 1 : n / 10;
    double sum = 0;
    for (int i = 0; i < tenth; i++) {
        int least = i;
        for (int j = i; j < n; j++) least = x[j] < x[least] ? j : least;
        const float here = x[i];
        sum += (double)x[least];
        x[i] = x[least];
        x[least] = here;
    }
    return sum / tenth;
}

static double mean(double sum, int n) { return n ? sum / n : NAN; }

void fkv_session_get_signals(const fkv_session *s, struct fkv_signals *signals)
{
    const struct fkv_signal_sums *x = &s->report.signals;
    double mass = 0;
    for (int i = 0; i < x->n_mass; i++) mass += (double)x->mass[i];
    *signals = (struct fkv_signals){.n_layers = x->n_layers,
                                    .mass = mean(mass, x->n_mass),
                                    .mass_least = x->n_mass ? least_tenth(x->mass, x->n_mass) : NAN,
                                    .halves = mean(x->halves, x->n_halves),
                                    .overlap = x->n_layers ? x->overlap : NAN,
                                    .agreement = mean(x->agreement[0], x->n_agreement[0]) -
                                                 mean(x->agreement[1], x->n_agreement[1]),
                                    .entropy = mean(x->entropy, x->n_mass),
                                    .n_checks = x->n_checks,
                                    .times = x->times,
                                    .alike = x->alike};
    for (int i = 0; i < FKV_MOST_CHECKS; i++) signals->check[i] = i < x->n_checks ? x->check[i] : NAN;
}

/* ---- the self-check ------------------------------------------------------------------------------ */

/* The latest entry of every list, which a step is to replace. */
struct latest {
    unsigned char *bytes; /* keys, then values, of all heads of all layers */
    size_t each;          /* the most that keys or values of one entry take */
};

static unsigned char *place_of(const struct latest *x, const struct fkv_sequence *q, int layer, int head, bool keys)
{
    size_t lists = 0;
    for (int l = 0; l < layer; l++) lists += (size_t)q->layer[l].shape.heads;
    return x->bytes + (2 * (lists + (size_t)head) + !keys) * x->each;
}

static fkv_status take_latest(struct latest *x, const struct fkv_sequence *q)
{
    size_t lists = 0;
    for (int l = 0; l < q->n_layer; l++) {
        const struct fkv_kv_shape *shape = &q->layer[l].shape;
        const size_t k = fkv_kv_entry_bytes(shape->k_type, shape->d), v = fkv_kv_entry_bytes(shape->v_type, shape->d);
        if (k > x->each) x->each = k;
        if (v > x->each) x->each = v;
        lists += (size_t)shape->heads;
    }
    x->bytes = malloc(2 * lists * x->each);
    if (!x->bytes) return FKV_ERROR_MEMORY;
    for (int l = 0; l < q->n_layer; l++) {
        const struct fkv_ops *ops = q->layer[l].b->ops;
        struct fkv_kv_store *store = q->layer[l].store;
        for (int h = 0; h < q->layer[l].shape.heads; h++)
            for (int keys = 0; keys < 2; keys++)
                ops->kv_export(store, h, keys, ops->kv_count(store, h) - 1, 1, place_of(x, q, l, h, keys));
    }
    return FKV_OK;
}

/* They come back as they were. */
static void put_latest(const struct latest *x, const struct fkv_sequence *q, int32_t pos)
{
    for (int l = 0; l < q->n_layer; l++) {
        const struct fkv_ops *ops = q->layer[l].b->ops;
        ops->kv_cut(q->layer[l].store, pos);
        for (int h = 0; h < q->layer[l].shape.heads; h++)
            ops->kv_import(q->layer[l].store, h, &pos, place_of(x, q, l, h, true), place_of(x, q, l, h, false), 1);
    }
}

/* Decodes the last token once more, over what is held of those before it; logits: [n_vocab]. */
static fkv_status decode_again(fkv_session *s, float *logits)
{
    const int32_t pos = (int32_t)s->q->n_seen - 1, none = 0;
    const struct fkv_rows rows = {.n = 1, .id = s->q->ids + pos, .pos = &pos, .hidden = &none, .alone = true};
    struct fkv_workspace *ws = &s->e->ws;
    struct latest latest = {0};
    bool at_fault[FKV_STEP_ROWS];
    fkv_turns_take(&ws->turn);
    fkv_status status = take_latest(&latest, s->q);
    if (status == FKV_OK) status = fkv_sequence_reserve(s->q, 1, pos); /* later there has to be room */
    for (int l = 0; l < s->q->n_layer && status == FKV_OK; l++)
        s->q->layer[l].b->ops->kv_cut(s->q->layer[l].store, pos);
    fkv_turns_leave(&ws->turn);
    if (status == FKV_OK) {
        status = fkv_step(ws, &s->q, &rows, &logits, at_fault);
        fkv_turns_take(&ws->turn);
        put_latest(&latest, s->q, pos);
        fkv_turns_leave(&ws->turn);
    }
    free(latest.bytes);
    return status;
}

fkv_status fkv_session_divergence(fkv_session *s, double *kl)
{
    const int n_vocab = s->e->model->h.n_vocab;
    float *logits = malloc((size_t)n_vocab * sizeof *logits);
    if (!logits) return FKV_ERROR_MEMORY;
    const fkv_status status = decode_again(s, logits);
    if (status == FKV_OK) *kl = fkv_divergence(s->logits, logits, n_vocab);
    free(logits);
    return status;
}

fkv_status fkv_session_self_check(fkv_session *s, double *kl)
{
    if (!s->have_logits || s->q->n_seen < 2)
        return fkv_fail(
            &s->error, FKV_ERROR_ARGUMENT,
            "self-check: expected a session with two tokens or more and the logits of the last, found %zu%s",
            s->q->n_seen, s->have_logits ? "" : " without");
    if (fkv_session_cancelled(s)) return FKV_ERROR_CANCELLED;
    return fkv_session_failed(s, fkv_session_divergence(s, kl));
}
