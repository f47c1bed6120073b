/* The tokenizers on small vocabularies made here: the splitting rules, merging against a plain reference, special
   tokens, metadata that lies, and vocabularies made to be slow. Real models: test_tokens.c. */
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

#include "support/gguf_writer.h"
#include "support/tiny_vocab.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/table.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

enum { ADD = FKV_TOKENIZE_ADD_SPECIAL, PARSE = FKV_TOKENIZE_PARSE_SPECIAL };

static uint64_t random_state = 1;
static uint32_t random_below(uint32_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((random_state >> 33) % n);
}

/* ---- the rules ------------------------------------------------------------------------------- */

/* Pieces as the published regular expressions cut them (Python's regex module 2026.11.19, finditer). */
static const struct {
    const char *rule, *pieces;
} splits[] = {
    {"gpt-2", "Hello|,| world|'s| END| | it|'s| IT|'|S"},
    {"gpt-2", "a| | b|\t|\t|c| \n\n | d|\r\n"},
    {"gpt-2", "x|1| 22| 333| 4444| \302\275\302\262"},
    {"gpt-2", "  \n| x"},
    {"gpt-2", "...|\n|\n|foo|()"},
    {"gpt-2", "don|'|T| '|ll|'|REx"},
    {"gpt-2", "caf\303\251| \357\274\241|\302\240|b|\343\200\200| c"},
    {"gpt-2", "\340\244\250\340\244\256|\340\245\201| x"},
    {"gpt-2", "!| | 1"},
    {"gpt-2", "tail|  "},
    {"smollm", "Hello|,| world|'s| END| | it|'s| IT|'|S"},
    {"smollm", "x|1| |2|2| |3|3|3| |4|4|4|4| |\302\275|\302\262"},
    {"smollm", "...|\n|\n|foo|()"},
    {"smollm", "!|  |1"},
    {"smollm", "tail|  "},
    {"qwen2", "Hello|,| world|'s| END| | it|'s| IT|'S"},
    {"qwen2", "a| | b|\t|\tc| \n\n| | d|\r\n"},
    {"qwen2", "x|1| |2|2| |3|3|3| |4|4|4|4| |\302\275|\302\262"},
    {"qwen2", "  \n| x"},
    {"qwen2", "...\n\n|foo|()"},
    {"qwen2", "don|'T| '|ll|'RE|x"},
    {"qwen2", "caf\303\251| \357\274\241|\302\240b|\343\200\200| c"},
    {"qwen2", "\340\244\250\340\244\256|\340\245\201| x"},
    {"qwen2", "!| | |1"},
    {"llama-bpe", "x|1| |22| |333| |444|4| |\302\275\302\262"},
    {"llama-bpe", "a| | b|\t|\tc| \n\n| | d|\r\n"},
    {"llama-bpe", "don|'T| '|ll|'RE|x"},
    {"llama-bpe", "tail|  "},
};

static void test_splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        const struct fkv_pretokenizer *pre = fkv_pretokenizer_find(
            (struct fkv_str){splits[i].rule, strlen(splits[i].rule)});
        char text[128], got[256] = "";
        size_t n = 0;
        for (const char *p = splits[i].pieces; *p; p++)
            if (*p != '|') text[n++] = *p;
        for (size_t at = 0; at < n;) {
            const size_t len = pre->split(text + at, n - at);
            assert_in_range(len, 1, n - at);
            snprintf(got + strlen(got), sizeof got - strlen(got), at ? "|%.*s" : "%.*s", (int)len, text + at);
            at += len;
        }
        if (strcmp(got, splits[i].pieces) != 0)
            fail_msg("%s: expected '%s', got '%s'", splits[i].rule, splits[i].pieces, got);
    }
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *repaired;
    } cases[] = {
        {"ok \xc3\xa9\xe4\xb8\x96\xf0\x9f\x91\x8d", "ok \xc3\xa9\xe4\xb8\x96\xf0\x9f\x91\x8d"},
        {"\x80\xff", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe4\xb8", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe4\xb8(", "\xef\xbf\xbd\xef\xbf\xbd("},
        {"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", "///"},
        {"\xed\xa0\x80", "\xed\xa0\x80"},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
        {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf8\x88", "\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        const size_t n = fkv_utf8_repair(cases[i].text, strlen(cases[i].text), out);
        assert_int_equal(n, strlen(cases[i].repaired));
        assert_memory_equal(out, cases[i].repaired, n);
    }
}

static void test_table_bounds_its_probes(void **state)
{
    (void)state;
    enum { n_keys = 1000, slots = 2048 };
    struct fkv_table table = {0};
    assert_true(fkv_table_reset(&table, n_keys, 0));
    assert_int_equal(table.mask, slots - 1);
    uint64_t key = 0, crowd = 0;
    for (; crowd <= FKV_TABLE_PROBES; key++) { /* keys that all start at one slot */
        if ((fkv_mix(key ^ table.seed) & table.mask) != 7) continue;
        uint64_t *value = fkv_table_put(&table, key, key + 1);
        if (crowd < FKV_TABLE_PROBES)
            assert_int_equal(*value, key + 1);
        else
            assert_null(value);
        assert_int_equal(fkv_table_get(&table, key), crowd < FKV_TABLE_PROBES ? key + 1 : FKV_TABLE_NONE);
        crowd++;
    }
    fkv_table_free(&table);
}

/* ---- helpers --------------------------------------------------------------------------------- */

static fkv_status load(struct fkv_tokenizer **tokenizer, const struct tiny_vocab *v, struct fkv_error *e)
{
    size_t bytes;
    uint8_t *file = tiny_file(v, &bytes);
    struct fkv_gguf *gguf;
    if (fkv_gguf_open_memory(&gguf, file, bytes, e)) fail_msg("%s", e->text);
    const fkv_status status = fkv_tokenizer_create(tokenizer, gguf, e);
    fkv_gguf_close(gguf);
    free(file); /* it has copied what it needs */
    return status;
}

static struct fkv_tokenizer *must_load(const struct tiny_vocab *v)
{
    struct fkv_tokenizer *tokenizer;
    struct fkv_error e;
    if (load(&tokenizer, v, &e)) fail_msg("%s", e.text);
    return tokenizer;
}

/* Expects the tokens of a text, given by their own texts with spaces between them. */
static void check_tokens(const struct tiny_vocab *v, const struct fkv_tokenizer *t, const char *text, unsigned flags,
                         const char *expected)
{
    int32_t *ids;
    size_t n;
    char got[1024] = "";
    assert_int_equal(fkv_tokenizer_encode(t, text, strlen(text), flags, &ids, &n, NULL), FKV_OK);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(ids[i], 0, v->n_tokens - 1);
        snprintf(got + strlen(got), sizeof got - strlen(got), i ? " %s" : "%s", v->token[ids[i]]);
    }
    if (strcmp(got, expected) != 0) fail_msg("'%s': expected '%s', got '%s'", text, expected, got);
    free(ids);
}

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- byte-level BPE and SentencePiece -------------------------------------------------------- */

#define SP "\xe2\x96\x81" /* U+2581 */

static void test_bpe(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, "", ADD, "");
    check_tokens(&v, t, "hello world", 0, "hello \xc4\xa0wor ld");
    check_tokens(&v, t, "hellll", 0, "hell ll");
    check_tokens(&v, t, "lll", 0, "ll l"); /* the leftmost of equal pairs */
    check_tokens(&v, t, "xyz", 0, "x y z");
    check_tokens(&v, t, "a\n\n", 0, "a \xc4\x8a\xc4\x8a");
    check_tokens(&v, t, "\xff", 0, "\xc3\xaf \xc2\xbf \xc2\xbd");
    fkv_tokenizer_destroy(t);

    v = tiny_bpe("llama-bpe"); /* whole pieces first, and BOS by default */
    t = must_load(&v);
    check_tokens(&v, t, "xyz", ADD, "<|begin|> xyz");
    check_tokens(&v, t, "xyzz", 0, "x y z z");
    fkv_tokenizer_destroy(t);

    v = tiny_bpe(NULL);
    v.token['q'] = "no-byte"; /* this byte has no token: it is dropped, but no merge reaches over it */
    t = must_load(&v);
    check_tokens(&v, t, "hqello", 0, "h e ll o");
    fkv_tokenizer_destroy(t);
}

static void test_spm(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_spm();
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, "", ADD, "<s>");
    check_tokens(&v, t, "hello world", ADD, "<s> " SP "hel lo " SP "wor ld");
    check_tokens(&v, t, "aaa", 0, SP " aa a");
    check_tokens(&v, t, "d h", 0, SP " d" SP " h"); /* a token that ends in a space: no word is cut before it */
    check_tokens(&v, t, "b h", 0, SP " b" SP "h");
    check_tokens(&v, t, "\xc3\xa9?\xff", 0, SP " \xc3\xa9 <0x3F> <0xFF>");
    check_tokens(&v, t, "\xc3(h", 0, SP " <0xC3> <0x28> h"); /* a bad lead byte takes the next one along */
    check_tokens(&v, t, "<s><turn>h", 0,
                 SP " <0x3C> <0x73> <0x3E> <turn> " SP "h"); /* control tokens are never made of text */
    check_tokens(&v, t, "<s>h", PARSE, "<s> " SP "h");
    fkv_tokenizer_destroy(t);

    v.add_space_prefix = v.add_bos = 0;
    v.add_eos = 1;
    t = must_load(&v);
    check_tokens(&v, t, "hello", ADD, "hel lo </s>");
    check_tokens(&v, t, "  hel", 0, SP SP " hel"); /* "SP SP" has the higher score */
    fkv_tokenizer_destroy(t);
}

static void test_bytes(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    struct fkv_tokenizer *t = must_load(&v);
    const char *bytes;
    for (int byte = 0; byte < 256; byte++) {
        assert_int_equal(fkv_tokenizer_bytes(t, byte, false, &bytes), 1);
        assert_int_equal((uint8_t)bytes[0], byte);
    }
    assert_int_equal(fkv_tokenizer_bytes(t, v.eos, false, &bytes), 0);
    assert_int_equal(fkv_tokenizer_bytes(t, v.eos, true, &bytes), 10);
    assert_memory_equal(bytes, "<|im_end|>", 10);
    assert_int_equal(fkv_tokenizer_bytes(t, -1, true, &bytes), 0);
    assert_int_equal(fkv_tokenizer_bytes(t, v.n_tokens, true, &bytes), 0);
    fkv_tokenizer_destroy(t);

    v = tiny_spm();
    t = must_load(&v);
    assert_int_equal(fkv_tokenizer_bytes(t, 3 + 0xe2, false, &bytes), 1);
    assert_int_equal((uint8_t)bytes[0], 0xe2);
    assert_int_equal(fkv_tokenizer_bytes(t, 259, false, &bytes), 1);
    assert_int_equal(bytes[0], ' ');
    fkv_tokenizer_destroy(t);
}

static void test_specials(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    v.eot = tiny_add(&v, "<eot>", 3, 0);
    v.n_scores = 0;
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, "<|im_end|><tool>", PARSE, "<|im_end|>< t o o l >"); /* the longest counts */
    check_tokens(&v, t, "<|im_end|>ld<|im_end|>", PARSE, "<|im_end|> ld <|im_end|>");
    check_tokens(&v, t, "<<tool>", 0,
                 "< <tool>"); /* user-defined tokens are always recognised, control tokens on demand */
    check_tokens(&v, t, "<eot>", 0, "< e o t >");
    check_tokens(&v, t, "<|im_en", PARSE, "< | i m _ e n");
    assert_int_equal(fkv_tokenizer_bos(t), v.bos);
    assert_int_equal(fkv_tokenizer_eos(t), v.eos);
    assert_true(fkv_tokenizer_is_end(t, v.eos));
    assert_true(fkv_tokenizer_is_end(t, v.eot));
    assert_false(fkv_tokenizer_is_end(t, v.bos));
    assert_false(fkv_tokenizer_is_end(t, -1));
    assert_false(fkv_tokenizer_is_end(t, v.n_tokens));
    fkv_tokenizer_destroy(t);
}

static void test_equal_tokens(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    const int second = tiny_add(&v, "hello", 1, 0);
    tiny_add(&v, "", 1, 0);
    tiny_add(&v, "", 3, 0);
    v.n_scores = 0;
    struct fkv_tokenizer *t = must_load(&v);
    int32_t *ids;
    size_t n;
    assert_int_equal(fkv_tokenizer_encode(t, "hello", 5, 0, &ids, &n, NULL), FKV_OK);
    assert_int_equal(n, 1);
    assert_true(ids[0] < second); /* the lowest id of equal texts */
    free(ids);
    fkv_tokenizer_destroy(t);
}

/* ---- merging against a plain reference: look at all pairs, merge the best, again ------------- */

enum { LONGEST = 48, WORD = 8 };

/* The priority of the token that a and b make, lower first; INT_MAX when they make none. */
typedef int pair_priority(const struct tiny_vocab *v, const char *a, const char *b);

static int spm_priority(const struct tiny_vocab *v, const char *a, const char *b)
{
    const size_t n = strlen(a);
    for (int i = 1; i < v->n_tokens; i++)
        if (strncmp(v->token[i], a, n) == 0 && strcmp(v->token[i] + n, b) == 0) return (int)-v->score[i];
    return INT32_MAX;
}

static int bpe_priority(const struct tiny_vocab *v, const char *a, const char *b)
{
    const size_t n = strlen(a);
    for (int i = 0; i < v->n_merges; i++)
        if (strncmp(v->merge[i], a, n) == 0 && v->merge[i][n] == ' ' && strcmp(v->merge[i] + n + 1, b) == 0) return i;
    return INT32_MAX;
}

static void reference(const struct tiny_vocab *v, pair_priority *priority, char symbols[][4 * LONGEST], size_t n,
                      char *out)
{
    for (;;) {
        size_t best = n;
        int lowest = INT32_MAX;
        for (size_t i = 0; i + 1 < n; i++) {
            const int p = priority(v, symbols[i], symbols[i + 1]);
            if (p < lowest) lowest = p, best = i;
        }
        if (best == n) break;
        memcpy(symbols[best] + strlen(symbols[best]), symbols[best + 1], strlen(symbols[best + 1]) + 1);
        memmove(symbols[best + 1], symbols[best + 2], (n - best - 2) * sizeof *symbols);
        n--;
    }
    out[0] = '\0';
    for (size_t i = 0; i < n; i++) strcat(strcat(out, i ? " " : ""), symbols[i]);
}

static void random_texts(const struct tiny_vocab *v, pair_priority *priority, const char *const *alphabet,
                         uint32_t n_letters)
{
    struct fkv_tokenizer *t = must_load(v);
    for (int round = 0; round < 20; round++) {
        char symbols[LONGEST][4 * LONGEST], text[LONGEST + 1], expected[8 * LONGEST];
        const size_t n = 1 + random_below(LONGEST - 1);
        for (size_t i = 0; i < n; i++) {
            const char *letter = alphabet[random_below(n_letters)];
            strcpy(symbols[i], letter);
            text[i] = strcmp(letter, SP) == 0 ? ' ' : letter[0];
        }
        text[n] = '\0';
        reference(v, priority, symbols, n, expected);
        check_tokens(v, t, text, 0, expected);
    }
    fkv_tokenizer_destroy(t);
}

/* A random string of 2 to 5 letters. */
static void random_word(char word[4 * WORD], const char *const *alphabet, uint32_t n_letters)
{
    word[0] = '\0';
    for (uint32_t i = 0, n = 2 + random_below(4); i < n; i++) strcat(word, alphabet[random_below(n_letters)]);
}

static void test_spm_against_reference(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", SP};
    static char words[TINY_TOKENS][4 * WORD];
    for (int round = 0; round < 200; round++) {
        struct tiny_vocab v = {.model = "llama",
                               .bos = TINY_NONE,
                               .eos = TINY_NONE,
                               .eot = TINY_NONE,
                               .unknown = 0,
                               .add_bos = 0,
                               .add_eos = TINY_NONE,
                               .add_space_prefix = 0};
        tiny_add(&v, "<unk>", 2, 0);
        for (int i = 0; i < 3; i++) tiny_add(&v, letters[i], 1, 0);
        for (int i = 0; i < 25; i++) {
            random_word(words[i], letters, 3);
            if (spm_priority(&v, words[i], "") == INT32_MAX) tiny_add(&v, words[i], 1, -(float)random_below(12));
        }
        random_texts(&v, spm_priority, letters, 3);
    }
}

static void test_bpe_against_reference(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "b", "c"};
    static char words[TINY_MERGES][4 * WORD], merges[TINY_MERGES][4 * WORD];
    for (int round = 0; round < 200; round++) {
        struct tiny_vocab v = tiny_bpe("gpt-2");
        const char *part[TINY_MERGES + 3];
        uint32_t n_parts = 0;
        for (int i = 0; i < 3; i++) part[n_parts++] = letters[i];
        for (int i = 0; i < TINY_MERGES - 16; i++) {
            const char *a = part[random_below(n_parts)], *b = part[random_below(n_parts)];
            if (strlen(a) + strlen(b) > 6) continue;
            snprintf(merges[i], sizeof merges[i], "%s %s", a, b);
            snprintf(words[i], sizeof words[i], "%s%s", a, b);
            v.merge[v.n_merges++] = merges[i];
            part[n_parts++] = words[i];
            tiny_add(&v, words[i], 1, 0); /* often equal to an earlier one */
        }
        for (int i = v.n_merges - 1; i > 0; i--) { /* a hostile order: parts may rank behind what they make */
            const uint32_t k = random_below((uint32_t)i + 1);
            const char *swapped = v.merge[i];
            v.merge[i] = v.merge[k];
            v.merge[k] = swapped;
        }
        v.n_scores = 0;
        random_texts(&v, bpe_priority, letters, 3);
    }
}

/* ---- metadata that lies ---------------------------------------------------------------------- */

static void no_model(struct tiny_vocab *v) { v->model = NULL; }
static void bert(struct tiny_vocab *v) { v->model = "bert"; }
static void unknown_pre(struct tiny_vocab *v) { v->pre = "tekken"; }
static void no_tokens(struct tiny_vocab *v) { v->n_tokens = 0; }
static void few_types(struct tiny_vocab *v) { v->n_types--; }
static void type_seven(struct tiny_vocab *v) { v->type[5] = 7; }
static void type_negative(struct tiny_vocab *v) { v->type[5] = -1; }
static void no_merges(struct tiny_vocab *v) { v->n_merges = 0; }
static void merge_without_space(struct tiny_vocab *v) { v->merge[1] = "ll"; }
static void merge_of_nothing(struct tiny_vocab *v) { v->merge[1] = "l "; }
static void merge_of_spaces(struct tiny_vocab *v) { v->merge[1] = " "; }
static void merge_empty(struct tiny_vocab *v) { v->merge[1] = ""; }
static void merge_unknown_part(struct tiny_vocab *v) { v->merge[1] = "l zz"; }
static void merge_unknown_whole(struct tiny_vocab *v) { v->merge[1] = "l z"; }
static void bos_outside(struct tiny_vocab *v) { v->bos = v->n_tokens; }
static void eot_outside(struct tiny_vocab *v) { v->eot = 1 << 30; }
static void bos_missing(struct tiny_vocab *v) { v->bos = TINY_NONE, v->add_bos = 1; }
static void eos_missing(struct tiny_vocab *v) { v->eos = TINY_NONE, v->add_eos = 1; }
static void no_scores(struct tiny_vocab *v) { v->n_scores = 0; }
static void few_scores(struct tiny_vocab *v) { v->n_scores = 3; }
static void score_nan(struct tiny_vocab *v) { v->score[9] = __builtin_nanf(""); }
static void no_byte_no_unknown(struct tiny_vocab *v) { v->unknown = 1 << 30; }
static void long_token(struct tiny_vocab *v)
{
    static char text[1026];
    memset(text, 'x', 1025);
    v->token[7] = text;
}

static const struct lie {
    bool spm;
    void (*tell)(struct tiny_vocab *v);
    fkv_status status;
    const char *message; /* a part of it */
} lies[] = {
    {false, no_model, FKV_ERROR_FORMAT, "tokenizer.ggml.model: missing"},
    {false, bert, FKV_ERROR_UNSUPPORTED, "tokenizer.ggml.model: \"bert\" is not supported (supported: gpt2, llama)"},
    {false, unknown_pre, FKV_ERROR_UNSUPPORTED,
     "tokenizer.ggml.pre: \"tekken\" is not supported (supported: default, gpt-2, "},
    {false, no_tokens, FKV_ERROR_FORMAT, "tokenizer.ggml.tokens: missing or empty"},
    {false, few_types, FKV_ERROR_FORMAT, "tokenizer.ggml.token_type: expected "},
    {false, type_seven, FKV_ERROR_FORMAT, "tokenizer.ggml.token_type[5]: expected 1 to 6, found 7"},
    {true, type_negative, FKV_ERROR_FORMAT, "tokenizer.ggml.token_type[5]: expected 1 to 6, found -1"},
    {false, no_merges, FKV_ERROR_FORMAT, "tokenizer.ggml.merges: missing or empty"},
    {false, merge_without_space, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: expected two tokens"},
    {false, merge_of_nothing, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: expected two tokens"},
    {false, merge_of_spaces, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: expected two tokens"},
    {false, merge_empty, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: expected two tokens"},
    {false, merge_unknown_part, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: \"zz\" is not in tokenizer.ggml.tokens"},
    {false, merge_unknown_whole, FKV_ERROR_FORMAT, "tokenizer.ggml.merges[1]: \"lz\" is not in tokenizer.ggml.tokens"},
    {false, bos_outside, FKV_ERROR_FORMAT, "tokenizer.ggml.bos_token_id: token "},
    {true, eot_outside, FKV_ERROR_FORMAT, "tokenizer.ggml.eot_token_id: token 1073741824, the vocabulary has "},
    {false, bos_missing, FKV_ERROR_FORMAT, "tokenizer.ggml.add_bos_token is true"},
    {false, eos_missing, FKV_ERROR_FORMAT, "tokenizer.ggml.add_eos_token is true"},
    {true, no_scores, FKV_ERROR_FORMAT, "tokenizer.ggml.scores: expected "},
    {true, few_scores, FKV_ERROR_FORMAT, "file has 3"},
    {true, score_nan, FKV_ERROR_FORMAT, "tokenizer.ggml.scores[9]: not a number"},
    {true, no_byte_no_unknown, FKV_ERROR_FORMAT, "tokenizer.ggml.unknown_token_id: token "},
    {false, long_token, FKV_ERROR_UNSUPPORTED, "tokenizer.ggml.tokens[7]: a token of 1025 bytes"},
};

static void test_lies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct tiny_vocab v = lies[i].spm ? tiny_spm() : tiny_bpe("gpt-2");
        struct fkv_tokenizer *t;
        struct fkv_error e = {""};
        lies[i].tell(&v);
        const fkv_status status = load(&t, &v, &e);
        if (status != lies[i].status || !strstr(e.text, lies[i].message))
            fail_msg("expected %d '%s', got %d '%s'", lies[i].status, lies[i].message, status, e.text);
    }
}

static void test_no_token_for_a_byte(void **state)
{
    (void)state;
    struct tiny_vocab v = {.model = "llama",
                           .bos = TINY_NONE,
                           .eos = TINY_NONE,
                           .eot = TINY_NONE,
                           .unknown = TINY_NONE,
                           .add_bos = TINY_NONE,
                           .add_eos = TINY_NONE,
                           .add_space_prefix = TINY_NONE};
    struct fkv_tokenizer *t;
    struct fkv_error e = {""};
    tiny_add(&v, "a", 1, 0);
    tiny_add(&v, "b", 1, 0);
    assert_int_equal(load(&t, &v, &e), FKV_ERROR_FORMAT);
    assert_non_null(strstr(e.text, "no token for the byte <0x00>"));
}

static void test_wrong_kinds(void **state)
{
    (void)state;
    const uint32_t numbers[] = {1, 2, 3};
    for (int spoiled = 0; spoiled < 2; spoiled++) {
        struct gguf_writer *w = gguf_writer_new(3, 0);
        struct fkv_gguf *gguf;
        struct fkv_tokenizer *t;
        struct fkv_error e = {""};
        size_t bytes;
        if (spoiled == 0)
            gguf_put_u32(w, "tokenizer.ggml.model", 5);
        else
            gguf_put_str(w, "tokenizer.ggml.model", "llama");
        gguf_put_array(w, "tokenizer.ggml.tokens", FKV_GGUF_U32, numbers, 3);
        uint8_t *file = gguf_writer_finish(w, &bytes);
        assert_int_equal(fkv_gguf_open_memory(&gguf, file, bytes, &e), FKV_OK);
        assert_int_equal(fkv_tokenizer_create(&t, gguf, &e), FKV_ERROR_FORMAT);
        assert_non_null(strstr(e.text, spoiled == 0 ? "tokenizer.ggml.model" : "tokenizer.ggml.tokens"));
        fkv_gguf_close(gguf);
        free(file);
    }
}

/* Any byte of the file changed: an error, or a tokenizer whose ids are all in its vocabulary. */
static void test_changed_bytes(void **state)
{
    (void)state;
    static const char text[] = "hello world <|im_end|>\xff\xc3\xa9 12 'll <turn>  \n";
    int loaded = 0, refused = 0;
    for (int round = 0; round < 6000; round++) {
        const struct tiny_vocab v = round % 2 ? tiny_spm() : tiny_bpe("llama-bpe");
        size_t bytes, n;
        uint8_t *file = tiny_file(&v, &bytes);
        file[random_below((uint32_t)bytes)] = (uint8_t)random_below(256);
        struct fkv_gguf *gguf;
        struct fkv_tokenizer *t;
        struct fkv_error e = {""};
        if (fkv_gguf_open_memory(&gguf, file, bytes, &e) == FKV_OK) {
            if (fkv_tokenizer_create(&t, gguf, &e) == FKV_OK) {
                int32_t *ids;
                assert_int_equal(fkv_tokenizer_encode(t, text, sizeof text - 1, ADD | PARSE, &ids, &n, &e), FKV_OK);
                for (size_t i = 0; i < n; i++) assert_in_range(ids[i], 0, fkv_tokenizer_n_vocab(t) - 1);
                free(ids);
                fkv_tokenizer_destroy(t);
                loaded++;
            } else {
                assert_int_not_equal(e.text[0], '\0');
                refused++;
            }
            fkv_gguf_close(gguf);
        }
        free(file);
    }
    assert_true(loaded > 1000 && refused > 100);
}

/* ---- vocabularies made to be slow ------------------------------------------------------------ */

enum { TEXT = 1 << 18, STEPS = 30 };

static double seconds_for(const struct tiny_vocab *v, const char *text)
{
    struct fkv_tokenizer *t = must_load(v);
    int32_t *ids;
    size_t n;
    const double start = cpu_seconds();
    assert_int_equal(fkv_tokenizer_encode(t, text, TEXT, PARSE, &ids, &n, NULL), FKV_OK);
    const double seconds = cpu_seconds() - start;
    free(ids);
    fkv_tokenizer_destroy(t);
    return seconds;
}

/* Tokens that grow letter by letter from the left, and special tokens that fail only at their last byte. Neither may
   take longer than n times the longest token, whatever the text (10 s: 40 times what is measured, since sanitizers and
   emulators are slow). */
static void test_slow_vocabularies(void **state)
{
    (void)state;
    static char growing[STEPS][STEPS + 2], failing[STEPS][10 * STEPS + 2];
    char *text = malloc(TEXT);
    assert_non_null(text);
    memset(text, 'a', TEXT);

    struct tiny_vocab v = tiny_spm();
    for (int i = 0; i < STEPS; i++) {
        memset(growing[i], 'a', (size_t)i + 2);
        if (i > 0) tiny_add(&v, growing[i], 1, (float)i); /* "aa" is there */
    }
    const double merging = seconds_for(&v, text);

    v = tiny_bpe("gpt-2");
    for (int i = 0; i < STEPS; i++) {
        memset(failing[i], 'a', (size_t)10 * i + 10);
        failing[i][10 * i + 10] = '!';
        tiny_add(&v, failing[i], 3, 0);
    }
    v.n_scores = 0;
    const double matching = seconds_for(&v, text);
    printf("growing tokens %.2f s, failing specials %.2f s\n", merging, matching);
    free(text);
    assert_true(merging < 10 && matching < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_table_bounds_its_probes),
        cmocka_unit_test(test_bpe),
        cmocka_unit_test(test_spm),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_equal_tokens),
        cmocka_unit_test(test_spm_against_reference),
        cmocka_unit_test(test_bpe_against_reference),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_no_token_for_a_byte),
        cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_slow_vocabularies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
