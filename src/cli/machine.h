/* machine.h: what the program measures of the machine and of itself. */
#ifndef FKV_CLI_MACHINE_H
#define FKV_CLI_MACHINE_H

#include <stdint.h>

/* Most memory this process held at once since the start or the last reset, bytes; 0 when the system does not say. */
uint64_t machine_peak_rss(void);
void machine_reset_peak_rss(void);
/* A seed that differs from run to run, 0 or more. */
int64_t machine_random_seed(void);
/* Bytes per second that n_threads read from memory: the median of several passes over a buffer larger than caches; 0
   when it cannot be had. Takes a fraction of a second. */
double machine_read_bandwidth(int n_threads);

#endif
