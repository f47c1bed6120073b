/* messages.h: a conversation as clients send it, and the prompt that it becomes. */
#ifndef FKV_SERVER_MESSAGES_H
#define FKV_SERVER_MESSAGES_H

#include <jansson.h>

#include "fastkv.h"
#include "server/exchange.h"

struct prompt;
struct request;
struct server;

struct messages {
    struct fkv_message *items; /* [n] contents are owned, roles constant */
    size_t n;
};

/* Reads the "messages" of a body. Freed in any case. */
bool messages_read(struct messages *m, const json_t *body, struct api_error *error);
void messages_free(struct messages *m);
/* The prompt: a last message of the assistant is continued; else the answer's start is added, if wanted. A system
   message inside becomes the user's where the template refuses it. *text: malloc'ed. */
bool messages_render(struct messages *m, const struct server *server, const json_t *body, bool generation_prompt,
                     char **text, size_t *n, struct api_error *error);
/* The prompt of a request's messages, marked. */
bool messages_prompt(struct request *r, bool generation_prompt, struct api_error *error);
/* The message in which the token is, or behind which. */
size_t messages_at(const fkv_engine *engine, const struct prompt *p, size_t token);

#endif
