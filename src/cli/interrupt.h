/* interrupt.h: Ctrl-C. The only state of the program outside its functions, since a signal handler is given none. */
#ifndef FKV_CLI_INTERRUPT_H
#define FKV_CLI_INTERRUPT_H

#include <stdbool.h>

#include "fastkv.h"

/* From now on the first Ctrl-C is remembered and cancels `session` (NULL: is only remembered); a second one ends the
   program. Forgets an earlier one. */
void interrupt_watch(fkv_session *session);
/* Ctrl-C has its usual effect again. Call before the session is closed. */
void interrupt_unwatch(void);
bool interrupted(void);

#endif
