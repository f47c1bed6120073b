#ifndef FKV_BASE_CLOCK_H
#define FKV_BASE_CLOCK_H

/* Seconds since some fixed moment; never goes back. */
double fkv_clock_s(void);

#endif
