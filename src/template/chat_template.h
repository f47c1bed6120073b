/* chat_template.h: renders a conversation by the Jinja template of a model's metadata.

   An interpreter of the subset that real templates use, with the settings of the transformers library: trim_blocks,
   lstrip_blocks, tojson without ASCII escapes and with key order kept. Templates are untrusted: steps, nesting, memory
   and output are bounded, and a construct it lacks is an error that names it and its line. */
#ifndef FKV_TEMPLATE_CHAT_TEMPLATE_H
#define FKV_TEMPLATE_CHAT_TEMPLATE_H

#include <jansson.h>

#include "base/error.h"

/* source: n_source bytes of template. context: a JSON object whose members are the template's variables (messages,
   tools when not null, add_generation_prompt, bos_token, eos_token, ...). *text: malloc'ed, NUL-terminated, *n_text
   bytes without the NUL. raise_exception('...') in the template becomes FKV_ERROR_FORMAT with its message. */
fkv_status fkv_chat_render(const char *source, size_t n_source, const json_t *context, char **text, size_t *n_text,
                           struct fkv_error *e);

#endif
