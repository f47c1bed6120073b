/* Chat templates for models whose file has none or a wrong one. Sources: the models' own documentation of their
   format. */
#include <string.h>

#include "cli/prompt.h"

#define START_OF_ANSWER(text) "{% if add_generation_prompt %}" text "{% endif %}"
/* Formats without a system role: what the system says opens the first user turn. */
#define SYSTEM_INTO_USER                                                                                           \
    "{% if messages[0]['role'] == 'system' %}{% set opening = messages[0]['content'] + '\\n\\n' %}{% set turns = " \
    "messages[1:] %}"                                                                                              \
    "{% else %}{% set opening = '' %}{% set turns = messages %}{% endif %}"

static const struct {
    const char *name, *source;
} templates[] = {
    {"chatml", "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% "
               "endfor %}" START_OF_ANSWER("{{ '<|im_start|>assistant\\n' }}")},
    {"llama3",
     "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + "
     "(m['content'] | trim) + "
     "'<|eot_id|>' }}{% endfor %}" START_OF_ANSWER("{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}")},
    {"gemma", "{{ bos_token }}" SYSTEM_INTO_USER
              "{% for m in turns %}{% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}"
              "{% set role = m['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + (opening if loop.first else "
              "'') + (m['content'] | trim) + "
              "'<end_of_turn>\\n' }}{% endfor %}" START_OF_ANSWER("{{ '<start_of_turn>model\\n' }}")},
    {"mistral",
     "{{ bos_token }}" SYSTEM_INTO_USER
     "{% for m in turns %}{% if m['role'] == 'assistant' %}{{ ' ' + (m['content'] | trim) + eos_token }}"
     "{% else %}{{ '[INST] ' + (opening if loop.first else '') + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}"},
};

const char *chat_template_named(const char *name)
{
    for (size_t i = 0; i < sizeof templates / sizeof *templates; i++)
        if (!strcmp(templates[i].name, name)) return templates[i].source;
    return NULL;
}
