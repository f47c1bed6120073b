/* eval_log.h: the file of --json: a line that says what is measured, then a line for each sample, as JSON. Nothing in
   it depends on time or threads unless --times is given: the same command makes the same bytes. */
#ifndef FKV_CLI_EVAL_LOG_H
#define FKV_CLI_EVAL_LOG_H

#include <stdio.h>

#include "cli/eval_plan.h"

struct eval_log {
    FILE *file; /* NULL: none is wanted */
    const char *path;
    bool times;
};

/* Starts the file of --json; with --resume goes on with one of the same measurement, whose samples go to `records`. A
   last line that was cut off is taken away. Prints why not and returns false. */
bool eval_log_open(struct eval_log *log, const struct eval_plan *plan, const fkv_engine *engine,
                   struct eval_records *records);
bool eval_log_add(struct eval_log *log, const struct eval_plan *plan, const struct eval_record *record,
                  const struct eval_sample *sample);
/* False, said by then, when something could not be written. */
bool eval_log_close(struct eval_log *log);

/* Writes the prompts of --dump: a line of JSON for each sample. */
bool eval_dump_line(FILE *f, const struct eval_plan *plan, const fkv_engine *engine, const struct eval_record *record,
                    const struct eval_sample *sample);

#endif
