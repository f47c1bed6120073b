/* routes.h: which endpoint answers what. */
#ifndef FKV_SERVER_ROUTES_H
#define FKV_SERVER_ROUTES_H

#include "server/server.h"

enum route_where { ROUTE_IO, ROUTE_PREPARE };
enum { ROUTE_PUBLIC = 1, ROUTE_ALWAYS = 2, ROUTE_BARE = 4, ROUTE_GENERATE = 8, ROUTE_EMPTY = 16 };

struct route {
    const char *method, *path;
    enum route_where where;
    unsigned flags;
    /* Answers, or sees to it that it will be. */
    void (*answer)(struct server *server, struct exchange *x);
    const char *api; /* of one that generates, in metrics: "chat" */
};

/* The route of a path; NULL and an error when there is none, or none of this method. *tail: what its * stands for, in
   path; "" without one. *allow: when the method is wrong, those that are not, as the header Allow has them. */
const struct route *route_find(const char *method, const char *path, const char **tail, char allow[48],
                               struct api_error *error);

/* info_api.c: what is answered from what is known. */
void api_health(struct server *server, struct exchange *x);
void api_models(struct server *server, struct exchange *x);
void api_model(struct server *server, struct exchange *x);
void api_props(struct server *server, struct exchange *x);
void api_slots(struct server *server, struct exchange *x);
void api_metrics(struct server *server, struct exchange *x);
void api_embeddings(struct server *server, struct exchange *x);
void api_other_doors(struct server *server, struct exchange *x);
/* page.c */
void api_page(struct server *server, struct exchange *x);
/* text_api.c: text and tokens. */
void api_tokenize(struct server *server, struct exchange *x);
void api_detokenize(struct server *server, struct exchange *x);
void api_apply_template(struct server *server, struct exchange *x);
/* slot_files.c: save, restore, erase. */
void api_slot_action(struct server *server, struct exchange *x);
/* prefixes_api.c */
void api_prefixes(struct server *server, struct exchange *x);
void api_prefix_delete(struct server *server, struct exchange *x);
/* preparation.c: requests that compute. */
void api_prefix(struct server *server, struct exchange *x);
void api_chat(struct server *server, struct exchange *x);
void api_completions(struct server *server, struct exchange *x);
void api_native(struct server *server, struct exchange *x);

#endif
