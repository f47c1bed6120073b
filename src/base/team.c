#define _GNU_SOURCE
#include "base/team_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPINS_BEFORE_YIELD = 4000 };

/* One of the hardware threads of a core stands for the core: the first in its list of siblings. */
static bool is_first_sibling(int cpu)
{
    char path[96];
    int first = cpu;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    FILE *f = fopen(path, "re");
    if (!f) return true;
    if (fscanf(f, "%d", &first) != 1) first = cpu;
    fclose(f);
    return first == cpu;
}

int fkv_physical_cores(void)
{
    cpu_set_t set;
    int cores = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &set) && is_first_sibling(cpu)) cores++;
    return cores > 0 ? cores : 1;
}

fkv_status fkv_team_create(struct fkv_team **team, int n_threads, struct fkv_error *e)
{
    if (n_threads == 0) n_threads = fkv_physical_cores();
    if (n_threads < 1 || n_threads > 1024)
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "threads: expected 1 to 1024, found %d", n_threads);
    if (n_threads > fkv_team_limit()) n_threads = fkv_team_limit();
    const size_t bytes = sizeof **team + (size_t)n_threads * sizeof(struct fkv_team_counter);
    struct fkv_team *t = aligned_alloc(64, (bytes + 63) & ~(size_t)63);
    if (!t) return fkv_fail(e, FKV_ERROR_MEMORY, "no memory for a team of %d threads", n_threads);
    memset(t, 0, bytes);
    t->n_threads = n_threads;
    pthread_mutex_init(&t->lock, NULL);
    *team = t;
    return FKV_OK;
}

void fkv_team_destroy(struct fkv_team *team)
{
    if (!team) return;
    pthread_mutex_destroy(&team->lock);
    free(team);
}

int fkv_team_size(const struct fkv_team *team) { return team->n_threads; }

void fkv_team_run(struct fkv_team *team, fkv_team_fn fn, void *arg)
{
    pthread_mutex_lock(&team->lock);
    fkv_team_start(team, fn, arg);
    pthread_mutex_unlock(&team->lock);
}

/* Waits awake at first: what separates two barriers is short. Then lets others run, who may hold the thread that is
   awaited. */
static void wait_for_generation(struct fkv_team *team, unsigned old)
{
    for (int spin = 0; atomic_load_explicit(&team->generation, memory_order_acquire) == old; spin++) {
        if (spin < SPINS_BEFORE_YIELD) {
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        } else {
            sched_yield();
        }
    }
}

void fkv_team_barrier(struct fkv_team *team)
{
    const unsigned old = atomic_load_explicit(&team->generation, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 < team->n_active) {
        wait_for_generation(team, old);
        return;
    }
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    for (int i = 0; i < team->n_active; i++) atomic_store_explicit(&team->counter[i].taken, 0, memory_order_relaxed);
    atomic_store_explicit(&team->generation, old + 1, memory_order_release);
}

int fkv_team_take(struct fkv_team *team, int thread, int n)
{
    for (int i = 0; i < team->n_active; i++) {
        const int owner = (thread + i) % team->n_active;
        int begin, end;
        fkv_team_share(team, owner, n, 1, &begin, &end);
        if (atomic_load_explicit(&team->counter[owner].taken, memory_order_relaxed) >= end - begin) continue;
        const int item = begin + atomic_fetch_add_explicit(&team->counter[owner].taken, 1, memory_order_relaxed);
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
