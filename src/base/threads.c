#include "base/threads.h"

#include <signal.h>
#include <stdlib.h>

enum { STACK_BYTES = 2 << 20 };

struct fkv_threads {
    struct fkv_openmp *openmp; /* who made them; NULL: this file */
    fkv_thread_fn fn;
    void *arg;
    int n;
    struct pthread {
        struct fkv_threads *threads;
        pthread_t id;
        int thread;
    } pthread[]; /* [n]; the first is not used */
};

bool fkv_thread_create(pthread_t *id, size_t stack_bytes, void *(*fn)(void *), void *arg)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    const bool made = pthread_create(id, &attributes, fn, arg) == 0;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return made;
}

static void *run(void *arg)
{
    const struct pthread *p = arg;
    fkv_openmp_unbind();
    p->threads->fn(p->threads->arg, p->thread);
    return NULL;
}

struct fkv_threads *fkv_threads_start(int n, fkv_thread_fn fn, void *arg, int *n_given)
{
    struct fkv_threads *t = calloc(1, sizeof *t + (size_t)n * sizeof *t->pthread);
    *n_given = 1;
    if (!t) return NULL;
    t->fn = fn;
    t->arg = arg;
    t->openmp = fkv_openmp_start(n, fn, arg, n_given);
    if (t->openmp) return t;
    for (t->n = 1; t->n < n; t->n++) {
        struct pthread *p = &t->pthread[t->n];
        p->threads = t;
        p->thread = t->n;
        if (!fkv_thread_create(&p->id, STACK_BYTES, run, p)) break;
    }
    *n_given = t->n;
    return t;
}

void fkv_threads_end(struct fkv_threads *threads)
{
    if (!threads) return;
    if (threads->openmp) fkv_openmp_end(threads->openmp);
    for (int i = 1; i < threads->n; i++) pthread_join(threads->pthread[i].id, NULL);
    free(threads);
}
