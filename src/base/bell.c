#define _GNU_SOURCE
#include "base/bell.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

enum { LOOKS = 64 }; /* at the number for each one at the clock */

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* `yield` does nothing on most cores */
#endif
}

unsigned fkv_bell_number(const struct fkv_bell *bell)
{
    return atomic_load_explicit(&bell->number, memory_order_relaxed);
}

/* Did the number change while this thread was awake? */
static bool changed_soon(const struct fkv_bell *bell, unsigned old, double awake_s)
{
    for (double start = 0;;) {
        for (int i = 0; i < LOOKS; i++) {
            if (atomic_load_explicit(&bell->number, memory_order_acquire) != old) return true;
            relax();
        }
        const double now = fkv_clock_s();
        if (start == 0) start = now;
        if (now - start >= awake_s) return false;
    }
}

/* A sleeper is counted before it looks at the number for the last time (the kernel does, within the call), and the
   number changes before sleepers are counted: one of the two sees the other. */
double fkv_bell_wait(struct fkv_bell *bell, unsigned old, double awake_s)
{
    if (changed_soon(bell, old, awake_s)) return 0;
    const double begin = fkv_clock_s();
    atomic_fetch_add(&bell->sleepers, 1);
    while (atomic_load(&bell->number) == old) syscall(SYS_futex, &bell->number, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(&bell->sleepers, 1);
    return fkv_clock_s() - begin;
}

void fkv_bell_ring(struct fkv_bell *bell)
{
    atomic_store(&bell->number, fkv_bell_number(bell) + 1);
    if (atomic_load(&bell->sleepers)) syscall(SYS_futex, &bell->number, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}
