/* eval_table.h: what the samples came to: a table for each length, and one for all where there are several. */
#ifndef FKV_CLI_EVAL_TABLE_H
#define FKV_CLI_EVAL_TABLE_H

#include <stdio.h>

#include "cli/eval_plan.h"

/* Scores in percent; differences from full attention on the same samples with half their 95 % interval, by paired
   bootstrap within tasks. False, said by then, when memory runs out. */
bool eval_table_print(FILE *out, const struct eval_plan *plan, const fkv_engine *engine,
                      const struct eval_records *records);

#endif
