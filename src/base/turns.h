/* turns.h: callers on several threads take turns in the order in which they came. A mutex promises no order: who leaves
   it and comes again at once, as a long prefill does between its blocks, may shut out all others. */
#ifndef FKV_BASE_TURNS_H
#define FKV_BASE_TURNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct fkv_turns {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool taken;
    struct fkv_waiting *first, **end; /* who waits, in the order in which they came: none unless it is taken */
};

void fkv_turns_init(struct fkv_turns *t);
void fkv_turns_destroy(struct fkv_turns *t);
/* Waits until all who came before have left. */
void fkv_turns_take(struct fkv_turns *t);
/* The same; false, and no turn, soon after *stop has become true, which a signal handler may see to. */
bool fkv_turns_take_unless(struct fkv_turns *t, const atomic_bool *stop);
void fkv_turns_leave(struct fkv_turns *t);
/* Waits until nobody has it, so many seconds at most, without taking it. */
void fkv_turns_give_way(struct fkv_turns *t, double seconds);

#endif
