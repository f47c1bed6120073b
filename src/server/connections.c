/* Connections: how many, from where, and until when. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "server/io.h"

enum {
    MOST_OF_ADDRESS = 128, /* connections of one address, but for loopback */
    HEADER_S = 10          /* a header is complete by then */
};

struct client *connection_client(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* A suspended connection does not notice that its client leaves, and one whose last bytes came with the end not
   either: the loop does. */
static void watch(struct client *c)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c};
    epoll_ctl(c->io->epoll, EPOLL_CTL_ADD, c->fd, &event);
}

void connection_changed(void *user, struct MHD_Connection *connection, void **socket_context,
                        enum MHD_ConnectionNotificationCode what)
{
    struct io *io = user;
    struct client *c = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD),
                                       *address = MHD_get_connection_info(connection,
                                                                          MHD_CONNECTION_INFO_CLIENT_ADDRESS);
        if (!(c = calloc(1, sizeof *c))) return;
        *c = (struct client){.io = io, .next = io->clients, .fd = fd->connect_fd};
        if (address && address->client_addr && !io->listener.is_unix)
            memcpy(&c->address, address->client_addr,
                   address->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                               : sizeof(struct sockaddr_in));
        if (io->clients) io->clients->previous = c;
        io->clients = c;
        c->deadline_s = fkv_clock_s() + HEADER_S;
        io_arm(io, c->deadline_s);
        *socket_context = c;
        watch(c);
    } else if (c) {
        epoll_ctl(io->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        if (c->previous)
            c->previous->next = c->next;
        else
            io->clients = c->next;
        if (c->next) c->next->previous = c->previous;
        free(c);
    }
}

/* A request line has come: the rest of the header is due. */
void *connection_url(void *user, const char *url, struct MHD_Connection *connection)
{
    struct client *c = connection_client(connection);
    (void)url;
    if (c) {
        c->deadline_s = fkv_clock_s() + HEADER_S;
        io_arm(user, c->deadline_s);
    }
    return NULL;
}

static bool same_address(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (a->sa_family != b->ss_family) return false;
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)(const void *)b)->sin_addr.s_addr;
    return a->sa_family == AF_INET6 && !memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr,
                                               &((const struct sockaddr_in6 *)(const void *)b)->sin6_addr, 16);
}

static bool comes_from_here(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family != AF_INET6 || IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

enum MHD_Result connection_accept(void *user, const struct sockaddr *address, socklen_t n)
{
    const struct io *io = user;
    int count = 0;
    if (io->listener.is_unix || !n || comes_from_here(address)) return MHD_YES;
    for (const struct client *c = io->clients; c; c = c->next) count += same_address(address, &c->address);
    return count < MOST_OF_ADDRESS ? MHD_YES : MHD_NO;
}
