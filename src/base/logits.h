/* logits.h: distributions that are given by logits. */
#ifndef FKV_BASE_LOGITS_H
#define FKV_BASE_LOGITS_H

/* ln of the sum of exp(p). p: [n] */
double fkv_log_sum_exp(const float *p, int n);
/* sum over v of p(v) (ln p(v) - ln q(v)), nats; 0 for equal logits. p, q: [n] */
double fkv_divergence(const float *p, const float *q, int n);

#endif
