/* prefix_entries.h: what the files of the prefix cache share. */
#ifndef FKV_SERVER_PREFIX_ENTRIES_H
#define FKV_SERVER_PREFIX_ENTRIES_H

#include "server/prefix_cache.h"

/* What an entry, in memory or in a file, serves. */
struct prefix_key {
    int32_t *ids;
    size_t n;
    size_t boundary;                /* where its last message ends, or n */
    size_t turn_end;                /* of its last compressed turn; 0: whole */
    char policy[FKV_KV_TEXT_BYTES]; /* of that */
    char salt[FKV_LABEL_BYTES];
};

struct prefix_entry {
    uint64_t id, parent; /* parent: with which it shares memory, and which stays as long as it does; 0: none */
    struct prefix_key key;
    fkv_session *session;
    uint64_t bytes; /* beside the parent's */
    uint64_t all_bytes;
    double seconds, used, pinned_until;
    unsigned hits, n_users;
};

struct prefix_file {
    char name[40];         /* 32 hexadecimal digits and ".fkv" */
    struct prefix_key key; /* n 0: it serves nothing here */
    uint64_t bytes;
    double seconds, used;
    unsigned hits;
};

enum { PREFIX_EVICTED = 256 }; /* evictions remembered */
enum { PREFIX_LEAVING = 2 };   /* entries that wait for being written after they have gone */

/* Hashes of prompts' beginnings, the latest so many. */
struct prefix_ring {
    uint64_t *hash; /* [size] */
    size_t size, next;
};

struct prefix_disk {
    int folder, lock; /* -1: there is no disk tier */
    char *path;
    uint64_t limit;
    double off_until; /* after a failure */
    struct prefix_file *file;
    size_t n, room;
};

struct fkv_prefix_cache {
    fkv_engine *engine;
    struct fkv_session_params params;
    fkv_session *reader; /* holds nothing: it knows what options mean to the model, and looks at files */
    uint64_t ram_limit, last_id;
    struct prefix_entry **entry;
    size_t n, room;
    struct prefix_ring sights, evicted;
    struct prefix_disk disk;
    bool has_writer; /* what goes is left to fkv_prefix_write_begin() */
    struct fkv_prefix_write *leaving[PREFIX_LEAVING];
    size_t n_leaving;
    struct fkv_prefix_stats stats;
};

static inline size_t prefix_least(const struct fkv_prefix_prompt *prompt)
{
    return prompt->least > FKV_PREFIX_LEAST ? prompt->least : FKV_PREFIX_LEAST;
}

/* prefix_match.c: how many of the prompt's ids such a key can serve. *shared: how many it has in common; *why: what
   kept it from serving those. */
size_t prefix_usable(const struct prefix_key *key, bool has_logits, const struct fkv_prefix_prompt *prompt,
                     const char *policy, size_t *shared, enum fkv_prefix_miss *why);
/* The text of the policy that the prompt takes; "" for none. */
void prefix_policy_text(struct fkv_prefix_cache *c, const struct fkv_kv_params *kv, char text[FKV_KV_TEXT_BYTES]);
bool prefix_key_copy(struct prefix_key *key, const int32_t *ids, size_t n, const char *salt);
/* Tokens that need not be computed for a byte, as of now: a token's time is about the same for all, and as it was
   measured would let chance decide. */
double prefix_value(size_t n_tokens, unsigned hits, double age_s, uint64_t bytes);
bool prefix_ring_open(struct prefix_ring *ring, size_t size);
void prefix_ring_add(struct prefix_ring *ring, uint64_t hash);
/* The most ids, more than `least`, with which the prompt begins as a remembered one did, at a boundary or a multiple of
   FKV_PREFIX_SIGHT_STEP; 0: none. */
size_t prefix_ring_find(const struct prefix_ring *ring, const struct fkv_prefix_prompt *prompt, size_t least);
/* Remembers the prompt's boundaries from `first` (exclusive) to `end`. */
void prefix_ring_remember(struct prefix_ring *ring, const struct fkv_prefix_prompt *prompt, size_t first, size_t end);

/* prefix_entries.c: puts a session, taken in any case, into the RAM tier. NULL: it does not fit. */
struct prefix_entry *prefix_insert(struct fkv_prefix_cache *c, fkv_session *session, const struct prefix_key *key,
                                   uint64_t parent, double seconds, double now);
/* NULL: there is none of that id. */
struct prefix_entry *prefix_entry_of(const struct fkv_prefix_cache *c, uint64_t id);
bool prefix_has_children(const struct fkv_prefix_cache *c, uint64_t id);
/* What it shared is its children's from then on. */
void prefix_remove(struct fkv_prefix_cache *c, struct prefix_entry *e);
/* Parents that serve no more than e, and whom nobody else needs, go, down to n_trunk ids; what they held is e's. */
void prefix_supersede(struct fkv_prefix_cache *c, struct prefix_entry *e, size_t n_trunk);
/* Evicts all but one until the tier holds so many bytes, if it can. Returns what it holds. */
uint64_t prefix_shrink(struct fkv_prefix_cache *c, uint64_t bytes, uint64_t but, double now);
/* Is so much of it not yet on disk that it is worth a file? */
bool prefix_is_due(const struct fkv_prefix_cache *c, const struct prefix_entry *e);
/* Notes what was compressed of what the session holds. */
void prefix_note_turns(struct prefix_key *key, const fkv_session *session);

/* prefix_disk.c */
void prefix_disk_close(struct prefix_disk *d);
bool prefix_disk_is_on(const struct prefix_disk *d, double now);
/* The file that serves more than `least` of the prompt, and most; its place or -1. */
long prefix_disk_find(const struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, const char *policy,
                      size_t least);
/* Reads a file into a session. NULL: a file that did not serve is deleted, and *why says why; or the tier is off. */
fkv_session *prefix_disk_load(struct fkv_prefix_cache *c, long file, const struct fkv_kv_params *kv, double now,
                              enum fkv_prefix_miss *why);
/* The most of the key's ids that a file serves those with who would be served by all. */
size_t prefix_disk_covers(const struct prefix_disk *d, const struct prefix_key *key);
/* What writes the entry into a file; NULL: it does not fit, or there is no memory. Run and ended by
   fkv_prefix_write_run(), _end(). */
struct fkv_prefix_write *prefix_write_new(struct fkv_prefix_cache *c, const struct prefix_entry *e, double now);
void prefix_write_free(struct fkv_prefix_write *w);
/* Deletes the key's file; with a successor, which is the file of that name, all that it serves, too. */
void prefix_disk_drop(struct fkv_prefix_cache *c, const struct prefix_key *key, const char *successor);

#endif
