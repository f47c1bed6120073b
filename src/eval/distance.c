#include "eval/distance.h"

#include <math.h>
#include <stdlib.h>

#include "base/logits.h"

double eval_log_p(const float *p, int n, int32_t id) { return p[id] - fkv_log_sum_exp(p, n); }

int32_t eval_likeliest(const float *p, int n)
{
    int32_t best = 0;
    for (int i = 0; i < n; i++) {
        if (!isfinite(p[i])) return -1;
        if (p[i] > p[best]) best = i;
    }
    return best;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void eval_summary(double *x, int n, double *mean, double *median, double *p95)
{
    double sum = 0;
    qsort(x, (size_t)n, sizeof *x, ascending);
    for (int i = 0; i < n; i++) sum += x[i];
    *mean = sum / n;
    *median = (x[(n - 1) / 2] + x[n / 2]) / 2;
    *p95 = x[(int)ceil(0.95 * n) - 1];
}
