#ifndef FKV_BASE_CLOCK_H
#define FKV_BASE_CLOCK_H

/* Seconds since some fixed moment; never goes back. */
double fkv_clock_s(void);
/* Seconds for which the calling thread has run on a core. */
double fkv_clock_thread_s(void);

#endif
