/* The I/O thread's timer: one for all, set to what comes first. */
#include <math.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "server/io.h"
#include "server/scheduler.h"

void io_arm(struct io *io, double when_s)
{
    if (when_s <= 0 || (io->armed_s > 0 && io->armed_s <= when_s)) return;
    const double wait = fmax(1e-3, when_s - fkv_clock_s());
    struct itimerspec t = {.it_value = {.tv_sec = (time_t)wait, .tv_nsec = (long)(fmod(wait, 1) * 1e9)}};
    timerfd_settime(io->timer, 0, &t, NULL);
    io->armed_s = when_s;
}

/* A stream that has been silent says that it lives. */
static void ping(struct io *io, struct call *c, double now)
{
    static const char comment[] = ": ping\n\n";
    struct exchange *x = c->x;
    if (!c->responded || c->ping_s <= 0 || !c->suspended) return;
    if (now >= c->ping_s) {
        c->ping_s = now + io->server->settings->sse_ping_s;
        exchange_write(x, comment, sizeof comment - 1);
    }
    io_arm(io, c->ping_s);
}

void io_timers(struct io *io)
{
    const double now = fkv_clock_s();
    io->armed_s = 0;
    for (struct client *c = io->clients; c; c = c->next) {
        if (c->deadline_s > 0 && now >= c->deadline_s) {
            c->deadline_s = 0;
            shutdown(c->fd, SHUT_RDWR);
        }
        io_arm(io, c->deadline_s);
        if (c->call) ping(io, c->call, now);
    }
    if (io->drain_s > 0 && now >= io->drain_s && !io->given_up) {
        io->given_up = true;
        if (io->server->scheduler) scheduler_give_up(io->server->scheduler);
    }
    if (io->drain_s > 0) io_arm(io, io->given_up ? now + 0.5 : io->drain_s);
}
