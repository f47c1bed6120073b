/* team.h: the one team of threads. OpenMP makes them where it can (threads.h); how they wait and share is the team's.

   A region runs one function on every thread at once; inside, threads share work by shares and by taking items, and
   meet at barriers. Who waits is awake for a moment and then sleeps (bell.h). The barrier and the counters are C11
   atomics, so ThreadSanitizer follows them. */
#ifndef FKV_BASE_TEAM_H
#define FKV_BASE_TEAM_H

#include "base/error.h"

struct fkv_team;

typedef void (*fkv_team_fn)(void *arg, int thread);

/* n_threads 0: fkv_usable_cores(). Where the system gives no more threads, the team is smaller than asked for. */
fkv_status fkv_team_create(struct fkv_team **team, int n_threads, struct fkv_error *e);
void fkv_team_destroy(struct fkv_team *team);
int fkv_team_size(const struct fkv_team *team);

/* Runs fn(arg, thread) on every thread and returns when all have. Callers on different threads take turns. */
void fkv_team_run(struct fkv_team *team, fkv_team_fn fn, void *arg);

/* ---- inside a region ------------------------------------------------------------------------- */

/* Every thread waits for all; what they wrote before is visible after. Also rewinds fkv_team_take(). */
void fkv_team_barrier(struct fkv_team *team);
/* The next of n items for this thread, or -1 when all are taken. Each thread goes through a contiguous share of its own
   first, and then helps the others, so that a slowed core does not gate the rest. A barrier must stand between two
   loops of takes. */
int fkv_team_take(struct fkv_team *team, int thread, int n);
/* The static share [*begin, *end) of a thread of n things in multiples of unit. No barrier is needed between loops over
   equal shares. */
void fkv_team_share(const struct fkv_team *team, int thread, int n, int unit, int *begin, int *end);

#endif
