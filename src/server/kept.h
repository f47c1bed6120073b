/* kept.h: what retention did to a prompt, for its client. */
#ifndef FKV_SERVER_KEPT_H
#define FKV_SERVER_KEPT_H

#include "server/request.h"

/* Which tokens went past the TSP layer: of a session that has just computed a turn from token `first` on by a policy.
   Those outside of it did, but in earlier turns of which that is not known. */
void kept_turn(const fkv_session *session, struct prompt *p, size_t first);
/* p->kept, of a session that holds the prompt. */
void kept_report(const fkv_session *session, struct prompt *p);
/* The same token by token, as JSON into p->map. */
void kept_map(const fkv_engine *engine, const fkv_session *session, struct prompt *p);

#endif
