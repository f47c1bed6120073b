#define _GNU_SOURCE
#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/console.h"

enum {
    BACKLOG = 511,
    SEND_BYTES = 128 << 10 /* the system's buffer of a connection: who does not read is noticed by what is behind it */
};

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && !strcmp(text + n - n_end, end);
}

/* ---- Unix sockets ------------------------------------------------------------------------------ */

/* Nobody answers at a socket that was left behind. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode)) return false;
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) &&
                       errno == ECONNREFUSED;
    if (fd >= 0) close(fd);
    return stale;
}

static bool open_unix(struct listener *l, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        console_error("--host %.200s: expected a path of at most %zu bytes", path, sizeof address.sun_path - 1);
        return false;
    }
    strcpy(address.sun_path, path);
    l->is_unix = true;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (is_stale(&address)) unlink(path);
    const mode_t mask = umask(0177); /* no other threads yet */
    const bool bound = l->fd >= 0 && !bind(l->fd, (const struct sockaddr *)&address, sizeof address);
    umask(mask);
    if (!bound || listen(l->fd, BACKLOG)) {
        console_error("--host %.200s: cannot listen: %s", path, strerror(errno));
        return false;
    }
    snprintf(l->address, sizeof l->address, "%s", path);
    return true;
}

/* ---- TCP --------------------------------------------------------------------------------------- */

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static bool bind_tcp(struct listener *l, const struct addrinfo *a)
{
    const int one = 1;
    l->fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (l->fd < 0) return false;
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!bind(l->fd, a->ai_addr, a->ai_addrlen) && !listen(l->fd, BACKLOG)) {
        l->is_loopback = is_loopback(a->ai_addr);
        return true;
    }
    const int error = errno;
    close(l->fd);
    l->fd = -1;
    errno = error;
    return false;
}

/* The port that was chosen, where any would do. */
static void find_port(struct listener *l)
{
    struct sockaddr_storage address;
    char port[16];
    socklen_t n = sizeof address;
    if (!getsockname(l->fd, (struct sockaddr *)&address, &n) &&
        !getnameinfo((struct sockaddr *)&address, n, NULL, 0, port, sizeof port, NI_NUMERICSERV))
        sscanf(port, "%d", &l->port);
}

static bool open_tcp(struct listener *l, const char *host, int port)
{
    const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    const int failed = getaddrinfo(host, service, &hints, &list);
    if (failed) {
        console_error("--host %.200s: expected an address, a name or a path ending in .sock: %s", host,
                      gai_strerror(failed));
        return false;
    }
    bool bound = false;
    for (const struct addrinfo *a = list; a && !bound; a = a->ai_next) bound = bind_tcp(l, a);
    if (!bound) console_error("--host %.200s --port %d: cannot listen: %s", host, port, strerror(errno));
    freeaddrinfo(list);
    if (!bound) return false;
    find_port(l);
    const bool v6 = strchr(host, ':');
    snprintf(l->address, sizeof l->address, "http://%s%.200s%s:%d", v6 ? "[" : "", host, v6 ? "]" : "", l->port);
    return true;
}

bool listener_open(struct listener *l, const char *host, int port)
{
    const int bytes = SEND_BYTES;
    *l = (struct listener){.fd = -1, .host = host};
    if (ends_with(host, ".sock") ? open_unix(l, host) : open_tcp(l, host, port)) {
        setsockopt(l->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes); /* connections have it from here */
        return true;
    }
    if (l->fd >= 0) close(l->fd);
    l->fd = -1;
    return false;
}

void listener_close(struct listener *l)
{
    if (l->fd >= 0) close(l->fd);
    if (l->fd >= 0 && l->is_unix) unlink(l->address);
    l->fd = -1;
}
