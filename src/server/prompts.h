/* prompts.h: the field "prompt" of the doors that take text as it stands. */
#ifndef FKV_SERVER_PROMPTS_H
#define FKV_SERVER_PROMPTS_H

#include "server/request.h"

/* A string, ids, strings and ids mixed, or an array of those. */
bool prompts_read(struct request *r, struct api_error *error);
/* Ids of one text, malloc'ed. begins: BOS and EOS as the model asks. */
bool prompts_tokenize(const struct server *server, const char *text, size_t n_text, bool begins, bool special,
                      int32_t **ids, size_t *n, struct api_error *error);

#endif
