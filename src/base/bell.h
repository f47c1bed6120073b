/* bell.h: a number on which threads wait until it changes: awake for a moment, since most waits are short, and then
   asleep, so that whoever else wants the core has it (it may be the thread that is awaited). */
#ifndef FKV_BASE_BELL_H
#define FKV_BASE_BELL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Zeroed at first. On a cache line of its own: those who wait read it all the time. */
struct fkv_bell {
    alignas(64) atomic_uint number;
    atomic_uint sleepers;
};

/* The number, to be waited on. */
unsigned fkv_bell_number(const struct fkv_bell *bell);
/* Returns when the number is no longer `old`; what was written before it changed is visible then. awake_s: how long to
   wait without sleeping, seconds. Returns the seconds slept. */
double fkv_bell_wait(struct fkv_bell *bell, unsigned old, double awake_s);
/* Changes the number and wakes all who wait. One thread at a time. */
void fkv_bell_ring(struct fkv_bell *bell);

#endif
