/* Decode steps: tokens of several sessions, or a draft of one, in one pass over the weights. */
#include <string.h>

#include "base/clock.h"
#include "engine/session.h"

/* The rows of a step, laid out for fkv_step(). */
struct step {
    struct fkv_sequence *sequences[FKV_STEP_ROWS];
    int32_t pos[FKV_STEP_ROWS], sequence[FKV_STEP_ROWS], hidden[FKV_STEP_ROWS];
    float *logits[FKV_STEP_ROWS];
};

static fkv_status run(fkv_engine *e, struct step *s, const int32_t *ids, int n)
{
    const struct fkv_rows rows =
        {.n = n, .id = ids, .pos = s->pos, .sequence = s->sequence, .hidden = s->hidden, .alone = true};
    return fkv_step(&e->ws, s->sequences, &rows, s->logits);
}

/* What the sessions of a batch have to be; the message is the first one's that is not. */
static fkv_status check(fkv_session *const *sessions, const int32_t *ids, int n)
{
    if (n < 1 || n > FKV_BATCH_MOST)
        return fkv_fail(&sessions[0]->error, FKV_ERROR_ARGUMENT, "batch: expected 1 to %d sessions, found %d",
                        FKV_BATCH_MOST, n);
    for (int i = 0; i < n; i++) {
        fkv_session *s = sessions[i];
        if (s->e != sessions[0]->e)
            return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "batch: session %d belongs to another engine than the first",
                            i);
        for (int j = 0; j < i; j++)
            if (sessions[j] == s)
                return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "batch: sessions %d and %d are the same", j, i);
        const fkv_status status = fkv_session_check_ids(s, &ids[i], 1, s->q->n_seen);
        if (status != FKV_OK) return status;
        if (atomic_load(&s->cancel)) return fkv_session_failed(s, FKV_ERROR_CANCELLED);
    }
    return FKV_OK;
}

/* The session has seen n more tokens, its logits are there; or, after a failure, it is as it was before. */
static void settle(fkv_session *s, fkv_status status, int n, double seconds)
{
    if (status != FKV_OK) {
        fkv_session_forget(s, s->q->n_seen);
        fkv_session_failed(s, status);
        return;
    }
    s->q->n_seen += (size_t)n;
    s->have_logits = true;
    s->stats.decode_s += seconds;
    s->stats.decode_tokens += (uint64_t)n;
}

fkv_status fkv_batch_append(fkv_session *const *sessions, const int32_t *ids, int n)
{
    const double t0 = fkv_clock_s();
    struct step step;
    fkv_status status = check(sessions, ids, n);
    if (status != FKV_OK) return status;
    for (int i = 0; i < n; i++) {
        struct fkv_sequence *q = sessions[i]->q;
        step.sequences[i] = q;
        step.pos[i] = (int32_t)q->n_seen;
        step.sequence[i] = i;
        step.hidden[i] = 0;
        step.logits[i] = sessions[i]->logits;
        q->ids[q->n_seen] = ids[i];
        sessions[i]->have_logits = false;
    }
    status = run(sessions[0]->e, &step, ids, n);
    const double seconds = fkv_clock_s() - t0;
    for (int i = 0; i < n; i++) settle(sessions[i], status, 1, seconds);
    return status;
}

fkv_status fkv_batch_verify(fkv_session *s, const int32_t *ids, int n, float *logits)
{
    const double t0 = fkv_clock_s();
    const size_t n_vocab = (size_t)s->e->model->h.n_vocab;
    struct step step;
    if (n < 1 || n > FKV_BATCH_MOST)
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "batch: expected 1 to %d ids, found %d", FKV_BATCH_MOST, n);
    fkv_status status = fkv_session_check_ids(s, ids, (size_t)n, s->q->n_seen);
    if (status != FKV_OK) return status;
    if (atomic_load(&s->cancel)) return fkv_session_failed(s, FKV_ERROR_CANCELLED);
    step.sequences[0] = s->q;
    for (int i = 0; i < n; i++) {
        step.pos[i] = (int32_t)s->q->n_seen + i;
        step.sequence[i] = 0;
        step.hidden[i] = n - 1 - i;
        step.logits[i] = logits + (size_t)i * n_vocab;
    }
    memcpy(s->q->ids + s->q->n_seen, ids, (size_t)n * sizeof *ids);
    s->have_logits = false;
    status = run(s->e, &step, ids, n);
    if (status == FKV_OK) memcpy(s->logits, step.logits[n - 1], n_vocab * sizeof *logits);
    settle(s, status, n, fkv_clock_s() - t0);
    return status;
}
