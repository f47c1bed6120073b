/* score.h: what the CPU's files of scores share. */
#ifndef FKV_BACKEND_CPU_SCORE_H
#define FKV_BACKEND_CPU_SCORE_H

#include "backend/cpu/cpu_backend.h"

/* One KV head, and what it is scored by. Its entries: those before `base` take part in the softmax and are not scored,
   then come the scored ones, then the window's. */
struct cpu_scored {
    const struct fkv_kernels *k;
    struct cpu_scratch *scratch;
    const struct fkv_kv_store *s;
    const struct fkv_attention *how;
    const struct fkv_scoring *scoring;
    int head, base, scored, all;
    const int32_t *first; /* [window] the first entries that its rows see; NULL: they see all */
    size_t apart;         /* floats from row to row of logits */
    float *looked[2];     /* [scored] what every other row attends to is added to, and that of the others; or NULL */
};

/* One query head of it, whose logits are in the scratch: [window][apart]. */
struct cpu_scored_query {
    const float *q; /* [window][ld] */
    size_t ld;
    float sink; /* its logit; -infinity: none */
};

/* sums[all - window] of the scratch: what the window's row i attends to. */
void cpu_row_attention(const struct cpu_scored *x, const struct cpu_scored_query *q, int i);
/* sums[base ..] of the scratch: the scores by what the rows' outputs lose. In place of the logits then lies, from base
   on, what the rows attend to. */
void cpu_drop_scores(const struct cpu_scored *x, const struct cpu_scored_query *q);
/* g[scored] times the norms of the projected values. */
void cpu_times_value_norms(const struct cpu_scored *x, float *g);

#endif
