/* limits.h: what the machine, and the control groups around this process (versions 1 and 2, every level up to the
   root), leave to it. `root` is put before every path: "" but in tests. */
#ifndef FKV_BASE_LIMITS_H
#define FKV_BASE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

enum { FKV_LIMIT_BYTES = 256 };

struct fkv_memory_left {
    /* that can be had without swapping, page cache counting as free: at least 1 where it is known, else 0 */
    uint64_t bytes;
    char limit[FKV_LIMIT_BYTES]; /* the file of the control group's limit that is met first; "": the machine's memory */
};
void fkv_memory_left(const char *root, struct fkv_memory_left *left);

/* CPU time a second that the control groups allow, in CPUs; INFINITY: as much as there is. */
double fkv_cpu_quota(const char *root);
/* Physical cores among the CPUs with may_run[cpu], of n. A core counts when any of its hardware threads is there. */
int fkv_count_cores(const char *root, const bool *may_run, int n);

/* Threads worth having: physical cores this process may run on, no more than its quota (rounded up) feeds; at least
   1. */
int fkv_usable_cores(void);

#endif
