/* logprobs.h: how likely the model found a token, and what it found likelier. */
#ifndef FKV_SERVER_LOGPROBS_H
#define FKV_SERVER_LOGPROBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct token_chance {
    int32_t id;
    float logprob; /* natural logarithm of the softmax of the raw logits */
};

struct logprob {
    size_t start; /* bytes of the answer's text before it */
    struct token_chance chosen;
    struct token_chance *top; /* [n_top] likeliest first; malloc'ed */
    int n_top;
};

/* Of `id`, and the n_top likeliest. False when memory runs out. */
bool logprob_compute(struct logprob *l, const float *logits, int n_vocab, int32_t id, int n_top);

#endif
