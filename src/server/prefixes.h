/* prefixes.h: the prefix cache as the server's threads use it, one at a time: what prompts find in it, what they leave,
   and a line in the log about what had to be computed. */
#ifndef FKV_SERVER_PREFIXES_H
#define FKV_SERVER_PREFIXES_H

#include "server/prefix_cache.h"
#include "server/request.h"

struct prefixes;

/* session: as the server's sessions are. err: why not, such as a folder of --cache-disk that cannot be used. */
bool prefixes_open(struct server *server, const struct fkv_session_params *session, char *err);
void prefixes_close(struct prefixes *p);

/* Looks for the prompt: p->found is set, and its entry in use. least: fewer ids are not worth it. */
void prefixes_look(struct prefixes *c, const struct request *r, struct prompt *p, size_t least);
/* What the prompt found and has not used goes back. */
void prefixes_let_go(struct prefixes *c, struct prompt *p);

/* Stores the first n of the ids that the session holds. Returns the entry, which is in use from here on in place of
   `from`; that one, where nothing was stored. */
uint64_t prefixes_store(struct prefixes *c, const struct request *r, const struct prompt *p, fkv_session *session,
                        size_t n, uint64_t from);
/* Takes a session that is done with, and its use of `from`, for what begins with ids[n] next. Its prompt's last message
   ended at `boundary`; with the first n_trunk ids others may begin, too. Returns the entry, which is not in use; 0: it
   is gone. */
uint64_t prefixes_keep(struct prefixes *c, const char *salt, const int32_t *ids, size_t n, size_t boundary,
                       size_t n_trunk, fkv_session *session, uint64_t from);
bool prefixes_hold(struct prefixes *c, uint64_t id);
void prefixes_release(struct prefixes *c, uint64_t id);
/* A session of what the entry holds; NULL: it is gone. */
fkv_session *prefixes_fork(struct prefixes *c, uint64_t id);
/* The entry, and what nothing else grew from. */
void prefixes_forget(struct prefixes *c, uint64_t id);
bool prefixes_drop(struct prefixes *c, uint64_t id);
/* False: there is no such entry, or none so far in the list. */
bool prefixes_pin(struct prefixes *c, uint64_t id, double until, struct fkv_prefix_entry_info *info);
bool prefixes_info(struct prefixes *c, uint64_t id, struct fkv_prefix_entry_info *info);
bool prefixes_list(struct prefixes *c, size_t i, struct fkv_prefix_entry_info *info);
/* Evicts down to so many bytes, if it can. Returns what is held. */
uint64_t prefixes_shrink(struct prefixes *c, uint64_t bytes);
/* What computing tokens of a prompt took, for what entries are worth: before those are stored. */
void prefixes_took(struct prefixes *c, size_t n_tokens, double seconds);

/* As of the last call that has ended: nobody is waited for. */
void prefixes_stats(struct prefixes *c, struct fkv_prefix_stats *stats);
/* prefixes_api.c: the same, as /metrics has it. */
void prefixes_print(struct prefixes *c, struct eval_text *out);

#endif
