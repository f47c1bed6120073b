/* A prompt into a session: what the cache has of it, and the rest span by span. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/kept.h"
#include "server/prefixes.h"
#include "server/scheduler.h"
#include "server/server.h"
#include "server/spans.h"

bool compute_progress(void *user, uint64_t done, uint64_t all)
{
    struct scheduler *s = user;
    const struct branch *b = s->prefilled;
    struct request *r = b->request;
    const double now = fkv_clock_s(), share = all ? (double)done / (double)all : 1;
    atomic_store(&s->moved_s, now);
    s->span_done = s->span_first + (size_t)(share * (double)(s->span_end - s->span_first));
    if (r->stream && r->return_progress && now - r->progress_s >= 0.2 && done > 0 && done < all) {
        r->dialect->progress(r, &r->prompts[b->prompt], s->span_done, 1e3 * (now - r->begun_s));
        r->progress_s = now;
    }
    if (r->failed || atomic_load(&s->give_up)) return false;
    return !atomic_load(&r->x->gone) || prefill_park(s);
}

bool slot_open(struct scheduler *s, struct slot *slot, const struct fkv_kv_params *kv, struct api_error *error)
{
    struct fkv_session_params params = scheduler_session(s);
    char why[FKV_ERROR_BYTES];
    fkv_session_close(slot->session);
    slot->session = NULL;
    params.kv = *kv;
    if (fkv_session_open(&slot->session, s->server->engine, &params, why) != FKV_OK)
        return api_fail(error, 503, ERROR_UNAVAILABLE, "%s", why);
    return true;
}

/* The session goes on to hold the first `end` ids. */
static fkv_status span(struct scheduler *s, struct slot *slot, struct prompt *p, size_t end,
                       const struct fkv_kv_params *kv)
{
    const double start = fkv_clock_s();
    struct fkv_kv_params params = *kv;
    const bool whole = end != p->last_end || !spans_compress(p);
    if (whole) params.policy = "full";
    s->span_first = fkv_session_n_seen(slot->session);
    s->span_end = end;
    if (s->span_first >= end) return FKV_OK;
    fkv_status status = fkv_session_set_policy(slot->session, &params);
    if (status == FKV_OK && !whole) status = fkv_session_mark(slot->session, &p->marks);
    if (status == FKV_OK) status = fkv_session_sync(slot->session, p->ids, end);
    if (status == FKV_OK) prefixes_took(s->server->prefixes, end - s->span_first, fkv_clock_s() - start);
    return status;
}

/* What the cache keeps of a prompt that is whole: its trunk, for others, and all as far as its last message. */
static void store_whole(struct scheduler *s, struct slot *slot, const struct request *r, struct prompt *p)
{
    const size_t ends[] = {p->trunk, p->last_end};
    for (size_t i = 0; i < 2; i++)
        if (ends[i] > p->found.n)
            slot->entry = prefixes_store(s->server->prefixes, r, p, slot->session, ends[i], slot->entry);
}

/* The trunk whole, the turn by the policy, the answer's start whole. */
static fkv_status spans(struct scheduler *s, struct slot *slot, const struct request *r, struct prompt *p)
{
    struct prefixes *prefixes = s->server->prefixes;
    fkv_status status = FKV_OK;
    if (spans_compress(p)) {
        status = span(s, slot, p, p->turn_first, &r->kv);
        if (status == FKV_OK && p->turn_first > p->found.n)
            slot->entry = prefixes_store(prefixes, r, p, slot->session, p->turn_first, slot->entry);
        if (status == FKV_OK) status = span(s, slot, p, p->last_end, &r->kv);
        if (status == FKV_OK) kept_turn(slot->session, p, p->turn_first);
        if (status == FKV_OK) slot->entry = prefixes_store(prefixes, r, p, slot->session, p->last_end, slot->entry);
    }
    if (status == FKV_OK) status = span(s, slot, p, p->n, &r->kv);
    if (status == FKV_OK && !spans_compress(p)) store_whole(s, slot, r, p);
    return status;
}

/* The session holds what was found, and no more. */
static bool begin_with_found(struct scheduler *s, struct slot *slot, const struct request *r, struct prompt *p,
                             struct api_error *error)
{
    slot->entry = p->found.id; /* its use is the slot's from here on */
    p->found.id = 0;
    p->n_cached = p->n_kept_before = p->found.n;
    slot->session = p->found.session;
    p->found.session = NULL;
    return slot->session || slot_open(s, slot, &r->kv, error);
}

static fkv_status fork_base(struct scheduler *s, struct slot *slot, const struct prompt *p, struct api_error *error)
{
    char why[FKV_ERROR_BYTES];
    const fkv_status status = fkv_session_fork(p->base, p->n, &slot->session, why);
    if (status != FKV_OK) api_fail(error, 503, ERROR_UNAVAILABLE, "%s", why);
    slot->entry = prefixes_hold(s->server->prefixes, p->entry) ? p->entry : 0;
    return status;
}

fkv_status slot_prefill(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error)
{
    struct request *r = b->request;
    struct prompt *p = &r->prompts[b->prompt];
    const double start = fkv_clock_s();
    fkv_status status = FKV_ERROR_MEMORY;
    s->prefilled = b;
    s->prefilled_in = slot;
    memcpy(slot->ids, p->ids, p->n * sizeof *p->ids);
    if (p->computed) {
        status = fork_base(s, slot, p, error);
    } else if (begin_with_found(s, slot, r, p, error)) {
        if (r->stream && r->return_progress) r->dialect->progress(r, p, p->n_kept_before, 0);
        status = spans(s, slot, r, p);
        p->ms = 1e3 * (fkv_clock_s() - start);
        p->entry = slot->entry;
        r = s->prefilled->request;
        if (status == FKV_OK && r->stream && r->return_progress)
            r->dialect->progress(r, &r->prompts[s->prefilled->prompt], p->n, 1e3 * (fkv_clock_s() - r->begun_s));
        if (status != FKV_OK) scheduler_tell(slot->session, status, error);
    }
    return status;
}
