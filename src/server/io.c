#define _GNU_SOURCE
#include "server/io.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/console.h"
#include "server/scheduler.h"

enum { AFTER_GIVING_UP_S = 1 };

/* ---- opening ----------------------------------------------------------------------------------- */

static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Signals come as something to read, and to no thread. */
static int take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool add(struct io *io, int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    return fd >= 0 && !epoll_ctl(io->epoll, EPOLL_CTL_ADD, fd, &event);
}

static bool open_loop(struct io *io)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(io->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    io->epoll = epoll_create1(EPOLL_CLOEXEC);
    io->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (io->epoll >= 0 && info && add(io, info->epoll_fd, io->daemon) && add(io, io->timer, &io->timer) &&
        add(io, io->signals, &io->signals) && add(io, io->server->bell.fd, &io->server->bell))
        return true;
    console_error("the loop of connections: %s", strerror(errno));
    return false;
}

bool io_open(struct io *io, struct server *server)
{
    const struct settings *s = server->settings;
    *io = (struct io){.server = server, .epoll = -1, .timer = -1, .listener = {.fd = -1}};
    raise_file_limit();
    io->signals = take_signals();
    if (!listener_open(&io->listener, s->host, s->port) || !guard_open(&io->guard, s, &io->listener) ||
        !http_open(io) || !open_loop(io))
        return false;
    fprintf(stderr, "listen  %s\n", io->listener.address);
    if (!io->listener.is_unix && !io->listener.is_loopback && MHD_get_version()[0] == '0')
        console_warning("libmicrohttpd %s is older than 1.0.10: let others reach it through a proxy only",
                        MHD_get_version());
    return true;
}

void io_close(struct io *io)
{
    for (struct client *c = io->clients; c; c = c->next) http_gone(c);
    if (io->daemon) MHD_run(io->daemon); /* none may be suspended when it stops */
    if (io->daemon) MHD_stop_daemon(io->daemon);
    listener_close(&io->listener);
    guard_close(&io->guard);
    if (io->epoll >= 0) close(io->epoll);
    if (io->timer >= 0) close(io->timer);
    if (io->signals >= 0) close(io->signals);
}

/* ---- running ----------------------------------------------------------------------------------- */

/* The first signal lets what runs come to its end, for a while; the second one ends all. */
static void on_signal(struct io *io)
{
    struct signalfd_siginfo info;
    struct server *server = io->server;
    while (read(io->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (io->drain_s > 0) _exit(EXIT_INTERRUPTED);
        const int was = atomic_exchange(&server->state, SERVER_DRAINING);
        fprintf(stderr, "ending  %d requests have %d s; another signal ends at once\n", server->n_requests,
                server->settings->drain_s);
        MHD_quiesce_daemon(io->daemon);
        listener_close(&io->listener);
        if (was == SERVER_READY) scheduler_drain(server->scheduler);
        io->drain_s = fkv_clock_s() + server->settings->drain_s;
        io_arm(io, io->drain_s);
    }
}

static void on_bell(struct io *io)
{
    uint64_t n;
    if (read(io->server->bell.fd, &n, sizeof n) < 0) return;
    for (struct exchange *x; (x = doorbell_next(&io->server->bell));) {
        http_news(x);
        exchange_let_go(x);
    }
}

static void on_event(struct io *io, const struct epoll_event *event)
{
    uint64_t n;
    void *tag = event->data.ptr;
    if (tag == io->daemon) return; /* MHD_run() follows */
    if (tag == &io->signals)
        on_signal(io);
    else if (tag == &io->server->bell)
        on_bell(io);
    else if (tag != &io->timer)
        http_gone(tag);
    else if (read(io->timer, &n, sizeof n) == (ssize_t)sizeof n)
        io_timers(io);
}

static bool is_over(const struct io *io)
{
    const struct server *server = io->server;
    if (server->state == SERVER_FAILED) return true;
    if (io->drain_s <= 0) return false;
    return (!io->n_calls && !server->n_requests) || fkv_clock_s() > io->drain_s + AFTER_GIVING_UP_S;
}

void io_run(struct io *io)
{
    enum { EVENTS = 64 };
    struct epoll_event events[EVENTS];
    while (!is_over(io)) {
        MHD_UNSIGNED_LONG_LONG ms;
        const int wait = MHD_get_timeout(io->daemon, &ms) == MHD_YES ? (int)(ms < 60000 ? ms : 60000) : -1;
        const int n = epoll_wait(io->epoll, events, EVENTS, wait);
        for (int i = 0; i < n; i++) on_event(io, &events[i]);
        MHD_run(io->daemon);
    }
}
