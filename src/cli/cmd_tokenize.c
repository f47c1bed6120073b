#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/prompt.h"
#include "cli/report.h"

/* Exactly one source of text; *text malloc'ed. */
static bool read_text(struct settings *s, char **text, size_t *n)
{
    int sources = (s->prompt != NULL) + (s->prompt_file != NULL) + s->from_stdin;
    if (sources != 1) {
        console_error("expected one of -p TEXT, -f FILE and --stdin, found %s", sources ? "several" : "none");
        return false;
    }
    if (s->from_stdin) s->prompt_file = "-";
    return prompt_text(s, false, text, n);
}

static void print_ids(const int32_t *ids, size_t n)
{
    putchar('[');
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? ", " : "", ids[i]);
    puts("]");
}

/* One line for each token: the id and the bytes it stands for, those that are not printable escaped. */
static void print_tokens(const fkv_engine *engine, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *bytes;
        size_t length = fkv_token_bytes(engine, ids[i], true, &bytes);
        printf("%7d  '", ids[i]);
        for (size_t k = 0; k < length; k++) {
            unsigned char byte = (unsigned char)bytes[k];
            if (byte == '\n')
                fputs("\\n", stdout);
            else if (byte == '\'' || byte == '\\')
                printf("\\%c", byte);
            else if (byte < ' ' || byte >= 0x7f)
                printf("\\x%02x", byte);
            else
                putchar(byte);
        }
        puts("'");
    }
}

int cmd_tokenize(struct settings *s)
{
    char err[FKV_ERROR_BYTES], *text = NULL;
    fkv_engine *engine = NULL;
    int32_t *ids = NULL;
    size_t n, n_ids;
    int status = EXIT_FAILURE;
    unsigned flags = (s->no_bos ? 0 : FKV_TOKENIZE_ADD_SPECIAL) |
                     (s->no_parse_special ? 0 : FKV_TOKENIZE_PARSE_SPECIAL);
    s->engine.vocab_only = true;
    if (!read_text(s, &text, &n)) return status;
    if (fkv_engine_open(&engine, s->model, &s->engine, err) != FKV_OK)
        console_error("%s", err);
    else {
        report_warnings(stderr, engine);
        if (prompt_tokenize(engine, text, n, flags, &ids, &n_ids)) status = EXIT_SUCCESS;
    }
    if (status == EXIT_SUCCESS && s->ids_only)
        print_ids(ids, n_ids);
    else if (status == EXIT_SUCCESS)
        print_tokens(engine, ids, n_ids);
    fkv_free(ids);
    fkv_engine_close(engine);
    free(text);
    return status;
}
