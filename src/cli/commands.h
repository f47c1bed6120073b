/* commands.h: what each command does, given its settings. All return the exit status; an error has been printed by
   then. */
#ifndef FKV_CLI_COMMANDS_H
#define FKV_CLI_COMMANDS_H

#include "cli/options.h"

int cmd_run(struct settings *settings);
int cmd_chat(struct settings *settings);
int cmd_tokenize(struct settings *settings);
int cmd_info(struct settings *settings);
int cmd_bench(struct settings *settings);
int cmd_eval(struct settings *settings);
int cmd_compare(struct settings *settings);
/* in src/server */
int cmd_serve(struct settings *settings);
int cmd_devices(struct settings *settings);

#endif
