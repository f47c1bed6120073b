#include "tokenizer/pretokenize.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer/split_rules.h"
#include "tokenizer/utf8.h"

enum kind { LETTER, NUMBER, SPACE, OTHER, END };

static enum kind kind_of(uint32_t code)
{
    if (code < 0x80) {
        if ((code | 0x20) - 'a' < 26) return LETTER;
        if (code - '0' < 10) return NUMBER;
        return code == ' ' || code - '\t' < 5 ? SPACE : OTHER;
    }
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return SPACE;
    default:
        return code == 0x85 ? SPACE : OTHER; /* next line: the one control character above ASCII that is White_Space */
    }
}

/* The kind of the character at i and its length; END at the end of the text. */
static enum kind peek(const char *text, size_t n, size_t i, size_t *len)
{
    uint32_t code = FKV_UTF8_REPLACEMENT;
    *len = 0;
    if (i >= n) return END;
    *len = fkv_utf8_get(text + i, n - i, &code);
    if (*len == 0) *len = 1;
    return kind_of(code);
}

/* Where the run of characters of this kind that starts at i ends; at most `limit` characters. *last: where the last of
   them starts. */
static size_t run(const char *text, size_t n, size_t i, enum kind kind, size_t limit, size_t *last)
{
    size_t len;
    for (; limit > 0 && peek(text, n, i, &len) == kind; i += len, limit--) *last = i;
    return i;
}

static size_t end_of(const char *text, size_t n, size_t i, enum kind kind)
{
    size_t last;
    return run(text, n, i, kind, SIZE_MAX, &last);
}

size_t fkv_contraction(const char *text, size_t n, bool any_case)
{
    if (n < 2 || text[0] != '\'') return 0;
    if (any_case && n > 2 && memcmp(text + 1, "\xc5\xbf", 2) == 0) return 3; /* U+017F, a lower case of S */
    const int fold = any_case ? 0x20 : 0; /* sets an ASCII letter in lower case, and makes no letter of anything else */
    const int a = text[1] | fold, b = n > 2 ? text[2] | fold : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ at a space: the run, but its last character is left for the word that follows.
   cut: what follows starts a text of its own. */
static size_t spaces(const char *text, size_t n, bool cut)
{
    size_t last = 0;
    const size_t end = run(text, n, 0, SPACE, SIZE_MAX, &last);
    return end == n || cut || last == 0 ? end : last;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
   lone_digits: the text is first cut at every \p{N}, which is a piece for itself. */
static size_t split_gpt2_like(const char *text, size_t n, bool lone_digits)
{
    size_t len;
    const size_t short_form = fkv_contraction(text, n, false);
    if (short_form) return short_form;
    const size_t start = text[0] == ' ';
    const enum kind kind = peek(text, n, start, &len);
    if (lone_digits && kind == NUMBER) return start ? start : len;
    if (kind != SPACE && kind != END) return end_of(text, n, start, kind);
    return spaces(text, n, lone_digits && peek(text, n, end_of(text, n, 0, SPACE), &len) == NUMBER);
}

static size_t split_gpt2(const char *text, size_t n) { return split_gpt2_like(text, n, false); }
static size_t split_smollm(const char *text, size_t n) { return split_gpt2_like(text, n, true); }

static bool is_newline(char c) { return c == '\n' || c == '\r'; }

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,max_digits}|
   ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t split_llama3_like(const char *text, size_t n, size_t max_digits)
{
    size_t len, last;
    const size_t short_form = fkv_contraction(text, n, true);
    if (short_form) return short_form;
    const enum kind kind = peek(text, n, 0, &len);
    if (kind == LETTER) return end_of(text, n, len, LETTER);
    if (kind == NUMBER) return run(text, n, 0, NUMBER, max_digits, &last);
    size_t end = is_newline(text[0]) ? len : end_of(text, n, len, LETTER);
    if (end > len) return end;
    const size_t start = text[0] == ' ';
    end = end_of(text, n, start, OTHER);
    if (end > start) {
        while (end < n && is_newline(text[end])) end++;
        return end;
    }
    for (end = end_of(text, n, 0, SPACE); end > 0; end--)
        if (is_newline(text[end - 1])) return end;
    return spaces(text, n, false);
}

static size_t split_qwen2(const char *text, size_t n) { return split_llama3_like(text, n, 1); }
static size_t split_llama3(const char *text, size_t n) { return split_llama3_like(text, n, 3); }

/* \n+|[^\n]+ */
static size_t split_lines(const char *text, size_t n)
{
    if (text[0] == '\n') {
        size_t end = 1;
        while (end < n && text[end] == '\n') end++;
        return end;
    }
    const char *newline = memchr(text, '\n', n);
    return newline ? (size_t)(newline - text) : n;
}

/* Names that share a rule exactly. A name that is missing here, such as deepseek-llm, has a rule of its
   own. */
static const struct fkv_pretokenizer pretokenizers[] = {
    {"default", fkv_split_default, 0},
    {"gpt-2", split_gpt2, 0},
    {"phi-2", split_gpt2, 0},
    {"mpt", split_gpt2, 0},
    {"olmo", split_gpt2, 0},
    {"jais", split_gpt2, 0},
    {"gigachat", split_gpt2, 0},
    {"roberta-bpe", split_gpt2, 0},
    {"exaone4", split_gpt2, 0},
    {"mellum", split_gpt2, 0},
    {"a.x-4.0", split_gpt2, 0},
    {"trillion", split_gpt2, 0},
    {"smollm", split_smollm, 0},
    {"starcoder", split_smollm, 0},
    {"refact", split_smollm, 0},
    {"command-r", split_smollm, 0},
    {"codeshell", split_smollm, 0},
    {"exaone", split_smollm, 0},
    {"minerva-7b", split_smollm, 0},
    {"mellum2", split_smollm, 0},
    {"qwen2", split_qwen2, FKV_PRE_NFC},
    {"deepseek-r1-qwen", split_qwen2, 0},
    {"megrez", split_qwen2, 0},
    {"stablelm2", split_qwen2, 0},
    {"kormo", split_qwen2, 0},
    {"hunyuan", split_qwen2, 0},
    {"solar-open", split_qwen2, 0},
    {"grok-2", split_qwen2, 0},
    {"llama-bpe", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"llama3", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"llama-v3", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"falcon3", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"falcon-h1", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"pixtral", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"lfm2", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"midm-2.0", split_llama3, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"dbrx", split_llama3, 0},
    {"smaug-bpe", split_llama3, 0},
    {"glm4", split_llama3, 0},
    {"chatglm-bpe", split_llama3, 0},
    {"tekken", fkv_split_tekken, FKV_PRE_WHOLE_WORDS | FKV_PRE_ADD_BOS},
    {"gpt-4o", fkv_split_gpt4o, 0},
    {"llama4", fkv_split_gpt4o, 0},
    {"kanana2", fkv_split_gpt4o, 0},
    {"minimax-m2", fkv_split_gpt4o, 0},
    {"qwen35", fkv_split_qwen35, FKV_PRE_NFC},
    {"minicpm5", fkv_split_minicpm5, FKV_PRE_WHOLE_WORDS},
    {"deepseek-coder", fkv_split_deepseek_coder, 0},
    {"deepseek-v3", fkv_split_deepseek3, 0},
    {"hunyuan-dense", fkv_split_deepseek3, 0},
    {"joyai-llm", fkv_split_deepseek3, 0},
    {"hy_v4", fkv_split_deepseek3, 0},
    {"gemma4", split_lines, FKV_PRE_CHARACTERS | FKV_PRE_ADD_BOS},
};
enum { n_pretokenizers = sizeof pretokenizers / sizeof *pretokenizers };

const struct fkv_pretokenizer *fkv_pretokenizer_find(struct fkv_str name)
{
    for (int i = 0; i < n_pretokenizers; i++)
        if (fkv_str_is(name, pretokenizers[i].name)) return &pretokenizers[i];
    return NULL;
}

void fkv_pretokenizer_names(char *text, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < n_pretokenizers && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, i ? ", %s" : "%s", pretokenizers[i].name);
}
