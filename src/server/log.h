/* log.h: what people ask and are told, in the log: nothing unless --log-prompts was given. */
#ifndef FKV_SERVER_LOG_H
#define FKV_SERVER_LOG_H

struct branch;
struct request;

/* A line for each prompt, and for an answer that has ended. */
void log_prompts(const struct request *r);
void log_answer(const struct branch *b);

#endif
