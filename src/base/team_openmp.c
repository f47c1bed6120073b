#include "base/team_internal.h"

#include <omp.h>

/* ThreadSanitizer cannot see how libgomp hands a region's arguments over and collects its threads: tell it. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char fork_point, join_point;
#define PUBLISH(point) __tsan_release(&(point))
#define OBSERVE(point) __tsan_acquire(&(point))
#define UNSEEN \
    __attribute__((no_sanitize("thread"))) /* the region's own arguments are read before anything can be told */
#else
#define PUBLISH(point) ((void)0)
#define OBSERVE(point) ((void)0)
#define UNSEEN
#endif

int fkv_team_limit(void) { return omp_get_thread_limit(); }

/* A caller that is inside a parallel region of its own gets one thread, since OpenMP would give no more. */
UNSEEN void fkv_team_start(struct fkv_team *team, fkv_team_fn fn, void *arg)
{
    omp_set_dynamic(0); /* fewer threads than asked for would wait at the barrier for ever */
    team->n_active = omp_in_parallel() ? 1 : team->n_threads;
    PUBLISH(fork_point);
#pragma omp parallel num_threads(team->n_active)
    {
        OBSERVE(fork_point);
        fn(arg, omp_get_thread_num());
        PUBLISH(join_point);
    }
    OBSERVE(join_point);
}
