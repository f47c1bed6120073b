#define _GNU_SOURCE
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/console.h"
#include "cli/prompt.h"
#include "cli/utf8.h"

static char *copy(const char *text)
{
    char *copied = strdup(text);
    if (!copied) console_error("out of memory");
    return copied;
}

bool prompt_check(const char *what, const char *text, size_t n, uint64_t at)
{
    const char *nul = memchr(text, '\0', n);
    const size_t bad = utf8_find_bad(text, n);
    if (nul && (size_t)(nul - text) < bad)
        console_error("%.300s: byte %s is NUL, which a chat message or template cannot hold", what,
                      COUNT(at + (uint64_t)(nul - text)));
    else if (bad < n)
        console_error("%.300s: byte %s (0x%02X) is not UTF-8: iconv -f ENCODING -t UTF-8 converts a text", what,
                      COUNT(at + bad), (unsigned char)text[bad]);
    return !nul && bad == n;
}

/* Something to read that nobody asked for? Reading it unasked could take what is meant for another, and a pipe does not
   tell whether anything will come. */
static void warn_of_input(const struct settings *s)
{
    struct stat st;
    if (s->prompt_file || (s->system_file && !strcmp(s->system_file, "-")) || fstat(STDIN_FILENO, &st)) return;
    if (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) ||
        (S_ISREG(st.st_mode) && st.st_size > lseek(STDIN_FILENO, 0, SEEK_CUR)))
        console_warning("standard input is not read; with -f - it is the document");
}

/* "A question\nand a document" with the question once more behind an empty line. Takes *text. */
static bool repeat_question(char **text, size_t *n)
{
    const char *end = memchr(*text, '\n', *n);
    const size_t line = end ? (size_t)(end - *text) : 0;
    if (!line) return true; /* there is no document below it */
    char *longer = realloc(*text, *n + 2 + line + 1);
    if (!longer) {
        console_error("out of memory for a prompt of %s", SIZE(*n + line));
        free(*text);
        *text = NULL;
        return false;
    }
    memcpy(longer + *n, "\n\n", 2);
    memcpy(longer + *n + 2, longer, line);
    *n += 2 + line;
    longer[*n] = '\0';
    *text = longer;
    return true;
}

bool prompt_text(const struct settings *s, bool message, char **text, size_t *n)
{
    const char *question = s->prompt ? s->prompt : "", *gap = s->prompt_file && s->prompt ? "\n\n" : "";
    char *document = NULL;
    size_t n_document = 0, n_question = strlen(question), n_gap = strlen(gap);
    *text = NULL;
    *n = 0;
    if (!s->prompt && !s->prompt_file) return true;
    if (s->prompt_file && !console_read_file(s->prompt_file, &document, &n_document)) return false;
    if (message && ((document && !prompt_check(s->prompt_file, document, n_document, 0)) ||
                    !prompt_check("-p", question, n_question, 0))) {
        free(document);
        return false;
    }
    char *joined = malloc(n_document + n_gap + n_question + 1);
    if (!joined) {
        free(document);
        console_error("out of memory for a prompt of %s", SIZE(n_document + n_question));
        return false;
    }
    if (n_document) memcpy(joined, document, n_document);
    memcpy(joined + n_document, gap, n_gap);
    memcpy(joined + n_document + n_gap, question, n_question + 1);
    free(document);
    *text = joined;
    *n = n_document + n_gap + n_question;
    return !s->repeat_question || repeat_question(text, n);
}

const char *prompt_question(const struct settings *s, const char *message, size_t n)
{
    const char *line_end = memchr(message, '\n', n), *asked = s->prompt_file ? s->prompt : NULL;
    size_t n_asked = asked ? strlen(asked) : 0;
    if (s->repeat_question) {
        asked = message;
        n_asked = line_end ? (size_t)(line_end - message) : 0;
    }
    const bool ends_with = n_asked && n_asked < n && !memcmp(message + n - n_asked, asked, n_asked);
    return ends_with ? message + n - n_asked : message;
}

bool prompt_system(const struct settings *s, char **text)
{
    size_t n;
    *text = NULL;
    if (s->system && s->system_file) {
        console_error("-sys and -sysf: expected one of them, found both");
        return false;
    }
    if (s->system) return prompt_check("-sys", s->system, strlen(s->system), 0) && (*text = copy(s->system));
    if (!s->system_file) return true;
    return console_read_file(s->system_file, text, &n) && prompt_check(s->system_file, *text, n, 0);
}

bool prompt_template(const struct settings *s, const fkv_engine *engine, char **source)
{
    size_t n;
    *source = NULL;
    if (!s->chat_template && !fkv_chat_template(engine) && s->fallback_template)
        return (*source = copy(chat_template_named(s->fallback_template)));
    if (!s->chat_template) {
        if (!fkv_chat_template(engine))
            console_error("the model has no chat template: give --chat-template NAME|FILE, or run --raw");
        return fkv_chat_template(engine);
    }
    const char *named = chat_template_named(s->chat_template);
    if (named) return (*source = copy(named));
    if (access(s->chat_template, F_OK)) {
        console_error("--chat-template: expected chatml, gemma, llama3, mistral or a file, found %.200s",
                      s->chat_template);
        return false;
    }
    return console_read_file(s->chat_template, source, &n) && prompt_check(s->chat_template, *source, n, 0);
}

bool prompt_render(const struct settings *s, const fkv_engine *engine, const char *source,
                   const struct fkv_message *messages, size_t n_messages, char **text, size_t *n)
{
    char err[FKV_ERROR_BYTES];
    if (fkv_chat_format(engine, source, messages, n_messages, true, s->template_variables, text, n, err) == FKV_OK)
        return true;
    console_error("chat template: %s", err);
    return false;
}

bool prompt_tokenize(const fkv_engine *engine, const char *text, size_t n, unsigned flags, int32_t **ids, size_t *n_ids)
{
    char err[FKV_ERROR_BYTES];
    if (fkv_tokenize(engine, text, n, flags, ids, n_ids, err) == FKV_OK) return true;
    console_error("%s", err);
    return false;
}

/* ---- the question of a prompt ---------------------------------------------------------------- */

/* How many of the last ids hold the last so many bytes; whole: that lie within them. */
static size_t ids_of_end(const fkv_engine *engine, const int32_t *ids, size_t n, size_t bytes, bool whole)
{
    const char *ignored;
    size_t count = 0;
    for (size_t sum = 0; count < n && sum < bytes; count++) {
        sum += fkv_token_bytes(engine, ids[n - 1 - count], true, &ignored);
        if (whole && sum > bytes) break;
    }
    return count;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* As prompt_marks(), in a text without the marks of control tokens. */
static struct fkv_marks find_question(const fkv_engine *engine, const char *text, size_t n_text, const int32_t *ids,
                                      size_t n, const char *question, size_t n_question, size_t n_message)
{
    enum { TAIL = 4096 }; /* bytes that a template may add behind the question */
    struct fkv_marks marks = FKV_MARKS_INIT;
    const bool is_all = n_question == n_message;
    for (; n_question && is_space(question[n_question - 1]); n_question--) n_message--; /* templates trim */
    for (; n_question && is_space(*question); n_question--) question++;
    for (size_t tail = 0; n_question && tail <= TAIL && tail + n_question <= n_text; tail++) {
        if (memcmp(text + n_text - tail - n_question, question, n_question)) continue;
        const size_t behind = ids_of_end(engine, ids, n, tail, true),
                     from = ids_of_end(engine, ids, n, tail + n_question, false);
        if (!is_all || from - behind <= PROMPT_QUESTION) {
            marks.question_first = n - from;
            marks.question_n = from - behind;
        }
        marks.head_n = n - ids_of_end(engine, ids, n, tail + n_message, false);
        break;
    }
    return marks;
}

struct fkv_marks prompt_marks(const fkv_engine *engine, const char *text, size_t n_text, const int32_t *ids, size_t n,
                              const char *question, size_t n_question, size_t n_message)
{
    static const char mark[] = "\xEF\xB7\x90"; /* of fkv_chat_format(), in what spells a control token */
    struct fkv_marks none = FKV_MARKS_INIT;
    char *plain = malloc(n_text + 1);
    size_t n_plain = 0;
    if (!plain) return none;
    for (size_t i = 0; i < n_text;) {
        if (n_text - i >= sizeof mark - 1 && !memcmp(text + i, mark, sizeof mark - 1))
            i += sizeof mark - 1;
        else
            plain[n_plain++] = text[i++];
    }
    const struct fkv_marks marks = find_question(engine, plain, n_plain, ids, n, question, n_question, n_message);
    free(plain);
    return marks;
}

/* ---- the prompt of run ----------------------------------------------------------------------- */

static bool ids_of_json(const json_t *array, const char *path, int n_vocab, int32_t *ids)
{
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item)
    {
        json_int_t id = json_is_integer(item) ? json_integer_value(item) : -1;
        if (id < 0 || id >= n_vocab) {
            char *found = json_dumps(item, JSON_ENCODE_ANY | JSON_COMPACT);
            console_error("%.200s: item %zu: expected a token id from 0 to %d, found %.40s", path, i, n_vocab - 1,
                          found ? found : "?");
            free(found);
            return false;
        }
        ids[i] = (int32_t)id;
    }
    return true;
}

static bool ids_of_file(const char *path, const fkv_engine *engine, int32_t **ids, size_t *n_ids)
{
    char *text;
    size_t n;
    json_error_t error;
    if (!console_read_file(path, &text, &n)) return false;
    json_t *array = json_loadb(text, n, 0, &error);
    free(text);
    bool ok = json_is_array(array);
    if (!array)
        console_error("%.200s: line %d: expected a JSON array of token ids: %s", path, error.line, error.text);
    else if (!ok)
        console_error("%.200s: expected a JSON array of token ids, found another kind of value", path);
    *n_ids = json_array_size(array);
    *ids = ok ? malloc((*n_ids + 1) * sizeof **ids) : NULL;
    if (ok && !*ids) console_error("out of memory for %zu ids", *n_ids);
    ok = ok && *ids && ids_of_json(array, path, fkv_engine_info(engine)->n_vocab, *ids);
    json_decref(array);
    return ok;
}

/* *rendered: malloc'ed, freed with fkv_free(). */
static bool render_messages(const struct settings *s, const fkv_engine *engine, const char *text, char **rendered,
                            size_t *n)
{
    char *system = NULL, *source = NULL;
    bool ok = prompt_system(s, &system) && prompt_template(s, engine, &source);
    struct fkv_message messages[] = {{"system", system}, {"user", text}};
    if (ok) ok = prompt_render(s, engine, source, messages + !system, system ? 2 : 1, rendered, n);
    free(source);
    free(system);
    return ok;
}

bool prompt_ids(const struct settings *s, const fkv_engine *engine, int32_t **ids, size_t *n_ids,
                struct fkv_marks *marks)
{
    char *text, *rendered = NULL;
    size_t n, n_rendered = 0;
    unsigned flags = FKV_TOKENIZE_PARSE_SPECIAL;
    *ids = NULL;
    *marks = (struct fkv_marks)FKV_MARKS_INIT;
    if (s->prompt_ids) return ids_of_file(s->prompt_ids, engine, ids, n_ids);
    warn_of_input(s);
    if (!prompt_text(s, !s->raw, &text, &n)) return false;
    if (s->raw) flags |= FKV_TOKENIZE_ADD_SPECIAL;
    bool ok = s->raw || render_messages(s, engine, text, &rendered, &n_rendered);
    const char *all = s->raw ? text : rendered;
    const size_t n_all = s->raw ? n : n_rendered;
    if (ok) ok = prompt_tokenize(engine, all, n_all, flags, ids, n_ids);
    if (ok) {
        const char *question = prompt_question(s, text, n);
        *marks = prompt_marks(engine, all, n_all, *ids, *n_ids, question, n - (size_t)(question - text), n);
    }
    fkv_free(rendered);
    free(text);
    return ok;
}

bool prompt_asked(const struct settings *s)
{
    const bool text = s->prompt || s->prompt_file;
    if (s->prompt_ids && text)
        console_error("--prompt-ids: expected no -p and no -f beside it");
    else if (!s->prompt_ids && !text)
        console_error("a prompt is needed: -p TEXT, -f FILE or --prompt-ids FILE");
    else if (s->repeat_question && (s->prompt_ids || (s->prompt && s->prompt_file)))
        console_error("--repeat-question: expected -p or -f alone beside it; with both, -p asks at the end");
    else if ((s->raw || s->prompt_ids) && (s->system || s->system_file || s->chat_template || s->template_variables))
        console_error("%s: expected no system message and no chat template beside it",
                      s->raw ? "--raw" : "--prompt-ids");
    else
        return true;
    return false;
}
