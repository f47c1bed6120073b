#define _GNU_SOURCE
#include "base/turns.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* A caller, while it waits. */
struct fkv_waiting {
    struct fkv_waiting *next;
    bool called; /* it is its turn */
};

void fkv_turns_init(struct fkv_turns *t)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->moved, &clock);
    pthread_condattr_destroy(&clock);
    t->taken = false;
    t->first = NULL;
    t->end = &t->first;
}

void fkv_turns_destroy(struct fkv_turns *t)
{
    pthread_cond_destroy(&t->moved);
    pthread_mutex_destroy(&t->lock);
}

static void leave_queue(struct fkv_turns *t, const struct fkv_waiting *w)
{
    struct fkv_waiting **at = &t->first;
    while (*at != w) at = &(*at)->next;
    *at = w->next;
    if (!*at) t->end = at;
}

enum { SECOND_NS = 1000000000, WHILE_NS = 20000000 };

static struct timespec after(double seconds)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t ns = t.tv_nsec + (int64_t)(seconds * SECOND_NS);
    t.tv_sec += ns / SECOND_NS;
    t.tv_nsec = ns % SECOND_NS;
    return t;
}

/* A signal handler can wake no one: who may be stopped looks every 20 ms. */
static void wait_a_while(struct fkv_turns *t)
{
    const struct timespec until = after((double)WHILE_NS / SECOND_NS);
    pthread_cond_timedwait(&t->moved, &t->lock, &until);
}

bool fkv_turns_take_unless(struct fkv_turns *t, const atomic_bool *stop)
{
    struct fkv_waiting me = {NULL, false};
    pthread_mutex_lock(&t->lock);
    if (!t->taken) {
        t->taken = me.called = true;
    } else {
        *t->end = &me;
        t->end = &me.next;
    }
    while (!me.called && !(stop && atomic_load(stop)))
        if (stop)
            wait_a_while(t);
        else
            pthread_cond_wait(&t->moved, &t->lock);
    if (!me.called) leave_queue(t, &me);
    pthread_mutex_unlock(&t->lock);
    return me.called;
}

void fkv_turns_take(struct fkv_turns *t) { fkv_turns_take_unless(t, NULL); }

void fkv_turns_leave(struct fkv_turns *t)
{
    pthread_mutex_lock(&t->lock);
    struct fkv_waiting *next = t->first;
    if (next) {
        leave_queue(t, next);
        next->called = true;
    } else {
        t->taken = false;
    }
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
}

void fkv_turns_give_way(struct fkv_turns *t, double seconds)
{
    const struct timespec until = after(seconds);
    pthread_mutex_lock(&t->lock);
    while (t->taken && pthread_cond_timedwait(&t->moved, &t->lock, &until) == 0) continue;
    pthread_mutex_unlock(&t->lock);
}
