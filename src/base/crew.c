#include "base/crew.h"

#include <math.h>

/* A window is several time slices of the scheduler long. Trials are rare enough that those which fail cost little:
   a window in 4 s at the end. Whether all threads are the better again is tried at once, and then ever more rarely:
   what took a core may have been one short program. */
static const double window_s = 50e-3, first_wait_s = 0.25, longest_wait_s = 4;
/* Threads kept from their core, as a mean over the window, from which on fewer are tried and the cores are taken to be
   shared, and for how long that is believed. What a virtual machine's host takes, and programs that are done in a
   moment, are less: of 20 ms they were a seventh so often that a quiet machine counted as shared half of the time. */
static const double least_away = 0.25, shared_for_s = 0.25;

void fkv_crew_init(struct fkv_crew *c, int n_threads)
{
    *c = (struct fkv_crew){.all = n_threads, .now = n_threads, .wait_s = first_wait_s};
}

static void begin_window(struct fkv_crew *c, const void *task)
{
    c->task = task;
    c->wall_s = c->away_s = 0;
    c->regions = 0;
}

static void end_trial(struct fkv_crew *c, bool keep, double clock_s)
{
    if (!keep) c->now = c->before;
    c->wait_s = !keep ? fmin(2 * c->wait_s, longest_wait_s) : c->now < c->all ? window_s : first_wait_s;
    c->again_s = clock_s + c->wait_s;
    c->before = 0;
}

/* Fewer threads, by as many as were kept from their core; or all again. */
static void begin_trial(struct fkv_crew *c, double region_s, double away)
{
    const bool fewer = away >= least_away && c->now > 1 && (c->now == c->all || !c->fewer);
    const int less = c->now - (int)fmax(1, rint(away)), wanted = fewer ? (less > 1 ? less : 1) : c->all;
    c->fewer = fewer;
    if (wanted == c->now) return;
    c->before = c->now;
    c->before_s = region_s;
    c->now = wanted;
}

/* Whatever the regions do. */
static void look_for_others(struct fkv_crew *c, double wall_s, double away_s, double clock_s)
{
    c->looked_s += wall_s;
    c->looked_away_s += away_s;
    if (c->looked_s < window_s) return;
    if (c->looked_away_s > least_away * c->looked_s || c->now < c->all) c->shared_s = clock_s + shared_for_s;
    c->looked_s = c->looked_away_s = 0;
}

void fkv_crew_note(struct fkv_crew *c, const void *task, double wall_s, double away_s, double clock_s)
{
    if (c->all == 1) return;
    look_for_others(c, wall_s, away_s, clock_s);
    if (task != c->task) {
        if (c->before) end_trial(c, false, clock_s); /* times of different tasks do not compare */
        begin_window(c, task);
    }
    c->wall_s += wall_s;
    c->away_s += away_s;
    c->regions++;
    if (c->wall_s < window_s) return;
    const double region_s = c->wall_s / c->regions;
    if (c->before)
        end_trial(c, region_s < c->before_s, clock_s);
    else if (clock_s >= c->again_s)
        begin_trial(c, region_s, c->away_s / c->wall_s);
    begin_window(c, task);
}
