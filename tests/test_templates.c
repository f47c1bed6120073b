/* Chat templates: those of real models (golden/chat.jsonl), small ones as Jinja2 renders them
   (golden/jinja_cases.jsonl), the messages of what is refused, and templates that mean harm. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "template/chat_template.h"

static FILE *open_golden(const char *name)
{
    char path[4096];
    const char *folder = getenv("FKV_GOLDEN");
    assert_non_null(folder);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s: not there", path);
    return f;
}

/* malloc'ed, NUL-terminated. */
static char *read_golden(const char *name)
{
    FILE *f = open_golden(name);
    char *text = malloc(1 << 16);
    assert_non_null(text);
    const size_t n = fread(text, 1, (1 << 16) - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

/* The next line of a JSON lines file, or NULL. */
static json_t *next_row(FILE *f)
{
    json_error_t error;
    json_t *row = json_loadf(f, JSON_DISABLE_EOF_CHECK, &error);
    if (!row && !feof(f)) fail_msg("%s", error.text);
    return row;
}

static const char *string_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

/* Renders a copy of exactly n bytes, so that a sanitizer sees any read beyond them. */
static fkv_status render(const char *source, size_t n, const json_t *context, char **text, size_t *n_text,
                         struct fkv_error *e)
{
    char *exact = malloc(n ? n : 1);
    assert_non_null(exact);
    memcpy(exact, source, n);
    const fkv_status status = fkv_chat_render(exact, n, context, text, n_text, e);
    free(exact);
    return status;
}

static void check_text(const char *what, const char *source, const json_t *context, const json_t *expected)
{
    struct fkv_error e;
    char *text;
    size_t n;
    if (render(source, strlen(source), context, &text, &n, &e)) fail_msg("%s: %s", what, e.text);
    if (n != json_string_length(expected) || memcmp(text, json_string_value(expected), n + 1) != 0)
        fail_msg("%s\nexpected: %s\n   found: %s", what, json_string_value(expected), text);
    free(text);
}

static void check_refused(const char *source, const json_t *context)
{
    struct fkv_error e = {{0}};
    char *text = NULL;
    size_t n;
    if (render(source, strlen(source), context, &text, &n, &e) == FKV_OK)
        fail_msg("%s\nexpected an error\n   found: %s", source, text);
    assert_null(text);
    assert_memory_equal(e.text, "chat template, line ", 20);
}

/* The conversation of a row of chat.jsonl as the program passes it. */
static json_t *conversation(const json_t *row)
{
    const bool smol = strcmp(string_of(row, "model"), "smollm2-135m") == 0;
    json_t *context = json_pack("{sO sO ss ss}", "messages", json_object_get(row, "messages"), "add_generation_prompt",
                                json_object_get(row, "add_generation_prompt"), "bos_token",
                                smol ? "<|im_start|>" : "<|endoftext|>", "eos_token", "<|im_end|>");
    json_t *tools = json_object_get(row, "tools");
    if (!json_is_null(tools)) json_object_set(context, "tools", tools);
    return context;
}

static void models_templates(void **state)
{
    (void)state;
    FILE *f = open_golden("chat.jsonl");
    int n = 0;
    for (json_t *row; (row = next_row(f)); n++) {
        char name[128];
        snprintf(name, sizeof name, "chat_templates/%s.jinja", string_of(row, "model"));
        char *source = read_golden(name);
        json_t *context = conversation(row);
        check_text(string_of(row, "name"), source, context, json_object_get(row, "text"));
        json_decref(context);
        free(source);
        json_decref(row);
    }
    fclose(f);
    assert_int_equal(n, 80);
}

static void small_templates(void **state)
{
    (void)state;
    FILE *f = open_golden("jinja_cases.jsonl");
    json_t *named = json_object();
    int n = 0;
    for (json_t *row; (row = next_row(f)); json_decref(row)) {
        const char *name = string_of(row, "name"), *source = string_of(row, "template");
        const json_t *context = json_object_get(row, "context");
        if (name && source) {
            json_object_set(named, name, json_object_get(row, "template"));
            continue;
        }
        if (name) source = string_of(named, name);
        if (json_object_get(row, "error"))
            check_refused(source, context);
        else
            check_text(source, source, context, json_object_get(row, "text"));
        n++;
    }
    fclose(f);
    json_decref(named);
    assert_true(n > 1000);
}

static void messages(void **state)
{
    (void)state;
    static const struct {
        const char *source, *message;
        fkv_status status;
    } cases[] = {
        {"a\nb\n{{ l | random }}", "chat template, line 3: filter 'random' is not supported", FKV_ERROR_UNSUPPORTED},
        {"{{ 1 is odder }}", "chat template, line 1: test 'odder' is not supported", FKV_ERROR_UNSUPPORTED},
        {"\n{% include 'x' %}", "chat template, line 2: tag 'include' is not supported", FKV_ERROR_UNSUPPORTED},
        {"\n\n{{ 'a'.encode() }}", "chat template, line 3: method 'encode' is not supported", FKV_ERROR_UNSUPPORTED},
        {"{% autoescape true %}x{% endautoescape %}",
         "chat template, line 1: autoescape by 'true' is not supported, only by false", FKV_ERROR_UNSUPPORTED},
        {"{{ 'a'.translate(['b']) }}", "chat template, line 1: translate by list is not supported",
         FKV_ERROR_UNSUPPORTED},
        {"{{ lipsum() }}", "chat template, line 1: function 'lipsum' is not supported", FKV_ERROR_UNSUPPORTED},
        {"{{ '%q' % 1 }}", "chat template, line 1: %: 'q' is not a format", FKV_ERROR_FORMAT},
        {"{{ '{0}'.format() }}", "chat template, line 1: format: no argument 0", FKV_ERROR_FORMAT},
        {"{{ '{:q}'.format(1) }}", "chat template, line 1: format: 'q' does not format int", FKV_ERROR_FORMAT},
        {"{% for x in [1] %}{{ loop([]) }}{% endfor %}", "chat template, line 1: only a recursive loop can be called",
         FKV_ERROR_FORMAT},
        {"{{ range(*1) }}", "chat template, line 1: int cannot be iterated", FKV_ERROR_FORMAT},
        {"{{ '1'|int(base=7) }}", "chat template, line 1: int: base 7 is not supported", FKV_ERROR_UNSUPPORTED},
        {"{{ 'a'|upper(1) }}", "chat template, line 1: these arguments of filter 'upper' are not supported",
         FKV_ERROR_UNSUPPORTED},
        {"{{ 9223372036854775807 + 1 }}", "chat template, line 1: integers above 64 bits are not supported",
         FKV_ERROR_UNSUPPORTED},
        {"{{ range }}", "chat template, line 1: printing a function is not supported", FKV_ERROR_UNSUPPORTED},
        {"{{ raise_exception('roles must\nalternate') }}", "chat template, line 1: roles must\nalternate",
         FKV_ERROR_FORMAT},
        {"\n{{ nothing.x }}", "chat template, line 2: 'nothing' is undefined", FKV_ERROR_FORMAT},
        {"\n\n{% if a %}", "chat template, line 3: expected {% endif %}, found the end of the template",
         FKV_ERROR_FORMAT},
        {"{{ a b }}", "chat template, line 1: expected '}}', found 'b'", FKV_ERROR_FORMAT},
        {"{{ [1, 2 }}", "chat template, line 1: unexpected '}'", FKV_ERROR_FORMAT},
        {"{{ 'abc }}", "chat template, line 1: the string is not closed", FKV_ERROR_FORMAT},
        {"{% endfor %}", "chat template, line 1: nothing is open that 'endfor' could end", FKV_ERROR_FORMAT},
        {"a\xff", "chat template, line 0: the template is not UTF-8", FKV_ERROR_FORMAT},
    };
    json_t *context = json_object();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fkv_error e = {{0}};
        char *text;
        size_t n;
        const fkv_status status = render(cases[i].source, strlen(cases[i].source), context, &text, &n, &e);
        assert_string_equal(e.text, cases[i].message);
        assert_int_equal(status, cases[i].status);
    }
    json_decref(context);
}

static void current_time(void **state)
{
    (void)state;
    static const char source[] = "{{ strftime_now('%Y') }}";
    json_t *context = json_object();
    const time_t before = time(NULL);
    char *text, expected[2][8];
    size_t n;
    struct tm tm;
    assert_int_equal(render(source, strlen(source), context, &text, &n, NULL), FKV_OK);
    const time_t after = time(NULL);
    strftime(expected[0], sizeof expected[0], "%Y", localtime_r(&before, &tm));
    strftime(expected[1], sizeof expected[1], "%Y", localtime_r(&after, &tm));
    assert_true(!strcmp(text, expected[0]) || !strcmp(text, expected[1]));
    free(text);
    json_decref(context);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The bound is on work, not time. What an empty loop takes until it is stopped tells how fast this machine is, or the
   one that it emulates: nothing may take many times as long. */
static double most_seconds(void)
{
    static const char loop[] = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    static double most;
    if (most > 0) return most;
    json_t *context = json_object();
    const double start = cpu_seconds();
    char *text = NULL;
    size_t n;
    assert_int_not_equal(render(loop, sizeof loop - 1, context, &text, &n, NULL), FKV_OK);
    json_decref(context);
    return most = 30 * (cpu_seconds() - start);
}

static fkv_status render_quickly(const char *source, size_t n, const json_t *context)
{
    struct fkv_error e = {{0}};
    char *text = NULL;
    size_t n_text;
    const double most = most_seconds(), start = cpu_seconds();
    const fkv_status status = render(source, n, context, &text, &n_text, &e);
    if (cpu_seconds() - start > most) fail_msg("%.60s ... took %.1f s", source, cpu_seconds() - start);
    if (status) assert_null(text);
    if (status) assert_memory_equal(e.text, "chat template, line ", 20);
    free(text);
    return status;
}

static void endless_templates(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x=0) %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% set ns.x = ns.x + 1 %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ 'spam and eggs' }}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for a in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='ab') %}{% for a in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for a in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for a in range(100) %}{% set ns.x = ns.x.replace('a', 'aa') %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for a in range(100) %}{% set ns.x = ns.x | replace('', 'aa') %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[]) %}{% for a in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | "
        "tojson }}",
        "{% set n = namespace(x=[], y=[]) %}{% for a in range(60) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x == n.y }}",
        "{% set n = namespace(x=[], y=[]) %}{% for a in range(60) %}{% set n.x = [n.x, n.x] %}"
        "{% set n.y = [n.y, n.y] %}{% endfor %}{{ n.x < n.y }}",
        "{% set ns = namespace(x=[]) %}{% for a in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x={}) %}{% for a in range(9999) %}{% set ns.x = {'k': ns.x} %}{% endfor %}{{ ns.x | "
        "tojson }}",
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.x = [ns] %}{{ ns.x | tojson(indent=2) }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ [0] * 9223372036854775807 }}",
        "{{ 'x' * 1000000000000 }}",
        "{{ '' | indent(9223372036854775807) }}",
        "{{ {'a': 1} | tojson(indent=1000000000000) }}",
        "{{ range(9223372036854775807) }}",
        "{{ range(-9223372036854775807, 9223372036854775807) }}",
        "{{ range(0, -9223372036854775807, -9223372036854775807 - 1) }}",
        "{{ [1][::9223372036854775807] * 99999999999 }}",
        "{{ (9223372036854775807 + 0) * 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}",
        "{{ -(-9223372036854775807 - 1) }}",
        "{{ 2 ** 9223372036854775807 }}",
        "{{ 10.0 ** 400 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{{ m(x + x) }}{% endmacro %}{{ m('abcdefgh') }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro m(x=m()) %}{% endmacro %}{{ m() }}",
        "{% for x in range(99999) %}{{ range(99999) | sort | last }}{% endfor %}",
        "{% set r = range(100000) | list %}{{ r | unique | list | length }}",
        "{% set s = 'ab' * 1000000 %}{% for x in range(99999) %}{% set y = s.split('b') %}{% endfor %}",
        "{% set s = 'ab' * 1000000 %}{% for x in range(99999) %}{{ s.find('c') }}{{ s | length }}{{ s[-1] }}{% endfor "
        "%}",
        "{% set s = ' ' * 1000000 %}{% for x in range(99999) %}{{ s.strip() }}{{ s | trim }}{{ s.split() }}{% endfor "
        "%}",
        "{% set s = 'x' * 1000000 %}{% for x in range(99999) %}{{ s.strip(s) }}{% endfor %}",
        "{% set s = 'x' * 1000000 %}{% for x in range(99999) %}{{ s.rsplit('x', 1000000) | length }}{% endfor %}",
        "{% set s = 'x' * 1000000 %}{% for x in range(99999) %}{{ s in s + 'y' }}{{ s == s + '' }}{% endfor %}",
        "{% set s = 'x' * 100000 %}{% for x in range(99999) %}{{ s | upper | title | tojson | e | indent }}{% endfor "
        "%}",
        "{% for x in range(99999) %}{% set y %}{% for z in range(99999) %}{{ z }}{% endfor %}{% endset %}{% endfor %}",
        "{{ '%99999999999d' % 1 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%*d' % (1000000000, 1) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ '{:.1000000000f}'.format(1.0) }}",
        "{{ '%.1000000000f' % 1.0 }}",
        "{{ '%.1000000000d' % 1 }}",
        "{{ 'a'.center(1000000000) }}{{ 'a'.zfill(9223372036854775807) }}",
        "{{ 'a' | center(9223372036854775807) }}",
        "{{ '\t'.expandtabs(9223372036854775807) }}",
        "{{ [1] | batch(9223372036854775807, 1) | list }}",
        "{{ [1] | slice(9223372036854775807) | list }}",
        "{{ range(0, 9223372036854775807, 9223372036854770000)[::9223372036854775807] }}",
        "{% for x in range(99999) %}{% set y = ('{}' * 9999).format(*range(9999)) %}{% endfor %}",
        "{% for x in range(99999) %}{% set y = '%s' * 9999 % (range(9999) | list,) %}{% endfor %}",
        "{% for x in range(99999) %}{{ dict(**{'a': x}) }}{% endfor %}{% for x in range(99999) %}"
        "{{ range(99999) | batch(2) | list | length }}{% endfor %}",
        "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro r() %}{% call m() %}{{ r() }}{% endcall %}"
        "{% endmacro %}{{ r() }}",
        "{% for x in [[]] recursive %}{{ loop([[]]) }}{% endfor %}",
        "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
        "{% set s = ' ' * 1000000 %}{% for x in range(99999) %}{{ s.rsplit(none, 1) }}{{ s | wordcount }}{{ s | "
        "truncate }}{% endfor %}",
        "{{ strftime_now('%c' * 64) }}{{ strftime_now('%c' * 10000) }}",
    };
    json_t *context = json_object();
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (render_quickly(sources[i], strlen(sources[i]), context) == FKV_OK) fail_msg("%s: rendered", sources[i]);
    json_decref(context);
}

/* `unit` over and over: about a megabyte of it. */
static void deep_templates(void **state)
{
    (void)state;
    static const char *const units[] = {
        "(",     "[",    "{",      "{1:",    "not ",  "-",  "+",   "x[",   "f(", "f(a=",  "x if ", "1 if 1 else ",
        "x is ", "x|f(", "a.b",    "a and ", "a or ", "1+", "1**", "'a'~", "a<", "a in ", "(1,",   "[[],",
        "'",     "\\",   "{{",     "{%",     "}}",    "%}", "x|",  "x|f",  "a.", "a[1]",  "a()",   "1",
        "1.",    "9_",   "\"a\" ",
    };
    static const char *const tags[] = {
        "{% if 1 %}",
        "{% for x in y %}",
        "{% if 1 %}{% else %}",
        "{% elif 1 %}",
        "{% set x %}",
        "{% macro m() %}",
        "{% macro m(a=",
        "{% filter f %}",
        "{% with %}",
        "{% generation %}",
        "{% raw %}",
        "{% endraw %}",
        "{# ",
        "{{ ",
        "{% ",
        "{%-",
        "{{-",
        "{% for ",
        "{% set ",
        "{% set (",
        "{% for (",
        "\n",
        " ",
        "{",
        "{#}",
        "-%}",
        "{% if x is ",
        "{% if 1 %}{% endif %}",
    };
    enum { bytes = 1 << 20 };
    char *source = malloc(bytes + 64);
    assert_non_null(source);
    json_t *context = json_object();
    for (size_t i = 0; i < sizeof units / sizeof *units + sizeof tags / sizeof *tags; i++) {
        const bool tag = i >= sizeof units / sizeof *units;
        const char *unit = tag ? tags[i - sizeof units / sizeof *units] : units[i];
        size_t n = 0, size = strlen(unit);
        if (!tag) n = (size_t)sprintf(source, "{{ ");
        for (; n + size <= bytes; n += size) memcpy(source + n, unit, size);
        if (!tag) n += (size_t)sprintf(source + n, " 1 }}");
        render_quickly(source, n, context);
    }
    /* What is long but not deep is no error. */
    size_t n = 0;
    n += (size_t)sprintf(source, "{%% if 0 %%}");
    for (int i = 0; i < 5000; i++) n += (size_t)sprintf(source + n, "{%% elif 0 %%}%d", i);
    n += (size_t)sprintf(source + n, "{%% else %%}x{%% endif %%}");
    assert_int_equal(render_quickly(source, n, context), FKV_OK);
    json_decref(context);
    free(source);
}

/* A conversation nested as deeply as JSON allows is refused or rendered. */
static void deep_context(void **state)
{
    (void)state;
    json_t *deep = json_array();
    for (int i = 0; i < 5000; i++) deep = json_pack("[o]", deep);
    json_t *context = json_pack("{so}", "x", deep);
    assert_int_equal(render_quickly("{{ x }}", 7, context), FKV_ERROR_FORMAT);
    json_decref(context);
    assert_int_equal(render_quickly("", 0, json_true()), FKV_ERROR_ARGUMENT);
}

/* Big conversations are ordinary. */
static void long_conversation(void **state)
{
    (void)state;
    enum { bytes = 8 << 20, n_messages = 2000 };
    char *document = malloc(bytes + 1);
    assert_non_null(document);
    memset(document, 'x', bytes);
    document[bytes] = 0;
    json_t *list = json_array();
    json_array_append_new(list, json_pack("{ss ss}", "role", "user", "content", document));
    for (int i = 1; i < n_messages; i++)
        json_array_append_new(list,
                              json_pack("{ss ss}", "role", i % 2 ? "assistant" : "user", "content", "a short answer"));
    json_t *context = json_pack("{so sb}", "messages", list, "add_generation_prompt", true);
    char *source = read_golden("chat_templates/qwen2.5-coder-0.5b.jinja");
    assert_int_equal(render_quickly(source, strlen(source), context), FKV_OK);
    free(source);
    free(document);
    json_decref(context);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Cuts, flips bytes of, or moves pieces within a template. */
static size_t damage(char *copy, const char *source, size_t n, uint64_t *random)
{
    static const char marks[] = "{}%#-+()[]'\"|.,:=~ \n\\x0";
    memcpy(copy, source, n);
    const unsigned how = (unsigned)(next_random(random) % 4);
    if (how == 0) return next_random(random) % n;
    for (unsigned i = 0; i <= next_random(random) % 4; i++) {
        const size_t at = next_random(random) % n;
        if (how == 1) copy[at] = (char)(copy[at] ^ (char)(1 << next_random(random) % 8));
        if (how == 2) copy[at] = marks[next_random(random) % (sizeof marks - 1)];
        const size_t from = next_random(random) % n, longest = n - (at > from ? at : from);
        if (how == 3) memmove(copy + at, copy + from, next_random(random) % longest);
    }
    return n;
}

static void damaged_templates(void **state)
{
    (void)state;
    static const char *const names[] = {"smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"};
    json_t *row = NULL;
    FILE *f = open_golden("chat.jsonl");
    for (json_t *next; (next = next_row(f)); row = next) { /* the last of those with tools */
        if (!json_is_null(json_object_get(next, "tools"))) {
            json_decref(row);
        } else {
            json_decref(next);
            next = row;
        }
    }
    fclose(f);
    json_t *context = conversation(row);
    uint64_t random = 88172645463325252u;
    int n_rendered = 0, n_refused = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[128], *copy;
        snprintf(name, sizeof name, "chat_templates/%s.jinja", names[i]);
        char *source = read_golden(name);
        const size_t n = strlen(source);
        assert_non_null(copy = malloc(n));
        for (int k = 0; k < 3000; k++) {
            const size_t size = damage(copy, source, n, &random);
            *(render_quickly(copy, size, context) ? &n_refused : &n_rendered) += 1;
        }
        free(copy);
        free(source);
    }
    assert_true(n_rendered > 500 && n_refused > 500);
    json_decref(context);
    json_decref(row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_templates), cmocka_unit_test(small_templates),   cmocka_unit_test(messages),
        cmocka_unit_test(current_time),     cmocka_unit_test(endless_templates), cmocka_unit_test(deep_templates),
        cmocka_unit_test(deep_context),     cmocka_unit_test(long_conversation), cmocka_unit_test(damaged_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
