/* spans.h: what of a prompt is kept whole, and what a policy may compress. What is cached is whole, what is compressed
   is new: the system part, a document that is asked about, and what was asked about before (second sight) are whole,
   and serve all that come; what follows, as far as the last message's end, is one turn under the request's policy. */
#ifndef FKV_SERVER_SPANS_H
#define FKV_SERVER_SPANS_H

#include "server/request.h"

/* Sets p->trunk and p->turn_first by the rules, before the cache was looked into. */
void spans_plan(const struct request *r, struct prompt *p);
/* The same with what was found: p->found. kv_ram: a trunk that does not fit with the rest is given up. */
void spans_settle(const struct request *r, struct prompt *p, uint64_t kv_ram);
/* Fewer cached ids are not worth that what a policy keeps of the rest depends on them. */
size_t spans_least(const struct prompt *p);
static inline bool spans_compress(const struct prompt *p) { return p->turn_first < p->last_end; }
/* The least that spans_bytes() will come to, whatever is found. */
uint64_t spans_least_bytes(const struct request *r, const struct prompt *p);
/* KV bytes that the prompt and its answer take at most, with what was found. */
uint64_t spans_bytes(const struct prompt *p);

#endif
