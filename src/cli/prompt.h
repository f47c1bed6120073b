/* prompt.h: from the options of run and chat to the text and the token ids of a prompt. */
#ifndef FKV_CLI_PROMPT_H
#define FKV_CLI_PROMPT_H

#include "cli/settings.h"

/* All print why not and return false. Results are malloc'ed (ids: freed with fkv_free). */

/* Is this a text that a chat message or a template can hold: UTF-8 without NUL? `what`: the file or the option, of
   which the text is n bytes from `at` on. */
bool prompt_check(const char *what, const char *text, size_t n, uint64_t at);
/* The document of -f, an empty line, the text of -p; *text is NULL when neither is given. message: each is checked as
   above. */
bool prompt_text(const struct settings *settings, bool message, char **text, size_t *n);
/* The system message of -sys or -sysf; *text is NULL when neither is given. */
bool prompt_system(const struct settings *settings, char **text);
/* The Jinja source that --chat-template names; *source is NULL when it is not given: then the model's own serves. */
bool prompt_template(const struct settings *settings, const fkv_engine *engine, char **source);
/* Messages as the model wants them, with the start of the answer. */
bool prompt_render(const struct settings *s, const fkv_engine *engine, const char *source,
                   const struct fkv_message *messages, size_t n_messages, char **text, size_t *n);
bool prompt_tokenize(const fkv_engine *engine, const char *text, size_t n, unsigned flags, int32_t **ids,
                     size_t *n_ids);
/* Is there one prompt, and nothing beside it that it does not take? */
bool prompt_asked(const struct settings *settings);
/* The prompt of `run`, by whichever of the options it is given. */
bool prompt_ids(const struct settings *settings, const fkv_engine *engine, int32_t **ids, size_t *n_ids);

/* chat_templates.c: the template with this name, or NULL. */
const char *chat_template_named(const char *name);

#endif
