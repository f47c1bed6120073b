/* The thread that decodes: a token of every answer under way, in one pass. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/scheduler.h"
#include "server/server.h"

static bool must_end(const struct scheduler *s, const struct request *r)
{
    return r->failed || atomic_load(&r->x->gone) || atomic_load(&s->give_up);
}

static bool can_go_on(const struct scheduler *s, const struct branch *b)
{
    return must_end(s, b->request) || exchange_waiting(b->request->x) < EXCHANGE_AHEAD;
}

/* Up to FKV_BATCH_MOST branches that have something to do, in turn; 0 when all is over. */
static int next_step(struct scheduler *s, struct branch *step[FKV_BATCH_MOST])
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        for (int i = 0; i < s->n_active && n < FKV_BATCH_MOST; i++) {
            struct branch *b = s->active[(s->turn + i) % s->n_active];
            if (can_go_on(s, b)) step[n++] = b;
        }
        if (n || (s->stopping && s->prefill_ended && !s->n_active)) break;
        pthread_cond_wait(&s->ready, &s->lock);
    }
    if (s->n_active) s->turn = (s->turn + n) % s->n_active;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void leave(struct scheduler *s, const struct branch *b)
{
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->n_active; i++) {
        if (s->active[i] != b) continue;
        memmove(&s->active[i], &s->active[i + 1], (size_t)(--s->n_active - i) * sizeof *s->active);
        break;
    }
    s->turn = 0;
    pthread_mutex_unlock(&s->lock);
}

static void end(struct scheduler *s, struct branch *b, enum finish finish)
{
    leave(s, b);
    b->finish = finish;
    answer_end(&b->answer);
    scheduler_end(s, b);
}

static void fail(struct scheduler *s, struct branch *b, const struct api_error *error)
{
    leave(s, b);
    scheduler_fail(s, b, error);
}

/* ---- one token --------------------------------------------------------------------------------- */

static bool make_room(struct branch *b)
{
    if (b->n_ids & (b->n_ids - 1) && b->ids) return true; /* room doubles at powers of two */
    const size_t room = b->n_ids ? 2 * b->n_ids : 1;
    int32_t *ids = realloc(b->ids, room * sizeof *ids);
    if (ids) b->ids = ids;
    if (!ids || !b->request->want_logprobs) return ids;
    struct logprob *logprobs = realloc(b->logprobs, room * sizeof *logprobs);
    if (logprobs) b->logprobs = logprobs;
    return logprobs;
}

/* Adds what a token says; true when a stop string is complete. */
static bool say(struct branch *b, int32_t id, bool ends)
{
    const fkv_engine *engine = b->request->server->engine;
    const char *bytes;
    char number[16];
    size_t n = ends ? 0 : fkv_token_bytes(engine, id, false, &bytes);
    bool shown = n > 0;
    if (!shown) n = fkv_token_bytes(engine, id, true, &bytes); /* it may end a stop string */
    if (!n && !ends) {
        n = (size_t)snprintf(number, sizeof number, "<%d>", id); /* the vocabulary lacks it */
        bytes = number;
        shown = true;
    }
    return n && answer_add(&b->answer, bytes, n, shown);
}

/* Does the answer end with the id that was just sampled? */
static enum finish take_id(struct branch *b, int32_t id)
{
    const struct request *r = b->request;
    const bool ends = !r->ignore_eos && fkv_token_is_end(r->server->engine, id);
    const size_t n_session = r->prompts[b->prompt].n + b->n_ids;
    if (say(b, id, ends)) return FINISH_STOP;
    if (ends) return FINISH_EOS;
    if (b->n_ids == b->most) {
        b->cut = n_session == (size_t)r->server->n_ctx;
        return FINISH_LENGTH;
    }
    const double ms = 1e3 * (b->last_s - b->first_s);
    return r->most_predict_ms > 0 && ms >= r->most_predict_ms ? FINISH_LENGTH : FINISH_NONE;
}

/* Samples the branch's next id. True when it is to be decoded; else the branch has ended. */
static bool sample(struct scheduler *s, struct branch *b)
{
    struct request *r = b->request;
    struct api_error error = {0};
    const float *logits = fkv_session_logits(s->slots[b->slot].session);
    const int n_vocab = fkv_engine_info(s->server->engine)->n_vocab;
    if (b->first_s <= 0) b->first_s = b->last_s = fkv_clock_s();
    if (b->most == 0) {
        b->cut = r->n_predict != 0;
        end(s, b, FINISH_LENGTH);
        return false;
    }
    const int32_t id = fkv_sample(b->sampler, logits);
    if (id < 0) {
        error.in_vain = true;
        api_fail(&error, 500, ERROR_SERVER,
                 r->sampler.n_bias ? "logit_bias leaves no token to choose, or the model's logits are not numbers"
                                   : "the model's logits are not numbers");
    } else if (!make_room(b) ||
               (r->want_logprobs && !logprob_compute(&b->logprobs[b->n_ids], logits, n_vocab, id, r->n_logprobs))) {
        api_fail(&error, 500, ERROR_SERVER, "out of memory for the answer");
    }
    if (error.status) {
        fail(s, b, &error);
        return false;
    }
    const struct answer *a = &b->answer;
    if (r->want_logprobs) b->logprobs[b->n_ids].start = a->n + a->n_seen + (size_t)a->n_pending;
    b->ids[b->n_ids++] = id;
    b->last_s = fkv_clock_s();
    if (b->n_ids == 1) metrics_observe(&s->server->metrics, HISTOGRAM_FIRST_TOKEN, b->last_s - r->x->received_s);
    const enum finish finish = take_id(b, id);
    if (finish == FINISH_NONE && r->stream) r->dialect->delta(b);
    if (finish != FINISH_NONE) end(s, b, finish);
    return finish == FINISH_NONE;
}

/* ---- a pass ------------------------------------------------------------------------------------ */

/* The pass failed: those at fault end; the others are left in branches[], and their number is returned. */
static int drop_faulty(struct scheduler *s, struct branch **branches, int n, fkv_status status)
{
    int kept = 0;
    bool any = false;
    for (int i = 0; i < n; i++) any = any || *fkv_session_error(s->slots[branches[i]->slot].session);
    for (int i = 0; i < n; i++) {
        const fkv_session *session = s->slots[branches[i]->slot].session;
        struct api_error error = {0};
        if (any && !*fkv_session_error(session)) {
            branches[kept++] = branches[i];
            continue;
        }
        scheduler_tell(session, status, &error);
        fail(s, branches[i], &error);
    }
    return kept;
}

static void decode(struct scheduler *s, struct branch **branches, int n)
{
    fkv_session *sessions[FKV_BATCH_MOST];
    int32_t ids[FKV_BATCH_MOST];
    fkv_status status = FKV_ERROR_MEMORY;
    while (n && status != FKV_OK) {
        for (int i = 0; i < n; i++) {
            sessions[i] = s->slots[branches[i]->slot].session;
            ids[i] = branches[i]->ids[branches[i]->n_ids - 1];
        }
        status = fkv_batch_append(sessions, ids, n);
        if (status != FKV_OK) n = drop_faulty(s, branches, n, status);
    }
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < n; i++) {
        struct slot *slot = &s->slots[branches[i]->slot];
        slot->ids[slot->n_prompt + slot->n_decoded++] = ids[i];
    }
    pthread_mutex_unlock(&s->lock);
    if (n) metrics_count_pass(&s->server->metrics, n);
    atomic_store(&s->moved_s, fkv_clock_s());
}

void *scheduler_decode_thread(void *user)
{
    struct scheduler *s = user;
    struct branch *step[FKV_BATCH_MOST];
    for (int n; (n = next_step(s, step)) > 0;) {
        int going = 0;
        for (int i = 0; i < n; i++) {
            struct api_error error = {0};
            if (!must_end(s, step[i]->request)) {
                if (sample(s, step[i])) step[going++] = step[i];
                continue;
            }
            if (atomic_load(&s->give_up)) api_fail(&error, 503, ERROR_UNAVAILABLE, "the server is shutting down");
            fail(s, step[i], &error);
        }
        decode(s, step, going);
    }
    return NULL;
}
