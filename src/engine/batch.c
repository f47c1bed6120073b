/* Decode steps: tokens of several sessions, or a draft of one, in one pass over the weights. */
#include <string.h>

#include "base/clock.h"
#include "engine/session.h"

/* The rows of a step, laid out for fkv_step(). */
struct step {
    struct fkv_sequence *sequences[FKV_STEP_ROWS];
    int32_t pos[FKV_STEP_ROWS], sequence[FKV_STEP_ROWS], hidden[FKV_STEP_ROWS];
    float *logits[FKV_STEP_ROWS];
    bool at_fault[FKV_STEP_ROWS];
};

static fkv_status run(fkv_engine *e, struct step *s, const int32_t *ids, int n)
{
    const struct fkv_rows rows =
        {.n = n, .id = ids, .pos = s->pos, .sequence = s->sequence, .hidden = s->hidden, .alone = true};
    return fkv_step(&e->ws, s->sequences, &rows, s->logits, s->at_fault);
}

/* What the sessions of a batch have to be; the message is the first one's that is not, the others have none. */
static fkv_status check(fkv_session *const *sessions, const int32_t *ids, int n)
{
    if (n < 1 || n > FKV_BATCH_MOST)
        return fkv_fail(&sessions[0]->error, FKV_ERROR_ARGUMENT, "batch: expected 1 to %d sessions, found %d",
                        FKV_BATCH_MOST, n);
    for (int i = 0; i < n; i++) *sessions[i]->error.text = '\0';
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
        if (fkv_session_cancelled(s)) return FKV_ERROR_CANCELLED;
    }
    return FKV_OK;
}

/* The session has seen n more tokens, its logits are there; or, after a failure, it is as it was before, with a message
   if that concerns it. */
static void settle(fkv_session *s, fkv_status status, bool concerned, int n, double seconds)
{
    if (status != FKV_OK) {
        fkv_sequence_cut(s->q, s->q->n_seen);
        if (concerned) fkv_session_failed(s, status);
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
    }
    status = run(sessions[0]->e, &step, ids, n);
    const double seconds = fkv_clock_s() - t0;
    bool all = true;
    for (int i = 0; i < n; i++) all = all && !step.at_fault[i];
    for (int i = 0; i < n; i++) settle(sessions[i], status, all || step.at_fault[i], 1, seconds);
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
    if (fkv_session_cancelled(s)) return FKV_ERROR_CANCELLED;
    step.sequences[0] = s->q;
    for (int i = 0; i < n; i++) {
        step.pos[i] = (int32_t)s->q->n_seen + i;
        step.sequence[i] = 0;
        step.hidden[i] = n - 1 - i;
        step.logits[i] = logits + (size_t)i * n_vocab;
    }
    memcpy(s->q->ids + s->q->n_seen, ids, (size_t)n * sizeof *ids);
    status = run(s->e, &step, ids, n);
    if (status == FKV_OK) memcpy(s->logits, step.logits[n - 1], n_vocab * sizeof *logits);
    settle(s, status, true, n, fkv_clock_s() - t0);
    return status;
}

/* ---- where tokens look --------------------------------------------------------------------------------- */

static fkv_status check_look(fkv_session *s, const int32_t *ids, size_t n)
{
    if (n == 0 || s->q->n_seen == 0)
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT,
                        "attention: expected ids behind tokens of a session, found %zu and %zu", n, s->q->n_seen);
    const char *policy = s->q->n_turns ? s->q->turn[s->q->n_turns - 1].policy : "";
    if (s->q->n_turns || s->q->forked)
        return fkv_fail(
            &s->error, FKV_ERROR_ARGUMENT,
            "attention: expected a session that holds all it has seen, and alone; found one that was %s%.*s",
            s->q->n_turns ? "pruned by " : "forked", (int)strcspn(policy, " "), policy);
    return fkv_session_check_ids(s, ids, n, s->q->n_seen);
}

/* shares += where the ids look. The workspace is lent to the caller: scores of a prefill lie where those of a look
   go. */
static fkv_status look(fkv_session *s, const int32_t *ids, size_t n, float *shares)
{
    const size_t before = s->q->n_seen, window = (size_t)s->shape.params.kv.window,
                 most = window < FKV_STEP_ROWS ? window : FKV_STEP_ROWS;
    fkv_status status = FKV_OK;
    for (size_t done = 0, some; done < n && status == FKV_OK; done += some) {
        struct step step;
        some = n - done < most ? n - done : most;
        for (size_t i = 0; i < some; i++) {
            step.pos[i] = (int32_t)(before + done + i);
            step.hidden[i] = (int32_t)(some - 1 - i);
        }
        const struct fkv_rows rows = {.n = (int)some,
                                      .id = ids + done,
                                      .pos = step.pos,
                                      .hidden = step.hidden,
                                      .alone = true};
        if (atomic_load(&s->cancel)) return FKV_ERROR_CANCELLED;
        status = fkv_step_look(&s->e->ws, s->q, &rows, (int)before, shares);
    }
    return status;
}

fkv_status fkv_session_attention(fkv_session *s, const int32_t *ids, size_t n, float *shares)
{
    const struct fkv_hparams *h = &s->e->model->h;
    struct fkv_workspace *ws = &s->e->ws;
    fkv_status status = check_look(s, ids, n);
    if (status != FKV_OK) return status;
    if (fkv_session_cancelled(s)) return FKV_ERROR_CANCELLED;
    const size_t before = s->q->n_seen, all = (size_t)h->n_layer * (size_t)h->n_kv_head * before;
    memset(shares, 0, all * sizeof *shares);
    memcpy(s->q->ids + before, ids, n * sizeof *ids);
    status = FKV_ERROR_CANCELLED;
    if (fkv_turns_take_unless(&ws->lent, &s->cancel)) {
        status = look(s, ids, n, shares);
        fkv_turns_leave(&ws->lent);
    }
    if (status == FKV_ERROR_CANCELLED) atomic_store(&s->cancel, false);
    for (size_t i = 0; i < all; i++) shares[i] /= (float)n;
    fkv_session_forget(s, before);
    return fkv_session_failed(s, status);
}

/* ---- one prefill for several sessions -------------------------------------------------------------- */

enum { SHARED_MOST = 64 };

/* The first session says how the prompt runs; the others are empty, like it. */
static fkv_status check_shared(fkv_session *const *sessions, int n, const int32_t *ids, size_t n_ids)
{
    fkv_session *first = sessions[0];
    if (n < 1 || n > SHARED_MOST || n_ids == 0)
        return fkv_fail(&first->error, FKV_ERROR_ARGUMENT,
                        "batch: expected 1 to %d sessions and an id, found %d and %zu", SHARED_MOST, n, n_ids);
    if (strcmp(first->prefill.policy->name, "full"))
        return fkv_fail(&first->error, FKV_ERROR_ARGUMENT,
                        "batch: expected full attention in the first session, found policy %s",
                        first->prefill.policy->name);
    for (int i = 0; i < n; i++) {
        bool twice = false;
        for (int j = 0; j < i; j++) twice |= sessions[j] == sessions[i];
        if (sessions[i]->e != first->e || sessions[i]->q->n_seen || twice)
            return fkv_fail(&sessions[i]->error, FKV_ERROR_ARGUMENT,
                            "batch: expected empty sessions of one engine, none twice; session %d is not one", i);
        fkv_status status = fkv_session_check_ids(sessions[i], ids, n_ids, 0);
        if (status == FKV_OK) status = fkv_session_check_marks(sessions[i], n_ids);
        if (status == FKV_OK) status = fkv_session_reserve_turn(sessions[i]);
        if (status != FKV_OK) return status;
    }
    return FKV_OK;
}

/* The session holds what the pass kept for it; its logits are the first one's unless rows of its own went on. */
static void take_shared(fkv_session *s, const fkv_session *first, bool own_rows, size_t n_ids)
{
    s->q->n_seen = n_ids;
    fkv_session_note_turn(s, 0);
    if (s != first && !own_rows) memcpy(s->logits, first->logits, (size_t)s->e->model->h.n_vocab * sizeof *s->logits);
    s->have_logits = true;
    s->sync_kind = FKV_SYNC_EXTENDED;
    s->reused = 0;
    s->stats.prefill_tokens += n_ids;
    s->stats.prefill_work += s->report.work;
    memcpy(s->stats.stage_s, s->report.stage_s, sizeof s->report.stage_s);
}

static bool has_same_angles(const fkv_session *s, const fkv_session *other)
{
    const struct fkv_hparams *h = &s->e->model->h;
    return fkv_rope_begin(h, s->q->capacity) == fkv_rope_begin(h, other->q->capacity);
}

/* The sessions that one pass can fill besides the first; returns their number. All know their windows then. */
static int take_part(fkv_session *const *sessions, int n, const int32_t *ids, size_t n_ids,
                     struct fkv_keeper keepers[SHARED_MOST])
{
    const struct fkv_prefill_params *first = &sessions[0]->prefill;
    int n_keepers = 0;
    for (int i = 0; i < n; i++) {
        fkv_session *s = sessions[i];
        s->have_logits = false;
        memcpy(s->q->ids, ids, n_ids * sizeof *ids);
        fkv_session_observe(s, ids, n_ids, 0);
        if (i > 0 && has_same_angles(s, sessions[0]) && s->prefill.k_type == first->k_type &&
            s->prefill.v_type == first->v_type)
            keepers[n_keepers++] =
                (struct fkv_keeper){.q = s->q, .params = &s->prefill, .report = &s->report, .logits = s->logits};
    }
    return n_keepers;
}

static fkv_status prefill_shared(fkv_session *const *sessions, int n, const int32_t *ids, size_t n_ids)
{
    const double t0 = fkv_clock_s();
    struct fkv_keeper keepers[SHARED_MOST];
    fkv_status status = check_shared(sessions, n, ids, n_ids);
    if (status != FKV_OK) return status;
    fkv_session *first = sessions[0];
    if (fkv_session_cancelled(first)) return FKV_ERROR_CANCELLED;
    const int n_keepers = take_part(sessions, n, ids, n_ids, keepers);
    struct fkv_prefill_params params = first->prefill;
    params.keepers = keepers;
    params.n_keepers = n_keepers;
    status = fkv_session_prefill(first, &params, ids, n_ids);
    for (int i = 0; i < n; i++) {
        const struct fkv_keeper *k = keepers;
        while (k < keepers + n_keepers && k->q != sessions[i]->q) k++;
        const bool is_keeper = k < keepers + n_keepers;
        if (status == FKV_OK && (i == 0 || (is_keeper && !k->left_out))) {
            take_shared(sessions[i], first, is_keeper && k->parted, n_ids);
            status = fkv_session_back_off(sessions[i]);
        } else {
            fkv_session_forget(sessions[i], 0);
        }
    }
    for (int i = 0; i < n && status != FKV_OK; i++) fkv_session_forget(sessions[i], 0);
    first->stats.prefill_s += fkv_clock_s() - t0;
    return fkv_session_failed(first, status);
}

fkv_status fkv_batch_prefill(fkv_session *const *sessions, int n, const int32_t *ids, size_t n_ids)
{
    const fkv_status status = prefill_shared(sessions, n, ids, n_ids);
    for (int i = 0; i < n; i++) sessions[i]->marks = (struct fkv_marks)FKV_MARKS_INIT;
    return status;
}
