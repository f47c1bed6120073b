/* report.h: what run and chat say about a computation, for people. */
#ifndef FKV_CLI_REPORT_H
#define FKV_CLI_REPORT_H

#include <stdio.h>

#include "cli/generate.h"

/* One line: the model and what runs it. */
void report_model(FILE *out, const struct fkv_model_info *info);
/* What a user should know of the model, a line each. */
void report_warnings(FILE *out, const fkv_engine *engine);
/* "1.2 GiB available", and the limit that is met first, if it is a control group's. */
const char *report_available(char text[320], const struct fkv_memory_plan *plan);
/* One line: the memory a prompt and an answer will take, with this policy and with full attention. */
void report_need(FILE *out, const struct memory_need *need, const char *policy);
/* Part of a line: what is known of how well a prompt compressed; self_check: NAN when it was not done. Nothing is
   printed, and false returned, when nothing is known. */
bool report_signals(FILE *out, const struct fkv_signals *signals, double self_check);
/* The end of a run: speeds, what was kept, memory. */
void report_run(FILE *out, const struct generator *g, const struct kept *kept, const struct generated *generated);
/* The end of a turn of a conversation: one line. `before`, `prompt`: the session's statistics when the
   turn began and when its prompt was computed. */
void report_turn(FILE *out, const struct generator *g, const struct fkv_session_stats *before,
                 const struct fkv_session_stats *prompt);
/* Tokens that a session computed between two moments, as a prompt (a prompt of one is decoded) and their time. */
struct work {
    uint64_t tokens;
    double seconds;
};
struct work prompt_work(const struct fkv_session_stats *before, const struct fkv_session_stats *after);
/* The same of an answer. */
struct work answer_work(const struct fkv_session_stats *before, const struct fkv_session_stats *after);
/* Tokens per second; 0 when there is no time. */
double tokens_per_s(uint64_t tokens, double seconds);

#endif
