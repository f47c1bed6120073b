#include "server/logprobs.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static double log_sum(const float *logits, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
    for (int i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    return most + log(sum);
}

/* Puts a candidate in its place among the n best, of which there is room for `room`; returns their number. */
static int insert(struct token_chance *top, int n, int room, struct token_chance c)
{
    int at = n < room ? n++ : n - 1;
    for (; at > 0 && top[at - 1].logprob < c.logprob; at--) top[at] = top[at - 1];
    top[at] = c;
    return n;
}

bool logprob_compute(struct logprob *l, const float *logits, int n_vocab, int32_t id, int n_top)
{
    const double sum = log_sum(logits, n_vocab);
    if (n_top > n_vocab) n_top = n_vocab;
    l->chosen = (struct token_chance){id, (float)((double)logits[id] - sum)};
    l->n_top = 0;
    l->top = n_top ? malloc((size_t)n_top * sizeof *l->top) : NULL;
    if (n_top && !l->top) return false;
    for (int i = 0; n_top && i < n_vocab; i++)
        if (l->n_top < n_top || logits[i] > l->top[n_top - 1].logprob)
            l->n_top = insert(l->top, l->n_top, n_top, (struct token_chance){i, logits[i]});
    for (int i = 0; i < l->n_top; i++) l->top[i].logprob = (float)((double)l->top[i].logprob - sum);
    return true;
}
