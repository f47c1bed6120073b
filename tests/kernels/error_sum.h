/* error_sum.h: sums of squared errors and of squared results; their ratio says what worst-case bounds cannot. The
   kernel bench reports it too. */
#ifndef FKV_TESTS_KERNELS_ERROR_SUM_H
#define FKV_TESTS_KERNELS_ERROR_SUM_H

#include <math.h>

struct error_sum {
    double error, wanted;
};

static inline void error_add(struct error_sum *e, double got, double wanted)
{
    e->error += (got - wanted) * (got - wanted);
    e->wanted += wanted * wanted;
}

/* Relative to the wanted results; where these are all zero, the root of the sum. */
static inline double error_rms(const struct error_sum *e)
{
    return e->wanted > 0 ? sqrt(e->error / e->wanted) : sqrt(e->error);
}

#endif
