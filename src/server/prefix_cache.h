/* prefix_cache.h: computed prompts, kept for those that begin alike.

   What is cached is whole, what is compressed is new. A whole entry (every layer keeps every token) serves any prompt
   that shares its beginning, cut where they part; one that ends with a compressed turn serves prompts that contain all
   of it, under the same policy values. An entry is exact ids and a forked session, which shares memory with what it was
   forked from. Nothing is served by a hash: ids are compared.

   RAM tier: a limit in bytes, kept always; what is worth least goes first, leaves before what they grew from, and
   nothing that is in use, pinned or was just stored. Disk tier: one file an entry, of the form of fkv_session_save();
   see fkv_prefix_cache_disk().

   One thread at a time uses a cache. Times are seconds of any clock that only grows, given by the caller. */
#ifndef FKV_SERVER_PREFIX_CACHE_H
#define FKV_SERVER_PREFIX_CACHE_H

#include "fastkv.h"

struct fkv_prefix_cache;

/* Why a prompt, or the rest of one, had to be computed. */
enum fkv_prefix_miss {
    FKV_PREFIX_HIT,          /* all but the end was there */
    FKV_PREFIX_COLD,         /* nothing begins alike */
    FKV_PREFIX_TOO_SHORT,    /* what is shared is below FKV_PREFIX_LEAST */
    FKV_PREFIX_DIFFERS,      /* the prompt goes another way than the entry */
    FKV_PREFIX_COMPRESSED,   /* it would take a cut inside a compressed turn */
    FKV_PREFIX_TAG,          /* the compressed turn was made under other policy values */
    FKV_PREFIX_SALT,         /* the entry is another salt's */
    FKV_PREFIX_EVICTED,      /* it was there, and went to make room */
    FKV_PREFIX_DISK_CORRUPT, /* its file was damaged, and is deleted */
    FKV_PREFIX_DISK_VERSION, /* its file is of another version, model or cache type */
    FKV_PREFIX_DISABLED,     /* no tier, or not wanted */
    FKV_PREFIX_N_MISSES
};
/* "cold", "too_short", ... */
const char *fkv_prefix_miss_name(enum fkv_prefix_miss miss);

enum fkv_prefix_source { FKV_PREFIX_NONE, FKV_PREFIX_RAM, FKV_PREFIX_DISK };

enum {
    FKV_PREFIX_LEAST = 16,        /* fewer shared tokens are not worth a fork */
    FKV_PREFIX_MOST = 512,        /* entries in RAM: each has address space of its own */
    FKV_PREFIX_SIGHT = 2048,      /* tokens that make a second sight: see `trunk` */
    FKV_PREFIX_SIGHT_STEP = 1024, /* boundaries are remembered at message ends and at multiples of this */
    FKV_PREFIX_SIGHTS = 8192,     /* boundaries remembered */
    FKV_PREFIX_DISK_LEAST = 2048, /* tokens of an entry that is worth a file */
    FKV_PREFIX_AGAIN = 2,         /* last ids of a prompt that are always computed: one alone would go through the
                                     kernels of decoding, which round differently */
};

struct fkv_prefix_prompt {
    const int32_t *ids;
    size_t n;
    const size_t *boundaries; /* [n_boundaries] ascending: ids up to the end of each message */
    size_t n_boundaries;
    const struct fkv_kv_params *kv; /* of compressed turns that may serve; NULL: whole entries only */
    const char *salt;               /* entries of another salt do not exist for this prompt; NULL: "" */
    size_t least;                   /* fewer ids than that do not serve; below FKV_PREFIX_LEAST: that */
};

struct fkv_prefix_found {
    fkv_session *session; /* holds exactly the first n ids; the caller's. Its policy is the entry's: see
                             fkv_session_set_policy(). NULL: nothing serves */
    size_t n;
    enum fkv_prefix_source source;
    enum fkv_prefix_miss miss; /* why no more than n */
    size_t differs_at;         /* ids that the prompt shares with the nearest entry */
    int32_t other[16];         /* [n_other] how that one goes on, for a log */
    size_t n_other;
    size_t trunk; /* second sight: an earlier prompt began with as many ids, beyond n, and had them compressed: computed
                     whole this time and stored, they serve all that come. 0: none */
    uint64_t id;  /* of the entry, in use until fkv_prefix_release(); 0: none */
};

/* e: the engine of all sessions, longer-lived. params: of sessions that are read from disk, as all sessions here have
   them but for the policy. ram_bytes: 0 turns the tier off. NULL: no memory. */
struct fkv_prefix_cache *fkv_prefix_cache_open(fkv_engine *e, const struct fkv_session_params *params,
                                               uint64_t ram_bytes);
/* Writes what is due to disk first. NULL is allowed. */
void fkv_prefix_cache_close(struct fkv_prefix_cache *cache, double now);

/* Opens a folder (made 0700 if it is not there) as the disk tier: takes its lock, removes temporary files and damaged
   entries; entries of other models and versions stay until their room is wanted, other files for good. FKV_ERROR_IO: it
   cannot be, or another process has it. *n_entries: what was found. err: FKV_ERROR_BYTES or NULL. */
fkv_status fkv_prefix_cache_disk(struct fkv_prefix_cache *cache, const char *folder, uint64_t limit_bytes, double now,
                                 size_t *n_entries, char *err);
/* Writes one entry that is due (used twice, or dear to compute) to disk; false: none was, or the tier is off for a
   minute after a failure. For idle moments: it takes the disk's time. */
bool fkv_prefix_cache_write(struct fkv_prefix_cache *cache, double now);
/* The same in three steps, of which the second, which takes the time, needs no cache: another thread's may go on with
   that. NULL: nothing is to be written. */
struct fkv_prefix_write;
struct fkv_prefix_write *fkv_prefix_write_begin(struct fkv_prefix_cache *cache, double now);
void fkv_prefix_write_run(struct fkv_prefix_write *write);
void fkv_prefix_write_end(struct fkv_prefix_cache *cache, struct fkv_prefix_write *write, double now);
/* From here on such a thread writes what is evicted, too. */
void fkv_prefix_cache_writer(struct fkv_prefix_cache *cache);

/* The longest beginning of the prompt that there is. Always answers: what fails on the way is a miss. */
void fkv_prefix_find(struct fkv_prefix_cache *cache, const struct fkv_prefix_prompt *prompt, double now,
                     struct fkv_prefix_found *found);
/* It is in use once more. False: there is no such entry. */
bool fkv_prefix_hold(struct fkv_prefix_cache *cache, uint64_t id);
/* The prompt that used the entry is done: it may be evicted. 0 is allowed. */
void fkv_prefix_release(struct fkv_prefix_cache *cache, uint64_t id);

/* Keeps the first n tokens that the session holds, at a boundary or after an answer; prompt->ids has as many. n is not
   inside a compressed turn. parent: what the session was forked from (found.id) or last stored as; 0: nothing. seconds:
   what computing all n takes. Returns the entry's id; 0: it is larger than the tier, or there is no memory. The
   boundaries inside compressed turns are remembered for second sight. */
uint64_t fkv_prefix_store(struct fkv_prefix_cache *cache, const struct fkv_prefix_prompt *prompt, fkv_session *session,
                          size_t n, uint64_t parent, double seconds, double now);
/* The same of all that the session holds, which is the cache's from here on, whatever comes of it: an answer that is
   over. What it grew from and serves no more than it goes, down to the first n_trunk ids, which others may share. */
uint64_t fkv_prefix_keep(struct fkv_prefix_cache *cache, const struct fkv_prefix_prompt *prompt, fkv_session *session,
                         size_t n_trunk, uint64_t parent, double seconds, double now);

/* Not evicted before this time (INFINITY: ever; 0: like the others). False: there is no such entry. */
bool fkv_prefix_pin(struct fkv_prefix_cache *cache, uint64_t id, double until);
/* A session of all that the entry holds, the caller's. NULL: there is no such entry, or no memory. */
fkv_session *fkv_prefix_fork(struct fkv_prefix_cache *cache, uint64_t id);
/* Forgets an entry and its file. False: there is none, or it is in use. */
bool fkv_prefix_drop(struct fkv_prefix_cache *cache, uint64_t id);
/* The same, and of what it grew from all that nothing else grew from. */
void fkv_prefix_forget(struct fkv_prefix_cache *cache, uint64_t id);
/* Evicts until the RAM tier holds at most so many bytes, if what may go allows it. Returns what it holds. */
uint64_t fkv_prefix_shrink(struct fkv_prefix_cache *cache, uint64_t bytes, double now);

struct fkv_prefix_entry_info {
    uint64_t id;
    size_t n_tokens;
    uint64_t bytes; /* of its own, beside what it shares with its parent */
    bool compressed, on_disk;
    unsigned hits;
    double used, pinned_until; /* times */
    char salt[FKV_LABEL_BYTES];
};
/* False: there is no such entry. */
bool fkv_prefix_info(const struct fkv_prefix_cache *cache, uint64_t id, struct fkv_prefix_entry_info *info);
/* The i-th entry of the RAM tier; false past the last. */
bool fkv_prefix_list(const struct fkv_prefix_cache *cache, size_t i, struct fkv_prefix_entry_info *info);

struct fkv_prefix_stats {
    size_t n_entries, n_files;
    uint64_t ram_bytes, disk_bytes;
    uint64_t tokens_asked, tokens_served;
    uint64_t hits_ram, hits_disk, evictions, disk_writes, disk_errors;
    uint64_t misses[FKV_PREFIX_N_MISSES]; /* by reason: [FKV_PREFIX_HIT] counts those that missed nothing */
};
void fkv_prefix_get_stats(const struct fkv_prefix_cache *cache, struct fkv_prefix_stats *stats);

#endif
