#define _GNU_SOURCE
#include "server/guard.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/console.h"
#include "cli/settings.h"
#include "eval/text.h"

/* ---- keys -------------------------------------------------------------------------------------- */

static bool add_key(void *user, const char *key, size_t n)
{
    struct guard *g = user;
    if (n >= GUARD_KEY_BYTES || g->n_keys == GUARD_MOST_KEYS) {
        console_error("keys: expected at most %d, each shorter than %d bytes", GUARD_MOST_KEYS, GUARD_KEY_BYTES);
        return false;
    }
    memset(g->keys[g->n_keys], 0, GUARD_KEY_BYTES);
    memcpy(g->keys[g->n_keys++], key, n);
    return true;
}

static bool read_key_file(struct guard *g, const char *path)
{
    struct stat st;
    char *text;
    size_t n;
    if (!console_read_file(path, &text, &n)) return false;
    if (!stat(path, &st) && st.st_mode & (S_IRGRP | S_IROTH))
        console_warning("%.200s: others can read the keys in it: chmod 600", path);
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\r') text[i] = '\n';
    const bool ok = eval_text_split(text, '\n', add_key, g);
    explicit_bzero(text, n);
    free(text);
    return ok;
}

/* The key's number, from 1; 0: it is none. Looks at every key, and at all of each, however soon it is told. */
static int knows_key(const struct guard *g, const char *key)
{
    unsigned char padded[GUARD_KEY_BYTES] = {0};
    const size_t n = strnlen(key, GUARD_KEY_BYTES);
    unsigned found = 0; /* the last of equal ones */
    memcpy(padded, key, n);
    for (int k = 0; k < g->n_keys; k++) {
        unsigned differs = 0;
        for (int i = 0; i < GUARD_KEY_BYTES; i++) differs |= g->keys[k][i] ^ padded[i];
        const unsigned is = 0U - (differs == 0);
        found = (found & ~is) | ((unsigned)(k + 1) & is);
    }
    return n > 0 && n < GUARD_KEY_BYTES ? (int)found : 0;
}

static int came_with_key(const struct guard *g, const struct guard_headers *h)
{
    static const char bearer[] = "Bearer ";
    const bool has_bearer = h->authorization && !strncasecmp(h->authorization, bearer, sizeof bearer - 1);
    const int key = has_bearer ? knows_key(g, h->authorization + sizeof bearer - 1) : 0;
    return key || !h->api_key ? key : knows_key(g, h->api_key);
}

/* ---- names ------------------------------------------------------------------------------------- */

/* "a,b" into a list; the text is cut at its commas. */
static bool split_names(char *text, const char **names, int *n, const char *option)
{
    for (char *save = NULL, *name = strtok_r(text, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        if (*n == GUARD_MOST_NAMES) {
            console_error("%s: expected at most %d names", option, GUARD_MOST_NAMES);
            return false;
        }
        names[(*n)++] = name;
    }
    return true;
}

static bool is_among(const char *name, size_t n, const char *const *names, int n_names)
{
    for (int i = 0; i < n_names; i++)
        if (strlen(names[i]) == n && !strncasecmp(names[i], name, n)) return true;
    return false;
}

/* The name in "name:port" or "[address]:port". */
static size_t name_bytes(const char *host)
{
    const char *bracket = *host == '[' ? strchr(host, ']') : NULL;
    return bracket ? (size_t)(bracket + 1 - host) : strcspn(host, ":");
}

/* A page elsewhere whose name was made to lead here says its own name. */
static bool is_own_host(const struct guard *g, const char *host)
{
    static const char *const own[] = {"localhost", "127.0.0.1", "[::1]"};
    const size_t n = name_bytes(host);
    char bracketed[256];
    snprintf(bracketed, sizeof bracketed, "[%.250s]", g->listener->host);
    const char *bound[] = {g->listener->host, bracketed};
    return is_among(host, n, own, 3) || is_among(host, n, bound, 2) || is_among(host, n, g->hosts, g->n_hosts) ||
           is_among(host, strlen(host), g->hosts, g->n_hosts);
}

bool guard_lists(const struct guard *g, const char *origin)
{
    return is_among(origin, strlen(origin), g->origins, g->n_origins);
}

static bool same_origin(const char *origin, const char *host)
{
    const char *at = strstr(origin, "://");
    return host && at && !strcasecmp(at + 3, host);
}

/* ---- the whole --------------------------------------------------------------------------------- */

bool guard_open(struct guard *g, const struct settings *s, const struct listener *listener)
{
    const char *env = getenv("FASTKV_API_KEY");
    *g = (struct guard){.listener = listener};
    if (env && !eval_text_split(env, ',', add_key, g)) return false;
    if (s->api_key) {
        char *text = (char *)(uintptr_t)s->api_key; /* argv's: others could read it there */
        const bool ok = eval_text_split(text, ',', add_key, g);
        explicit_bzero(text, strlen(text));
        if (!ok) return false;
    }
    if (s->api_key_file && !read_key_file(g, s->api_key_file)) return false;
    if (!g->n_keys && !listener->is_unix && !listener->is_loopback) {
        console_error("--host %.200s: others can reach this address: give --api-key or --api-key-file", listener->host);
        return false;
    }
    const char *origins = s->cors_origins ? s->cors_origins : "", *hosts = s->allowed_hosts ? s->allowed_hosts : "";
    const size_t n = strlen(origins) + 1, n_hosts = strlen(hosts) + 1;
    g->lists = malloc(n + n_hosts);
    if (!g->lists) {
        console_error("out of memory");
        return false;
    }
    memcpy(g->lists, origins, n);
    memcpy(g->lists + n, hosts, n_hosts);
    return split_names(g->lists, g->origins, &g->n_origins, "--cors-origins") &&
           split_names(g->lists + n, g->hosts, &g->n_hosts, "--allowed-hosts");
}

void guard_close(struct guard *g)
{
    explicit_bzero(g->keys, sizeof g->keys);
    free(g->lists);
}

/* Where two programs on the way could see two requests. */
static bool is_plain(const struct guard_headers *h, struct api_error *error)
{
    if (h->n_content_length > 1)
        return api_fail(error, 400, ERROR_INVALID, "headers: expected one Content-Length, found %d",
                        h->n_content_length);
    if (h->n_content_length && h->n_transfer_encoding)
        return api_fail(error, 400, ERROR_INVALID, "headers: expected Content-Length or Transfer-Encoding, found both");
    if (h->n_transfer_encoding > 1 || (h->n_transfer_encoding && strcasecmp(h->transfer_encoding, "chunked")))
        return api_fail(error, 400, ERROR_INVALID, "headers: expected Transfer-Encoding chunked, found %d, %.40s",
                        h->n_transfer_encoding, h->transfer_encoding);
    if (h->n_host > 1) return api_fail(error, 400, ERROR_INVALID, "headers: expected one Host, found %d", h->n_host);
    return true;
}

bool guard_check(const struct guard *g, const struct guard_headers *h, bool public, bool has_body, int *key,
                 bool *listed, struct api_error *error)
{
    *key = came_with_key(g, h);
    *listed = h->origin && guard_lists(g, h->origin);
    if (!is_plain(h, error)) return false;
    if (!g->listener->is_unix) {
        if (h->host && !is_own_host(g, h->host))
            return api_fail(error, 403, ERROR_PERMISSION,
                            "Host %.100s: expected a name of this server (--allowed-hosts)", h->host);
        const bool foreign = (h->origin && !same_origin(h->origin, h->host) && !*listed) ||
                             (h->fetch_site && !strcasecmp(h->fetch_site, "cross-site") && !*listed);
        if (foreign && !*key)
            return api_fail(error, 403, ERROR_PERMISSION, "pages of %.100s may not ask here (--cors-origins)",
                            h->origin ? h->origin : "other sites");
    }
    if (g->n_keys && !public && !*key)
        return api_fail(error, 401, ERROR_AUTHENTICATION, "expected a valid API key, found %s",
                        h->authorization || h->api_key ? "another" : "none");
    if (has_body && (!h->content_type || strncasecmp(h->content_type, "application/json", 16) ||
                     (h->content_type[16] && !strchr("; \t", h->content_type[16]))))
        return api_fail(error, 415, ERROR_INVALID, "Content-Type: expected application/json, found %.60s",
                        h->content_type ? h->content_type : "nothing");
    return true;
}
