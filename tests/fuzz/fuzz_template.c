/* Chat templates: any text is a template; it is rendered, or refused with a message. Seeds:
   tests/golden/chat_templates. */
#include <stdlib.h>
#include <string.h>

#include "template/chat_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static const char conversation[] = "{\"messages\": [{\"role\": \"system\", \"content\": \" Be brief. \"}, {\"role\": "
                                   "\"user\", \"content\": \"Gr\u00fc\u00dfe\"},"
                                   "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": "
                                   "{\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, true]}}}]},"
                                   "{\"role\": \"tool\", \"content\": \"\"}], \"tools\": [{\"type\": \"function\", "
                                   "\"function\": {\"name\": \"f\", \"parameters\": {}}}],"
                                   "\"add_generation_prompt\": true, \"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static json_t *context; /* kept until the end of the process */
    if (!context && !(context = json_loads(conversation, 0, NULL))) abort();
    struct fkv_error e = {{0}};
    char *text;
    size_t n;
    if (fkv_chat_render((const char *)data, bytes, context, &text, &n, &e)) {
        if (strncmp(e.text, "chat template, line ", 20) != 0) abort();
    } else {
        if (text[n] != 0) abort();
        free(text);
    }
    return 0;
}
