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

uint64_t fkv_prefix_shrink(struct fkv_prefix_cache *c, uint64_t bytes, double now)
{
    return prefix_shrink(c, bytes, 0, now);
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

/* Of what the session holds, what is compressed is remembered for second sight. */
static bool describe(struct fkv_prefix_cache *c, struct prefix_key *key, const struct fkv_prefix_prompt *prompt,
                     const fkv_session *session, size_t n)
{
    struct fkv_turn turn;
    for (size_t i = 0; fkv_session_turn(session, i, &turn); i++)
        prefix_ring_remember(&c->sights, prompt, turn.first, turn.end - 1);
    if (!prefix_key_copy(key, prompt->ids, n, prompt->salt)) return false;
    prefix_note_turns(key, session);
    for (size_t i = 0; i < prompt->n_boundaries && prompt->boundaries[i] <= n; i++)
        key->boundary = prompt->boundaries[i];
    return true;
}

uint64_t fkv_prefix_store(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, fkv_session *session,
                          size_t n, uint64_t parent, double seconds, double now)
{
    struct prefix_key key;
    struct fkv_session_stats stats;
    fkv_session *fork;
    if (!describe(c, &key, prompt, session, n)) return 0;
    fkv_session_get_stats(session, &stats);
    struct prefix_entry *e = same_entry(c, &key);
    const struct prefix_entry *p = prefix_entry_of(c, parent);
    const uint64_t more = stats.kv_bytes - (p && p->all_bytes < stats.kv_bytes ? p->all_bytes : 0);
    const bool hopeless = n == fkv_session_n_seen(session) && more > c->ram_limit;
    if (e)
        e->used = now;
    else if (c->ram_limit && !hopeless && fkv_session_fork(session, n, &fork, NULL) == FKV_OK)
        e = prefix_insert(c, fork, &key, parent, seconds, now);
    free(key.ids);
    return e ? e->id : 0;
}

uint64_t fkv_prefix_keep(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, fkv_session *session,
                         size_t n_trunk, uint64_t parent, double seconds, double now)
{
    struct prefix_key key;
    struct prefix_entry *e = NULL;
    if (!describe(c, &key, prompt, session, fkv_session_n_seen(session))) {
        fkv_session_close(session);
        return 0;
    }
    if (!c->ram_limit || (e = same_entry(c, &key)))
        fkv_session_close(session);
    else if ((e = prefix_insert(c, session, &key, parent, seconds, now)))
        prefix_supersede(c, e, n_trunk);
    if (e) e->used = now;
    free(key.ids);
    return e ? e->id : 0;
}

/* What was found so far: the entry that serves most, and how much others have in common that do not serve, by why. */
struct search {
    char policy[FKV_KV_TEXT_BYTES];
    struct prefix_entry *best;
    const struct prefix_entry *near; /* has most in common, n_near ids */
    size_t use, n_near, shared[FKV_PREFIX_N_MISSES];
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
        if (why != FKV_PREFIX_SALT && shared > s->n_near) {
            s->near = e;
            s->n_near = shared;
        }
        if (use < s->use || use == 0 || (use == s->use && e->key.n >= s->best->key.n)) continue; /* no more than that */
        s->best = e;
        s->use = use;
    }
}

/* Is so little wanted of a whole entry that sharing its memory would keep far more than that from going? */
static bool is_little(const struct prefix_entry *e, size_t n) { return !e->key.turn_end && 2 * n < e->key.n; }

/* The first n ids, in memory of their own if they are little. NULL: no memory. */
static fkv_session *first_of(const struct fkv_prefix_cache *c, const struct prefix_entry *e, size_t n)
{
    fkv_session *fork, *copy = NULL;
    void *data;
    size_t bytes;
    if (fkv_session_fork(e->session, n, &fork, NULL) != FKV_OK) return NULL;
    if (!is_little(e, n)) return fork;
    if (fkv_session_export(fork, &data, &bytes) == FKV_OK) {
        const bool ok = fkv_session_open(&copy, c->engine, &c->params, NULL) == FKV_OK;
        if (ok && fkv_session_import(copy, data, bytes) != FKV_OK) {
            fkv_session_close(copy);
            copy = NULL;
        }
        fkv_free(data);
    }
    fkv_session_close(fork);
    return copy;
}

/* What is used of a whole entry becomes one of its own, which others share: the entry's parent, or a copy. Returns
   that; e if it is not worth it. */
static struct prefix_entry *split(struct fkv_prefix_cache *c, struct prefix_entry *e, size_t n, double now)
{
    enum { WORTH = 256 };
    const bool little = is_little(e, n);
    const struct prefix_entry *p = prefix_entry_of(c, little ? 0 : e->parent);
    struct prefix_key key;
    struct fkv_session_stats stats;
    if (e->key.turn_end || e->key.n <= n + FKV_PREFIX_AGAIN || n < WORTH + (p ? p->key.n : 0)) return e;
    if (!prefix_key_copy(&key, e->key.ids, n, e->key.salt)) return e;
    fkv_session *first = first_of(c, e, n);
    struct prefix_entry *t = NULL;
    if (first) {
        fkv_session_get_stats(first, &stats);
        const uint64_t before = p ? p->all_bytes : 0, more = stats.kv_bytes > before ? stats.kv_bytes - before : 0,
                       shared = little            ? 0
                                : more < e->bytes ? more
                                                  : e->bytes;
        e->n_users++; /* it is not evicted for its own part, which is not counted twice */
        e->bytes -= shared;
        c->stats.ram_bytes -= shared;
        t = prefix_insert(c, first, &key, p ? p->id : 0, e->seconds * (double)n / (double)e->key.n, now);
        e->n_users--;
        if (!t) e->bytes += shared;
        if (!t) c->stats.ram_bytes += shared;
        if (t && !little) e->parent = t->id;
    }
    free(key.ids);
    return t ? t : e;
}

static void serve(struct fkv_prefix_cache *c, struct prefix_entry *e, size_t n, double now,
                  struct fkv_prefix_found *found)
{
    e = split(c, e, n, now);
    found->session = first_of(c, e, n);
    if (!found->session) return;
    found->n = n;
    if (is_little(e, n)) return; /* nor is it worth more for that */
    found->id = e->id;
    e->n_users++;
    for (; e; e = prefix_entry_of(c, e->parent)) { /* a branch keeps its trunk worth something */
        e->hits++;
        e->used = now;
    }
}

/* Where the prompt and the entry that has most in common with it part. */
static void tell_difference(const struct search *s, struct fkv_prefix_found *found)
{
    const size_t most = sizeof found->other / sizeof *found->other;
    found->differs_at = found->n > s->n_near ? found->n : s->n_near;
    if (!s->near || found->differs_at > s->n_near) return;
    const size_t more = s->near->key.n - s->n_near;
    found->n_other = more < most ? more : most;
    memcpy(found->other, s->near->key.ids + s->n_near, found->n_other * sizeof *found->other);
}

static enum fkv_prefix_miss reason(const struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt,
                                   const struct search *s, size_t served)
{
    static const enum fkv_prefix_miss hindered[] = {FKV_PREFIX_COMPRESSED, FKV_PREFIX_TAG, FKV_PREFIX_SALT};
    enum fkv_prefix_miss why = FKV_PREFIX_COLD;
    const size_t least = prefix_least(prompt);
    size_t most = served > least ? served : least;
    if (served + FKV_PREFIX_AGAIN >= prompt->n) return FKV_PREFIX_HIT;
    if (!c->ram_limit && c->disk.folder < 0) return FKV_PREFIX_DISABLED;
    if (s->file != FKV_PREFIX_COLD) return s->file;
    for (size_t i = 0; i < sizeof hindered / sizeof *hindered; i++)
        if (s->shared[hindered[i]] >= most) most = s->shared[why = hindered[i]] + 1;
    if (why != FKV_PREFIX_COLD) return why;
    if (prefix_ring_find(&c->evicted, prompt, served)) return FKV_PREFIX_EVICTED;
    const size_t shared = s->shared[FKV_PREFIX_DIFFERS];
    return shared == 0 ? FKV_PREFIX_COLD : shared < least ? FKV_PREFIX_TOO_SHORT : FKV_PREFIX_DIFFERS;
}

/* Reads the file that serves more than the RAM tier, if there is one. */
static bool serve_from_disk(struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, struct search *s,
                            double now, struct fkv_prefix_found *found)
{
    const size_t least = s->use + prefix_least(prompt);
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
    tell_difference(&s, found);
    if (serve_from_disk(c, prompt, &s, now, found))
        found->source = FKV_PREFIX_DISK;
    else if (s.use >= prefix_least(prompt))
        serve(c, s.best, s.use, now, found);
    if (found->session && found->source == FKV_PREFIX_NONE) found->source = FKV_PREFIX_RAM;
    if (found->n > found->differs_at) found->differs_at = found->n;
    found->miss = reason(c, prompt, &s, found->n);
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

bool fkv_prefix_hold(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = prefix_entry_of(c, id);
    if (e) e->n_users++;
    return e;
}

void fkv_prefix_release(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = prefix_entry_of(c, id);
    if (e && e->n_users) e->n_users--;
}

bool fkv_prefix_pin(struct fkv_prefix_cache *c, uint64_t id, double until)
{
    struct prefix_entry *e = prefix_entry_of(c, id);
    if (e) e->pinned_until = until;
    return e;
}

fkv_session *fkv_prefix_fork(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = prefix_entry_of(c, id);
    fkv_session *fork = NULL;
    if (!e || fkv_session_fork(e->session, e->key.n, &fork, NULL) != FKV_OK) return NULL;
    return fork;
}

bool fkv_prefix_drop(struct fkv_prefix_cache *c, uint64_t id)
{
    struct prefix_entry *e = prefix_entry_of(c, id);
    if (!e || e->n_users) return false;
    prefix_disk_drop(c, &e->key, NULL);
    prefix_remove(c, e);
    return true;
}

void fkv_prefix_forget(struct fkv_prefix_cache *c, uint64_t id)
{
    for (struct prefix_entry *e; (e = prefix_entry_of(c, id)) && !prefix_has_children(c, id) && e->pinned_until <= 0;) {
        const uint64_t parent = e->parent;
        if (!fkv_prefix_drop(c, id)) return;
        id = parent;
    }
}

bool fkv_prefix_cache_write(struct fkv_prefix_cache *c, double now)
{
    struct fkv_prefix_write *w = fkv_prefix_write_begin(c, now);
    if (!w) return false;
    const uint64_t errors = c->stats.disk_errors;
    fkv_prefix_write_run(w);
    fkv_prefix_write_end(c, w, now);
    return c->stats.disk_errors == errors;
}

void fkv_prefix_cache_writer(struct fkv_prefix_cache *c) { c->has_writer = true; }

static void describe_entry(const struct fkv_prefix_cache *c, const struct prefix_entry *e,
                           struct fkv_prefix_entry_info *info)
{
    *info = (struct fkv_prefix_entry_info){.id = e->id,
                                           .n_tokens = e->key.n,
                                           .bytes = e->bytes,
                                           .compressed = e->key.turn_end > 0,
                                           .on_disk = prefix_disk_covers(&c->disk, &e->key) == e->key.n,
                                           .hits = e->hits,
                                           .used = e->used,
                                           .pinned_until = e->pinned_until};
    strcpy(info->salt, e->key.salt);
}

bool fkv_prefix_info(const struct fkv_prefix_cache *c, uint64_t id, struct fkv_prefix_entry_info *info)
{
    const struct prefix_entry *e = prefix_entry_of(c, id);
    if (e) describe_entry(c, e, info);
    return e;
}

bool fkv_prefix_list(const struct fkv_prefix_cache *c, size_t i, struct fkv_prefix_entry_info *info)
{
    if (i < c->n) describe_entry(c, c->entry[i], info);
    return i < c->n;
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
    while (c->n_leaving) prefix_write_free(c->leaving[--c->n_leaving]); /* the tier is off */
    while (c->n) prefix_remove(c, c->entry[0]);
    prefix_disk_close(&c->disk);
    fkv_session_close(c->reader);
    free(c->entry);
    free(c->sights.hash);
    free(c->evicted.hash);
    free(c);
}
