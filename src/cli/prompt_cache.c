#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/console.h"
#include "cli/prompt_cache.h"

int prompt_cache_check(const struct settings *settings)
{
    static const char begins[] = "FKVSESS"; /* of any version */
    const char *path = settings->session_file;
    char found[sizeof begins - 1] = "";
    if (!path || access(path, F_OK) != 0) return EXIT_SUCCESS;
    FILE *file = fopen(path, "rb");
    if (!file) return console_error("--session %.300s: %s", path, strerror(errno));
    const size_t n = fread(found, 1, sizeof found, file);
    const bool failed = ferror(file); /* a folder opens, but is not read */
    fclose(file);
    if (failed || (n > 0 && (n < sizeof found || memcmp(found, begins, sizeof found) != 0)))
        return console_error("--session %.300s: expected a session or no file, found another kind of file, which would "
                             "be overwritten",
                             path);
    return EXIT_SUCCESS;
}

/* How many ids of the prompt a session of the file can give; why not more is said. */
static size_t usable(struct prompt_cache *cache, const struct fkv_session_file *file, const int32_t *ids, size_t n)
{
    size_t shared = 0;
    while (shared < n && shared < file->n_ids && ids[shared] == file->ids[shared]) shared++;
    if (shared < file->n_ids && shared < n)
        snprintf(cache->why, sizeof cache->why, "this prompt differs from it at token %s", COUNT(shared));
    if (shared >= file->pruned_until) return shared;
    snprintf(
        cache->why, sizeof cache->why,
        "this prompt differs from it at token %s, and the first %s can only serve together: they are what %.*s kept",
        COUNT(shared), COUNT(file->pruned_until), (int)strcspn(file->policy, " "), file->policy);
    return 0;
}

/* The session holds `shared` tokens of the prompt. Of a longer prompt the rest is a prefill of two tokens or more: a
   single one would be decoded, which rounds otherwise. */
static size_t cut_to(fkv_session *s, size_t shared, size_t n)
{
    if (shared == n && fkv_session_n_seen(s) == n && fkv_session_logits(s)) return n;
    const size_t keep = shared + 2 <= n ? shared : n < 2 ? 0 : n - 2;
    if (fkv_session_cut(s, keep) == FKV_OK) return keep;
    return fkv_session_cut(s, shared) == FKV_OK ? shared : 0; /* behind what a policy left there is no other way */
}

void prompt_cache_load(struct prompt_cache *cache, const struct generator *g, const int32_t *ids, size_t n)
{
    const char *path = g->settings->session_file;
    struct fkv_session_file file;
    cache->n = n;
    if (!path) return;
    if (access(path, F_OK) != 0) {
        snprintf(cache->why, sizeof cache->why, "it is new");
        return;
    }
    fkv_status status = fkv_session_look(g->session, path, &file);
    if (status == FKV_OK) {
        const size_t shared = usable(cache, &file, ids, n);
        fkv_free(file.ids);
        if (shared == 0) return;
        status = fkv_session_load(g->session, path, NULL);
        if (status == FKV_OK) cache->reused = cut_to(g->session, shared, n);
    }
    if (status != FKV_OK) snprintf(cache->why, sizeof cache->why, "%s", fkv_session_error(g->session));
}

void prompt_cache_report(FILE *out, const struct prompt_cache *cache, const struct generator *g)
{
    if (!g->settings->session_file) return;
    fprintf(out, "session %s of %s prompt tokens reused from %s%s%s\n", COUNT(cache->reused), COUNT(cache->n),
            g->settings->session_file, *cache->why ? ": " : "", cache->why);
}

int prompt_cache_keep(struct prompt_cache *cache, const struct generator *g)
{
    char err[FKV_ERROR_BYTES];
    if (!g->settings->session_file || cache->reused == cache->n) return EXIT_SUCCESS;
    if (fkv_session_fork(g->session, fkv_session_n_seen(g->session), &cache->computed, err) == FKV_OK)
        return EXIT_SUCCESS;
    return console_error("--session: %s", err);
}

int prompt_cache_save(struct prompt_cache *cache, const struct generator *g)
{
    if (!cache->computed) return EXIT_SUCCESS;
    int status = EXIT_SUCCESS;
    if (fkv_session_save(cache->computed, g->settings->session_file, NULL) != FKV_OK)
        status = console_error("--session: %s", fkv_session_error(cache->computed));
    fkv_session_close(cache->computed);
    cache->computed = NULL;
    return status;
}
