/* Sessions for branches: which one, and what of it can stay. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/console.h"
#include "cli/retention.h"
#include "server/scheduler.h"
#include "server/server.h"

/* The last ids of a prompt are computed again even where the session holds them: one row alone would go through the
   kernels of decoding, which round differently, and an answer would depend on what was asked before. */
enum { AGAIN = 2 };
/* Nor is a short beginning worth that what a policy keeps of the rest would depend on it. */
enum { SHORT = 256 };

static bool same_policy(const struct fkv_kv_params *a, const struct fkv_kv_params *b)
{
    struct fkv_kv_option option;
    char name[RETENTION_NAME];
    if (strcmp(a->policy, b->policy)) return false;
    for (int i = 0; retention_name(i, name, &option); i++) {
        double x = 0, y = 0;
        if (fkv_kv_get(a, name + 2, &x) != fkv_kv_get(b, name + 2, &y) || x < y || x > y) return false;
    }
    return true;
}

static bool same_salt(const char *a, const char *b) { return !strcmp(a ? a : "", b ? b : ""); }

/* How many of the prompt's first ids the slot's session can serve. */
static size_t usable(const struct slot *slot, const struct request *r, const struct prompt *p)
{
    size_t n = 0;
    const size_t most = p->n > AGAIN ? p->n - AGAIN : 0;
    if (!slot->session || !r->cache_prompt || !same_salt(slot->salt, r->salt) || !same_policy(&slot->kv, &r->kv))
        return 0;
    while (n < most && n < slot->n_ids && slot->ids[n] == p->ids[n]) n++;
    if (n < slot->turn_end) return 0;
    const bool compresses = strcmp(r->kv.policy, "full") && p->n > (size_t)r->kv.kv_floor;
    return compresses && n < SHORT ? 0 : n;
}

static struct slot *choose(struct scheduler *s, const struct branch *b, size_t *n_usable)
{
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    struct slot *best = NULL;
    size_t most = 0;
    for (int i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state != SLOT_IDLE) continue;
        const size_t n = p->computed ? 0 : usable(slot, r, p);
        if (best && (n < most || (n == most && slot->used_s >= best->used_s))) continue;
        best = slot;
        most = n;
    }
    *n_usable = most;
    return best;
}

/* ---- memory ------------------------------------------------------------------------------------ */

void slot_empty(struct slot *slot)
{
    fkv_session_close(slot->session);
    slot->session = NULL;
    slot->bytes = 0;
    slot->n_ids = slot->turn_end = slot->n_prompt = slot->n_decoded = 0;
}

static uint64_t bytes_of_others(const struct scheduler *s, const struct slot *taken, bool *busy)
{
    uint64_t bytes = 0;
    *busy = false;
    for (int i = 0; i < s->n_slots; i++) {
        if (&s->slots[i] == taken) continue;
        bytes += s->slots[i].bytes;
        *busy = *busy || s->slots[i].state != SLOT_IDLE;
    }
    return bytes;
}

static struct slot *oldest_idle(struct scheduler *s, const struct slot *taken)
{
    struct slot *oldest = NULL;
    for (int i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (slot != taken && slot->state == SLOT_IDLE && slot->bytes && (!oldest || slot->used_s < oldest->used_s))
            oldest = slot;
    }
    return oldest;
}

void slot_own(struct slot *slot, const struct fkv_kv_params *kv, const char *salt)
{
    slot->kv = *kv;
    slot->policy = kv->policy;
    free(slot->salt);
    slot->salt = salt ? strdup(salt) : NULL;
}

struct slot *slot_take(struct scheduler *s, struct branch *b, struct api_error *error)
{
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    size_t n_usable;
    struct slot *slot = choose(s, b, &n_usable), *idle;
    uint64_t others;
    bool busy;
    if (!slot) return NULL;
    while ((others = bytes_of_others(s, slot, &busy)) + p->need_bytes > s->server->kv_ram &&
           (idle = oldest_idle(s, slot)))
        slot_empty(idle);
    if (others + p->need_bytes > s->server->kv_ram) {
        if (!busy)
            api_fail(error, 503, ERROR_UNAVAILABLE, "not enough memory: the request needs up to %s, --kv-ram is %s",
                     SIZE(p->need_bytes), SIZE(s->server->kv_ram));
        return NULL;
    }
    slot->state = SLOT_PREFILL;
    slot->branch = b;
    slot->bytes = p->need_bytes;
    slot->n_prompt = p->n;
    slot->n_decoded = 0;
    slot->n_usable = n_usable;
    if (!n_usable) slot_own(slot, &r->kv, r->salt);
    b->slot = (int)(slot - s->slots);
    return slot;
}

void slot_release(struct scheduler *s, struct slot *slot)
{
    struct fkv_session_stats stats = {0};
    (void)s;
    if (slot->session) fkv_session_get_stats(slot->session, &stats);
    slot->bytes = stats.kv_bytes;
    slot->n_ids = slot->session ? fkv_session_n_seen(slot->session) : 0;
    slot->state = SLOT_IDLE;
    if (slot->branch) {
        slot->branch->slot = -1;
        slot->branch->n_held = slot->n_ids;
        slot->branch = NULL;
    }
    slot->used_s = fkv_clock_s();
    if (!slot->n_ids) slot->n_prompt = slot->n_decoded = 0;
}

void slots_close(struct scheduler *s)
{
    for (int i = 0; i < s->n_slots; i++) {
        fkv_session_close(s->slots[i].session);
        free(s->slots[i].ids);
        free(s->slots[i].salt);
    }
    free(s->slots);
}

/* ---- prefill ----------------------------------------------------------------------------------- */

/* From the engine, after every block. */
static bool on_progress(void *user, uint64_t done, uint64_t all)
{
    struct scheduler *s = user;
    const struct branch *b = s->prefilled;
    struct request *r = b->request;
    struct prompt *p = &r->prompts[b->prompt];
    const double now = fkv_clock_s();
    atomic_store(&s->moved_s, now);
    if (r->stream && r->return_progress && now - r->progress_s >= 0.2 && done > 0 && done < all) {
        const double share = (double)done / (double)all;
        r->dialect->progress(r, p, p->n_kept_before + (size_t)(share * (double)(p->n - p->n_kept_before)),
                             1e3 * (now - r->begun_s));
        r->progress_s = now;
    }
    return !atomic_load(&r->x->gone) && !r->failed && !atomic_load(&s->give_up);
}

bool slot_open(struct scheduler *s, struct slot *slot, const struct fkv_kv_params *kv, struct api_error *error)
{
    struct fkv_session_params params = s->server->settings->session;
    char why[FKV_ERROR_BYTES];
    fkv_session_close(slot->session);
    slot->session = NULL;
    params.n_ctx = s->server->n_ctx;
    params.kv = *kv;
    params.progress = on_progress;
    params.progress_user = s; /* forks of the session have it, too */
    if (fkv_session_open(&slot->session, s->server->engine, &params, why) != FKV_OK)
        return api_fail(error, 503, ERROR_UNAVAILABLE, "%s", why);
    return true;
}

/* From here on the session holds what it can serve of the prompt, and no more. */
static bool keep_usable(struct scheduler *s, struct slot *slot, struct request *r, struct prompt *p,
                        struct api_error *error)
{
    const size_t n = slot->n_usable;
    p->n_kept_before = n;
    if (n && fkv_session_cut(slot->session, n) == FKV_OK) return true;
    p->n_kept_before = 0;
    slot->turn_end = 0;
    return slot_open(s, slot, &r->kv, error);
}

static fkv_status fork_base(struct slot *slot, const struct prompt *p, struct api_error *error)
{
    char why[FKV_ERROR_BYTES];
    fkv_session_close(slot->session);
    slot->session = NULL;
    slot->turn_end = p->kept.compressed ? p->n : 0;
    const fkv_status status = fkv_session_fork(p->base, p->n, &slot->session, why);
    if (status != FKV_OK) api_fail(error, 503, ERROR_UNAVAILABLE, "%s", why);
    return status;
}

fkv_status slot_prefill(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error)
{
    struct request *r = b->request;
    struct prompt *p = &r->prompts[b->prompt];
    const double start = fkv_clock_s();
    fkv_status status = FKV_ERROR_MEMORY;
    s->prefilled = b;
    if (p->computed) {
        status = fork_base(slot, p, error);
    } else if (keep_usable(s, slot, r, p, error)) {
        if (r->stream && r->return_progress) r->dialect->progress(r, p, p->n_kept_before, 0);
        fkv_session_mark(slot->session, &p->marks);
        status = fkv_session_sync(slot->session, p->ids, p->n);
        p->ms = 1e3 * (fkv_clock_s() - start);
        fkv_session_sync_kind(slot->session, &p->n_cached);
        if (status == FKV_OK && r->stream && r->return_progress) r->dialect->progress(r, p, p->n, p->ms);
        if (status != FKV_OK) scheduler_tell(slot->session, status, error);
    }
    if (status == FKV_OK) memcpy(slot->ids, p->ids, p->n * sizeof *p->ids);
    return status;
}
