/* The entries in memory: what shares with what, who goes when there is no room. */
#include <stdlib.h>
#include <string.h>

#include "server/prefix_entries.h"

struct prefix_entry *prefix_entry_of(const struct fkv_prefix_cache *c, uint64_t id)
{
    for (size_t i = 0; i < c->n && id; i++)
        if (c->entry[i]->id == id) return c->entry[i];
    return NULL;
}

bool prefix_has_children(const struct fkv_prefix_cache *c, uint64_t id)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->entry[i]->parent == id) return true;
    return false;
}

/* What it shared with children is theirs from now on. */
static void leave_to_children(struct fkv_prefix_cache *c, const struct prefix_entry *e)
{
    bool first = true;
    for (size_t i = 0; i < c->n; i++) {
        struct prefix_entry *child = c->entry[i];
        if (child->parent != e->id) continue;
        child->parent = e->parent;
        if (!first) continue;
        child->bytes += e->bytes;
        c->stats.ram_bytes += e->bytes;
        first = false;
    }
}

void prefix_remove(struct fkv_prefix_cache *c, struct prefix_entry *e)
{
    leave_to_children(c, e);
    for (size_t i = 0; i < c->n; i++)
        if (c->entry[i] == e) c->entry[i--] = c->entry[--c->n];
    c->stats.ram_bytes -= e->bytes;
    fkv_session_close(e->session);
    free(e->key.ids);
    free(e);
}

/* The entry worth least of those that may go. */
static struct prefix_entry *least_worth(const struct fkv_prefix_cache *c, uint64_t but, double now)
{
    struct prefix_entry *least = NULL;
    double value = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct prefix_entry *e = c->entry[i];
        if (e->id == but || e->n_users || e->pinned_until > now || prefix_has_children(c, e->id)) continue;
        const double v = prefix_value(e->key.n, e->hits, now - e->used, e->bytes);
        if (least && (v > value || (v == value && e->used >= least->used))) continue;
        least = e;
        value = v;
    }
    return least;
}

bool prefix_is_due(const struct fkv_prefix_cache *c, const struct prefix_entry *e)
{
    enum { DEAR_S = 5 };
    const size_t n = e->key.n, more = n - prefix_disk_covers(&c->disk, &e->key);
    return more >= FKV_PREFIX_DISK_LEAST && (e->hits > 0 || e->seconds * (double)more / (double)n >= DEAR_S);
}

/* What goes, and is worth a file, gets one: now, or by the thread that writes, unless too many wait for that. */
static void write_leaving(struct fkv_prefix_cache *c, const struct prefix_entry *e, double now)
{
    struct fkv_prefix_write *w = c->n_leaving < PREFIX_LEAVING ? prefix_write_new(c, e, now) : NULL;
    if (!w) return;
    if (c->has_writer) {
        c->leaving[c->n_leaving++] = w;
        return;
    }
    fkv_prefix_write_run(w);
    fkv_prefix_write_end(c, w, now);
}

static void evict(struct fkv_prefix_cache *c, struct prefix_entry *e, double now)
{
    const struct fkv_prefix_prompt gone = {.ids = e->key.ids,
                                           .n = e->key.n,
                                           .boundaries = &e->key.boundary,
                                           .n_boundaries = 1,
                                           .salt = e->key.salt};
    const bool worth = e->key.n - prefix_disk_covers(&c->disk, &e->key) >= FKV_PREFIX_DISK_LEAST;
    if (worth && prefix_disk_is_on(&c->disk, now)) write_leaving(c, e, now);
    prefix_ring_remember(&c->evicted, &gone, 0, e->key.n);
    prefix_remove(c, e);
    c->stats.evictions++;
}

uint64_t prefix_shrink(struct fkv_prefix_cache *c, uint64_t bytes, uint64_t but, double now)
{
    for (struct prefix_entry *e; c->stats.ram_bytes > bytes && (e = least_worth(c, but, now));) evict(c, e, now);
    return c->stats.ram_bytes;
}

static bool make_room_for_one(struct fkv_prefix_cache *c)
{
    if (c->n < c->room) return true;
    const size_t room = 2 * c->room + 8;
    struct prefix_entry **more = realloc(c->entry, room * sizeof(struct prefix_entry *));
    if (!more) return false;
    c->entry = more;
    c->room = room;
    return true;
}

/* Notes what was compressed of what the session holds. */
void prefix_note_turns(struct prefix_key *key, const fkv_session *session)
{
    struct fkv_turn turn;
    for (size_t i = 0; fkv_session_turn(session, i, &turn); i++) {
        key->turn_end = turn.end;
        strncpy(key->policy, turn.policy, sizeof key->policy - 1);
    }
}

struct prefix_entry *prefix_insert(struct fkv_prefix_cache *c, fkv_session *session, const struct prefix_key *key,
                                   uint64_t parent, double seconds, double now)
{
    struct fkv_session_stats stats;
    const struct prefix_entry *p = prefix_entry_of(c, parent);
    struct prefix_entry *e = calloc(1, sizeof *e);
    fkv_session_get_stats(session, &stats);
    if (e && make_room_for_one(c) && prefix_key_copy(&e->key, key->ids, key->n, key->salt)) {
        const bool shares = p && p->key.n <= key->n && !memcmp(p->key.ids, key->ids, p->key.n * sizeof *key->ids);
        e->key.boundary = key->boundary;
        prefix_note_turns(&e->key, session);
        e->id = ++c->last_id;
        e->parent = shares ? parent : 0;
        e->session = session;
        e->all_bytes = stats.kv_bytes;
        e->bytes = !shares ? stats.kv_bytes : stats.kv_bytes > p->all_bytes ? stats.kv_bytes - p->all_bytes : 0;
        e->seconds = seconds;
        e->used = now;
        c->entry[c->n++] = e;
        c->stats.ram_bytes += e->bytes;
        for (struct prefix_entry *least; c->n > FKV_PREFIX_MOST && (least = least_worth(c, e->id, now));)
            evict(c, least, now);
        if (prefix_shrink(c, c->ram_limit, e->id, now) <= c->ram_limit) return e;
        prefix_remove(c, e);
        return NULL;
    }
    if (e) free(e->key.ids);
    free(e);
    fkv_session_close(session);
    return NULL;
}

/* Parents that serve no more than e, and whom nobody else needs, go; what they held is e's. */
void prefix_supersede(struct fkv_prefix_cache *c, struct prefix_entry *e, size_t n_trunk)
{
    for (struct prefix_entry *p; (p = prefix_entry_of(c, e->parent));) {
        size_t n_children = 0;
        for (size_t i = 0; i < c->n; i++) n_children += c->entry[i]->parent == p->id;
        if (p->key.n <= n_trunk || p->n_users || p->pinned_until > 0 || n_children > 1 ||
            p->key.turn_end != e->key.turn_end || strcmp(p->key.policy, e->key.policy))
            return;
        e->hits += p->hits;
        prefix_remove(c, p);
    }
}
