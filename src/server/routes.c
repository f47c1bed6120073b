#include "server/routes.h"

#include <stdio.h>
#include <string.h>

static const struct route routes[] = {
#define IO ROUTE_IO
#define PREPARE ROUTE_PREPARE
#define PUBLIC ROUTE_PUBLIC
#define ALWAYS ROUTE_ALWAYS
#define BARE ROUTE_BARE
#define GENERATE ROUTE_GENERATE
#define EMPTY ROUTE_EMPTY
#define ROUTE(method, path, where, flags, handler) {#method, path, where, flags, handler, &#handler[sizeof "api_" - 1]},
#include "server/routes.def"
#undef ROUTE
};
enum { N_ROUTES = sizeof routes / sizeof *routes };

/* Is `path` the route's? What its * stands for begins at *tail. */
static bool fits(const char *pattern, const char *path, const char **tail)
{
    const size_t n = strlen(pattern);
    *tail = "";
    if (pattern[n - 1] != '*') return !strcmp(pattern, path);
    *tail = path + n - 1;
    return !strncmp(pattern, path, n - 1) && path[n - 1] && !strchr(path + n - 1, '/');
}

static bool route_fits(const struct route *r, const char *path, const char **tail)
{
    return fits(r->path, path, tail) || (r->flags & ROUTE_BARE && fits(r->path + strlen("/v1"), path, tail));
}

const struct route *route_find(const char *method, const char *path, const char **tail, char allow[48],
                               struct api_error *error)
{
    const char *wanted = strcmp(method, "HEAD") ? method : "GET";
    *allow = '\0';
    for (int i = 0; i < N_ROUTES; i++) {
        if (!route_fits(&routes[i], path, tail)) continue;
        if (!strcmp(routes[i].method, wanted)) return &routes[i];
        const size_t n = strlen(allow);
        snprintf(allow + n, 48 - n, "%s%s%s", n ? ", " : "", routes[i].method,
                 strcmp(routes[i].method, "GET") ? "" : ", HEAD");
    }
    if (*allow)
        api_fail(error, 405, ERROR_INVALID, "%.100s: expected method %s, found %.20s", path, allow, method);
    else
        api_fail(error, 404, ERROR_NOT_FOUND, "there is nothing at %.100s", path);
    return NULL;
}
