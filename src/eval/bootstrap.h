/* bootstrap.h: how far a mean over samples can be trusted: paired differences, drawn again within their tasks. */
#ifndef FKV_EVAL_BOOTSTRAP_H
#define FKV_EVAL_BOOTSTRAP_H

#include <stdbool.h>
#include <stdint.h>

enum { EVAL_DRAWS = 10000 };

struct eval_interval {
    double mean;      /* mean over tasks of the mean within */
    double low, high; /* of the 95 % interval */
    double least;     /* one-sided 95 %: it is at least this */
    double deviation; /* standard deviation of one sample within its task */
};

/* x: [n], each a sample's difference; task: [n] its task, in [0, n_tasks); tasks without a sample do not count. Seeded:
   the same draws each time. False when memory runs out or n is 0. */
bool eval_bootstrap(const double *x, const int *task, int n, int n_tasks, uint64_t seed,
                    struct eval_interval *interval);

/* Samples needed to show, by the one-sided bound, that a loss of `loss` is less than `within`, both in the unit of
   `deviation`; 0 when it is not less. */
double eval_samples_needed(double loss, double within, double deviation);

#endif
