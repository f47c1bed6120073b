/* Sessions for branches: which one, room for it, and what of it stays. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/console.h"
#include "server/prefixes.h"
#include "server/scheduler.h"
#include "server/server.h"
#include "server/spans.h"

/* How many of the prompt's first ids the slot held last. */
static size_t common(const struct slot *slot, const struct request *r, const struct prompt *p)
{
    size_t n = 0;
    if (strcmp(slot->salt ? slot->salt : "", r->salt) != 0) return 0;
    while (n < p->n && n < slot->n_ids && slot->ids[n] == p->ids[n]) n++;
    return n;
}

bool slot_is_free(const struct scheduler *s, const struct request *r)
{
    for (int i = 0; i < s->n_slots; i++)
        if (s->slots[i].state == SLOT_IDLE && (r->slot < 0 || r->slot == i)) return true;
    return false;
}

struct slot *slot_take(struct scheduler *s, struct branch *b)
{
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    struct slot *best = NULL;
    size_t most = 0;
    for (int i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state != SLOT_IDLE || (r->slot >= 0 && r->slot != i)) continue;
        const size_t n = p->computed ? 0 : common(slot, r, p);
        if (best && (n < most || (n == most && slot->used_s >= best->used_s))) continue;
        best = slot;
        most = n;
    }
    if (!best) return NULL;
    best->state = SLOT_PREFILL;
    best->branch = b;
    best->n_prompt = p->n;
    best->n_decoded = best->n_ids = 0;
    b->slot = (int)(best - s->slots);
    return best;
}

/* ---- memory ------------------------------------------------------------------------------------ */

void slot_empty(struct slot *slot)
{
    fkv_session_close(slot->session);
    slot->session = NULL;
    slot->bytes = slot->kv_bytes = slot->entry = 0;
    slot->n_ids = slot->n_prompt = slot->n_decoded = 0;
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

static struct slot *oldest_idle(struct scheduler *s)
{
    struct slot *oldest = NULL;
    for (int i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (slot->state == SLOT_IDLE && slot->bytes && (!oldest || slot->used_s < oldest->used_s)) oldest = slot;
    }
    return oldest;
}

void slot_own(struct slot *slot, const struct fkv_kv_params *kv, const char *salt)
{
    slot->policy = kv->policy;
    free(slot->salt);
    slot->salt = salt ? strdup(salt) : NULL;
}

static uint64_t found_bytes(const struct prompt *p)
{
    struct fkv_session_stats stats = {0};
    if (p->found.session) fkv_session_get_stats(p->found.session, &stats);
    return stats.kv_bytes;
}

static bool fail_too_large(uint64_t needed, uint64_t all, struct api_error *error)
{
    api_fail(error, 503, ERROR_UNAVAILABLE, "not enough memory: the request needs up to %s, --kv-ram is %s",
             SIZE(needed), SIZE(all));
    error->in_vain = needed > all;
    return false;
}

bool slots_could_hold(const struct scheduler *s, const struct request *r, struct api_error *error)
{
    const uint64_t all = s->server->kv_ram;
    for (int i = 0; i < r->n_prompts; i++) {
        const uint64_t needed = spans_least_bytes(r, &r->prompts[i]);
        if (needed > all) return fail_too_large(needed, all, error);
    }
    return true;
}

bool slot_admit(struct scheduler *s, struct slot *slot, struct branch *b, struct api_error *error)
{
    const struct request *r = b->request;
    const struct prompt *p = &r->prompts[b->prompt];
    const uint64_t all = s->server->kv_ram, needed = spans_bytes(p), found = found_bytes(p),
                   more = p->computed      ? p->answer_bytes
                          : needed > found ? needed - found
                                           : 0;
    struct slot *idle;
    bool busy;
    pthread_mutex_lock(&s->lock);
    slot_empty(slot);
    uint64_t others;
    while ((others = bytes_of_others(s, slot, &busy)) + more > all && (idle = oldest_idle(s))) slot_empty(idle);
    slot->bytes = more;
    slot->full_bytes = p->whole_bytes;
    slot->n_prompt = p->n;
    slot_own(slot, &r->kv, r->salt);
    pthread_mutex_unlock(&s->lock);
    const uint64_t taken = others + more, cached = prefixes_shrink(s->server->prefixes, taken < all ? all - taken : 0);
    if (cached + taken <= all) return true;
    if (!busy) fail_too_large(needed, all, error);
    return false;
}

void slot_settle(struct scheduler *s, struct branch *b)
{
    struct slot *slot = &s->slots[b->slot];
    const struct request *r = b->request;
    const size_t n_ids = slot->session ? fkv_session_n_seen(slot->session) : 0;
    struct fkv_session_stats stats = {0};
    uint64_t entry = 0;
    if (slot->session) fkv_session_get_stats(slot->session, &stats);
    if (n_ids && r->cache_prompt) {
        const struct prompt *p = &r->prompts[b->prompt];
        entry = prefixes_keep(s->server->prefixes, r->salt, slot->ids, n_ids, p->last_end, p->trunk, slot->session,
                              slot->entry);
        slot->session = NULL;
    } else {
        prefixes_release(s->server->prefixes, slot->entry);
    }
    b->n_held = n_ids;
    if (b->request->dialect == &dialect_prefix) b->request->prompts[b->prompt].entry = entry;
    pthread_mutex_lock(&s->lock);
    slot->kv_bytes = stats.kv_bytes;
    slot->n_ids = n_ids;
    slot->entry = entry;
    pthread_mutex_unlock(&s->lock);
}

void slot_release(struct scheduler *s, struct slot *slot)
{
    slot->bytes = slot->session ? slot->kv_bytes : 0;
    slot->full_bytes = 0;
    slot->state = SLOT_IDLE;
    if (slot->branch) slot->branch->slot = -1;
    slot->branch = NULL;
    slot->used_s = fkv_clock_s();
    if (!slot->n_ids) slot->n_prompt = slot->n_decoded = 0;
    s->short_of_memory = false;
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
