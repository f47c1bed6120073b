/* The disk tier: one session file an entry, in a folder that one process has. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/error.h"
#include "server/prefix_entries.h"

enum { OFF_S = 60, HEX = 32 };
static const double s_per_token = 0.004; /* of a file that is not known better: 80 s for 20,000 tokens on 2 cores */

bool prefix_disk_is_on(const struct prefix_disk *d, double now) { return d->folder >= 0 && now >= d->off_until; }

static void failed(struct fkv_prefix_cache *c, double now)
{
    c->stats.disk_errors++;
    c->disk.off_until = now + OFF_S;
}

/* The path of a file in the folder. */
static const char *path_of(const struct prefix_disk *d, const char *name, char path[4096])
{
    snprintf(path, 4096, "%s/%s", d->path, name);
    return path;
}

/* A name for what the key serves: a hash of all of it, which only tells files apart. */
static bool name_of(const struct prefix_key *key, char name[40])
{
    const size_t n_ids = key->n * sizeof *key->ids, n_head = sizeof key->policy + sizeof key->salt;
    uint8_t sum[16], *all = calloc(1, n_head + n_ids);
    if (!all) return false;
    memcpy(all, key->policy, strlen(key->policy));
    memcpy(all + sizeof key->policy, key->salt, strlen(key->salt));
    memcpy(all + n_head, key->ids, n_ids);
    fkv_checksum128(all, n_head + n_ids, sum);
    free(all);
    for (int i = 0; i < 16; i++) snprintf(name + 2 * i, 3, "%02x", sum[i]);
    strcpy(name + HEX, ".fkv");
    return true;
}

/* ---- the index ------------------------------------------------------------------------------------- */

static bool add_file(struct fkv_prefix_cache *c, const struct prefix_file *f)
{
    struct prefix_disk *d = &c->disk;
    if (d->n == d->room) {
        const size_t room = 2 * d->room + 8;
        struct prefix_file *more = realloc(d->file, room * sizeof *more);
        if (!more) return false;
        d->file = more;
        d->room = room;
    }
    d->file[d->n++] = *f;
    c->stats.disk_bytes += f->bytes;
    return true;
}

/* Does a serve all that b does? */
static bool covers(const struct prefix_key *a, const struct prefix_key *b)
{
    return a->n >= b->n && a->n > 0 && !strcmp(a->salt, b->salt) && !memcmp(a->ids, b->ids, b->n * sizeof *b->ids) &&
           (a->turn_end == 0 ? b->turn_end == 0
                             : a->turn_end == b->turn_end && a->n == b->n && !strcmp(a->policy, b->policy));
}

size_t prefix_disk_covers(const struct prefix_disk *d, const struct prefix_key *key)
{
    size_t most = 0;
    for (size_t i = 0; i < d->n; i++) {
        const struct prefix_key *f = &d->file[i].key;
        if (f->turn_end != key->turn_end || strcmp(f->policy, key->policy) || strcmp(f->salt, key->salt)) continue;
        size_t n = 0;
        while (n < f->n && n < key->n && f->ids[n] == key->ids[n]) n++;
        if (n > most && n >= key->turn_end) most = n;
    }
    return most;
}

/* Out of the index. */
static void forget_file(struct fkv_prefix_cache *c, size_t i)
{
    struct prefix_disk *d = &c->disk;
    c->stats.disk_bytes -= d->file[i].bytes;
    free(d->file[i].key.ids);
    d->file[i] = d->file[--d->n];
}

static void delete_file(struct fkv_prefix_cache *c, size_t i)
{
    unlinkat(c->disk.folder, c->disk.file[i].name, 0);
    forget_file(c, i);
}

void prefix_disk_drop(struct fkv_prefix_cache *c, const struct prefix_key *key, const char *successor)
{
    for (size_t i = c->disk.n; i-- > 0;) {
        const struct prefix_file *f = &c->disk.file[i];
        if (!covers(key, &f->key) || (!successor && key->n != f->key.n)) continue;
        if (successor && !strcmp(f->name, successor)) /* it has taken the file's place */
            forget_file(c, i);
        else
            delete_file(c, i);
    }
}

/* ---- opening --------------------------------------------------------------------------------------- */

static bool is_entry(const char *name)
{
    return strlen(name) == HEX + 4 && strspn(name, "0123456789abcdef") == HEX && !strcmp(name + HEX, ".fkv");
}

static bool is_temporary(const char *name)
{
    const size_t n = strlen(name);
    return *name == '.' && n > 4 && !strcmp(name + n - 4, ".tmp");
}

/* A file that was there at the start: into the index, or away. */
static void take_file(struct fkv_prefix_cache *c, fkv_session *reader, const char *name, double now)
{
    char path[4096];
    struct stat st;
    struct fkv_session_file held;
    struct prefix_file f = {.used = now};
    strcpy(f.name, name);
    if (fstatat(c->disk.folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) return;
    f.bytes = (uint64_t)st.st_size;
    const fkv_status status = fkv_session_look(reader, path_of(&c->disk, name, path), &held);
    if (status == FKV_ERROR_FORMAT) {
        unlinkat(c->disk.folder, name, 0);
        return;
    }
    if (status == FKV_OK) {
        f.key = (struct prefix_key){.ids = held.ids, .n = held.n_ids, .turn_end = held.pruned_until};
        memcpy(f.key.policy, held.policy, sizeof f.key.policy);
        memcpy(f.key.salt, held.label, sizeof f.key.salt);
        f.seconds = (double)held.n_ids * s_per_token;
    }
    if (!add_file(c, &f)) free(f.key.ids);
}

static fkv_status read_folder(struct fkv_prefix_cache *c, double now, struct fkv_error *e)
{
    fkv_session *reader;
    DIR *folder = opendir(c->disk.path);
    if (!folder) return fkv_fail(e, FKV_ERROR_IO, "%.300s: %s", c->disk.path, strerror(errno));
    const fkv_status status = fkv_session_open(&reader, c->engine, &c->params, e->text);
    for (struct dirent *at; status == FKV_OK && (at = readdir(folder));) {
        if (is_temporary(at->d_name)) unlinkat(c->disk.folder, at->d_name, 0);
        if (is_entry(at->d_name)) take_file(c, reader, at->d_name, now);
    }
    closedir(folder);
    if (status == FKV_OK) fkv_session_close(reader);
    return status;
}

/* The file worth least goes, until so many bytes more fit. Those that serve nothing here are worth nothing. */
static bool make_room(struct fkv_prefix_cache *c, uint64_t bytes, double now)
{
    struct prefix_disk *d = &c->disk;
    while (d->n && c->stats.disk_bytes + bytes > d->limit) {
        size_t least = 0;
        double value = 0;
        for (size_t i = 0; i < d->n; i++) {
            const struct prefix_file *f = &d->file[i];
            const double v = prefix_value(f->key.n, f->hits, now - f->used, f->bytes);
            if (i > 0 && (v > value || (v == value && f->used >= d->file[least].used))) continue;
            least = i;
            value = v;
        }
        delete_file(c, least);
    }
    return bytes <= d->limit;
}

static fkv_status open_folder(struct prefix_disk *d, const char *folder, struct fkv_error *e)
{
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return fkv_fail(e, FKV_ERROR_IO, "%.300s: cannot be made: %s", folder, strerror(errno));
    d->path = strdup(folder);
    if (!d->path) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a folder's name");
    d->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->folder < 0) return fkv_fail(e, FKV_ERROR_IO, "%.300s: %s", folder, strerror(errno));
    d->lock = openat(d->folder, ".lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (d->lock < 0) return fkv_fail(e, FKV_ERROR_IO, "%.300s: cannot make its lock: %s", folder, strerror(errno));
    if (flock(d->lock, LOCK_EX | LOCK_NB) != 0)
        return fkv_fail(e, FKV_ERROR_IO, "%.300s: another process uses it as its cache", folder);
    return FKV_OK;
}

fkv_status fkv_prefix_cache_disk(struct fkv_prefix_cache *c, const char *folder, uint64_t limit_bytes, double now,
                                 size_t *n_entries, char *err)
{
    struct fkv_error e = {""};
    c->disk.limit = limit_bytes;
    fkv_status status = open_folder(&c->disk, folder, &e);
    if (status == FKV_OK) status = read_folder(c, now, &e);
    if (status == FKV_OK) {
        make_room(c, 0, now);
        *n_entries = c->disk.n;
    } else {
        prefix_disk_close(&c->disk);
        if (err) memcpy(err, e.text, sizeof e.text);
    }
    return status;
}

void prefix_disk_close(struct prefix_disk *d)
{
    for (size_t i = 0; i < d->n; i++) free(d->file[i].key.ids);
    free(d->file);
    free(d->path);
    if (d->lock >= 0) close(d->lock);
    if (d->folder >= 0) close(d->folder);
    *d = (struct prefix_disk){.folder = -1, .lock = -1};
}

/* ---- reading and writing --------------------------------------------------------------------------- */

long prefix_disk_find(const struct fkv_prefix_cache *c, const struct fkv_prefix_prompt *prompt, const char *policy,
                      size_t least)
{
    long best = -1;
    for (size_t i = 0; i < c->disk.n; i++) {
        size_t shared;
        enum fkv_prefix_miss why;
        const size_t use = prefix_usable(&c->disk.file[i].key, true, prompt, policy, &shared, &why);
        if (use < least || use == 0) continue;
        best = (long)i;
        least = use + 1;
    }
    return best;
}

fkv_session *prefix_disk_load(struct fkv_prefix_cache *c, long file, const struct fkv_kv_params *kv, double now,
                              enum fkv_prefix_miss *why)
{
    struct prefix_file *f = &c->disk.file[file];
    struct fkv_session_params params = c->params;
    fkv_session *s = NULL;
    char path[4096];
    if (f->key.turn_end) params.kv = *kv;
    fkv_status status = fkv_session_open(&s, c->engine, &params, NULL);
    if (status == FKV_OK) status = fkv_session_load(s, path_of(&c->disk, f->name, path), f->key.salt);
    if (status == FKV_OK) {
        f->hits++;
        f->used = now;
        return s;
    }
    fkv_session_close(s);
    if (status != FKV_ERROR_FORMAT && status != FKV_ERROR_UNSUPPORTED && status != FKV_ERROR_IO) { /* not the file's */
        failed(c, now);
        return NULL;
    }
    *why = status == FKV_ERROR_UNSUPPORTED ? FKV_PREFIX_DISK_VERSION : FKV_PREFIX_DISK_CORRUPT;
    c->stats.disk_errors++;
    delete_file(c, (size_t)file);
    return NULL;
}

/* One entry on its way into a file. */
struct fkv_prefix_write {
    fkv_session *session; /* its own */
    struct prefix_file file;
    char path[4096];
    uint64_t id; /* of the entry, in use meanwhile; 0: it has gone */
    bool ok;
};

void prefix_write_free(struct fkv_prefix_write *w)
{
    if (!w) return;
    fkv_session_close(w->session);
    free(w->file.key.ids);
    free(w);
}

struct fkv_prefix_write *prefix_write_new(struct fkv_prefix_cache *c, const struct prefix_entry *e, double now)
{
    const uint64_t about = e->all_bytes + e->all_bytes / 8 + (1 << 20); /* ids, positions and logits besides */
    struct fkv_prefix_write *w = about <= c->disk.limit ? calloc(1, sizeof *w) : NULL;
    if (!w) return NULL;
    w->file = (struct prefix_file){.seconds = e->seconds, .used = now, .hits = e->hits};
    if (prefix_key_copy(&w->file.key, e->key.ids, e->key.n, e->key.salt) && name_of(&e->key, w->file.name) &&
        fkv_session_fork(e->session, e->key.n, &w->session, NULL) == FKV_OK) {
        w->file.key.turn_end = e->key.turn_end;
        memcpy(w->file.key.policy, e->key.policy, sizeof w->file.key.policy);
        path_of(&c->disk, w->file.name, w->path);
        make_room(c, about, now);
        return w;
    }
    prefix_write_free(w);
    return NULL;
}

static struct fkv_prefix_write *write_of(struct fkv_prefix_cache *c, struct prefix_entry *e, double now)
{
    struct fkv_prefix_write *w = prefix_write_new(c, e, now);
    if (!w) return NULL;
    w->id = e->id;
    e->n_users++;
    return w;
}

struct fkv_prefix_write *fkv_prefix_write_begin(struct fkv_prefix_cache *c, double now)
{
    if (!prefix_disk_is_on(&c->disk, now)) return NULL;
    if (c->n_leaving) return c->leaving[--c->n_leaving];
    struct fkv_prefix_write *w = NULL;
    for (size_t i = 0; i < c->n && !w; i++)
        if (prefix_is_due(c, c->entry[i])) w = write_of(c, c->entry[i], now);
    return w;
}

void fkv_prefix_write_run(struct fkv_prefix_write *w)
{
    struct stat st;
    w->ok = fkv_session_save(w->session, w->path, w->file.key.salt) == FKV_OK && lstat(w->path, &st) == 0 &&
            S_ISREG(st.st_mode) && (w->file.bytes = (uint64_t)st.st_size) > 0;
}

void fkv_prefix_write_end(struct fkv_prefix_cache *c, struct fkv_prefix_write *w, double now)
{
    fkv_prefix_release(c, w->id);
    if (w->ok) {
        prefix_disk_drop(c, &w->file.key, w->file.name); /* what the new one serves too */
        c->stats.disk_writes++;
        if (add_file(c, &w->file)) w->file.key.ids = NULL; /* the index's */
        make_room(c, 0, now);
    } else {
        failed(c, now);
    }
    prefix_write_free(w);
}
