#include "server/prefixes.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/console.h"
#include "server/messages.h"
#include "server/server.h"

struct prefixes {
    struct server *server;
    pthread_mutex_t lock;
    struct fkv_prefix_cache *cache;
    double token_s; /* that computing a token takes; 0: not known yet */
    pthread_mutex_t stats_lock;
    struct fkv_prefix_stats stats;
    pthread_t writer; /* of files, if there is a disk tier */
    pthread_cond_t changed;
    bool writes, ending;
};

static void enter(struct prefixes *c) { pthread_mutex_lock(&c->lock); }

static void note_stats(struct prefixes *c)
{
    pthread_mutex_lock(&c->stats_lock);
    fkv_prefix_get_stats(c->cache, &c->stats);
    pthread_mutex_unlock(&c->stats_lock);
}

static void leave(struct prefixes *c)
{
    note_stats(c);
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void *write_files(void *user)
{
    struct prefixes *c = user;
    enter(c);
    while (!c->ending) {
        struct fkv_prefix_write *w = fkv_prefix_write_begin(c->cache, fkv_clock_s());
        if (!w) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        pthread_mutex_unlock(&c->lock);
        fkv_prefix_write_run(w);
        enter(c);
        fkv_prefix_write_end(c->cache, w, fkv_clock_s());
        note_stats(c);
    }
    leave(c);
    return NULL;
}

bool prefixes_open(struct server *server, const struct fkv_session_params *session, char *err)
{
    const struct settings *settings = server->settings;
    struct prefixes *c = calloc(1, sizeof *c);
    size_t n;
    if (!c) return false;
    *c = (struct prefixes){.server = server};
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->stats_lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    server->prefixes = c;
    c->cache = fkv_prefix_cache_open(server->engine, session, server->kv_ram);
    if (!c->cache || !settings->cache_disk) return c->cache;
    if (fkv_prefix_cache_disk(c->cache, settings->cache_disk, (uint64_t)settings->cache_disk_limit, fkv_clock_s(), &n,
                              err) != FKV_OK)
        return false;
    fprintf(stderr, "cache   %s: %s entries\n", settings->cache_disk, COUNT(n));
    c->writes = !pthread_create(&c->writer, NULL, write_files, c);
    if (c->writes) fkv_prefix_cache_writer(c->cache);
    return true;
}

void prefixes_close(struct prefixes *c)
{
    if (!c) return;
    if (c->writes) {
        enter(c);
        c->ending = true;
        leave(c);
        pthread_join(c->writer, NULL);
    }
    if (c->cache) fkv_prefix_cache_close(c->cache, fkv_clock_s());
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->stats_lock);
    pthread_cond_destroy(&c->changed);
    free(c);
}

/* ---- looking ------------------------------------------------------------------------------------- */

/* Up to 40 bytes from `at` on, or before it, as a line of the log has them. */
static void escape(const char *bytes, size_t n, char text[4 * 40 + 1])
{
    for (size_t i = 0; i < n && i < 40; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        text += c < ' ' || c > '~' || c == '\\' ? sprintf(text, "\\x%02x", c) : sprintf(text, "%c", c);
    }
    *text = '\0';
}

static void escape_ids(const fkv_engine *engine, const int32_t *ids, size_t n, char text[4 * 40 + 1])
{
    char bytes[40];
    size_t length = 0;
    for (size_t i = 0; i < n && length < sizeof bytes; i++) {
        const char *token;
        size_t more = fkv_token_bytes(engine, ids[i], true, &token);
        if (more > sizeof bytes - length) more = sizeof bytes - length;
        memcpy(bytes + length, token, more);
        length += more;
    }
    escape(bytes, length, text);
}

/* One line for what was not there, and why. */
static void log_miss(const struct prefixes *c, const struct request *r, const struct prompt *p)
{
    const struct fkv_prefix_found *f = &p->found;
    static const char *const sources[] =
        {[FKV_PREFIX_NONE] = "none", [FKV_PREFIX_RAM] = "ram", [FKV_PREFIX_DISK] = "disk"};
    char here[4 * 40 + 1], there[4 * 40 + 1];
    if (f->miss == FKV_PREFIX_HIT) return;
    const size_t at = f->differs_at, message = messages_at(c->server->engine, p, at);
    fprintf(stderr, "cache   %s: %zu of %zu tokens (%s), %s%s", r->id, f->n, p->n, sources[f->source],
            fkv_prefix_miss_name(f->miss), p->unstable ? ", template_unstable" : "");
    if (at) fprintf(stderr, " at token %zu", at);
    if (at && p->n_messages) fprintf(stderr, ", message %zu (%s)", message, p->messages[message].role);
    if (at && c->server->settings->log_prompts) {
        escape_ids(c->server->engine, p->ids + at, p->n - at, here);
        escape_ids(c->server->engine, f->other, f->n_other, there);
        fprintf(stderr, ": \"%s\", there \"%s\"", here, there);
    }
    fputc('\n', stderr);
}

static struct fkv_prefix_prompt ask(const struct request *r, const struct prompt *p)
{
    const bool compresses = strcmp(r->kv.policy, "full");
    return (struct fkv_prefix_prompt){.ids = p->ids,
                                      .n = p->n,
                                      .boundaries = p->boundary,
                                      .n_boundaries = p->n_boundaries,
                                      .kv = compresses ? &r->kv : NULL,
                                      .salt = r->salt};
}

void prefixes_look(struct prefixes *c, const struct request *r, struct prompt *p, size_t least)
{
    struct fkv_prefix_prompt prompt = ask(r, p);
    prompt.least = least;
    p->looked = true;
    p->found = (struct fkv_prefix_found){.miss = FKV_PREFIX_DISABLED};
    if (!r->cache_prompt) return;
    enter(c);
    fkv_prefix_find(c->cache, &prompt, fkv_clock_s(), &p->found);
    leave(c);
    log_miss(c, r, p);
}

void prefixes_let_go(struct prefixes *c, struct prompt *p)
{
    fkv_session_close(p->found.session);
    prefixes_release(c, p->found.id);
    p->found.session = NULL;
    p->found.id = 0;
}

/* ---- leaving ------------------------------------------------------------------------------------- */

/* That computing so many takes. */
static double seconds_of(const struct prefixes *c, size_t n_tokens)
{
    static const double usual_token_s = 0.004;
    return (double)n_tokens * (c->token_s > 0 ? c->token_s : usual_token_s);
}

uint64_t prefixes_store(struct prefixes *c, const struct request *r, const struct prompt *p, fkv_session *session,
                        size_t n, uint64_t from)
{
    const struct fkv_prefix_prompt prompt = ask(r, p);
    if (!r->cache_prompt) return from;
    enter(c);
    const uint64_t id = fkv_prefix_store(c->cache, &prompt, session, n, from, seconds_of(c, n), fkv_clock_s());
    if (id) {
        fkv_prefix_hold(c->cache, id);
        fkv_prefix_release(c->cache, from);
    }
    leave(c);
    return id ? id : from;
}

uint64_t prefixes_keep(struct prefixes *c, const char *salt, const int32_t *ids, size_t n, size_t boundary,
                       size_t n_trunk, fkv_session *session, uint64_t from)
{
    const struct fkv_prefix_prompt prompt = {.ids = ids,
                                             .n = n,
                                             .boundaries = &boundary,
                                             .n_boundaries = 1,
                                             .salt = salt};
    enter(c);
    fkv_prefix_release(c->cache, from);
    const uint64_t id = fkv_prefix_keep(c->cache, &prompt, session, n_trunk, from, seconds_of(c, n), fkv_clock_s());
    leave(c);
    return id;
}

/* ---- the cache's calls, one at a time -------------------------------------------------------------- */

bool prefixes_hold(struct prefixes *c, uint64_t id)
{
    enter(c);
    const bool there = fkv_prefix_hold(c->cache, id);
    leave(c);
    return there;
}

void prefixes_release(struct prefixes *c, uint64_t id)
{
    enter(c);
    fkv_prefix_release(c->cache, id);
    leave(c);
}

fkv_session *prefixes_fork(struct prefixes *c, uint64_t id)
{
    enter(c);
    fkv_session *session = fkv_prefix_fork(c->cache, id);
    leave(c);
    return session;
}

void prefixes_forget(struct prefixes *c, uint64_t id)
{
    enter(c);
    fkv_prefix_forget(c->cache, id);
    leave(c);
}

uint64_t prefixes_shrink(struct prefixes *c, uint64_t bytes)
{
    enter(c);
    const uint64_t held = fkv_prefix_shrink(c->cache, bytes, fkv_clock_s());
    leave(c);
    return held;
}

void prefixes_took(struct prefixes *c, size_t n_tokens, double seconds)
{
    enum { FEW = 256 }; /* they cost a pass over the weights, whatever their number */
    if (n_tokens < FEW) return;
    enter(c);
    const double measured = seconds / (double)n_tokens;
    c->token_s = c->token_s > 0 ? c->token_s + 0.2 * (measured - c->token_s) : measured;
    leave(c);
}

bool prefixes_drop(struct prefixes *c, uint64_t id)
{
    enter(c);
    const bool dropped = fkv_prefix_drop(c->cache, id);
    leave(c);
    return dropped;
}

bool prefixes_pin(struct prefixes *c, uint64_t id, double until, struct fkv_prefix_entry_info *info)
{
    enter(c);
    const bool there = fkv_prefix_pin(c->cache, id, until) && fkv_prefix_info(c->cache, id, info);
    leave(c);
    return there;
}

bool prefixes_info(struct prefixes *c, uint64_t id, struct fkv_prefix_entry_info *info)
{
    enter(c);
    const bool there = fkv_prefix_info(c->cache, id, info);
    leave(c);
    return there;
}

bool prefixes_list(struct prefixes *c, size_t i, struct fkv_prefix_entry_info *info)
{
    enter(c);
    const bool there = fkv_prefix_list(c->cache, i, info);
    leave(c);
    return there;
}

void prefixes_stats(struct prefixes *c, struct fkv_prefix_stats *stats)
{
    pthread_mutex_lock(&c->stats_lock);
    *stats = c->stats;
    pthread_mutex_unlock(&c->stats_lock);
}
