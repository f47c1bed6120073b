#include "base/logits.h"

#include <math.h>

double fkv_log_sum_exp(const float *p, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) most = fmax(most, (double)p[i]);
    for (int i = 0; i < n; i++) sum += exp((double)p[i] - most);
    return most + log(sum);
}

double fkv_divergence(const float *p, const float *q, int n)
{
    const double norm_p = fkv_log_sum_exp(p, n), norm_q = fkv_log_sum_exp(q, n);
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const double log_p = (double)p[i] - norm_p;
        sum += exp(log_p) * (log_p - ((double)q[i] - norm_q));
    }
    return sum < 0 ? 0 : sum; /* rounding */
}
