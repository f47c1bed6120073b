/* The lexer: template text, where white space control is decided, and the tokens inside {{ }} and {% %}.
   trim_blocks: one newline after a tag goes. lstrip_blocks: spaces between a line's start and a tag go. */
#include <stdlib.h>
#include <string.h>

#include "template/jinja_syntax.h"

void fkv_jinja_start_lexer(jlexer *l, jinja *j, const char *source, size_t n)
{
    char *text = fkv_jinja_alloc(j, n, 1);
    size_t to = 0;
    for (size_t i = 0; i < n; i++) {
        text[to++] = source[i] == '\r' ? '\n' : source[i];
        if (source[i] == '\r' && i + 1 < n && source[i + 1] == '\n') i++;
    }
    if (to && text[to - 1] == '\n') to--;
    *l = (jlexer){.j = j, .text = text, .n = to, .line = 1};
    j->line = 1;
}

/* The i-th character from here, or 0 beyond the end. */
static char peek(const jlexer *l, size_t i) { return i < l->n - l->at ? l->text[l->at + i] : 0; }

static bool starts_with(const jlexer *l, size_t at, const char *mark)
{
    size_t n = strlen(mark);
    return at <= l->n && l->n - at >= n && !memcmp(l->text + at, mark, n);
}

/* All forward movement, so that lines are counted. */
static void move_to(jlexer *l, size_t to)
{
    for (const char *p = l->text + l->at, *end = l->text + to; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        l->line++;
    l->at = to;
    l->j->line = l->line;
}

static void skip_space(jlexer *l) { move_to(l, fkv_jinja_skip_space(l->text, l->n, l->at)); }

/* If `mark` (its second and later characters) ends a tag at `at`, with its control sign: true and the place after
   it. */
static bool tag_ends(const jlexer *l, size_t at, const char *mark, bool plus, size_t *after)
{
    if (starts_with(l, at, "-") && starts_with(l, at + 1, mark)) {
        *after = fkv_jinja_skip_space(l->text, l->n, at + 1 + strlen(mark));
        return true;
    }
    if (plus && starts_with(l, at, "+") && starts_with(l, at + 1, mark)) {
        *after = at + 1 + strlen(mark);
        return true;
    }
    if (!starts_with(l, at, mark)) return false;
    *after = at + strlen(mark);
    if (*mark != '}' && starts_with(l, *after, "\n")) /* trim_blocks; not after {{ }} */
        ++*after;
    return true;
}

/* The place of the next {{, {% or {#, or n. */
static size_t find_mark(const jlexer *l)
{
    for (size_t i = l->at; i + 1 < l->n; i++) {
        const char *brace = memchr(l->text + i, '{', l->n - 1 - i);
        if (!brace) break;
        i = (size_t)(brace - l->text);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#') return i;
    }
    return l->n;
}

/* Where the text before the tag at `mark` ends, by the tag's sign and by lstrip_blocks. */
static size_t text_end(const jlexer *l, size_t mark)
{
    char sign = mark + 2 < l->n ? l->text[mark + 2] : 0;
    jvalue text = fkv_jinja_string(l->text + l->at, mark - l->at);
    if (sign == '-') return l->at + fkv_jinja_strip(l->j, text, (jvalue){0}, false, true).n;
    if (sign == '+' || l->text[mark + 1] == '{') return mark;
    size_t line = mark;
    while (line > l->at && l->text[line - 1] != '\n') line--;
    bool at_line_start = line == 0 || l->text[line - 1] == '\n';
    return at_line_start && fkv_jinja_skip_space(l->text, mark, line) == mark ? line : mark;
}

static void give_text(jtoken *t, const jlexer *l, size_t from, size_t to)
{
    t->kind = T_TEXT;
    t->value = fkv_jinja_string(l->text + from, to - from);
}

static void skip_comment(jlexer *l)
{
    size_t at = l->at + 2 + (peek(l, 2) == '-' || peek(l, 2) == '+'), after;
    for (; at < l->n; at++)
        if (tag_ends(l, at, "#}", true, &after)) {
            move_to(l, after);
            return;
        }
    fkv_jinja_bad(l->j, "the comment is not closed");
}

/* True when {% NAME %} stands at `at`; *after: the place after it. Raw's opening tag, unlike all others, trims only by
   '-'. */
static bool bare_tag(const jlexer *l, size_t at, const char *name, bool opening, size_t *after)
{
    at += 2 + (starts_with(l, at + 2, "-") || starts_with(l, at + 2, "+"));
    at = fkv_jinja_skip_space(l->text, l->n, at);
    if (!starts_with(l, at, name)) return false;
    at = fkv_jinja_skip_space(l->text, l->n, at + strlen(name));
    if (opening && starts_with(l, at, "%}")) {
        *after = at + 2;
        return true;
    }
    return tag_ends(l, at, "%}", !opening, after);
}

/* Behind {% raw %}: the text up to {% endraw %}. */
static void lex_raw(jlexer *l, size_t content, jtoken *t)
{
    move_to(l, content);
    for (size_t at = content, after; at < l->n; at++)
        if (starts_with(l, at, "{%") && bare_tag(l, at, "endraw", false, &after)) {
            give_text(t, l, content, text_end(l, at));
            move_to(l, after);
            return;
        }
    fkv_jinja_bad(l->j, "{%% raw %%} is not closed");
}

/* Outside of tags. */
static void lex_text(jlexer *l, jtoken *t)
{
    for (size_t content;;) {
        size_t mark = find_mark(l);
        if (l->state == IN_TEXT && l->at < mark) {
            give_text(t, l, l->at, mark < l->n ? text_end(l, mark) : l->n);
            move_to(l, mark);
            l->state = AT_MARK;
            return;
        }
        l->state = IN_TEXT;
        if (mark == l->n) {
            t->kind = T_END;
            return;
        }
        if (l->text[mark + 1] == '#') {
            skip_comment(l);
        } else if (l->text[mark + 1] == '%' && bare_tag(l, mark, "raw", true, &content)) {
            lex_raw(l, content, t);
            return;
        } else {
            bool print = l->text[mark + 1] == '{';
            move_to(l, mark + 2 + (peek(l, 2) == '-' || peek(l, 2) == '+'));
            l->state = print ? IN_PRINT : IN_TAG;
            t->kind = print ? T_PRINT_BEGIN : T_TAG_BEGIN;
            return;
        }
    }
}

enum { MAX_DIGITS = 40 }; /* of one part of a number */

/* Digits with single underscores between them, copied without. Returns the number of digits. */
static size_t take_digits(jlexer *l, char *to, bool (*is_digit)(char))
{
    size_t n = 0;
    while (is_digit(peek(l, 0)) || (peek(l, 0) == '_' && n && is_digit(peek(l, 1)))) {
        if (n == MAX_DIGITS) fkv_jinja_lacks(l->j, "numbers of more than %d digits are not supported", MAX_DIGITS);
        if (peek(l, 0) != '_') to[n++] = peek(l, 0);
        l->at++;
    }
    return n;
}

static bool is_decimal(char c) { return c >= '0' && c <= '9'; }
static bool is_octal(char c) { return c >= '0' && c <= '7'; }
static bool is_binary(char c) { return c == '0' || c == '1'; }
static bool is_hex(char c) { return is_decimal(c) || ((c | 32) >= 'a' && (c | 32) <= 'f'); }

static void give_integer(jlexer *l, jtoken *t, const char *digits, int base)
{
    int64_t value = 0;
    for (; *digits; digits++) {
        int digit = is_decimal(*digits) ? *digits - '0' : (*digits | 32) - 'a' + 10;
        if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value))
            fkv_jinja_lacks(l->j, "integers above 64 bits are not supported");
    }
    t->value = fkv_jinja_int(value);
}

/* An exponent or a fraction that belongs to the number before it. */
static bool fraction_follows(const jlexer *l) { return peek(l, 0) == '.' && is_decimal(peek(l, 1)); }
static bool exponent_follows(const jlexer *l)
{
    return (peek(l, 0) | 32) == 'e' && is_decimal(peek(l, 1 + (peek(l, 1) == '+' || peek(l, 1) == '-')));
}

static void lex_number(jlexer *l, jtoken *t)
{
    size_t start = l->at;
    char digits[3 * MAX_DIGITS + 4];
    char base = peek(l, 0) == '0' ? (char)(peek(l, 1) | 32) : 0;
    bool (*in_base)(char) = base == 'x' ? is_hex : base == 'o' ? is_octal : base == 'b' ? is_binary : NULL;
    t->kind = T_NUMBER;
    if (in_base && in_base(peek(l, 2 + (peek(l, 2) == '_')))) {
        l->at += 2 + (peek(l, 2) == '_');
        digits[take_digits(l, digits, in_base)] = 0;
        give_integer(l, t, digits, base == 'x' ? 16 : base == 'o' ? 8 : 2);
        return;
    }
    size_t n = take_digits(l, digits, is_decimal);
    bool after_dot = start && l->text[start - 1] == '.'; /* x.1.2 holds no float */
    bool fraction = !after_dot && fraction_follows(l);
    if (fraction) {
        digits[n++] = '.';
        l->at++;
        n += take_digits(l, digits + n, is_decimal);
    }
    bool exponent = !after_dot && exponent_follows(l);
    if (exponent) {
        digits[n++] = 'e';
        l->at++;
        if (peek(l, 0) == '-' || peek(l, 0) == '+') digits[n++] = l->text[l->at++];
        n += take_digits(l, digits + n, is_decimal);
    }
    digits[n] = 0;
    if (fraction || exponent)
        t->value = fkv_jinja_float(strtod(digits, NULL));
    else if (digits[0] == '0' && strspn(digits, "0") != n)
        fkv_jinja_bad(l->j, "the number %s starts with 0", digits);
    else
        give_integer(l, t, digits, 10);
}

/* \ooo, \xhh, \uhhhh, \Uhhhhhhhh: the character, and *at moves behind it. */
static int32_t numeric_escape(jlexer *l, jvalue s, size_t *at)
{
    char kind = s.text[*at];
    size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 3, i = is_octal(kind) ? 0 : 1;
    int32_t value = 0;
    for (size_t end = i + digits; i < end; i++) {
        char c = *at + i < s.n ? s.text[*at + i] : 0;
        if (is_octal(kind) && !is_octal(c)) break;
        if (!is_hex(c) || value > 0x10ffff) fkv_jinja_bad(l->j, "the escape \\%c of a string lacks digits", kind);
        value = value * (is_octal(kind) ? 8 : 16) + (is_decimal(c) ? c - '0' : (c | 32) - 'a' + 10);
    }
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        fkv_jinja_bad(l->j, "the escape \\%c of a string is not a character", kind);
    *at += i;
    return value;
}

static jvalue unescape(jlexer *l, jvalue s)
{
    static const char named[] = "\\'\"abfnrtv", meaning[] = "\\'\"\a\b\f\n\r\t\v";
    if (!memchr(s.text, '\\', s.n)) return s;
    jbuffer b = {0};
    for (size_t at = 0, slash; at < s.n;) {
        const char *p = memchr(s.text + at, '\\', s.n - at);
        slash = p ? (size_t)(p - s.text) : s.n;
        fkv_jinja_put(l->j, &b, s.text + at, slash - at);
        at = slash + 1;
        if (at >= s.n) break;
        char c = s.text[at];
        const char *known = c ? strchr(named, c) : NULL;
        if (known) {
            fkv_jinja_put(l->j, &b, meaning + (known - named), 1);
            at++;
        } else if (c == '\n') {
            at++;
        } else if (is_octal(c) || c == 'x' || c == 'u' || c == 'U') {
            fkv_jinja_put_character(l->j, &b, numeric_escape(l, s, &at));
        } else if (c == 'N') {
            fkv_jinja_lacks(l->j, "the string escape \\N is not supported");
        } else {
            fkv_jinja_put(l->j, &b, "\\", 1);
        }
    }
    return fkv_jinja_taken(&b);
}

static void lex_string(jlexer *l, jtoken *t)
{
    char quote = peek(l, 0);
    size_t end = l->at + 1;
    while (end < l->n && l->text[end] != quote) end += l->text[end] == '\\' ? 2 : 1;
    if (end >= l->n) fkv_jinja_bad(l->j, "the string is not closed");
    t->kind = T_STRING;
    t->value = unescape(l, fkv_jinja_string(l->text + l->at + 1, end - l->at - 1));
    move_to(l, end + 1);
}

static void lex_operator(jlexer *l, jtoken *t)
{
    static const char pairs[] = "**//==!=>=<=";
    char c = peek(l, 0), d = peek(l, 1);
    t->kind = T_OPERATOR;
    t->op = c;
    for (const char *p = pairs; *p; p += 2)
        if (p[0] == c && p[1] == d) t->op = J_OP(c, d);
    if (!c || (t->op == c && !strchr("+-/*%~[](){}><=.:|,;", c)))
        fkv_jinja_bad(l->j, "unexpected character U+%04X",
                      (unsigned)fkv_jinja_character(l->text, l->n, l->at, &(size_t){0}));
    if (strchr("([{", c)) l->brackets++;
    if (strchr(")]}", c) && --l->brackets < 0) fkv_jinja_bad(l->j, "unexpected '%c'", c);
    l->at += t->op == c ? 1 : 2;
}

static bool is_name(char c, bool first)
{
    return c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z') || (!first && is_decimal(c));
}

/* Inside of {{ }} or {% %}. */
static void lex_code(jlexer *l, jtoken *t)
{
    size_t start = l->at, after;
    bool print = l->state == IN_PRINT;
    if (l->brackets == 0 && tag_ends(l, l->at, print ? "}}" : "%}", !print, &after)) {
        move_to(l, after);
        l->state = IN_TEXT;
        t->kind = print ? T_PRINT_END : T_TAG_END;
        return;
    }
    if (l->at == l->n) {
        t->kind = T_END;
    } else if (is_decimal(peek(l, 0))) {
        lex_number(l, t);
    } else if (peek(l, 0) == '\'' || peek(l, 0) == '"') {
        lex_string(l, t);
    } else if (is_name(peek(l, 0), true)) {
        while (is_name(peek(l, 0), false)) l->at++;
        t->kind = T_NAME;
        t->value = fkv_jinja_string(l->text + start, l->at - start);
    } else {
        lex_operator(l, t);
    }
    t->source = fkv_jinja_string(l->text + start, l->at - start);
}

void fkv_jinja_next_token(jlexer *l, jtoken *t)
{
    fkv_jinja_work(l->j, 1);
    if (l->state == IN_PRINT || l->state == IN_TAG) skip_space(l);
    *t = (jtoken){.line = l->line};
    if (l->state == IN_PRINT || l->state == IN_TAG)
        lex_code(l, t);
    else
        lex_text(l, t);
}
