/* Writes a small random model with a chat template and words, for the tests of the server.
   make_model FILE [slow]     slow: about 1 ms a token, for what needs answers under way */
#include <stdio.h>
#include <stdlib.h>

#include "support/tiny_model.h"

/* Every turn is told apart by its end token. A system message behind the first is refused. */
static const char chat_template[] =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('system message inside') }}{% endif %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}";

static void put_template(struct gguf_writer *w) { gguf_put_str(w, "tokenizer.chat_template", chat_template); }

int main(int argc, char **argv)
{
    struct tiny_model m = TINY_MODEL_INIT;
    size_t bytes;
    if (argc == 3) m.n_layer = 6, m.d_model = 256, m.d_ff = 512;
    m.n_ctx = 4096;
    m.also = put_template;
    uint8_t *data = tiny_model_make(&m, &bytes);
    FILE *f = argc >= 2 ? fopen(argv[1], "wb") : NULL;
    const bool ok = f && fwrite(data, 1, bytes, f) == bytes;
    free(data);
    return f && !fclose(f) && ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
