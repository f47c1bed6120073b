#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/progress.h"

enum { BAR = 30 };
static const char hashes[BAR + 1] = "##############################";
static const double redraw_s = 0.1;

void progress_open(struct progress *p, bool wanted)
{
    *p = (struct progress){.shown = wanted && isatty(STDERR_FILENO)};
}

void progress_start(struct progress *p, size_t n_tokens)
{
    p->n_tokens = n_tokens;
    p->start_s = fkv_clock_s();
    p->drawn_s = p->start_s;
}

bool progress_step(void *user, uint64_t done, uint64_t all)
{
    struct progress *p = user;
    double now = fkv_clock_s(), share = all ? (double)done / (double)all : 0, spent = now - p->start_s;
    if (p->shown && now - p->drawn_s >= redraw_s && share > 0) {
        int filled = (int)(share * BAR);
        fprintf(stderr, "\rprefill [%.*s%*s] %3.0f %%  %s tokens/s  %.0f s left \x1b[K", filled, hashes, BAR - filled,
                "", 100 * share, COUNT((uint64_t)(share * (double)p->n_tokens / spent)), spent / share - spent);
        fflush(stderr);
        p->drawn_s = now;
    }
    return !interrupted();
}

void progress_end(struct progress *p)
{
    if (p->shown && p->drawn_s > p->start_s) fputs("\r\x1b[K", stderr);
}
