#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/console.h"
#include "cli/interrupt.h"
#include "cli/machine.h"
#include "cli/prompt.h"
#include "cli/prompt_cache.h"
#include "cli/report.h"

struct chat {
    struct generator g;
    bool terminal;    /* does a person type? */
    uint64_t n_typed; /* bytes read from standard input */
    char *source;     /* --chat-template; NULL: the model's own */
    struct fkv_message *messages;
    size_t n_messages, n_system; /* n_system: 1 when a system message opens the conversation */
    /* What the session has seen, as text and as ids. When a turn's text begins with it, its ids are kept and only the
       rest is tokenised: a sampled answer need not be what the tokenizer would make of its text, and other ids would
       mean another prefill. */
    char *seen_text;
    int32_t *seen_ids;
    size_t n_seen_ids;
    struct prompt_cache cache; /* of the first turn */
};

/* ---- the conversation ------------------------------------------------------------------------ */

/* Takes `content`, malloc'ed. */
static bool add_message(struct chat *c, const char *role, char *content)
{
    struct fkv_message *more = content ? realloc(c->messages, (c->n_messages + 1) * sizeof *more) : NULL;
    if (!more) {
        free(content);
        console_error("out of memory");
        return false;
    }
    c->messages = more;
    c->messages[c->n_messages++] = (struct fkv_message){role, content};
    return true;
}

static void drop_messages(struct chat *c, size_t n_left)
{
    while (c->n_messages > n_left) free((char *)c->messages[--c->n_messages].content);
}

static void forget(struct chat *c)
{
    free(c->seen_text);
    free(c->seen_ids);
    c->seen_text = NULL;
    c->seen_ids = NULL;
    c->n_seen_ids = 0;
}

/* Remembers `text`, of these ids, and the answer to it. */
static void remember(struct chat *c, const char *text, const int32_t *ids, size_t n, const struct generated *answer)
{
    size_t n_text = strlen(text), n_answer = answer->answer.n;
    forget(c);
    if (answer->stop == STOP_STRING) return; /* the text was cut inside a token */
    c->seen_text = malloc(n_text + n_answer + 1);
    c->seen_ids = malloc((n + answer->n) * sizeof *ids);
    if (!c->seen_text || !c->seen_ids) {
        forget(c);
        return;
    }
    memcpy(c->seen_text, text, n_text);
    memcpy(c->seen_text + n_text, n_answer ? answer->answer.text : "", n_answer + 1);
    memcpy(c->seen_ids, ids, n * sizeof *ids);
    /* the last id may not be in the session yet; an end token belongs to the text that follows */
    size_t said = answer->n - (answer->stop == STOP_EOS);
    memcpy(c->seen_ids + n, answer->ids, said * sizeof *ids);
    c->n_seen_ids = n + said;
}

/* The ids of the whole conversation as the template renders it. */
static bool tokenize_turn(const struct chat *c, const char *text, size_t n_text, int32_t **ids, size_t *n)
{
    size_t skip = c->seen_text ? strlen(c->seen_text) : 0, n_rest;
    int32_t *rest;
    if (skip && strncmp(text, c->seen_text, skip)) skip = 0;
    if (!prompt_tokenize(c->g.engine, text + skip, n_text - skip, FKV_TOKENIZE_PARSE_SPECIAL, &rest, &n_rest))
        return false;
    size_t n_kept = skip ? c->n_seen_ids : 0;
    *n = n_kept + n_rest;
    *ids = malloc((*n + 1) * sizeof **ids);
    if (*ids && n_kept) memcpy(*ids, c->seen_ids, n_kept * sizeof **ids);
    if (*ids && n_rest) memcpy(*ids + n_kept, rest, n_rest * sizeof **ids);
    fkv_free(rest);
    if (!*ids) console_error("out of memory");
    return *ids;
}

/* ---- one turn -------------------------------------------------------------------------------- */

static void report_sync(const struct chat *c)
{
    size_t reused;
    if (fkv_session_sync_kind(c->g.session, &reused) == FKV_SYNC_REBUILT && c->n_messages > c->n_system + 1)
        fputs("[the conversation was computed anew: what an earlier prompt left in the cache does not fit this turn]\n",
              stderr);
}

static int answer_turn(struct chat *c, const char *text, size_t n_text, const int32_t *ids, size_t n)
{
    const char *said = c->messages[c->n_messages - 1].content;
    const size_t n_said = strlen(said);
    const char *question = prompt_question(c->g.settings, said, n_said);
    const struct fkv_marks marks = prompt_marks(c->g.engine, text, n_text, ids, n, question,
                                                n_said - (size_t)(question - said), n_said);
    struct generated out = {.answer = {.out = stdout, .stops = &c->g.settings->stops}};
    struct fkv_session_stats before, prompt;
    fkv_session_get_stats(c->g.session, &before);
    struct memory_need need;
    int status = generator_plan(&c->g, &c->g.settings->session, n, c->g.settings->n_predict, &need);
    if (status == EXIT_SUCCESS) status = generator_check_memory(&c->g, &need.plan);
    const bool first = c->cache.n == 0;
    if (status == EXIT_SUCCESS && first) prompt_cache_load(&c->cache, &c->g, ids, n);
    if (status == EXIT_SUCCESS) status = generator_prefill(&c->g, ids, n, &marks);
    if (status == EXIT_SUCCESS && first) status = prompt_cache_keep(&c->cache, &c->g);
    if (status != EXIT_SUCCESS) return status;
    report_sync(c);
    if (first) prompt_cache_report(stderr, &c->cache, &c->g);
    fkv_session_get_stats(c->g.session, &prompt);
    status = generator_answer(&c->g, &out);
    puts("");
    fflush(stdout);
    if (status != EXIT_FAILURE) {
        report_turn(stderr, &c->g, &before, &prompt);
        remember(c, text, ids, n, &out);
        if (!add_message(c, "assistant", strdup(out.answer.n ? out.answer.text : ""))) status = EXIT_FAILURE;
    }
    generated_free(&out);
    return status;
}

/* What the user says, malloc'ed and taken. A turn that fails before there is an answer leaves the conversation as it
   was. */
static int turn(struct chat *c, char *said)
{
    size_t n_before = c->n_messages, n_text, n = 0;
    char *text = NULL;
    int32_t *ids = NULL;
    int status = EXIT_FAILURE;
    if (add_message(c, "user", said) &&
        prompt_render(c->g.settings, c->g.engine, c->source, c->messages, c->n_messages, &text, &n_text) &&
        tokenize_turn(c, text, n_text, &ids, &n))
        status = answer_turn(c, text, n_text, ids, n);
    if (c->n_messages == n_before + 1) drop_messages(c, n_before);
    free(ids);
    fkv_free(text);
    return status;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* One message of *n bytes: a line, and further ones after a trailing backslash; lines may end with CR LF. NULL at the
   end of the input, after Ctrl-C, or when it is no text: *ok is false then, and that has been said. */
static char *read_message(struct chat *c, size_t *n_bytes, bool *ok)
{
    char *message = NULL, *line = NULL;
    size_t n = 0, capacity = 0;
    *ok = true;
    for (bool more = true; more;) {
        if (c->terminal) fputs(n ? ". " : "> ", stderr);
        ssize_t length = getline(&line, &capacity, stdin);
        if (length < 0) break;
        *ok = *ok && prompt_check("standard input", line, (size_t)length, c->n_typed);
        c->n_typed += (uint64_t)length;
        if (length && line[length - 1] == '\n') length--;
        if (length && line[length - 1] == '\r') length--;
        more = length && line[length - 1] == '\\';
        char *longer = realloc(message, n + (size_t)length + 1);
        if (!longer) break;
        message = longer;
        memcpy(message + n, line, (size_t)length);
        n += (size_t)length;
        if (more) message[n - 1] = '\n';
        message[n] = '\0';
    }
    free(line);
    if (!*ok) {
        free(message);
        message = NULL;
    }
    *n_bytes = n;
    return message;
}

static const char chat_help[] = "/exit  end the conversation\n/clear start a new one\n/help  show this\n"
                                "A line that ends with \\ goes on in the next; one that begins with // is a message "
                                "that begins with /. Ctrl-C stops an answer; at the prompt it ends all.\n";

enum { TURN_ENDS = -1 };

/* What begins with a slash at a terminal, where a mistyped command shall not become a message; else the commands that
   there are. */
static bool is_command(const struct chat *c, const char *message)
{
    static const char *const commands[] = {"/exit", "/clear", "/help"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(message, commands[i])) return true;
    return c->terminal && message[0] == '/' && message[1] != '/';
}

static int obey(struct chat *c, const char *command)
{
    if (!strcmp(command, "/exit")) return TURN_ENDS;
    if (!strcmp(command, "/clear")) {
        drop_messages(c, c->n_system);
        forget(c);
        fputs("[a new conversation]\n", stderr);
    } else {
        if (strcmp(command, "/help")) fprintf(stderr, "unknown command %.40s\n", command);
        fputs(chat_help, stderr);
    }
    return EXIT_SUCCESS;
}

/* A message that was typed, n bytes, taken: maybe a command. Exit status of a turn, or TURN_ENDS. */
static int take_message(struct chat *c, char *message, size_t n)
{
    if (*message && !is_command(c, message)) {
        if (message[0] == '/' && message[1] == '/') memmove(message, message + 1, n);
        return turn(c, message);
    }
    const int status = *message ? obey(c, message) : EXIT_SUCCESS;
    free(message);
    return status;
}

static int converse(struct chat *c, char *first)
{
    for (int status;;) {
        interrupt_watch(c->g.session);
        size_t n = 0;
        bool ok = true;
        char *message = first ? NULL : read_message(c, &n, &ok);
        if (interrupted()) {
            free(message);
            fputc('\n', stderr);
            return EXIT_INTERRUPTED;
        }
        if (!first && !message && ok) return EXIT_SUCCESS;
        /* a document is no command */
        status = !ok ? EXIT_FAILURE : first ? turn(c, first) : take_message(c, message, n);
        first = NULL;
        if (status == TURN_ENDS) return EXIT_SUCCESS;
        if (status != EXIT_SUCCESS && !c->terminal) return status; /* a script must not go on without an answer */
        clearerr(stdin);
    }
}

static int open_chat(struct chat *c, struct settings *settings, char **first)
{
    size_t n;
    char *system;
    struct memory_need need;
    int status = prompt_cache_check(settings);
    if (status == EXIT_SUCCESS) status = generator_open(&c->g, settings);
    if (status != EXIT_SUCCESS) return status;
    if (!prompt_text(settings, true, first, &n) || !prompt_template(settings, c->g.engine, &c->source) ||
        !prompt_system(settings, &system))
        return EXIT_FAILURE;
    if (system && !add_message(c, "system", system)) return EXIT_FAILURE;
    c->n_system = c->n_messages;
    report_model(stderr, fkv_engine_info(c->g.engine));
    /* at most: a conversation that fills the context. Each turn is checked when it comes */
    status = generator_plan(&c->g, &settings->session, (size_t)c->g.n_ctx, 0, &need);
    if (status == EXIT_SUCCESS) report_need(stderr, &need, settings->session.kv.policy);
    if (status == EXIT_SUCCESS) status = generator_start(&c->g, &settings->session);
    if (status == EXIT_SUCCESS && c->terminal)
        fprintf(stderr, "seed    %lld\n%s", (long long)settings->seed, chat_help);
    return status;
}

int cmd_chat(struct settings *settings)
{
    struct chat c = {.terminal = isatty(STDIN_FILENO)};
    char *first = NULL;
    if (settings->seed < 0) settings->seed = machine_random_seed();
    int status = open_chat(&c, settings, &first);
    if (status == EXIT_SUCCESS)
        status = converse(&c, first);
    else
        free(first);
    if (prompt_cache_save(&c.cache, &c.g) != EXIT_SUCCESS) status = EXIT_FAILURE;
    drop_messages(&c, 0);
    free(c.messages);
    free(c.source);
    forget(&c);
    generator_close(&c.g);
    return status;
}
