#include "eval/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "eval/random.h"

static const double one_sided_95 = 1.6448536269514722; /* of the normal distribution */

struct groups {
    const double *x;
    int *of;    /* [n] samples in the order of their tasks */
    int *start; /* [n_tasks + 1] */
    int n_tasks, n_used;
};

static void sort_by_task(struct groups *g, const int *task, int n)
{
    for (int t = 0; t <= g->n_tasks; t++) g->start[t] = 0;
    for (int i = 0; i < n; i++) g->start[task[i] + 1]++;
    for (int t = 0; t < g->n_tasks; t++) {
        g->n_used += g->start[t + 1] > 0;
        g->start[t + 1] += g->start[t];
    }
    for (int t = 0, place = 0; t < g->n_tasks; t++)
        for (int i = 0; i < n; i++)
            if (task[i] == t) g->of[place++] = i;
}

/* random: NULL for the samples as they are. */
static double mean(const struct groups *g, struct eval_random *random)
{
    double sum = 0;
    for (int t = 0; t < g->n_tasks; t++) {
        const int n = g->start[t + 1] - g->start[t];
        double within = 0;
        for (int i = 0; i < n; i++) {
            const int drawn = random ? (int)eval_random_below(random, (size_t)n) : i;
            within += g->x[g->of[g->start[t] + drawn]];
        }
        if (n) sum += within / n;
    }
    return sum / g->n_used;
}

static double deviation(const struct groups *g, int n)
{
    double squares = 0;
    for (int t = 0; t < g->n_tasks; t++) {
        double within = 0;
        for (int i = g->start[t]; i < g->start[t + 1]; i++) within += g->x[g->of[i]];
        for (int i = g->start[t]; i < g->start[t + 1]; i++) {
            const double d = g->x[g->of[i]] - within / (g->start[t + 1] - g->start[t]);
            squares += d * d;
        }
    }
    return n > g->n_used ? sqrt(squares / (n - g->n_used)) : 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool eval_bootstrap(const double *x, const int *task, int n, int n_tasks, uint64_t seed, struct eval_interval *interval)
{
    struct groups g = {x, malloc((size_t)(n + 1) * sizeof *g.of), malloc((size_t)(n_tasks + 1) * sizeof *g.start),
                       n_tasks, 0};
    double *draws = malloc(EVAL_DRAWS * sizeof *draws);
    struct eval_random random;
    const bool ok = n > 0 && g.of && g.start && draws;
    if (ok) {
        sort_by_task(&g, task, n);
        eval_random_start(&random, seed);
        for (int i = 0; i < EVAL_DRAWS; i++) draws[i] = mean(&g, &random);
        qsort(draws, EVAL_DRAWS, sizeof *draws, ascending);
        *interval = (struct eval_interval){mean(&g, NULL), draws[EVAL_DRAWS / 40],
                                           draws[EVAL_DRAWS - 1 - EVAL_DRAWS / 40], draws[EVAL_DRAWS / 20],
                                           deviation(&g, n)};
    }
    free(g.of);
    free(g.start);
    free(draws);
    return ok;
}

double eval_samples_needed(double loss, double within, double deviation)
{
    const double room = within - loss, root = one_sided_95 * deviation / room;
    return room > 0 ? ceil(root * root) : 0;
}
