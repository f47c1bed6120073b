/* threads.h: where a team's threads come from: OpenMP, or pthreads in a build or at a moment in which OpenMP has none
   to give. Threads of either kind take no signals: those are for the threads of the program. */
#ifndef FKV_BASE_THREADS_H
#define FKV_BASE_THREADS_H

#include <pthread.h>
#include <stdbool.h>

struct fkv_threads;

typedef void (*fkv_thread_fn)(void *arg, int thread);

/* Runs fn(arg, thread) for thread 1, 2, ..., n - 1, on a thread each, for as long as it lasts; thread 0 is whoever
   calls the others. *n_given: how many there are with thread 0: the system, OMP_THREAD_LIMIT and
   OMP_MAX_ACTIVE_LEVELS=0 may give fewer than n. NULL: there is no memory for any, and *n_given is 1. */
struct fkv_threads *fkv_threads_start(int n, fkv_thread_fn fn, void *arg, int *n_given);
/* Waits until fn has returned on all of them and they are gone. Takes NULL. */
void fkv_threads_end(struct fkv_threads *threads);

/* ---- for the files that make threads --------------------------------------------------------- */

/* A pthread that takes no signals. false: the system gives none. */
bool fkv_thread_create(pthread_t *id, size_t stack_bytes, void *(*fn)(void *), void *arg);

struct fkv_openmp;

/* The same by OpenMP (threads_openmp.c). NULL, with nothing done, when the build has none (threads_none.c), or when
   OpenMP could not make so many and would not say so but end the process. */
struct fkv_openmp *fkv_openmp_start(int n, fkv_thread_fn fn, void *arg, int *n_given);
void fkv_openmp_end(struct fkv_openmp *openmp);

/* OpenMP with places for its threads (OMP_PROC_BIND, OMP_PLACES, GOMP_CPU_AFFINITY) binds the program's first thread to
   one of them while it is loaded: sets may_run[cpu], of n, for the CPUs of all. */
void fkv_openmp_places(bool *may_run, int n);
/* Lets the calling thread, which has such a binding from its maker, run on all of them. */
void fkv_openmp_unbind(void);

#endif
