/* A prefill whose client has left stays as it stands for a while, in case the same prompt comes again: clients that
   give up and retry then make progress. It waits between two blocks, on the thread that prefills; other work ends it.
 */
#include <string.h>

#include "base/clock.h"
#include "server/scheduler.h"
#include "server/server.h"

enum { WORTH = 256 }; /* tokens: fewer are computed again */

static bool same(const struct request *a, const struct prompt *p, const struct request *b, const struct prompt *q)
{
    char mine[FKV_KV_TEXT_BYTES], its[FKV_KV_TEXT_BYTES];
    if (p->n != q->n || q->computed || memcmp(p->ids, q->ids, p->n * sizeof *p->ids) != 0) return false;
    fkv_kv_text(&a->kv, mine, sizeof mine);
    fkv_kv_text(&b->kv, its, sizeof its);
    return !strcmp(mine, its) && !strcmp(a->salt, b->salt) && a->cache_prompt == b->cache_prompt &&
           a->kv_mode == b->kv_mode && a->dialect != &dialect_prefix && b->dialect != &dialect_prefix;
}

/* One that waits and wants what is parked, taken from the queue. Under the lock. */
static struct branch *take_twin(struct scheduler *s, const struct branch *b)
{
    const struct prompt *p = &b->request->prompts[b->prompt];
    for (struct branch **at = &s->first; *at; at = &(*at)->next) {
        struct branch *twin = *at;
        struct request *r = twin->request;
        if (atomic_load(&r->x->gone) || r->failed || !same(b->request, p, r, &r->prompts[twin->prompt])) continue;
        scheduler_unlink(s, at);
        return twin;
    }
    return NULL;
}

static void wait_until(struct scheduler *s, double when_s)
{
    struct timespec until = {.tv_sec = (time_t)when_s, .tv_nsec = (long)(1e9 * (when_s - (double)(time_t)when_s))};
    pthread_cond_timedwait(&s->work, &s->lock, &until);
}

bool prefill_park(struct scheduler *s)
{
    struct branch *b = s->prefilled, *left = s->adopted, *twin = NULL;
    struct slot *slot = s->prefilled_in;
    const double end = fkv_clock_s() + s->server->settings->resume_s;
    if (b->request->prompts[b->prompt].n - s->span_done < WORTH) return false;
    pthread_mutex_lock(&s->lock);
    slot->state = SLOT_PARKED;
    while (!(twin = take_twin(s, b)) && !s->stopping && !atomic_load(&s->give_up) && !s->first && !s->tasks &&
           fkv_clock_s() < end)
        wait_until(s, end);
    slot->state = SLOT_PREFILL;
    pthread_mutex_unlock(&s->lock);
    if (!twin) return false;
    struct request *r = twin->request;
    struct prompt *p = &r->prompts[twin->prompt];
    r->begun_s = fkv_clock_s();
    p->n_kept_before = s->span_done;
    s->prefilled = s->adopted = twin;
    if (r->stream && r->return_progress) r->dialect->progress(r, p, p->n_kept_before, 0);
    if (left) scheduler_fail(s, left, &(struct api_error){0}); /* it had adopted the prefill, and has left, too */
    return true;
}

/* What is known of the one prompt is the other's. */
static void hand_over(struct prompt *from, struct prompt *to, double since_s)
{
    const size_t kept_before = to->n_kept_before;
    to->looked = to->adopted = true;
    to->found = from->found;
    to->trunk = from->trunk;
    to->turn_first = from->turn_first;
    to->reason = from->reason;
    to->entry = from->entry;
    to->went_on = from->went_on;
    from->went_on = NULL;
    to->kept = from->kept;
    to->n_cached = from->n_cached;
    to->n_kept_before = kept_before;
    to->ms = 1e3 * (fkv_clock_s() - since_s);
}

struct branch *prefill_adopted(struct scheduler *s, struct slot *slot, struct branch *b)
{
    struct branch *twin = s->adopted;
    s->adopted = NULL;
    if (!twin) return b;
    hand_over(&b->request->prompts[b->prompt], &twin->request->prompts[twin->prompt], twin->request->begun_s);
    pthread_mutex_lock(&s->lock);
    twin->slot = b->slot;
    slot->branch = twin;
    b->slot = -1;
    pthread_mutex_unlock(&s->lock);
    scheduler_fail(s, b, &(struct api_error){0});
    return twin;
}
