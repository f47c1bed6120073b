/* prompt_cache.h: --session: a computed prompt in a file, from one run to the next. */
#ifndef FKV_CLI_PROMPT_CACHE_H
#define FKV_CLI_PROMPT_CACHE_H

#include "cli/generate.h"

/* The prompt of a run, or of a conversation's first turn. Zero: not yet asked, or there is no --session. */
struct prompt_cache {
    fkv_session *computed; /* the prompt without its answer, to be saved; NULL: the file has it already */
    size_t n, reused;
    char why[FKV_ERROR_BYTES]; /* why no more was reused; "" */
};

/* Functions that can fail print why and return an exit status. All do nothing without --session. */

/* Fails when there is a file of the name that is no session: it would be overwritten. */
int prompt_cache_check(const struct settings *settings);
/* Makes the generator's session, which is empty, hold what the file has of the prompt. A file that does not fit is no
   failure. */
void prompt_cache_load(struct prompt_cache *cache, const struct generator *g, const int32_t *ids, size_t n);
/* One line: how much was reused, and why no more. */
void prompt_cache_report(FILE *out, const struct prompt_cache *cache, const struct generator *g);
/* The prompt has been computed: keeps it, without copying, for prompt_cache_save(). */
int prompt_cache_keep(struct prompt_cache *cache, const struct generator *g);
/* Writes what was kept, and forgets it. */
int prompt_cache_save(struct prompt_cache *cache, const struct generator *g);

#endif
