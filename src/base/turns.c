#include "base/turns.h"

void fkv_turns_init(struct fkv_turns *t)
{
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->moved, NULL);
    t->next = t->now = 0;
}

void fkv_turns_destroy(struct fkv_turns *t)
{
    pthread_cond_destroy(&t->moved);
    pthread_mutex_destroy(&t->lock);
}

void fkv_turns_take(struct fkv_turns *t)
{
    pthread_mutex_lock(&t->lock);
    const uint64_t mine = t->next++;
    while (t->now != mine) pthread_cond_wait(&t->moved, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void fkv_turns_leave(struct fkv_turns *t)
{
    pthread_mutex_lock(&t->lock);
    t->now++;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
}
