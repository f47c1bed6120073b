/* The thread that computes prompts, one after the other, in the order in which they came. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "server/kept.h"
#include "server/prefixes.h"
#include "server/scheduler.h"
#include "server/server.h"
#include "server/slot_files.h"
#include "server/spans.h"

void scheduler_unlink(struct scheduler *s, struct branch **at)
{
    *at = (*at)->next;
    if (!*at) s->end = at;
}

/* Why a branch that waits will never begin: false, or true with an error, which is none when its client has left. */
static bool is_hopeless(const struct scheduler *s, const struct branch *b, double now, struct api_error *error)
{
    const struct request *r = b->request;
    if (r->failed || atomic_load(&r->x->gone)) return true;
    if (s->stopping)
        api_fail(error, 503, ERROR_UNAVAILABLE, "the server is shutting down");
    else if (now - r->queued_s > (double)s->server->settings->queue_timeout_s)
        api_fail(error, 503, ERROR_UNAVAILABLE, "waited %.0f s for a free session", now - r->queued_s);
    return error->status;
}

static void wait_for_work(struct scheduler *s)
{
    struct timespec until;
    double latest = INFINITY;
    for (const struct branch *b = s->first; b; b = b->next)
        latest = fmin(latest, b->request->queued_s + (double)s->server->settings->queue_timeout_s);
    if (isinf(latest)) {
        pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)fmax(0, latest - fkv_clock_s()) + 1;
    pthread_cond_timedwait(&s->work, &s->lock, &until);
}

/* What this thread does next. */
struct work {
    struct slot_task *task;
    struct branch *branch;
    struct slot *slot;      /* for the branch; NULL: it is hopeless */
    struct api_error error; /* of one that is */
};

/* A task whose slot is idle, which is taken for it. */
static struct slot_task *take_task(struct scheduler *s)
{
    for (struct slot_task **at = &s->tasks; *at; at = &(*at)->next) {
        struct slot_task *task = *at;
        struct slot *slot = &s->slots[task->slot];
        if (slot->state != SLOT_IDLE) continue;
        slot->state = SLOT_PREFILL;
        if (task->action == SLOT_RESTORE) slot_own(slot, &s->server->settings->session.kv, task->salt);
        *at = task->next;
        return task;
    }
    return NULL;
}

static struct branch *take_hopeless(struct scheduler *s, struct api_error *error)
{
    const double now = fkv_clock_s();
    for (struct branch **at = &s->first; *at; at = &(*at)->next) {
        struct branch *b = *at;
        if (!is_hopeless(s, b, now, error)) continue;
        scheduler_unlink(s, at);
        return b;
    }
    return NULL;
}

/* The branch that is next: of those that can have a session, who has waited long; else who takes least. */
static struct branch *take_branch(struct scheduler *s, struct slot **slot)
{
    enum { LONG_S = 10 };
    const double now = fkv_clock_s();
    struct branch **next = NULL;
    size_t least = 0;
    for (struct branch **at = &s->first; *at && !s->short_of_memory; at = &(*at)->next) {
        const struct request *r = (*at)->request;
        const struct prompt *p = &r->prompts[(*at)->prompt];
        const size_t cost = p->computed ? 0 : p->n - p->found.n;
        const bool waited = now - r->queued_s > LONG_S;
        if (!slot_is_free(s, r) || (next && cost >= least && !waited)) continue;
        next = at;
        least = cost;
        if (waited) break;
    }
    if (!next) return NULL;
    struct branch *b = *next;
    scheduler_unlink(s, next);
    *slot = slot_take(s, b);
    return b;
}

/* Waits for work; false when all is over. */
static bool next_work(struct scheduler *s, struct work *w)
{
    bool over = false;
    *w = (struct work){0};
    pthread_mutex_lock(&s->lock);
    for (;;) {
        if ((w->task = take_task(s)) || (w->branch = take_hopeless(s, &w->error))) break;
        over = s->stopping && !s->first && !s->tasks;
        if (over) break;
        if ((w->branch = take_branch(s, &w->slot))) break;
        wait_for_work(s);
    }
    pthread_mutex_unlock(&s->lock);
    return !over;
}

/* The prompt of a request with several branches stays, to be forked for each. */
static bool keep_base(struct slot *slot, struct prompt *p, struct api_error *error)
{
    char why[FKV_ERROR_BYTES];
    if (fkv_session_fork(slot->session, p->n, &p->base, why) == FKV_OK) return true;
    return api_fail(error, 503, ERROR_UNAVAILABLE, "%s", why);
}

static bool settle(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error)
{
    struct request *r = b->request;
    struct prompt *p = &r->prompts[b->prompt];
    const bool last = b->index % r->n == r->n - 1;
    if (!p->computed) {
        kept_report(slot->session, p);
        if (r->kv_map) kept_map(s->server->engine, slot->session, p);
        metrics_count_prompt(&s->server->metrics, p);
        if (r->n > 1 && !keep_base(slot, p, error)) return false;
    }
    p->computed = true;
    if (last) {
        fkv_session_close(p->base);
        p->base = NULL;
    }
    return true;
}

/* Back to the head of those that wait, until there is more memory. */
static void put_back(struct scheduler *s, struct slot *slot, struct branch *b)
{
    pthread_mutex_lock(&s->lock);
    b->next = s->first;
    if (!b->next) s->end = &b->next;
    s->first = b;
    slot_release(s, slot);
    s->short_of_memory = true;
    for (int i = 0; i < s->n_slots; i++)
        if (s->slots[i].state != SLOT_IDLE)
            break;
        else if (i == s->n_slots - 1)
            s->short_of_memory = false; /* it became free meanwhile */
    pthread_mutex_unlock(&s->lock);
}

/* What the cache has of the branch's prompt, and room for the rest. False: it has to wait, or has an error. */
static bool find_room(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error)
{
    const struct request *r = b->request;
    struct prompt *p = &b->request->prompts[b->prompt];
    if (!p->looked) {
        spans_plan(r, p);
        prefixes_look(s->server->prefixes, r, p, spans_least(p));
        spans_settle(r, p, s->server->kv_ram);
    }
    if (slot_admit(s, slot, b, error)) return true;
    if (error->status)
        scheduler_fail(s, b, error);
    else
        put_back(s, slot, b);
    return false;
}

static void begin(struct scheduler *s, struct slot *slot, struct branch *b)
{
    struct request *r = b->request;
    struct api_error error = {0};
    if (!find_room(s, slot, b, &error)) return;
    if (r->begun_s <= 0) {
        r->begun_s = fkv_clock_s();
        metrics_observe(&s->server->metrics, HISTOGRAM_QUEUE, r->begun_s - r->queued_s);
    }
    const fkv_status status = slot_prefill(s, slot, b, &error);
    b = prefill_adopted(s, slot, b);
    r = b->request;
    if (status != FKV_OK || !settle(s, slot, b, &error)) {
        if (status == FKV_ERROR_CANCELLED && !atomic_load(&s->give_up)) error.status = 0; /* the client has left */
        scheduler_fail(s, b, &error);
        return;
    }
    pthread_mutex_lock(&s->lock);
    if (slot->entry) slot->bytes = r->prompts[b->prompt].answer_bytes; /* the rest is the cache's */
    slot->state = SLOT_DECODE;
    s->active[s->n_active++] = b;
    pthread_cond_broadcast(&s->ready);
    pthread_mutex_unlock(&s->lock);
}

void *scheduler_prefill_thread(void *user)
{
    struct scheduler *s = user;
    struct work work;
    while (next_work(s, &work)) {
        if (work.task)
            slot_task_run(s, work.task);
        else if (work.slot)
            begin(s, work.slot, work.branch);
        else
            scheduler_fail(s, work.branch, &work.error);
    }
    pthread_mutex_lock(&s->lock);
    s->prefill_ended = true;
    pthread_cond_broadcast(&s->ready);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
