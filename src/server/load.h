/* load.h: the model, and all that needs it. */
#ifndef FKV_SERVER_LOAD_H
#define FKV_SERVER_LOAD_H

#include "server/server.h"

/* Opens the engine and the scheduler and says what was found; the server's state is READY, or FAILED with the error
   printed, then, and the I/O thread knows. */
void load(struct server *server);
/* Frees what load() made, after the scheduler. */
void unload(struct server *server);

#endif
