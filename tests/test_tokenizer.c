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
#include "tokenizer/normalize.h"
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
    /* by PyPI's tokenizers 0.23.3 (check_tokenizers.py) */
    {"tekken", "HTTPServer| i|Phone| don|'t| DON|'T| x|1|2|3|4| ...\n/|x|\n\n| | y"},
    {"tekken", "\303\211cole| \344\270\226A\314\201b| \343\201\202|AB"},
    {"tekken", "a|/b|//\n| c\314\201| |1|2|3|4|5| | |6|\t|7"},
    {"tekken", "\343\203\242|\343\202\233|1|2|3|4|5|\343\202\242| !|foo|.bar\303\251| \001|x|\001\002|y"},
    {"tekken", "$|1|,|2|3|4|.|5|<=|x| | '| tail|  "},
    {"gpt-4o", "HTTPServer| i|Phone| don't| DON'T| x|123|4| ...\n/|x|\n\n| | y"},
    {"gpt-4o", "\303\211cole| \344\270\226A\314\201b| \343\201\202|AB"},
    {"gpt-4o", "a|/b|//\n| c\314\201| |123|45| | |6|\t|7"},
    {"gpt-4o", "\343\203\242|\343\202\233|123|45|\343\202\242| !|foo|.bar\303\251| \001|x|\001\002|y"},
    {"gpt-4o", "$|1|,|234|.|5|<=|x| | '| tail|  "},
    {"qwen35", "HTTPServer| iPhone| don|'t| DON|'T| x|1|2|3|4| ...\n|/x|\n\n| | y"},
    {"qwen35", "\303\211cole| \344\270\226A\314\201b| \343\201\202AB"},
    {"qwen35", "a|/b|//\n| c\314\201| |1|2|3|4|5| | |6|\t|7"},
    {"qwen35", "\343\203\242|\343\202\233|1|2|3|4|5|\343\202\242| !|foo|.bar\303\251| \001|x|\001\002|y"},
    {"qwen35", "$|1|,|2|3|4|.|5|<=|x| | '| tail|  "},
    {"minicpm5", "HTTPServer| iPhone| don|'t| DON|'T| x|123|4| ...\n|/x|\n\n| | y"},
    {"minicpm5", "\303\211cole| \344\270\226A|\314\201b| \343\201\202AB"},
    {"minicpm5", "a|/b|//\n| c|\314\201| |123|45|  |6|\t|7"},
    {"minicpm5", "\343\203\242|\343\202\233|123|45|\343\202\242| !|foo|.bar\303\251| \001|x|\001\002|y"},
    {"minicpm5", "$|1|,|234|.|5|<=|x| | '| tail|  "},
    {"deepseek-v3", "HTTPServer| iPhone| don|'t| DON|'T| x|123|4| ...\n|/x|\n\n| | y"},
    {"deepseek-v3", "\303\211cole| |\344\270\226|A\314\201b| |\343\201\202|AB"},
    {"deepseek-v3", "a|/b|//\n| c\314\201| |123|45|  |6|\t|7"},
    {"deepseek-v3", "\343\203\242|\343\202\233|123|45|\343\202\242| !|foo|.bar|\303\251| |\001x|\001|\002y"},
    {"deepseek-v3", "$|1|,|234|.|5|<=|x| | '| tail|  "},
    {"deepseek-v3",
     "\343\203\210|\343\202\230\343\203\226|\343\202\230\343\202\230| |\343\202\230|a"}, /* unassigned kana */
    {"deepseek-coder", "HTTPServer| don|'|t| | x|1|2|3|4| ...|\n|/|x|\n|\n| | y|=|\r|\n"},
    {"deepseek-coder",
     "\303\211col\303\251| |\344\270\226|A|\314\201|b| |\343\201\202|AB| |\342\200\203\344\270\226|\343\200\200| x|"
     "\343\200\201|!|\343\200\201| a"},
    {"deepseek-coder", "$|1|,|2|3|4|.|5|<=|x| | '| |\340\245\247|\340\245\250| |\302\275| | tail|  "},
    {"deepseek-coder", "\340\271\204\340\270\227\340\270\242| \327\251|\327\201| \327\251| |\352\260\200|!| | "
                       "|\342\200\224\342\200\224| -"},
    {"default", "HTTPServer| iPhone| don|'|t| DON|'|T| x|123|4| |...|\n|/|x|\n\n | y"},
    {"default", "\303\211cole| \344\270\226A|\314\201|b| \343\201\202AB"},
    {"default", "a|/|b|//|\n| c|\314\201| |123|45| | |6|\t|7"},
    {"default", "\343\203\242|\343\202\233|123|45|\343\202\242| |!|foo|.|bar\303\251| \001|x|\001\002|y"},
    {"default", "$|1|,|234|.|5|<=|x|  |'| tail|  "},
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

static fkv_status load(struct fkv_tokenizer **tokenizer, const struct tiny_vocab *v, struct fkv_warnings *warnings,
                       struct fkv_error *e)
{
    size_t bytes;
    uint8_t *file = tiny_file(v, &bytes);
    struct fkv_gguf *gguf;
    if (fkv_gguf_open_memory(&gguf, file, bytes, e)) fail_msg("%s", e->text);
    const fkv_status status = fkv_tokenizer_create(tokenizer, gguf, warnings, e);
    fkv_gguf_close(gguf);
    free(file); /* it has copied what it needs */
    return status;
}

static struct fkv_tokenizer *must_load(const struct tiny_vocab *v)
{
    struct fkv_tokenizer *tokenizer;
    struct fkv_error e;
    if (load(&tokenizer, v, NULL, &e)) fail_msg("%s", e.text);
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

/* Gemma 4's: merges, but of characters, in lines. */
static void test_characters(void **state)
{
    (void)state;
    static const char *const merges[] = {"l l", "e l", "h el", "\xe2\x96\x81 hel", "l o", "\xc3\xa9 a"};
    struct tiny_vocab v = tiny_spm();
    v.model = "gemma4";
    v.n_scores = 0;
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) v.merge[v.n_merges++] = merges[i];
    tiny_add(&v,
             "\xc3\xa9"
             "a",
             1, 0);
    tiny_add(&v, "\n\n", 1, 0);
    v.n_scores = 0;
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, " hello", 0, "\xe2\x96\x81 h e ll o"); /* by rank, whatever "lo" and "hel" are */
    check_tokens(&v, t, "hel hel", 0, "hel \xe2\x96\x81hel");
    check_tokens(&v, t,
                 "x\xc3\xa9"
                 "a\xe4\xb8\x96",
                 0,
                 "<0x78> \xc3\xa9"
                 "a <0xE4> <0xB8> <0x96>");
    check_tokens(&v, t, "a\n\nb\n", 0, "a \n\n b <0x0A>");
    check_tokens(&v, t, "<turn>a</s>", PARSE | ADD, "<s> <turn> a </s>");
    const char *bytes;
    assert_int_equal(fkv_tokenizer_bytes(t, 3 + 0xe2, false, &bytes), 1);
    assert_int_equal((uint8_t)*bytes, 0xe2);
    assert_int_equal(fkv_tokenizer_bytes(t, 259, false, &bytes), 1); /* U+2581 */
    assert_int_equal(*bytes, ' ');
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

/* Adds a token of a name that ends turns elsewhere, and says whether it does here. */
static bool ends_turn(struct tiny_vocab v, const char *name, int type)
{
    const int id = tiny_add(&v, name, type, -20);
    if (v.n_merges) v.n_scores = 0;
    struct fkv_tokenizer *t = must_load(&v);
    const bool ends = fkv_tokenizer_is_end(t, id);
    fkv_tokenizer_destroy(t);
    return ends;
}

static void test_ends_by_name(void **state)
{
    (void)state;
    static const char *const names[] = {
        "<|eot_id|>",
        "<|eom_id|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|end|>",
        "<EOT>",
        "<|return|>",
        "<|call|>",
        "<turn|>",
        "<|eot|>",
        "<|eom|>",
        "[EOT]",
        "<eos>",
        "<|tool_response>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
        "<file_sep>",
        "<reponame>",
        "<|file_separator|>",
        "<｜end▁of▁sentence｜>",
        "<|end▁of▁sentence|>",
        "<|end_of_sentence|>",
        "▁<EOT>",
        "<|EOT|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|end_of_turn|>",
        "[|endofturn|]",
        "<|endofresponse|>",
        "<|assistant_end|>",
        "<|role_end|>",
        "<|message_sep|>",
        "<|eos|>",
        "<seed:eos>",
        "[e~[",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (int type = 1; type <= 4; type++) /* files give them any of these types */
            if (!ends_turn(tiny_bpe("gpt-2"), names[i], type))
                fail_msg("%s of type %d does not end a turn", names[i], type);
        assert_true(ends_turn(tiny_spm(), names[i], 3));
    }
    assert_false(ends_turn(tiny_bpe("gpt-2"), "</s>", 3));
    assert_false(ends_turn(tiny_bpe("gpt-2"), "<|im_start|>", 3));
    struct tiny_vocab v = tiny_bpe("gpt-2"); /* where these two are, <|end|> is not the end */
    tiny_add(&v, "<|return|>", 3, 0);
    tiny_add(&v, "<|call|>", 3, 0);
    assert_false(ends_turn(v, "<|end|>", 3));
    assert_false(ends_turn(v, "<|user|>", 3));
    tiny_add(&v, "[gMASK]", 3, 0); /* GLM's turns end where another's begins */
    assert_true(ends_turn(v, "<|user|>", 3));
    assert_true(ends_turn(v, "<|observation|>", 3));
}

/* A token that text can become has such a name by chance. */
static void test_ordinary_names(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    v.merge[v.n_merges++] = "< E";
    v.merge[v.n_merges++] = "<E O";
    v.merge[v.n_merges++] = "<EO T";
    v.merge[v.n_merges++] = "<EOT >";
    tiny_add(&v, "<E", 1, 0);
    tiny_add(&v, "<EO", 1, 0);
    tiny_add(&v, "<EOT", 1, 0);
    const int id = tiny_add(&v, "<EOT>", 1, 0);
    const int html = tiny_add(&v, "</s>", 1, 0);
    v.n_scores = 0;
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, "a<EOT>b</s>", PARSE, "a < E O T > b < / s >");
    assert_false(fkv_tokenizer_is_end(t, id));
    assert_false(fkv_tokenizer_is_end(t, html));
    fkv_tokenizer_destroy(t);

    v = tiny_spm();
    assert_true(ends_turn(v, "<EOT>", 1)); /* nothing makes it */
    tiny_add(&v, "<E", 1, -3);
    tiny_add(&v, "OT>", 1, -3);
    assert_false(ends_turn(v, "<EOT>", 1));
}

static void test_ends_by_key(void **state)
{
    (void)state;
    struct tiny_vocab v = tiny_bpe("gpt-2");
    const int one = tiny_add(&v, "<one>", 3, 0), two = tiny_add(&v, "<two>", 3, 0), pad = tiny_add(&v, "<pad>", 3, 0);
    v.n_scores = 0;
    v.eos_ids[0] = one;
    v.eos_ids[1] = v.n_tokens;
    v.eos_ids[2] = two;
    v.n_eos_ids = 3;
    v.fim_pad = pad;
    struct fkv_tokenizer *t;
    struct fkv_warnings warnings = {0};
    struct fkv_error e = {""};
    if (load(&t, &v, &warnings, &e)) fail_msg("%s", e.text);
    assert_int_equal(warnings.n, 1);
    assert_string_equal(warnings.text[0], "tokenizer.ggml.eos_token_ids: token 274, the vocabulary has 274: ignored");
    assert_true(fkv_tokenizer_is_end(t, v.eos) && fkv_tokenizer_is_end(t, one) && fkv_tokenizer_is_end(t, two));
    assert_true(fkv_tokenizer_is_end(t, pad));
    assert_int_equal(fkv_tokenizer_eos(t), v.eos);
    fkv_warnings_destroy(&warnings);
    fkv_tokenizer_destroy(t);
}

/* ---- Unicode's composed form ----------------------------------------------------------------- */

static void test_nfc(void **state)
{
    (void)state;
    static const struct {
        const char *text, *composed;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"cafe\xcc\x81!", "caf\xc3\xa9!"},
        {"q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},               /* marks in their order */
        {"\xe1\x84\x92\xe1\x85\xa1\xe1\x86\xab", "\xed\x95\x9c"}, /* jamo */
        {"\xea\xb0\x80\xe1\x86\xa8", "\xea\xb0\x81"},             /* a syllable and a final */
        {"\xec\x96\xb4\xe1\x86\xa7", "\xec\x96\xb4\xe1\x86\xa7"}, /* U+11A7 is no final */
        {"\xe2\x84\xab\xe2\x84\xa6", "\xc3\x85\xce\xa9"},         /* singletons */
        {"\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},             /* excluded from composition */
        {"\xef\xbd\xb6\xef\xbe\x9e", "\xef\xbd\xb6\xef\xbe\x9e"}, /* half-width forms stay */
        {"\xed\xa0\x80\xcc\x81", "\xed\xa0\x80\xcc\x81"},         /* nothing combines with a surrogate */
        {"e\xed\xa0\x80"
         "e\xcc\x81",
         "e\xed\xa0\x80\xc3\xa9"},
        {">\xcc\xb8", "\xe2\x89\xaf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out;
        size_t n;
        assert_int_equal(fkv_nfc(cases[i].text, strlen(cases[i].text), &out, &n, NULL), FKV_OK);
        assert_int_equal(n, strlen(cases[i].composed));
        assert_memory_equal(out, cases[i].composed, n);
        free(out);
    }
}

/* A special token ends where it ends, though its last letter and what follows have a composed form. */
static void test_nfc_around_specials(void **state)
{
    (void)state;
    const struct tiny_vocab v = tiny_bpe("qwen2");
    struct fkv_tokenizer *t = must_load(&v);
    check_tokens(&v, t, "<|im_end|>\xcc\xb8", PARSE, "<|im_end|> \xc3\x8c \xc2\xb8");
    check_tokens(&v, t, "e<|im_end|>\xcc\x81", PARSE, "e <|im_end|> \xc3\x8c \xc4\xa3");
    check_tokens(&v, t, ">\xcc\xb8", PARSE, "\xc3\xa2 \xc4\xab \xc2\xaf");
    fkv_tokenizer_destroy(t);
}

/* A long run of marks in the worst order. */
static void test_nfc_time(void **state)
{
    (void)state;
    enum { marks = 1 << 18 };
    char *text = malloc(4 * marks), *out;
    size_t n;
    assert_non_null(text);
    for (int i = 0; i < marks; i++) memcpy(text + 4 * i, "\xcc\x81\xcc\xa3", 4); /* classes 230 and 220 */
    const double start = cpu_seconds();
    assert_int_equal(fkv_nfc(text, 4 * marks, &out, &n, NULL), FKV_OK);
    assert_true(cpu_seconds() - start < 10); /* 0.02 s; a quadratic sort takes hours */
    assert_int_equal(n, 4 * marks);
    for (int i = 0; i < marks; i++) {
        assert_memory_equal(out + 2 * i, "\xcc\xa3", 2);
        assert_memory_equal(out + 2 * (marks + i), "\xcc\x81", 2);
    }
    free(out);
    free(text);
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
                               .fim_pad = TINY_NONE,
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
static void unknown_pre(struct tiny_vocab *v) { v->pre = "poro-chat"; }
static void no_tokens(struct tiny_vocab *v) { v->n_tokens = 0; }
static void no_vocabulary(struct tiny_vocab *v) { v->model = "none", v->n_tokens = 0; }
static void few_types(struct tiny_vocab *v) { v->n_types--; }
static void type_seven(struct tiny_vocab *v) { v->type[5] = 7; }
static void type_negative(struct tiny_vocab *v) { v->type[264] = -1; }
static void no_merges(struct tiny_vocab *v) { v->n_merges = 0; }
static void merge_without_space(struct tiny_vocab *v) { v->merge[1] = "ll"; }
static void merge_of_nothing(struct tiny_vocab *v) { v->merge[1] = "l "; }
static void merge_of_spaces(struct tiny_vocab *v) { v->merge[1] = " "; }
static void merge_of_controls(struct tiny_vocab *v) { v->merge[1] = "l\x1b\nl"; }
static void merge_empty(struct tiny_vocab *v) { v->merge[1] = ""; }
static void merge_unknown_part(struct tiny_vocab *v) { v->merge[1] = "l zz"; }
static void merge_unknown_whole(struct tiny_vocab *v) { v->merge[1] = "l z"; }
static void bos_outside(struct tiny_vocab *v) { v->bos = v->n_tokens; }
static void eot_outside(struct tiny_vocab *v) { v->eot = 1 << 30; }
static void bos_missing(struct tiny_vocab *v) { v->bos = TINY_NONE, v->add_bos = 1; }
static void eos_missing(struct tiny_vocab *v) { v->eos = TINY_NONE, v->add_eos = 1; }
static void no_scores(struct tiny_vocab *v) { v->n_scores = 0; }
static void pre_missing(struct tiny_vocab *v) { v->pre = NULL; }
static void pre_empty(struct tiny_vocab *v) { v->pre = ""; }
static void merges_empty(struct tiny_vocab *v) { v->n_merges = TINY_EMPTY; }
static void merges_through_missing(struct tiny_vocab *v)
{
    tiny_add(v, "lor", 1, 0);
    v->n_scores = 0;
    for (int i = v->n_merges++; i > 0; i--) v->merge[i] = v->merge[i - 1];
    v->merge[0] = "l o";
    v->merge[v->n_merges++] = "lo r";
}
static void few_scores(struct tiny_vocab *v) { v->n_scores = 3; }
static void score_nan(struct tiny_vocab *v) { v->score[9] = __builtin_nanf(""); }
static void unknown_outside(struct tiny_vocab *v) { v->unknown = 1 << 30; }
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
    {false, no_tokens, FKV_ERROR_FORMAT, "tokenizer.ggml.tokens: missing or empty"},
    {false, few_types, FKV_ERROR_FORMAT, "tokenizer.ggml.token_type: expected "},
    {false, no_merges, FKV_ERROR_FORMAT, "tokenizer.ggml.merges: missing"},
    {true, few_scores, FKV_ERROR_FORMAT, "file has 3"},
    {true, score_nan, FKV_ERROR_FORMAT, "tokenizer.ggml.scores[9]: not a number"},
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
        const fkv_status status = load(&t, &v, NULL, &e);
        if (status != lies[i].status || !strstr(e.text, lies[i].message))
            fail_msg("expected %d '%s', got %d '%s'", lies[i].status, lies[i].message, status, e.text);
    }
}

/* Where it is not known how text becomes ids, ids still become text, and end the answer. */
static void test_text_refused(void **state)
{
    (void)state;
    static const struct {
        void (*tell)(struct tiny_vocab *v);
        const char *why, *space; /* what "\u0120" spells */
    } cases[] = {
        {unknown_pre, "tokenizer.ggml.pre: \"poro-chat\" is not supported (supported: default, gpt-2, ", " "},
        {bert, "tokenizer.ggml.model: \"bert\" is not supported (supported: gpt2, llama, gemma4)", "\xc4\xa0"},
        {no_vocabulary, "tokenizer.ggml.model: \"none\" is not supported (supported: gpt2, llama, gemma4)", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tiny_vocab v = tiny_bpe("gpt-2");
        struct fkv_tokenizer *t;
        struct fkv_warnings warnings = {0};
        struct fkv_error e = {""};
        const char *bytes;
        int32_t *ids;
        size_t n_ids;
        const int space = ' ';
        cases[i].tell(&v);
        if (load(&t, &v, &warnings, &e)) fail_msg("%s", e.text);
        assert_int_equal(warnings.n, 1);
        assert_non_null(strstr(warnings.text[0], "prompts can be given as ids only: tokenizer.ggml."));
        assert_non_null(strstr(warnings.text[0], cases[i].why));
        assert_int_equal(fkv_tokenizer_encode(t, "hello", 5, ADD, &ids, &n_ids, &e), FKV_ERROR_UNSUPPORTED);
        assert_memory_equal(e.text, cases[i].why, strlen(cases[i].why));
        assert_int_equal(fkv_tokenizer_bytes(t, space, true, &bytes), strlen(cases[i].space));
        assert_memory_equal(bytes, cases[i].space, strlen(cases[i].space));
        assert_true(fkv_tokenizer_is_end(t, v.eos));
        assert_false(fkv_tokenizer_is_end(t, space));
        fkv_warnings_destroy(&warnings);
        fkv_tokenizer_destroy(t);
    }
}

/* What is wrong but can be done without: the tokenizer works, and one line says what is wrong. */
static const struct flaw {
    bool spm;
    void (*make)(struct tiny_vocab *v);
    const char *warning;         /* the whole line */
    const char *text, *expected; /* what is left of it */
} flaws[] = {
    {false, pre_missing,
     "tokenizer.ggml.pre: missing: text is cut by the rule \"default\", and answers may be worse for it", "hello ll",
     "hello \xc4\xa0 ll"},
    {false, pre_empty,
     "tokenizer.ggml.pre: empty: text is cut by the rule \"default\", and answers may be worse for it", "hello ll",
     "hello \xc4\xa0 ll"},
    {false, merges_empty, "tokenizer.ggml.merges: empty: text becomes single bytes", "hello", "h e l l o"},
    {false, merge_without_space,
     "tokenizer.ggml.merges: 1 of 10 merges are not two tokens with a space between them: ignored, the first is [1] "
     "\"ll\"",
     "hell or", "he l l \xc4\xa0 or"},
    {false, merge_of_nothing,
     "tokenizer.ggml.merges: 1 of 10 merges are not two tokens with a space between them: ignored, the first is [1] "
     "\"l \"",
     "hell", "he l l"},
    {false, merge_of_spaces,
     "tokenizer.ggml.merges: 1 of 10 merges are not two tokens with a space between them: ignored, the first is [1] "
     "\" \"",
     "hell", "he l l"},
    {false, merge_of_controls,
     "tokenizer.ggml.merges: 1 of 10 merges are not two tokens with a space between them: ignored, the first is [1] "
     "\"l  l\"",
     "hell", "he l l"},
    {false, merge_empty,
     "tokenizer.ggml.merges: 1 of 10 merges are not two tokens with a space between them: ignored, the first is [1] "
     "\"\"",
     "hell", "he l l"},
    {false, merge_unknown_part,
     "tokenizer.ggml.merges: 1 of 10 merges name tokens that tokenizer.ggml.tokens lacks, the first is [1] \"l zz\"",
     "hellzz", "he l l z z"},
    {false, merge_unknown_whole,
     "tokenizer.ggml.merges: 1 of 10 merges name tokens that tokenizer.ggml.tokens lacks, the first is [1] \"l z\"",
     "lzh", "l z h"},
    /* as merging by texts has it: "lo" comes before "o r" though it is no token, and "lor" is one again */
    {false, merges_through_missing,
     "tokenizer.ggml.merges: 2 of 12 merges name tokens that tokenizer.ggml.tokens lacks, the first is [0] \"l o\"",
     "lor loz", "lor \xc4\xa0 l o z"},
    {false, bos_outside, "tokenizer.ggml.bos_token_id: token 271, the vocabulary has 271: ignored", "hello", "hello"},
    {true, eot_outside, "tokenizer.ggml.eot_token_id: token 1073741824, the vocabulary has 285: ignored", "hello",
     "<s> \xe2\x96\x81hel lo"},
    {false, bos_missing, "tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id: ignored",
     "hello", "hello"},
    {false, eos_missing, "tokenizer.ggml.add_eos_token is true, but there is no tokenizer.ggml.eos_token_id: ignored",
     "hello", "hello"},
    {true, no_scores, "tokenizer.ggml.scores: missing: all tokens are taken for equally good", "hel ld",
     "<s> \xe2\x96\x81hel \xe2\x96\x81 ld"},
    {true, unknown_outside, "tokenizer.ggml.unknown_token_id: token 1073741824, the vocabulary has 285: ignored", "h",
     "<s> \xe2\x96\x81h"},
    {false, type_seven,
     "tokenizer.ggml.token_type: 1 of 271 types are not 1 to 6, the first is [5] = 7: taken for normal tokens", "hello",
     "hello"},
    {true, type_negative,
     "tokenizer.ggml.token_type: 1 of 285 types are not 1 to 6, the first is [264] = -1: taken for normal tokens", "d",
     "<s> \xe2\x96\x81 d"},
};

static void test_flaws(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        struct tiny_vocab v = flaws[i].spm ? tiny_spm() : tiny_bpe("gpt-2");
        struct fkv_tokenizer *t;
        struct fkv_warnings warnings = {0};
        struct fkv_error e = {""};
        flaws[i].make(&v);
        if (load(&t, &v, &warnings, &e)) fail_msg("%s: refused: %s", flaws[i].warning, e.text);
        if (warnings.n != 1) fail_msg("%s: %zu warnings", flaws[i].warning, warnings.n);
        assert_string_equal(warnings.text[0], flaws[i].warning);
        check_tokens(&v, t, flaws[i].text, ADD, flaws[i].expected);
        fkv_warnings_destroy(&warnings);
        fkv_tokenizer_destroy(t);
    }
}

/* A file without a flaw is not warned of. */
static void test_no_warnings(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct tiny_vocab v = i ? tiny_spm() : tiny_bpe("qwen2");
        struct fkv_tokenizer *t;
        struct fkv_warnings warnings = {0};
        struct fkv_error e = {""};
        assert_int_equal(load(&t, &v, &warnings, &e), FKV_OK);
        assert_int_equal(warnings.n, 0);
        fkv_tokenizer_destroy(t);
    }
}

static void test_no_token_for_a_byte(void **state)
{
    (void)state;
    struct tiny_vocab v = {.model = "llama",
                           .bos = TINY_NONE,
                           .eos = TINY_NONE,
                           .eot = TINY_NONE,
                           .fim_pad = TINY_NONE,
                           .unknown = TINY_NONE,
                           .add_bos = TINY_NONE,
                           .add_eos = TINY_NONE,
                           .add_space_prefix = TINY_NONE};
    struct fkv_tokenizer *t;
    struct fkv_error e = {""};
    tiny_add(&v, "a", 1, 0);
    tiny_add(&v, "b", 1, 0);
    assert_int_equal(load(&t, &v, NULL, &e), FKV_ERROR_FORMAT);
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
        assert_int_equal(fkv_tokenizer_create(&t, gguf, NULL, &e), FKV_ERROR_FORMAT);
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
            int32_t *ids = NULL;
            fkv_status status = fkv_tokenizer_create(&t, gguf, NULL, &e);
            if (status == FKV_OK) {
                status = fkv_tokenizer_encode(t, text, sizeof text - 1, ADD | PARSE, &ids, &n, &e);
                for (size_t i = 0; ids && i < n; i++) assert_in_range(ids[i], 0, fkv_tokenizer_n_vocab(t) - 1);
                assert_true(status == FKV_OK || status == FKV_ERROR_UNSUPPORTED);
                free(ids);
                fkv_tokenizer_destroy(t);
            }
            if (status == FKV_OK) {
                loaded++;
            } else {
                assert_int_not_equal(e.text[0], '\0');
                refused++;
            }
            fkv_gguf_close(gguf);
        }
        free(file);
    }
    printf("%d loaded, %d refused\n", loaded, refused);
    assert_true(loaded > 1000 && refused > 20);
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
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_ends_by_name),
        cmocka_unit_test(test_ordinary_names),
        cmocka_unit_test(test_ends_by_key),
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_nfc_around_specials),
        cmocka_unit_test(test_nfc_time),
        cmocka_unit_test(test_equal_tokens),
        cmocka_unit_test(test_spm_against_reference),
        cmocka_unit_test(test_bpe_against_reference),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_text_refused),
        cmocka_unit_test(test_flaws),
        cmocka_unit_test(test_no_warnings),
        cmocka_unit_test(test_no_token_for_a_byte),
        cmocka_unit_test(test_wrong_kinds),
        cmocka_unit_test(test_changed_bytes),
        cmocka_unit_test(test_slow_vocabularies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
