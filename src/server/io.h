/* io.h: the I/O thread: all connections, by libmicrohttpd in a loop of our own. Signals, timers and other threads wake
   it; nothing polls. */
#ifndef FKV_SERVER_IO_H
#define FKV_SERVER_IO_H

#include <microhttpd.h>
#include <sys/socket.h>

#include "server/guard.h"
#include "server/listen.h"
#include "server/server.h"

/* A connection. */
struct client {
    struct io *io;
    struct client *previous, *next;
    struct call *call; /* the request under way; NULL: none */
    int fd;
    struct sockaddr_storage address;
    double deadline_s; /* clock: it is closed then; 0: never */
};

/* A request on it. */
struct call {
    struct client *client;
    struct MHD_Connection *connection;
    struct exchange *x;
    char origin[256];  /* to be told that its pages may read the answer; "": none is */
    char allow[48];    /* the header Allow */
    size_t body_bytes; /* counted in io->body_bytes */
    bool too_large, dispatched, suspended, responded, preflight;
    double ping_s; /* clock: a stream that is silent until then gets a sign of life */
};

struct io {
    struct server *server;
    struct guard guard;
    struct listener listener;
    struct MHD_Daemon *daemon;
    int epoll, timer, signals;
    double armed_s; /* clock: when the timer will fire; 0: it will not */
    struct client *clients;
    int n_calls;
    size_t body_bytes; /* of all bodies that are held */
    double drain_s;    /* clock: what runs is given up then; 0: not draining */
    bool given_up;
};

/* Listens, and starts to answer when io_run() is called. Prints why not. */
bool io_open(struct io *io, struct server *server);
/* Until a signal or a failure ends it; then all requests have ended. */
void io_run(struct io *io);
void io_close(struct io *io);

/* ---- between the I/O thread's files ------------------------------------------------------------- */

/* timers.c: the timer fires at this time or before. */
void io_arm(struct io *io, double when_s);
/* It has fired: closes who is late, keeps silent streams alive. */
void io_timers(struct io *io);
/* connections.c: what libmicrohttpd calls for them; user is the io. */
struct client *connection_client(struct MHD_Connection *connection);
enum MHD_Result connection_accept(void *user, const struct sockaddr *address, socklen_t n);
void connection_changed(void *user, struct MHD_Connection *connection, void **client,
                        enum MHD_ConnectionNotificationCode what);
void *connection_url(void *user, const char *url, struct MHD_Connection *connection);
/* http.c: makes libmicrohttpd's daemon. */
bool http_open(struct io *io);
/* Goes on with a request about which there is news. */
void http_news(struct exchange *x);
/* The client has left. */
void http_gone(struct client *client);

#endif
