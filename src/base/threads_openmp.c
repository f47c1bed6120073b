/* The only file that names OpenMP: one parallel region lasts as long as the threads do. They wait by our bells, so that
   how OpenMP itself would let them wait (OMP_WAIT_POLICY, GOMP_SPINCOUNT) does not matter. */
#define _GNU_SOURCE
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/bell.h"
#include "base/threads.h"

/* A trial's threads do nothing. The starter calls no more than OpenMP, which keeps its notes of new threads there. */
enum { TRIAL_STACK_BYTES = 256 << 10, STARTER_STACK_BYTES = 2 << 20 };
/* Room beyond what the threads take, for what others do at the same time. */
enum { SPARE_THREADS = 8, SPARE_BYTES = 64 << 20 };

struct fkv_openmp {
    fkv_thread_fn fn;
    void *arg;
    int n, n_given;
    pthread_t starter;
    struct fkv_bell begun, over;
    atomic_int ended;
    pid_t id[]; /* [n] */
};

/* ---- can they be made? ----------------------------------------------------------------------- */

static pid_t own_id(void) { return (pid_t)syscall(SYS_gettid); }

/* A thread that has ended takes up memory and counts against limits until the kernel has forgotten its number. */
static void wait_until_gone(pid_t id)
{
    for (int looks = 0; looks < 20000 && syscall(SYS_tgkill, getpid(), id, 0) == 0; looks++)
        nanosleep(&(struct timespec){0, 50000}, NULL);
}

/* Is there address space for the stacks of n threads? */
static bool has_room(int n)
{
    size_t stack = 0;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_getstacksize(&attributes, &stack);
    pthread_attr_destroy(&attributes);
    const size_t bytes = (size_t)n * (stack + TRIAL_STACK_BYTES) + SPARE_BYTES;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
    munmap(p, bytes);
    return true;
}

struct trial {
    struct fkv_bell *over;
    pthread_t thread;
    pid_t id;
};

static void *stay(void *arg)
{
    struct trial *t = arg;
    t->id = own_id();
    fkv_bell_wait(t->over, 0, 0);
    return NULL;
}

/* Does the system let this process have n threads more? */
static bool may_have(int n)
{
    struct fkv_bell over = {0};
    struct trial *t = calloc((size_t)n, sizeof *t);
    int made = 0;
    for (; t && made < n; made++) {
        t[made].over = &over;
        if (!fkv_thread_create(&t[made].thread, TRIAL_STACK_BYTES, stay, &t[made])) break;
    }
    fkv_bell_ring(&over);
    for (int i = 0; i < made; i++) {
        pthread_join(t[i].thread, NULL);
        wait_until_gone(t[i].id);
    }
    free(t);
    return made == n;
}

/* GCC's OpenMP ends the process where a thread cannot be made, and where a stack of the size set for it cannot be had;
   one that is too small overflows. So with sizes set, and where a trial fails, its threads are done without. */
static bool can_make(int n)
{
    static const char *const sizes[] = {"OMP_STACKSIZE", "OMP_STACKSIZE_ALL", "GOMP_STACKSIZE", "KMP_STACKSIZE"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (getenv(sizes[i])) return false;
    return has_room(n) && may_have(n + SPARE_THREADS);
}

/* ---- the region ------------------------------------------------------------------------------ */

/* ThreadSanitizer does not know OpenMP's fork and join. It sees that the threads are made (a starter's first region
   makes its own), and by the count `ended` what they did before the end. */
static void *open_region(void *arg)
{
    struct fkv_openmp *o = arg;
    omp_set_dynamic(0); /* holds for this thread only, as whatever it does to OpenMP */
#pragma omp parallel num_threads(o->n)
    {
        const int thread = omp_get_thread_num();
        o->id[thread] = own_id();
        if (thread == 0) { /* stands for the thread that calls the others */
            o->n_given = omp_get_num_threads();
            fkv_bell_ring(&o->begun);
            fkv_bell_wait(&o->over, 0, 0);
        } else {
            o->fn(o->arg, thread);
        }
        atomic_fetch_add_explicit(&o->ended, 1, memory_order_release);
    }
    (void)atomic_load_explicit(&o->ended, memory_order_acquire);
    return NULL;
}

struct fkv_openmp *fkv_openmp_start(int n, fkv_thread_fn fn, void *arg, int *n_given)
{
    if (n < 2 || !can_make(n)) return NULL;
    const size_t bytes = (sizeof(struct fkv_openmp) + (size_t)n * sizeof(pid_t) + 63) & ~(size_t)63;
    struct fkv_openmp *o = aligned_alloc(64, bytes);
    if (!o) return NULL;
    memset(o, 0, bytes);
    o->fn = fn;
    o->arg = arg;
    o->n = n;
    if (!fkv_thread_create(&o->starter, STARTER_STACK_BYTES, open_region, o)) {
        free(o);
        return NULL;
    }
    fkv_bell_wait(&o->begun, 0, 0);
    *n_given = o->n_given;
    return o;
}

/* OpenMP ends the threads that a starter's region made when the starter ends, but waits for none. */
void fkv_openmp_end(struct fkv_openmp *openmp)
{
    fkv_bell_ring(&openmp->over);
    pthread_join(openmp->starter, NULL);
    for (int i = 0; i < openmp->n_given; i++) wait_until_gone(openmp->id[i]); /* the starter, number 0, too */
    free(openmp);
}

void fkv_openmp_places(bool *may_run, int n)
{
    for (int place = 0; place < omp_get_num_places(); place++) {
        const int cpus = omp_get_place_num_procs(place);
        int *cpu = calloc((size_t)cpus + 1, sizeof *cpu);
        if (!cpu) return;
        omp_get_place_proc_ids(place, cpu);
        for (int i = 0; i < cpus; i++)
            if (cpu[i] >= 0 && cpu[i] < n) may_run[cpu[i]] = true;
        free(cpu);
    }
}

void fkv_openmp_unbind(void)
{
    bool may_run[CPU_SETSIZE] = {false};
    cpu_set_t set;
    if (omp_get_num_places() == 0) return;
    fkv_openmp_places(may_run, CPU_SETSIZE);
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (may_run[cpu]) CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}
