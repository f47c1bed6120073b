/* preparation.h: the thread that loads the model, and then turns bodies into requests: JSON, templates and tokens of
   long prompts take time that the I/O thread has not. */
#ifndef FKV_SERVER_PREPARATION_H
#define FKV_SERVER_PREPARATION_H

#include "server/server.h"

/* Starts the thread, which loads the model and sets the server's state. */
bool preparation_open(struct server *server);
/* Queues an exchange, whose route answers it there. */
void preparation_add(struct preparation *p, struct exchange *x);
/* Ends the thread; what it has not begun is refused. */
void preparation_close(struct preparation *p);

#endif
