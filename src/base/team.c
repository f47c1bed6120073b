#define _GNU_SOURCE
#include "base/team.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/crew.h"
#include "base/limits.h"
#include "base/threads.h"

enum { THREADS_MAX = 1024 };

/* How long a thread waits without sleeping. Waits at barriers are a few microseconds where every thread has its core,
   and being woken takes some 100: awake for 500 us a prefill is 2 to 3 % faster than for 20 us. Where other programs
   want the cores, what is waited away is lost: SmolLM2 135M on 2 cores, 2 threads, tokens/s awake for 0, 20, 100, 500,
   3000 us: with one other busy process 49, 43, 25, 11, 4 (bench/results/busy.md). */
enum { AWAKE_NS = 500 * 1000, AWAKE_SHARED_NS = 20 * 1000 };

struct fkv_worker {
    struct fkv_bell start;        /* regions it takes part in */
    alignas(64) atomic_int taken; /* items of its share: others take them too */
};

struct fkv_team {
    int n_threads, n_active; /* all; those of the region that runs now */
    bool crowded;            /* more threads than cores: whoever waits sleeps */
    atomic_int awake_ns;     /* how long a thread waits without sleeping */
    pthread_mutex_t lock;    /* callers take turns */
    fkv_team_fn fn;          /* the region's; NULL: the workers end */
    void *arg;
    struct fkv_threads *threads; /* the workers' */
    struct fkv_crew crew;
    atomic_llong away_ns;   /* of the region's threads so far */
    struct fkv_bell passed; /* barriers */
    alignas(64) atomic_int arrived;
    struct fkv_worker worker[]; /* [n_threads]; the first is the caller of fkv_team_run() */
};

/* ---- threads ------------------------------------------------------------------------------------ */

static double awake_s(const struct fkv_team *t)
{
    return 1e-9 * (double)atomic_load_explicit(&t->awake_ns, memory_order_relaxed);
}

/* What a thread does in a region. Away: the time in which it did not run though it wanted to. */
static void take_part(struct fkv_team *t, int thread)
{
    const double wall = fkv_clock_s(), own = fkv_clock_thread_s();
    t->fn(t->arg, thread);
    const double away = fkv_clock_s() - wall - (fkv_clock_thread_s() - own);
    atomic_fetch_add_explicit(&t->away_ns, (long long)(away * 1e9), memory_order_relaxed);
    fkv_team_barrier(t);
}

static void work(void *arg, int thread)
{
    struct fkv_team *t = arg;
    for (unsigned regions = 0;; regions++) {
        fkv_bell_wait(&t->worker[thread].start, regions, awake_s(t));
        if (!t->fn) return;
        take_part(t, thread);
    }
}

fkv_status fkv_team_create(struct fkv_team **team, int n_threads, struct fkv_error *e)
{
    const int cores = fkv_usable_cores();
    if (n_threads == 0) n_threads = cores < THREADS_MAX ? cores : THREADS_MAX;
    if (n_threads < 1 || n_threads > THREADS_MAX)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "threads: expected 1 to %d, found %d", THREADS_MAX, n_threads);
    const size_t bytes = sizeof **team + (size_t)n_threads * sizeof(struct fkv_worker);
    struct fkv_team *t = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!t) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a team of %d threads", n_threads);
    memset(t, 0, bytes);
    t->crowded = n_threads > cores;
    atomic_init(&t->awake_ns, t->crowded ? 0 : AWAKE_NS);
    pthread_mutex_init(&t->lock, NULL);
    t->threads = fkv_threads_start(n_threads, work, t, &t->n_threads);
    fkv_crew_init(&t->crew, t->n_threads);
    *team = t;
    return FKV_OK;
}

void fkv_team_destroy(struct fkv_team *team)
{
    if (!team) return;
    team->fn = NULL;
    for (int i = 1; i < team->n_threads; i++) fkv_bell_ring(&team->worker[i].start);
    fkv_threads_end(team->threads);
    pthread_mutex_destroy(&team->lock);
    free(team);
}

int fkv_team_size(const struct fkv_team *team) { return team->n_threads; }

void fkv_team_run(struct fkv_team *team, fkv_team_fn fn, void *arg)
{
    pthread_mutex_lock(&team->lock);
    const double begin = fkv_clock_s();
    team->fn = fn;
    team->arg = arg;
    team->n_active = team->crew.now;
    if (!team->crowded)
        atomic_store_explicit(&team->awake_ns, begin < team->crew.shared_s ? AWAKE_SHARED_NS : AWAKE_NS,
                              memory_order_relaxed);
    atomic_store_explicit(&team->away_ns, 0, memory_order_relaxed);
    for (int i = 1; i < team->n_active; i++) fkv_bell_ring(&team->worker[i].start);
    take_part(team, 0);
    const double end = fkv_clock_s(), away = 1e-9 * (double)atomic_load_explicit(&team->away_ns, memory_order_relaxed);
    fkv_crew_note(&team->crew, (const void *)(uintptr_t)fn, end - begin, away, end);
    pthread_mutex_unlock(&team->lock);
}

/* ---- inside a region ------------------------------------------------------------------------- */

void fkv_team_barrier(struct fkv_team *team)
{
    const unsigned old = fkv_bell_number(&team->passed);
    const int all = team->n_active; /* read before this thread counts as arrived: the next region may have fewer */
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < all) {
        const double slept = fkv_bell_wait(&team->passed, old, awake_s(team));
        if (slept > 0) atomic_fetch_sub_explicit(&team->away_ns, (long long)(slept * 1e9), memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    for (int i = 0; i < all; i++) atomic_store_explicit(&team->worker[i].taken, 0, memory_order_relaxed);
    fkv_bell_ring(&team->passed);
}

int fkv_team_take(struct fkv_team *team, int thread, int n)
{
    for (int i = 0; i < team->n_active; i++) {
        const int owner = (thread + i) % team->n_active;
        int begin, end;
        fkv_team_share(team, owner, n, 1, &begin, &end);
        if (atomic_load_explicit(&team->worker[owner].taken, memory_order_relaxed) >= end - begin) continue;
        const int item = begin + atomic_fetch_add_explicit(&team->worker[owner].taken, 1, memory_order_relaxed);
        if (item < end) return item;
    }
    return -1;
}

void fkv_team_share(const struct fkv_team *team, int thread, int n, int unit, int *begin, int *end)
{
    const long long units = (n + unit - 1) / unit;
    const long long b = units * thread / team->n_active * unit, e = units * (thread + 1) / team->n_active * unit;
    *begin = b < n ? (int)b : n;
    *end = e < n ? (int)e : n;
}
