#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "cli/retention.h"

enum { WORD_MAX = 63 }; /* longest name, list item or policy that can be right */

bool settings_fail(char *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(err, FKV_ERROR_BYTES, format, args);
    va_end(args);
    return false;
}

/* ---- what an option takes -------------------------------------------------------------------- */

/* Is `name` (n bytes) one of "-a, --bc, --d*"? */
static bool names_have(const char *names, const char *name, size_t n)
{
    for (const char *s = names; *s;) {
        size_t length = strcspn(s, ",");
        const bool family = s[length - 1] == '*';
        if ((family ? length - 1 <= n : length == n) && !memcmp(s, name, family ? length - 1 : n)) return true;
        s += length;
        s += strspn(s, ", ");
    }
    return false;
}

static void expects_number(const struct option *o, char *text, size_t size)
{
    bool real = o->kind == OPTION_FLOAT || o->kind == OPTION_DOUBLE || o->kind == OPTION_DOUBLES;
    if (isinf(o->low) && isinf(o->high))
        snprintf(text, size, "%s", o->what);
    else if (isinf(o->low))
        snprintf(text, size, "%s, at most %.0f", o->what, o->high);
    else if (isinf(o->high))
        snprintf(text, size, "%s, %s %g", o->what, o->above_low ? "more than" : "at least", o->low);
    else if (real)
        snprintf(text, size, "%s in %c%g, %g]", o->what, o->above_low ? '(' : '[', o->low, o->high);
    else
        snprintf(text, size, "%s from %g to %.0f", o->what, o->low, o->high);
}

static void expects_choice(const struct option *o, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "one of ");
    for (const char *s = o->what; *s && n + 2 < size; s++) {
        text[n++] = *s == '|' ? ',' : *s;
        if (*s == '|') text[n++] = ' ';
    }
    text[n] = '\0';
}

static void expects_policy(const struct option *o, char *text, size_t size)
{
    const char *name, *about;
    size_t n = (size_t)snprintf(text, size, "%s", o->kind == OPTION_POLICY ? "one of " : "some of ");
    for (int i = 0; n < size && fkv_policy_list(i, &name, &about); i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s", i ? ", " : "", name);
}

const char *option_expects(const struct option *o, char *text, size_t size)
{
    switch (o->kind) {
    case OPTION_FLAG: snprintf(text, size, "no value"); break;
    case OPTION_TEXT:
    case OPTION_TEXTS: snprintf(text, size, "%s", o->value); break;
    case OPTION_CHOICE: expects_choice(o, text, size); break;
    case OPTION_POLICY:
    case OPTION_POLICIES: expects_policy(o, text, size); break;
    default: expects_number(o, text, size);
    }
    return text;
}

bool option_has_name(const struct option *option, const char *name, size_t n)
{
    return names_have(option->names, name, n);
}

/* ---- from text to value ---------------------------------------------------------------------- */

static bool in_range(const struct option *o, double x)
{
    return (o->above_low ? x > o->low : x >= o->low) && x <= o->high;
}

static bool read_whole(const struct option *o, const char *text, int64_t *value)
{
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (errno || end == text || *end || !in_range(o, (double)x) || (o->kind != OPTION_INT64 && x > INT32_MAX))
        return false;
    *value = x;
    return true;
}

/* "512", "64K", "1.5G" */
static bool read_size(const struct option *o, const char *text, int64_t *value)
{
    static const char units[] = "KMG";
    char *end;
    double x = strtod(text, &end);
    const char *unit = end != text && *end ? strchr(units, *end) : NULL;
    if (unit) x = ldexp(x, 10 * (int)(unit - units + 1));
    if (end == text || end[unit != NULL] || !isfinite(x) || !in_range(o, x) || x > 0x1p62) return false;
    *value = (int64_t)x;
    return true;
}

static bool read_real(const struct option *o, const char *text, double *value)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end || !isfinite(x) || !in_range(o, x)) return false;
    *value = x;
    return true;
}

static bool read_choice(const struct option *o, const char *text, int *value)
{
    size_t n = strlen(text);
    int i = 0;
    for (const char *s = o->what; n; i++) {
        size_t length = strcspn(s, "|");
        if (length == n && !memcmp(s, text, n)) {
            *value = i;
            return true;
        }
        if (!s[length]) break;
        s += length + 1;
    }
    return false;
}

/* The library's own spelling, which outlives the command line. */
static bool read_policy(const char *text, const char **value)
{
    const char *name, *about;
    for (int i = 0; fkv_policy_list(i, &name, &about); i++) {
        if (strcmp(name, text)) continue;
        *value = name;
        return true;
    }
    return false;
}

/* "a,b,c": replaces the list. */
static bool read_list(const struct option *o, const char *text, void *list)
{
    struct option_ints ints = {0};
    struct option_doubles doubles = {0};
    struct option_texts policies = {0};
    for (int n = 0; n < OPTION_LIST_MAX; n++) {
        char item[WORD_MAX + 1];
        size_t length = strcspn(text, ",");
        int64_t x;
        if (length > WORD_MAX) return false;
        memcpy(item, text, length);
        item[length] = '\0';
        if (o->kind == OPTION_POLICIES) {
            if (!read_policy(item, &policies.items[policies.n++])) return false;
        } else if (o->kind == OPTION_DOUBLES) {
            if (!read_real(o, item, &doubles.items[doubles.n++])) return false;
        } else {
            if (!read_whole(o, item, &x)) return false;
            ints.items[ints.n++] = (int)x;
        }
        text += length;
        if (!*text++) {
            if (o->kind == OPTION_POLICIES)
                *(struct option_texts *)list = policies;
            else if (o->kind == OPTION_DOUBLES)
                *(struct option_doubles *)list = doubles;
            else
                *(struct option_ints *)list = ints;
            return true;
        }
    }
    return false;
}

/* Stores what `text` says; false when the option does not take it. */
static bool store(struct settings *settings, const struct option *o, const char *text)
{
    void *at = (char *)settings + o->at;
    struct option_texts *texts = at;
    int64_t whole = 0;
    double real = 0;
    bool ok = true;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)at = true; break;
    case OPTION_TEXT: *(const char **)at = text; break;
    case OPTION_TEXTS:
        ok = *text && texts->n < OPTION_LIST_MAX;
        if (ok) texts->items[texts->n++] = text;
        break;
    case OPTION_CHOICE: ok = read_choice(o, text, at); break;
    case OPTION_POLICY: ok = read_policy(text, at); break;
    case OPTION_INTS:
    case OPTION_DOUBLES:
    case OPTION_POLICIES: ok = read_list(o, text, at); break;
    case OPTION_INT:
        ok = read_whole(o, text, &whole);
        if (ok) *(int *)at = (int)whole;
        break;
    case OPTION_SIZE: ok = read_size(o, text, at); break;
    case OPTION_INT64: ok = read_whole(o, text, at); break;
    case OPTION_FLOAT:
        ok = read_real(o, text, &real);
        if (ok) *(float *)at = (float)real;
        break;
    case OPTION_DOUBLE: ok = read_real(o, text, at); break;
    }
    return ok;
}

/* ---- unknown names --------------------------------------------------------------------------- */

/* Insertions, deletions, substitutions and swaps of neighbours that make b of a. */
static int typing_errors(const char *a, const char *b)
{
    int n = (int)strlen(a), m = (int)strlen(b);
    int rows[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX) return WORD_MAX;
    for (int i = 0; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        for (int j = 0; j <= m; j++) {
            if (!i || !j) {
                row[j] = i + j;
                continue;
            }
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && above2[j - 2] + 1 < best)
                best = above2[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_word(const char *word, const char *const *words)
{
    int best = 1 + (int)strlen(word) / 4; /* more errors than this is another word */
    const char *near = NULL;
    for (; *words; words++) {
        int errors = typing_errors(word, *words);
        if (errors > best || (near && errors == best)) continue;
        best = errors;
        near = *words;
    }
    return near;
}

static const struct option *find(unsigned commands, const char *name, size_t n)
{
    for (const struct option *o = cli_options; o->names; o++)
        if (o->commands & commands && option_has_name(o, name, n)) return o;
    return NULL;
}

static bool fail_unknown(const struct command *command, const char *name, char *err)
{
    enum { NAMES = 128 };
    char all[NAMES][WORD_MAX + 1];
    const char *words[NAMES + 1];
    struct fkv_kv_option kv;
    int n = 0;
    const struct option *other = find(~0u, name, strlen(name));
    const bool retention = retention_find(name, strlen(name), &kv);
    for (const struct command *c = cli_commands; (other || retention) && c->name; c++)
        if (other ? other->commands & c->bit : options_choose_policy(c))
            return settings_fail(err, "%s is an option of %s, not of %s", name, c->name, command->name);
    for (const struct other_option *o = cli_other_options; o->names; o++)
        if (names_have(o->names, name, strlen(name)))
            return settings_fail(err, "%.60s is an option of llama.cpp, not of this program: %s", name, o->instead);
    for (const struct option *o = cli_options; o->names; o++) {
        for (const char *s = o->names; o->commands & command->bit && *s && n < NAMES; n++) {
            size_t length = strcspn(s, ",");
            snprintf(all[n], sizeof all[n], "%.*s", (int)length, s);
            words[n] = all[n];
            s += length;
            s += strspn(s, ", ");
        }
    }
    for (int i = 0; options_choose_policy(command) && n < NAMES && retention_name(i, all[n], &kv); i++, n++)
        words[n] = all[n];
    words[n] = NULL;
    const char *near = nearest_word(name, words);
    if (near) return settings_fail(err, "unknown option %.100s; did you mean %s?", name, near);
    return settings_fail(err, "unknown option %.100s (fastkv %s --help shows those there are)", name, command->name);
}

/* ---- the command line ------------------------------------------------------------------------ */

bool options_choose_policy(const struct command *command)
{
    for (const struct option *o = cli_options; o->names; o++)
        if (o->commands & command->bit && (o->kind == OPTION_POLICY || o->kind == OPTION_POLICIES)) return true;
    return false;
}

static bool parse_option(struct settings *settings, const struct command *command, char ***argv, char *err)
{
    char *arg = *(*argv)++, name[WORD_MAX + 1], expects[160];
    const char *equals = strncmp(arg, "--", 2) ? NULL : strchr(arg, '=');
    size_t n = equals ? (size_t)(equals - arg) : strlen(arg);
    snprintf(name, sizeof name, "%.*s", (int)(n < WORD_MAX ? n : WORD_MAX), arg);
    const struct option *o = find(command->bit, arg, n);
    struct fkv_kv_option kv;
    const bool retention = !o && options_choose_policy(command) && retention_find(arg, n, &kv);
    if (!o && !retention) return fail_unknown(command, name, err);
    const char *text = equals ? equals + 1 : NULL;
    if ((retention || o->value) && !text && **argv) text = *(*argv)++;
    if (retention) return retention_take(settings, &kv, &(struct option_pair){arg, n, text ? text : ""}, err);
    settings->policy_given |= o->kind == OPTION_POLICY;
    if (o->value ? text && store(settings, o, text) : !text && store(settings, o, text)) return true;
    return settings_fail(err, "%s: expected %s, found %.100s", name, option_expects(o, expects, sizeof expects),
                         text && *text ? text : "nothing");
}

static void set_defaults(struct settings *settings, unsigned command)
{
    *settings = (struct settings){
        .engine = FKV_ENGINE_PARAMS_INIT,
        .session = FKV_SESSION_PARAMS_INIT,
        .sampler = FKV_SAMPLER_PARAMS_INIT,
    };
    for (const struct option *o = cli_options; o->names; o++)
        if (o->commands & command && o->initial) store(settings, o, o->initial);
}

/* Sampling options mean at and beyond the ends of their ranges what they mean elsewhere. */
static void settle_sampling(struct settings *s)
{
    struct fkv_sampler_params *p = &s->sampler;
    if (p->top_k < 0) p->top_k = 0;
    if (p->top_p <= 0 || p->min_p > 1) p->top_k = 1; /* the likeliest always stays */
    if (p->top_p <= 0 || p->top_p > 1) p->top_p = 1;
    if (p->min_p < 0 || p->min_p > 1) p->min_p = 0;
    p->temperature = fmaxf(p->temperature, 0);
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

void unescape(char *text)
{
    static const char names[] = "ntr\"'\\", meanings[] = "\n\t\r\"'\\";
    char *out = text;
    for (const char *s = text; *s; s++) {
        const char *name = *s == '\\' && s[1] ? strchr(names, s[1]) : NULL;
        const int high = *s == '\\' && s[1] == 'x' ? hex_digit(s[2]) : -1, low = high >= 0 ? hex_digit(s[3]) : -1;
        if (name) {
            *out++ = meanings[name - names];
            s++;
        } else if (low >= 0 && high + low > 0) { /* NUL would end the text */
            *out++ = (char)(high << 4 | low);
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* Texts lie in argv, which is the program's own. */
static void unescape_all(struct settings *s)
{
    if (s->prompt) unescape((char *)(uintptr_t)s->prompt);
    if (s->system) unescape((char *)(uintptr_t)s->system);
    for (int i = 0; i < s->stops.n; i++) unescape((char *)(uintptr_t)s->stops.items[i]);
}

bool options_parse(struct settings *settings, const struct command *command, int argc, char **argv, char *err)
{
    char **end = argv + argc;
    set_defaults(settings, command->bit);
    while (argv < end && !settings->help) {
        if (**argv != '-')
            return settings_fail(err, "unexpected argument %.100s (fastkv %s --help)", *argv, command->name);
        if (!parse_option(settings, command, &argv, err)) return false;
    }
    if (!retention_settle(settings, err)) return false;
    if (!retention_check(settings, settings->policies.n ? settings->policies.items : &settings->session.kv.policy,
                         settings->policies.n ? settings->policies.n : 1, err))
        return false;
    if (settings->session.kv.policy) retention_choose(settings, settings->session.kv.policy, &settings->session.kv);
    if (settings->engine.n_threads < 0) settings->engine.n_threads = 0;
    settle_sampling(settings);
    if (!settings->no_escape) unescape_all(settings);
    if (!settings->help && !settings->model && find(command->bit, "-m", 2))
        return settings_fail(err, "-m: expected FILE, the model, found nothing");
    return true;
}
