/* report.h: what run and chat say about a computation, for people. */
#ifndef FKV_CLI_REPORT_H
#define FKV_CLI_REPORT_H

#include <stdio.h>

#include "cli/generate.h"

/* One line: the model and what runs it. */
void report_model(FILE *out, const struct fkv_model_info *info);
/* What a user should know of the model, a line each. */
void report_warnings(FILE *out, const fkv_engine *engine);
/* One line: the memory a prompt and an answer will take, with this policy and with full attention. */
void report_need(FILE *out, const struct memory_need *need, const char *policy);
/* The end of a run: speeds, what was kept, memory. */
void report_run(FILE *out, const struct generator *g, const struct kept *kept, const struct generated *generated);
/* The end of a turn of a conversation: one line. `before`: the session's statistics when the turn began. */
void report_turn(FILE *out, const struct generator *g, const struct fkv_session_stats *before);
/* Tokens per second; 0 when there is no time. */
double tokens_per_s(uint64_t tokens, double seconds);

#endif
