/* turns.h: callers on several threads take turns in the order in which they came. A mutex promises no order: who leaves
   it and comes again at once, as a long prefill does between its blocks, may shut out all others. */
#ifndef FKV_BASE_TURNS_H
#define FKV_BASE_TURNS_H

#include <pthread.h>
#include <stdint.h>

struct fkv_turns {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t next, now; /* the number of the next caller; whose turn it is */
};

void fkv_turns_init(struct fkv_turns *t);
void fkv_turns_destroy(struct fkv_turns *t);
/* Waits until all who came before have left. */
void fkv_turns_take(struct fkv_turns *t);
void fkv_turns_leave(struct fkv_turns *t);

#endif
