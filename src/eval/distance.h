/* distance.h: how far two distributions over the vocabulary are apart, both given as logits. */
#ifndef FKV_EVAL_DISTANCE_H
#define FKV_EVAL_DISTANCE_H

#include <stdint.h>

/* ln p(id). p: [n] */
double eval_log_p(const float *p, int n, int32_t id);
/* The likeliest id, the lowest on a tie; -1 when a logit is not a number or infinite. p: [n] */
int32_t eval_likeliest(const float *p, int n);
/* Mean, median and 95th percentile of x: [n], which is sorted by this; n > 0. */
void eval_summary(double *x, int n, double *mean, double *median, double *p95);

#endif
