/* prompt.h: from the options of run and chat to the text and the token ids of a prompt. */
#ifndef FKV_CLI_PROMPT_H
#define FKV_CLI_PROMPT_H

#include "cli/settings.h"

/* All print why not and return false. Results are malloc'ed (ids: freed with fkv_free). */

/* Is this a text that a chat message or a template can hold: UTF-8 without NUL? `what`: the file or the option, of
   which the text is n bytes from `at` on. */
bool prompt_check(const char *what, const char *text, size_t n, uint64_t at);
/* The document of -f, an empty line, the text of -p, and where it is wanted again the first line; *text is NULL when
   neither is given. message: each is checked as above. */
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
/* Marks in a text, of ids[n], the question, with which a message of n_message bytes ends; it is looked for near the end
   of the text. One that is all of the message and longer than PROMPT_QUESTION ids is a document, and not marked. Nor is
   what the template has changed. */
enum { PROMPT_QUESTION = 256 };
struct fkv_marks prompt_marks(const fkv_engine *engine, const char *text, size_t n_text, const int32_t *ids, size_t n,
                              const char *question, size_t n_question, size_t n_message);
/* The end of a message that asks: what -p says beside -f, or the line that is repeated; else all of it. */
const char *prompt_question(const struct settings *settings, const char *message, size_t n);
/* The prompt of `run`, by whichever of the options it is given, and what it is known to be. */
bool prompt_ids(const struct settings *settings, const fkv_engine *engine, int32_t **ids, size_t *n_ids,
                struct fkv_marks *marks);

/* chat_templates.c: the template with this name, or NULL. */
const char *chat_template_named(const char *name);

#endif
