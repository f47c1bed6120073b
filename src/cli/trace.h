/* trace.h: one run as a JSON object, so that anybody can check it from outside. Written in two steps, since what a
   prompt left in the cache must be read before the answer grows it. A long prompt's lists go out one by one: they are
   never all in memory. */
#ifndef FKV_CLI_TRACE_H
#define FKV_CLI_TRACE_H

#include <stdio.h>

#include "cli/generate.h"

/* After the prefill: model, policy, prompt, what was propagated and kept, logits. file: NULL, and nothing happens. */
void trace_prefill(FILE *file, const struct generator *g, const int32_t *ids, size_t n);
/* After the answer: what was generated, times, bytes. */
void trace_answer(FILE *file, const struct generator *g, const struct kept *kept, const struct generated *generated);

#endif
