#include "tokenizer/split_rules.h"

#include <string.h>
#include <utf8proc.h>

#include "tokenizer/utf8.h"

/* Classes of characters, as bits. */
enum {
    UPPER = 1,        /* \p{Lu}\p{Lt} */
    LOWER = 2,        /* \p{Ll} */
    CASELESS = 4,     /* \p{Lm}\p{Lo} */
    MARK = 8,         /* \p{M} */
    NUMBER = 16,      /* \p{N} */
    PUNCT = 32,       /* \p{P} */
    SYMBOL = 64,      /* \p{S} */
    SPACE = 128,      /* \s, but for the next */
    NEWLINE = 256,    /* \r\n */
    OTHER = 512,      /* controls, formats, unassigned */
    CJK = 1024,       /* deepseek-v3's own class: letters and marks of it, */
    CJK_SIGN = 2048,  /* punctuation and symbols of it */
    CJK_OTHER = 4096, /* unassigned */
    END = 8192,       /* no character: the text is over */
    EAST = 16384,     /* deepseek-coder's own: a bit beside the class's */
    LETTER = UPPER | LOWER | CASELESS,
    WHITE = SPACE | NEWLINE,
};

static unsigned class_of(uint32_t code)
{
    if (code == '\r' || code == '\n') return NEWLINE;
    if ((code >= '\t' && code <= '\r') || code == 0x85) return SPACE;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return UPPER;
    case UTF8PROC_CATEGORY_LL: return LOWER;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return CASELESS;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return MARK;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return NUMBER;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return PUNCT;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return SYMBOL;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return SPACE;
    default: return OTHER;
    }
}

/* A text and how its characters are classed. */
struct scan {
    const char *text;
    size_t n;
    unsigned (*class_of)(uint32_t code);
};

/* The class of the character at i, and its length. */
static unsigned at(const struct scan *s, size_t i, size_t *len)
{
    uint32_t code = FKV_UTF8_REPLACEMENT;
    *len = 0;
    if (i >= s->n) return END;
    *len = fkv_utf8_get(s->text + i, s->n - i, &code);
    if (*len == 0) *len = 1;
    return s->class_of(code);
}

static unsigned class_at(const struct scan *s, size_t i)
{
    size_t len;
    return at(s, i, &len);
}

/* Where the run of characters of these classes that starts at i ends; at most `limit` of them. */
static size_t run(const struct scan *s, size_t i, unsigned classes, size_t limit)
{
    for (size_t len; limit > 0 && (at(s, i, &len) & classes); limit--) i += len;
    return i;
}

static size_t end_of(const struct scan *s, size_t i, unsigned classes) { return run(s, i, classes, SIZE_MAX); }

/* \s*[\r\n]+|\s+(?!\S)|\s+ at a white character. cuts: classes that start a text of their own. */
static size_t white(const struct scan *s, unsigned cuts)
{
    size_t end = 0, last = 0, lines = 0;
    for (size_t len; at(s, end, &len) & WHITE; end += len) {
        last = end;
        if (class_at(s, end) == NEWLINE) lines = end + len;
    }
    if (lines) return lines;
    return (class_at(s, end) & (cuts | END)) || last == 0 ? end : last;
}

/* ---- tekken, gpt-4o -------------------------------------------------------------------------- */

/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+ from i: its end, or i. What the first part takes too much
   it gives back up to the last character that both parts may have. */
static size_t lower_word(const struct scan *s, size_t i)
{
    size_t end = i, shared_end = i;
    for (size_t len; at(s, end, &len) & (UPPER | CASELESS | MARK);) {
        const bool shared = class_at(s, end) & (CASELESS | MARK);
        end += len;
        if (shared) shared_end = end;
    }
    const size_t lower = end_of(s, end, LOWER | CASELESS | MARK);
    return lower > end ? lower : shared_end;
}

/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]* from i: its end, or i. */
static size_t upper_word(const struct scan *s, size_t i)
{
    const size_t end = end_of(s, i, UPPER | CASELESS | MARK);
    return end > i ? end_of(s, end, LOWER | CASELESS | MARK) : i;
}

/* [^\r\n\p{L}\p{N}]?lower_word|[^\r\n\p{L}\p{N}]?upper_word|\p{N}{1,max_digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*| white.
   contractions: a word may end in one. */
static size_t split_by_case(const char *text, size_t n, size_t max_digits, bool contractions)
{
    const struct scan s = {text, n, class_of};
    size_t len, end = 0;
    const unsigned first = at(&s, 0, &len);
    const size_t prefix = first & (NEWLINE | LETTER | NUMBER) ? 0 : len;
    size_t (*const words[])(const struct scan *, size_t) = {lower_word, upper_word};
    for (int i = 0; i < 2; i++) {
        end = words[i](&s, prefix);
        if (end > prefix) break;
        end = prefix ? words[i](&s, 0) : 0;
        if (end) break;
    }
    if (end) return end + (contractions ? fkv_contraction(text + end, n - end, true) : 0);
    if (first == NUMBER) return run(&s, 0, NUMBER, max_digits);
    const size_t start = text[0] == ' ';
    end = end_of(&s, start, MARK | PUNCT | SYMBOL | OTHER);
    if (end == start) return white(&s, 0);
    while (end < n && (text[end] == '\r' || text[end] == '\n' || text[end] == '/')) end++;
    return end;
}

size_t fkv_split_tekken(const char *text, size_t n) { return split_by_case(text, n, 1, false); }
size_t fkv_split_gpt4o(const char *text, size_t n) { return split_by_case(text, n, 3, true); }

/* ---- variants of Llama 3's rule -------------------------------------------------------------- */

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?LETTERS+|\p{N}{1,max_digits}| ?[^\s LETTERS \p{N}]+[\r\n]*| white */
static size_t split_words(const char *text, size_t n, unsigned letters, size_t max_digits, unsigned cuts)
{
    const struct scan s = {text, n, class_of};
    size_t len;
    const size_t short_form = fkv_contraction(text, n, true);
    if (short_form) return short_form;
    const unsigned first = at(&s, 0, &len);
    if (first & letters) return end_of(&s, 0, letters);
    if (first == NUMBER) return run(&s, 0, NUMBER, max_digits);
    size_t end = first == NEWLINE ? len : end_of(&s, len, letters);
    if (end > len) return end;
    const size_t start = text[0] == ' ';
    end = end_of(&s, start, (MARK | PUNCT | SYMBOL | OTHER) & ~letters);
    return end > start ? end_of(&s, end, NEWLINE) : white(&s, cuts);
}

size_t fkv_split_qwen35(const char *text, size_t n) { return split_words(text, n, LETTER | MARK, 1, 0); }
/* Groups of digits are cut out first. */
size_t fkv_split_minicpm5(const char *text, size_t n) { return split_words(text, n, LETTER, 3, NUMBER); }

/* ---- deepseek-coder -------------------------------------------------------------------------- */

static unsigned class_with_east(uint32_t code)
{
    return class_of(code) | ((code >= 0x800 && code <= 0x9fa5) || (code >= 0xac00 && code <= 0xd7ff) ? EAST : 0);
}

/* In turn: [\r\n]; \s?\p{L}+; \s?\p{P}+; [U+0800-U+9FA5 U+AC00-U+D7FF]+; \p{N}. The fourth cuts what the others made
   wherever it turns east or back. */
size_t fkv_split_deepseek_coder(const char *text, size_t n)
{
    static const unsigned words[] = {LETTER, PUNCT};
    const struct scan s = {text, n, class_with_east};
    size_t len, next;
    const unsigned first = at(&s, 0, &len), east = first & EAST;
    if (first & (NEWLINE | NUMBER)) return len;
    size_t end = first & SPACE ? len : 0;
    for (int i = 0; i < 2; i++) {
        if (!(class_at(&s, end) & words[i])) continue;
        if ((class_at(&s, end) & EAST) != east) return end;
        for (unsigned class; class = at(&s, end, &next), (class & words[i]) && (class & EAST) == east;) end += next;
        return end;
    }
    end = len; /* what no word takes, up to a space that begins one */
    for (unsigned class;
         class = at(&s, end, &next), (class & (SPACE | MARK | SYMBOL | OTHER)) && (class & EAST) == east; end += next)
        if ((class & SPACE) && (class_at(&s, end + next) & (LETTER | PUNCT))) break;
    return end;
}

/* ---- deepseek-v3 ----------------------------------------------------------------------------- */

static unsigned class_with_cjk(uint32_t code)
{
    const unsigned class = class_of(code);
    if (!(code >= 0x4e00 && code <= 0x9fa5) && !(code >= 0x3040 && code <= 0x30ff)) return class;
    return class & (LETTER | MARK) ? CJK : class & (PUNCT | SYMBOL) ? CJK_SIGN : CJK_OTHER;
}

static bool is_ascii_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* First \p{N}{1,3}, then [U+4E00-U+9FA5 U+3040-U+30FF]+ are cut out; then in each of the parts:
   [!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*| white
   and what lies between, as it lies. */
size_t fkv_split_deepseek3(const char *text, size_t n)
{
    const struct scan s = {text, n, class_with_cjk};
    size_t len;
    const unsigned first = at(&s, 0, &len);
    if (first == NUMBER) return run(&s, 0, NUMBER, 3);
    if (first & (CJK | CJK_SIGN)) return end_of(&s, 0, first);
    if (len == 1 && (first & (PUNCT | SYMBOL)) && n > 1 && is_ascii_letter(text[1])) {
        for (len = 2; len < n && is_ascii_letter(text[len]);) len++;
        return len;
    }
    if (first & (LETTER | MARK)) return end_of(&s, 0, LETTER | MARK);
    const unsigned letters = first == CJK_OTHER ? CJK : LETTER | MARK;
    if (first & (SPACE | OTHER | CJK_OTHER)) {
        const size_t end = end_of(&s, len, letters);
        if (end > len) return end;
    }
    const size_t start = text[0] == ' ', end = end_of(&s, start, PUNCT | SYMBOL);
    if (end > start) return end_of(&s, end, NEWLINE);
    if (!(first & (OTHER | CJK_OTHER))) return white(&s, NUMBER | CJK | CJK_SIGN | CJK_OTHER);
    size_t gap = len; /* the last of the others may belong to a word that follows */
    for (size_t next; at(&s, gap, &next) == first && !(class_at(&s, gap + next) & letters);) gap += next;
    return gap;
}

/* ---- "default" ------------------------------------------------------------------------------- */

static unsigned class_with_marks(uint32_t code)
{
    return code && code < 0x80 && strchr("$+<=>^~|", (int)code) ? PUNCT : class_of(code);
}

static bool three_digits(const char *text, size_t n)
{
    for (size_t i = 0; i < 3; i++)
        if (i >= n || text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* In turn: [\p{P}$+<=>^~|]+; GPT-2's rule but for its last part; \p{N}+; [0-9][0-9][0-9]. */
size_t fkv_split_default(const char *text, size_t n)
{
    const struct scan s = {text, n, class_with_marks};
    const unsigned words[] = {LETTER, MARK | SYMBOL | OTHER};
    size_t len;
    const unsigned first = at(&s, 0, &len);
    if (first == PUNCT) return end_of(&s, 0, PUNCT);
    if (first == NUMBER) {
        if (three_digits(text, n)) return 3;
        while (class_at(&s, len) == NUMBER && !three_digits(text + len, n - len)) len = run(&s, len, NUMBER, 1);
        return len;
    }
    for (int i = 0; i < 2; i++) {
        const size_t start = text[0] == ' ', end = end_of(&s, start, words[i]);
        if (end > start) return end;
    }
    size_t end = 0, last = 0;
    for (; at(&s, end, &len) & WHITE; end += len) last = end;
    return (class_at(&s, end) & (PUNCT | END)) || last == 0 ? end : last;
}
