/* team_internal.h: the team between team.c and the file that starts its threads. */
#ifndef FKV_BASE_TEAM_INTERNAL_H
#define FKV_BASE_TEAM_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/team.h"

struct fkv_team_counter {
    alignas(64) atomic_int taken;
};

struct fkv_team {
    int n_threads;
    int n_active;         /* threads of the region that runs now */
    pthread_mutex_t lock; /* callers take turns */
    alignas(64) atomic_int arrived;
    alignas(64) atomic_uint generation;
    struct fkv_team_counter counter[];
};

/* Starts fn(arg, thread) on team->n_threads threads and waits for them. */
void fkv_team_start(struct fkv_team *team, fkv_team_fn fn, void *arg);
/* Most threads this build can run. */
int fkv_team_limit(void);

#endif
