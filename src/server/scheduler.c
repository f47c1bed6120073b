#define _GNU_SOURCE
#include "server/scheduler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/log.h"
#include "server/prefixes.h"
#include "server/server.h"
#include "server/slot_files.h"

/* ---- threads ----------------------------------------------------------------------------------- */

static bool start_threads(struct scheduler *s)
{
    if (pthread_create(&s->prefill, NULL, scheduler_prefill_thread, s)) return false;
    s->n_threads = 1;
    if (pthread_create(&s->decode, NULL, scheduler_decode_thread, s)) return false;
    s->n_threads = 2;
    return true;
}

static void set_up(struct scheduler *s)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, &clock);
    pthread_cond_init(&s->ready, &clock);
    pthread_condattr_destroy(&clock);
    s->end = &s->first;
}

struct fkv_session_params scheduler_session(struct scheduler *s)
{
    struct fkv_session_params params = s->server->settings->session;
    params.n_ctx = s->server->n_ctx;
    params.progress = compute_progress;
    params.progress_user = s; /* forks have it, too */
    return params;
}

bool scheduler_open(struct server *server, char *err)
{
    struct scheduler *s = calloc(1, sizeof *s);
    const int n = server->settings->n_sessions;
    snprintf(err, FKV_ERROR_BYTES, "no memory for %d sessions of %d tokens", n, server->n_ctx);
    if (!s) return false;
    s->server = server;
    s->slots = calloc((size_t)n, sizeof *s->slots);
    set_up(s);
    for (; s->slots && s->n_slots < n; s->n_slots++)
        if (!(s->slots[s->n_slots].ids = malloc((size_t)server->n_ctx * sizeof(int32_t)))) break;
    server->scheduler = s;
    if (server->settings->slot_save_path) slot_files_sweep(server->settings->slot_save_path);
    fkv_engine_pace(server->engine, server->settings->max_gap_ms / 1e3, (double)server->settings->prefill_share);
    const struct fkv_session_params params = scheduler_session(s);
    if (s->n_slots == n && prefixes_open(server, &params, err) && start_threads(s)) return true;
    scheduler_close(s);
    server->scheduler = NULL;
    return false;
}

void scheduler_drain(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    scheduler_wake(s);
}

void scheduler_give_up(struct scheduler *s)
{
    atomic_store(&s->give_up, true);
    scheduler_wake(s);
}

void scheduler_close(struct scheduler *s)
{
    if (!s) return;
    scheduler_drain(s);
    if (s->n_threads > 0) pthread_join(s->prefill, NULL);
    if (s->n_threads > 1) pthread_join(s->decode, NULL);
    slots_close(s);
    prefixes_close(s->server->prefixes);
    s->server->prefixes = NULL;
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->ready);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void scheduler_wake(void *scheduler)
{
    struct scheduler *s = scheduler;
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

/* ---- requests ---------------------------------------------------------------------------------- */

void scheduler_add(struct scheduler *s, struct request *r)
{
    r->queued_s = fkv_clock_s();
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < r->n_branches; i++) {
        r->branches[i].next = NULL;
        *s->end = &r->branches[i];
        s->end = &r->branches[i].next;
    }
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
}

void scheduler_add_task(struct scheduler *s, struct slot_task *task)
{
    pthread_mutex_lock(&s->lock);
    struct slot_task **at = &s->tasks;
    while (*at) at = &(*at)->next;
    *at = task;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
}

/* The last branch of a request has ended. */
static void complete(struct scheduler *s, struct request *r)
{
    struct server *server = s->server;
    const double seconds = fkv_clock_s() - r->x->received_s;
    if (!r->failed) r->dialect->complete(r);
    metrics_count_request(&server->metrics, r->dialect->name, r->failed ? 500 : 200);
    pthread_mutex_lock(&s->lock);
    s->request_s = s->request_s > 0 ? 0.8 * s->request_s + 0.2 * seconds : seconds;
    pthread_mutex_unlock(&s->lock);
    request_free(r);
    request_ended(server);
}

void scheduler_end(struct scheduler *s, struct branch *b)
{
    struct request *r = b->request;
    if (b->slot >= 0) slot_settle(s, b);
    log_answer(b);
    if (b->slot >= 0 && b->finish != FINISH_FAILED) metrics_count_answer(&s->server->metrics, b);
    if (r->stream && !r->failed && b->finish != FINISH_FAILED) r->dialect->finish(b);
    pthread_mutex_lock(&s->lock);
    if (b->slot >= 0) slot_release(s, &s->slots[b->slot]);
    const bool last = --r->n_running == 0;
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (last) complete(s, r);
}

void scheduler_fail(struct scheduler *s, struct branch *b, const struct api_error *error)
{
    struct request *r = b->request;
    const bool first = !atomic_exchange(&r->failed, true);
    if (first && error->status) exchange_fail(r->x, error);
    b->finish = FINISH_FAILED;
    scheduler_end(s, b);
}

void scheduler_tell(const fkv_session *session, fkv_status status, struct api_error *error)
{
    const char *message = session ? fkv_session_error(session) : "";
    if (!*message) message = fkv_status_text(status);
    switch (status) {
    case FKV_ERROR_ARGUMENT: api_fail(error, 400, ERROR_INVALID, "%s", message); break;
    case FKV_ERROR_CONTEXT: api_fail(error, 400, ERROR_CONTEXT, "%s", message); break;
    case FKV_ERROR_CANCELLED: api_fail(error, 503, ERROR_UNAVAILABLE, "the server is shutting down"); break;
    case FKV_ERROR_MEMORY:
    case FKV_ERROR_DEVICE: api_fail(error, 503, ERROR_UNAVAILABLE, "%s", message); break;
    default: api_fail(error, 500, ERROR_SERVER, "%s", message);
    }
    error->in_vain = status == FKV_ERROR_NUMBER || status == FKV_ERROR_DEVICE;
}

/* ---- looking in -------------------------------------------------------------------------------- */

void scheduler_report(struct scheduler *s, int i, struct slot_report *report)
{
    pthread_mutex_lock(&s->lock);
    const struct slot *slot = &s->slots[i];
    *report = (struct slot_report){.state = slot->state,
                                   .n_prompt = slot->n_prompt,
                                   .n_decoded = slot->n_decoded,
                                   .n_tokens = slot->n_prompt + slot->n_decoded,
                                   .kv_bytes = slot->state == SLOT_IDLE ? slot->kv_bytes : slot->bytes,
                                   .bytes = slot->bytes,
                                   .full_bytes = slot->full_bytes,
                                   .age_s = slot->used_s > 0 ? fkv_clock_s() - slot->used_s : 0,
                                   .policy = slot->policy ? slot->policy : ""};
    pthread_mutex_unlock(&s->lock);
}

void scheduler_count(struct scheduler *s, int *n_waiting, int *n_running)
{
    pthread_mutex_lock(&s->lock);
    *n_waiting = *n_running = 0;
    for (const struct branch *b = s->first; b; b = b->next) ++*n_waiting;
    for (int i = 0; i < s->n_slots; i++)
        *n_running += s->slots[i].state == SLOT_PREFILL || s->slots[i].state == SLOT_DECODE;
    pthread_mutex_unlock(&s->lock);
}

int scheduler_wait_s(struct scheduler *s)
{
    int n_waiting, n_running;
    scheduler_count(s, &n_waiting, &n_running);
    pthread_mutex_lock(&s->lock);
    const double seconds = ceil(s->request_s * (n_waiting + 1) / s->n_slots);
    pthread_mutex_unlock(&s->lock);
    return seconds < 1 ? 1 : seconds > 600 ? 600 : (int)seconds;
}
