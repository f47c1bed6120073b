#include "server/prefix_cache.h"

#include <stdlib.h>
#include <string.h>

#include "server/prefix_entries.h"

const char *fkv_prefix_miss_name(enum fkv_prefix_miss miss)
{
    static const char *const names[FKV_PREFIX_N_MISSES] = {
        [FKV_PREFIX_HIT] = "hit",
        [FKV_PREFIX_COLD] = "cold",
        [FKV_PREFIX_TOO_SHORT] = "too_short",
        [FKV_PREFIX_DIFFERS] = "differs",
        [FKV_PREFIX_COMPRESSED] = "compressed",
        [FKV_PREFIX_TAG] = "tag",
        [FKV_PREFIX_SALT] = "salt",
        [FKV_PREFIX_EVICTED] = "evicted",
        [FKV_PREFIX_DISK_CORRUPT] = "disk_corrupt",
        [FKV_PREFIX_DISK_VERSION] = "disk_version",
        [FKV_PREFIX_DISABLED] = "disabled",
    };
    return names[miss];
}

struct fkv_prefix_cache *fkv_prefix_cache_open(fkv_engine *e, const struct fkv_session_params *params,
                                               uint64_t ram_bytes)
{
    struct fkv_prefix_cache *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    *c = (struct fkv_prefix_cache){.engine = e, .params = *params, .ram_limit = ram_bytes};
    c->disk.folder = c->disk.lock = -1;
    if (prefix_ring_open(&c->sights, FKV_PREFIX_SIGHTS) && prefix_ring_open(&c->evicted, PREFIX_EVICTED)) return c;
    fkv_prefix_cache_close(c, 0);
    return NULL;
}

/* ---- entries --------------------------------------------------------------------------------------- */

static struct prefix_entry *entry_of(const struct fkv_prefix_cache *c, uint64_t id)
{
    for (size_t i = 0; i < c->n && id; i++)
        if (c->entry[i]->id == id) return c->entry[i];
    return NULL;
}

static bool has_children(const struct fkv_prefix_cache *c, uint64_t id)
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

static void remove_entry(struct fkv_prefix_cache *c, struct prefix_entry *e)
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
        if (e->id == but || e->n_users || e->pinned_until > now || has_children(c, e->id)) continue;
        const double v = prefix_value(e->seconds, e->hits, now - e->used, e->bytes);
        if (least && (v > value || (v == value && e->used >= least->used))) continue;
        least = e;
        value = v;
    }
    return least;
}

/* Is its computing not yet saved on disk, and worth it? */
static bool is_due(const struct fkv_prefix_cache *c, const struct prefix_entry *e)
{
    enum { DEAR_S = 5 };
    return e->key.n >= FKV_PREFIX_DISK_LEAST && (e->hits > 0 || e->seconds >= DEAR_S) &&
           !prefix_disk_has(&c->disk, &e->key);
}

static void evict(struct fkv_prefix_cache *c, struct prefix_entry *e, double now)
{
    const struct fkv_prefix_prompt gone = {.ids = e->key.ids,
                                           .n = e->key.n,
                                           .boundaries = &e->key.n,
                                           .n_boundaries = 1,
                                           .salt = e->key.salt};
    const bool large = e->key.n >= FKV_PREFIX_DISK_LEAST;
    if (large && prefix_disk_is_on(&c->disk, now) && !prefix_disk_has(&c->disk, &e->key)) prefix_disk_write(c, e, now);
    prefix_ring_remember(&c->evicted, &gone, 0, e->key.n);
    remove_entry(c, e);
    c->stats.evictions++;
}

static uint64_t shrink(struct fkv_prefix_cache *c, uint64_t bytes, uint64_t but, double now)
{
    for (struct prefix_entry *e; c->stats.ram_bytes > bytes && (e = least_worth(c, but, now));) evict(c, e, now);
    return c->stats.ram_bytes;
}

uint64_t fkv_prefix_shrink(struct fkv_prefix_cache *c, uint64_t bytes, double now) { return shrink(c, bytes, 0, now); }

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
static void look_at_turns(struct prefix_key *key, const fkv_session *session)
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
    const struct prefix_entry *p = entry_of(c, parent);
    struct prefix_entry *e = calloc(1, sizeof *e);
    fkv_session_get_stats(session, &stats);
    if (e && make_room_for_one(c) && prefix_key_copy(&e->key, key->ids, key->n, key->salt)) {
        const bool shares = p && p->key.n <= key->n && !memcmp(p->key.ids, key->ids, p->key.n * sizeof *key->ids);
        look_at_turns(&e->key, session);
        e->id = ++c->last_id;
        e->parent = shares ? parent : 0;
        e->session = session;
        e->all_bytes = stats.kv_bytes;
        e->bytes = !shares ? stats.kv_bytes : stats.kv_bytes > p->all_bytes ? stats.kv_bytes - p->all_bytes : 0;
        e->seconds = seconds;
        e->used = now;
        c->entry[c->n++] = e;
        c->stats.ram_bytes += e->bytes;
        if (shrink(c, c->ram_limit, e->id, now) <= c->ram_limit) return e;
        remove_entry(c, e);
        return NULL;
    }
    if (e) free(e->key.ids);
    free(e);
    fkv_session_close(session);
    return NULL;
}

/* ---- the calls ------------------------------------------------------------------------------------- */

/* The same prompt again: the entry that is there counts as used. */
static struct prefix_entry *same_entry(const struct fkv_prefix_cache *c, const struct prefix_key *key)
{
    for (size_t i = 0; i < c->n; i++) {
        const struct prefix_key *k = &c->entry[i]->key;
        if (k->n == key->n && k->turn_end == key->turn_end && !strcmp(k->salt, key->salt) &&
            !strcmp(k->policy, key->policy) && !memcmp(k->ids, key->ids, k->n * sizeof *k->ids))
            return c->entry[i];
    }
    return NULL;
}

uint64_t fkv_prefix_store(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, fkv_session *session,
                          size_t n, uint64_t parent, double seconds, double now)
{
    struct fkv_turn turn;
    struct prefix_key key;
    struct fkv_session_stats stats;
    fkv_session *fork;
    for (size_t i = 0; fkv_session_turn(session, i, &turn); i++)
        prefix_ring_remember(&c->sights, prompt, turn.first, turn.end - 1);
    fkv_session_get_stats(session, &stats);
    if (!prefix_key_copy(&key, prompt->ids, n, prompt->salt)) return 0;
    look_at_turns(&key, session);
    struct prefix_entry *e = same_entry(c, &key);
    const struct prefix_entry *p = entry_of(c, parent);
    const uint64_t more = stats.kv_bytes - (p && p->all_bytes < stats.kv_bytes ? p->all_bytes : 0);
    const bool hopeless = n == fkv_session_n_seen(session) && more > c->ram_limit;
    if (e)
        e->used = now;
    else if (c->ram_limit && !hopeless && fkv_session_fork(session, n, &fork, NULL) == FKV_OK)
        e = prefix_insert(c, fork, &key, parent, seconds, now);
    free(key.ids);
    return e ? e->id : 0;
}

/* What was found so far: the entry that serves most, and how much others have in common that do not serve, by why. */
struct search {
    char policy[FKV_KV_TEXT_BYTES];
    struct prefix_entry *best;
    size_t use, shared[FKV_PREFIX_N_MISSES];
    enum fkv_prefix_miss file; /* what was wrong with a file; COLD: nothing */
};

static void search_entries(const struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, struct search *s)
{
    for (size_t i = 0; i < c->n; i++) {
        struct prefix_entry *e = c->entry[i];
        size_t shared;
        enum fkv_prefix_miss why;
        const size_t use = prefix_usable(&e->key, fkv_session_logits(e->session) != NULL, prompt, s->policy, &shared,
                                         &why);
        if (shared > s->shared[why]) s->shared[why] = shared;
        if (use < s->use || use == 0 || (use == s->use && e->hits <= s->best->hits)) continue;
        s->best = e;
        s->use = use;
    }
}

static void serve(struct fkv_prefix_cache *c, struct prefix_entry *e, size_t n, double now,
                  struct fkv_prefix_found *found)
{
    if (fkv_session_fork(e->session, n, &found->session, NULL) != FKV_OK) return;
    found->n = n;
    found->id = e->id;
    e->n_users++;
    for (; e; e = entry_of(c, e->parent)) { /* a branch keeps its trunk worth something */
        e->hits++;
        e->used = now;
    }
}

static enum fkv_prefix_miss reason(const struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt,
                                   const struct search *s, size_t served)
{
    static const enum fkv_prefix_miss hindered[] = {FKV_PREFIX_COMPRESSED, FKV_PREFIX_TAG, FKV_PREFIX_SALT};
    enum fkv_prefix_miss why = FKV_PREFIX_COLD;
    size_t most = served > FKV_PREFIX_LEAST ? served : FKV_PREFIX_LEAST;
    if (served + FKV_PREFIX_AGAIN >= prompt->n) return FKV_PREFIX_HIT;
    if (!c->ram_limit && c->disk.folder < 0) return FKV_PREFIX_DISABLED;
    if (s->file != FKV_PREFIX_COLD) return s->file;
    for (size_t i = 0; i < sizeof hindered / sizeof *hindered; i++)
        if (s->shared[hindered[i]] >= most) most = s->shared[why = hindered[i]] + 1;
    if (why != FKV_PREFIX_COLD) return why;
    if (prefix_ring_find(&c->evicted, prompt, served)) return FKV_PREFIX_EVICTED;
    const size_t shared = s->shared[FKV_PREFIX_DIFFERS];
    return shared == 0 ? FKV_PREFIX_COLD : shared < FKV_PREFIX_LEAST ? FKV_PREFIX_TOO_SHORT : FKV_PREFIX_DIFFERS;
}

/* Reads the file that serves more than the RAM tier, if there is one. */
static bool serve_from_disk(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, struct search *s,
                            double now, struct fkv_prefix_found *found)
{
    const size_t least = s->use + FKV_PREFIX_LEAST;
    for (long i; prefix_disk_is_on(&c->disk, now) && (i = prefix_disk_find(c, prompt, s->policy, least)) >= 0;) {
        const struct prefix_file *f = &c->disk.file[i];
        size_t shared;
        enum fkv_prefix_miss why;
        const size_t n = prefix_usable(&f->key, true, prompt, s->policy, &shared, &why);
        const double seconds = f->seconds;
        struct prefix_key key;
        if (!prefix_key_copy(&key, f->key.ids, f->key.n, f->key.salt)) return false;
        fkv_session *session = prefix_disk_load(c, i, prompt->kv, now, &s->file);
        struct prefix_entry *e = session ? prefix_insert(c, session, &key, 0, seconds, now) : NULL;
        free(key.ids);
        if (!e && session) return false; /* larger than the RAM tier */
        if (e) serve(c, e, n, now, found);
        if (e) return found->session;
    }
    return false;
}

void fkv_prefix_find(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, double now,
                     struct fkv_prefix_found *found)
{
    struct search s = {.file = FKV_PREFIX_COLD};
    *found = (struct fkv_prefix_found){.session = NULL};
    prefix_policy_text(c, prompt->kv, s.policy);
    search_entries(c, prompt, &s);
    if (serve_from_disk(c, prompt, &s, now, found))
        found->source = FKV_PREFIX_DISK;
    else if (s.use >= FKV_PREFIX_LEAST)
        serve(c, s.best, s.use, now, found);
    if (found->session && found->source == FKV_PREFIX_NONE) found->source = FKV_PREFIX_RAM;
    found->miss = reason(c, prompt, &s, found->n);
    found->differs_at = found->n;
    for (int i = 0; i < FKV_PREFIX_N_MISSES; i++)
        if (i != FKV_PREFIX_SALT && s.shared[i] > found->differs_at) found->differs_at = s.shared[i];
    if (found->miss != FKV_PREFIX_HIT) {
        found->trunk = prefix_ring_find(&c->sights, prompt, found->n);
        if (found->trunk < FKV_PREFIX_SIGHT) found->trunk = 0;
    }
    c->stats.tokens_asked += prompt->n;
    c->stats.tokens_served += found->n;
    c->stats.hits_ram += found->source == FKV_PREFIX_RAM;
    c->stats.hits_disk += found->source == FKV_PREFIX_DISK;
    c->stats.misses[found->miss]++;
}

void fkv_prefix_release(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = entry_of(c, id);
    if (e && e->n_users) e->n_users--;
}

bool fkv_prefix_pin(struct fkv_prefix_cache *c, uint64_t id, double until)
{
    struct prefix_entry *e = entry_of(c, id);
    if (e) e->pinned_until = until;
    return e;
}

bool fkv_prefix_drop(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = entry_of(c, id);
    if (!e || e->n_users) return false;
    prefix_disk_drop(c, &e->key, false);
    remove_entry(c, e);
    return true;
}

bool fkv_prefix_cache_write(struct fkv_prefix_cache *c, double now)
{
    for (size_t i = 0; i < c->n && prefix_disk_is_on(&c->disk, now); i++)
        if (is_due(c, c->entry[i]) && prefix_disk_write(c, c->entry[i], now)) return true;
    return false;
}

bool fkv_prefix_list(const struct fkv_prefix_cache *c, size_t i, struct fkv_prefix_entry_info *info)
{
    if (i >= c->n) return false;
    const struct prefix_entry *e = c->entry[i];
    *info = (struct fkv_prefix_entry_info){.id = e->id,
                                           .n_tokens = e->key.n,
                                           .bytes = e->bytes,
                                           .compressed = e->key.turn_end > 0,
                                           .on_disk = prefix_disk_has(&c->disk, &e->key),
                                           .hits = e->hits,
                                           .used = e->used,
                                           .pinned_until = e->pinned_until};
    return true;
}

void fkv_prefix_get_stats(const struct fkv_prefix_cache *c, struct fkv_prefix_stats *stats)
{
    *stats = c->stats;
    stats->n_entries = c->n;
    stats->n_files = c->disk.n;
}

void fkv_prefix_cache_close(struct fkv_prefix_cache *c, double now)
{
    if (!c) return;
    while (fkv_prefix_cache_write(c, now)) {}
    while (c->n) remove_entry(c, c->entry[0]);
    prefix_disk_close(&c->disk);
    free(c->entry);
    free(c->sights.hash);
    free(c->evicted.hash);
    free(c);
}
