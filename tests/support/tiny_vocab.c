#include "support/tiny_vocab.h"

#include <stdio.h>
#include <stdlib.h>

#include "support/gguf_writer.h"

static struct tiny_vocab empty(const char *model)
{
    return (struct tiny_vocab){.model = model,
                               .bos = TINY_NONE,
                               .eos = TINY_NONE,
                               .eot = TINY_NONE,
                               .fim_pad = TINY_NONE,
                               .unknown = TINY_NONE,
                               .add_bos = TINY_NONE,
                               .add_eos = TINY_NONE,
                               .add_space_prefix = TINY_NONE};
}

int tiny_add(struct tiny_vocab *v, const char *text, int type, float score)
{
    if (v->n_tokens == TINY_TOKENS) abort();
    v->token[v->n_tokens] = text;
    v->type[v->n_tokens] = type;
    v->score[v->n_tokens] = score;
    v->n_types = v->n_scores = v->n_tokens + 1;
    return v->n_tokens++;
}

struct tiny_vocab tiny_bpe(const char *pre)
{
    static char spelled[256][3]; /* the same every time */
    static const char *const merges[] = {"h e",        "l l",
                                         "he ll",      "hell o",
                                         "\xc4\xa0 w", "\xc4\xa0 \xc4\xa0",
                                         "o r",        "\xc4\xa0w or",
                                         "l d",        "\xc4\x8a \xc4\x8a"};
    static const char *const merged[] = {"he",        "ll",
                                         "hell",      "hello",
                                         "\xc4\xa0w", "\xc4\xa0\xc4\xa0",
                                         "or",        "\xc4\xa0wor",
                                         "ld",        "\xc4\x8a\xc4\x8a"};
    struct tiny_vocab v = empty("gpt2");
    unsigned next = 0x100;
    v.pre = pre;
    for (unsigned byte = 0; byte < 256; byte++) {
        const bool printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
        const unsigned code = printable ? byte : next++;
        if (code < 0x80)
            snprintf(spelled[byte], 3, "%c", (int)code);
        else
            snprintf(spelled[byte], 3, "%c%c", (int)(0xc0 | code >> 6), (int)(0x80 | (code & 0x3f)));
        tiny_add(&v, spelled[byte], 1, 0);
    }
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++) {
        tiny_add(&v, merged[i], 1, 0);
        v.merge[v.n_merges++] = merges[i];
    }
    tiny_add(&v, "xyz", 1, 0); /* no merge makes it */
    tiny_add(&v, "<|begin|>", 3, 0);
    v.eos = tiny_add(&v, "<|im_end|>", 3, 0);
    tiny_add(&v, "<|im_end|><", 3, 0);
    tiny_add(&v, "<tool>", 4, 0);
    v.n_scores = 0;
    v.bos = v.eos - 1;
    return v;
}

struct tiny_vocab tiny_spm(void)
{
    static char byte_text[256][7];
    static const struct {
        const char *text;
        float score;
    } pieces[] = {
        {"\xe2\x96\x81", -1},
        {"h", -2},
        {"e", -2},
        {"l", -2},
        {"o", -2},
        {"w", -2},
        {"r", -2},
        {"d", -2},
        {"\xc3\xa9", -2},
        {"a", -2},
        {"b", -2},
        {"el", -3},
        {"lo", -4},
        {"ll", -3.5f},
        {"hel", -6},
        {"\xe2\x96\x81h", -5},
        {"\xe2\x96\x81hel", -7},
        {"or", -3},
        {"\xe2\x96\x81w", -4},
        {"\xe2\x96\x81wor", -5},
        {"ld", -4},
        {"aa", -3},
        {"\xe2\x96\x81\xe2\x96\x81", -3},
        {"d\xe2\x96\x81", -2.5f},
        {"b\xe2\x96\x81h", -2},
    };
    struct tiny_vocab v = empty("llama");
    v.unknown = tiny_add(&v, "<unk>", 2, 0);
    v.bos = tiny_add(&v, "<s>", 3, 0);
    v.eos = tiny_add(&v, "</s>", 3, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(byte_text[byte], sizeof byte_text[byte], "<0x%02X>", byte);
        tiny_add(&v, byte_text[byte], 6, 0);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) tiny_add(&v, pieces[i].text, 1, pieces[i].score);
    tiny_add(&v, "<turn>", 4, -10);
    return v;
}

static void put_u32(struct gguf_writer *w, const char *key, int value)
{
    if (value != TINY_NONE) gguf_put_u32(w, key, (uint32_t)value);
}

static void put_bool(struct gguf_writer *w, const char *key, int value)
{
    if (value != TINY_NONE) gguf_put_bool(w, key, value != 0);
}

uint8_t *tiny_file(const struct tiny_vocab *v, size_t *bytes)
{
    struct gguf_writer *w = gguf_writer_new(3, 0);
    if (v->model) gguf_put_str(w, "tokenizer.ggml.model", v->model);
    if (v->pre) gguf_put_str(w, "tokenizer.ggml.pre", v->pre);
    if (v->n_tokens) gguf_put_array_str(w, "tokenizer.ggml.tokens", v->token, (uint64_t)v->n_tokens);
    if (v->n_types) gguf_put_array(w, "tokenizer.ggml.token_type", FKV_GGUF_I32, v->type, (uint64_t)v->n_types);
    if (v->n_scores) gguf_put_array(w, "tokenizer.ggml.scores", FKV_GGUF_F32, v->score, (uint64_t)v->n_scores);
    if (v->n_merges)
        gguf_put_array_str(w, "tokenizer.ggml.merges", v->merge, v->n_merges > 0 ? (uint64_t)v->n_merges : 0);
    put_u32(w, "tokenizer.ggml.bos_token_id", v->bos);
    put_u32(w, "tokenizer.ggml.eos_token_id", v->eos);
    put_u32(w, "tokenizer.ggml.eot_token_id", v->eot);
    put_u32(w, "tokenizer.ggml.fim_pad_token_id", v->fim_pad);
    put_u32(w, "tokenizer.ggml.unknown_token_id", v->unknown);
    if (v->n_eos_ids)
        gguf_put_array(w, "tokenizer.ggml.eos_token_ids", FKV_GGUF_I32, v->eos_ids, (uint64_t)v->n_eos_ids);
    put_bool(w, "tokenizer.ggml.add_bos_token", v->add_bos);
    put_bool(w, "tokenizer.ggml.add_eos_token", v->add_eos);
    put_bool(w, "tokenizer.ggml.add_space_prefix", v->add_space_prefix);
    return gguf_writer_finish(w, bytes);
}
