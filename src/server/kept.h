/* kept.h: what retention did to a prompt, for its client. */
#ifndef FKV_SERVER_KEPT_H
#define FKV_SERVER_KEPT_H

#include "server/request.h"

/* Of a session that has just computed a prompt. */
void kept_report(const fkv_session *session, struct kept_report *report);
/* The same token by token, as JSON into p->map. */
void kept_map(const fkv_engine *engine, const fkv_session *session, struct prompt *p);

#endif
