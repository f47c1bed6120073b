#include "tokenizer/ends.h"

#include <inttypes.h>
#include <string.h>

/* Files often fail to name all of these as eos, eot or eom. "</s>" is not among them: where it ends a turn it is eos,
   and elsewhere it is an HTML tag. */
static const char *const end_names[] = {
    /* of a turn or text */
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|eot|>",
    "<|eom|>",
    "<end_of_turn>",
    "<turn|>",
    "<eos>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "\xe2\x96\x81<EOT>", /* U+2581 */
    "<|EOT|>",
    "[EOT]",
    "[EOS]",
    "<｜end▁of▁sentence｜>", /* DeepSeek: U+FF5C and U+2581 */
    "<|end▁of▁sentence|>",
    "<|end_of_sentence|>",
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
    /* of GLM, whose turns end where another's begins */
    "<|user|>",
    "<|observation|>",
    /* of what is handed to a tool */
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<|tool_response>",
    /* of a file: padding of fill-in-the-middle, the next repository, the next file */
    "<|file_separator|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<repo_name>",
    "<|file_sep|>",
    "<file_sep>",
};

static int32_t find_name(const struct fkv_vocab *v, const char *name) { return fkv_vocab_find(v, name, strlen(name)); }

void fkv_read_token_id(int32_t *id, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf, const char *key,
                       struct fkv_warnings *warnings)
{
    uint32_t value = UINT32_MAX; /* as some writers say "none" */
    struct fkv_error why = {""};
    if (fkv_gguf_u32(gguf, key, &value, &why))
        fkv_warn(warnings, "%.400s: ignored", why.text);
    else if (value < (uint32_t)vocab->n)
        *id = (int32_t)value;
    else if (value != UINT32_MAX)
        fkv_warn(warnings, "%s: token %" PRIu32 ", the vocabulary has %d: ignored", key, value, vocab->n);
}

static void read_id_list(bool *ends, const struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                         struct fkv_warnings *warnings)
{
    static const char key[] = "tokenizer.ggml.eos_token_ids";
    uint64_t count = 0;
    struct fkv_error why = {""};
    if (fkv_gguf_array(gguf, key, FKV_GGUF_U32, &count, &why)) fkv_warn(warnings, "%.400s: ignored", why.text);
    for (uint64_t i = 0; i < count; i++) {
        const int64_t id = fkv_gguf_array_int(gguf, key, i);
        if (id >= 0 && id < vocab->n)
            ends[id] = true;
        else
            fkv_warn(warnings, "%s: token %" PRId64 ", the vocabulary has %d: ignored", key, id, vocab->n);
    }
}

/* A mark that begins a turn ends the one before in GLM's vocabularies only. */
static bool begins_only(const struct fkv_vocab *v, const char *name)
{
    return (!strcmp(name, "<|user|>") || !strcmp(name, "<|observation|>")) && find_name(v, "[gMASK]") < 0;
}

/* Where "<|return|>" or "<|flush|>" ends a turn, "<|end|>" only ends one of its messages. */
static bool ends_message_only(const struct fkv_vocab *v, const char *name)
{
    if (strcmp(name, "<|end|>") != 0) return false;
    return (find_name(v, "<|return|>") >= 0 && find_name(v, "<|call|>") >= 0) ||
           (find_name(v, "<|flush|>") >= 0 && find_name(v, "<|calls|>") >= 0);
}

void fkv_ends_find(bool *ends, int32_t *eos, struct fkv_vocab *vocab, const struct fkv_gguf *gguf,
                   fkv_makes_token *makes, const void *context, struct fkv_warnings *warnings)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id",     "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id",     "tokenizer.ggml.fim_pad_token_id",
                                       "tokenizer.ggml.fim_rep_token_id", "tokenizer.ggml.fim_sep_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id = i == 0 ? *eos : -1;
        fkv_read_token_id(&id, vocab, gguf, keys[i], warnings);
        if (i == 0) *eos = id;
        if (id >= 0) ends[id] = true;
    }
    read_id_list(ends, vocab, gguf, warnings);
    for (size_t i = 0; i < sizeof end_names / sizeof *end_names; i++) {
        const int32_t id = find_name(vocab, end_names[i]);
        if (id < 0 || (vocab->type[id] == FKV_TOKEN_NORMAL && makes(context, id))) continue;
        if (begins_only(vocab, end_names[i])) continue;
        vocab->type[id] = FKV_TOKEN_CONTROL;
        if (!ends_message_only(vocab, end_names[i])) ends[id] = true;
    }
}
