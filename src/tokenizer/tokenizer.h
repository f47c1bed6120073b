/* tokenizer.h: text to token ids and back, from the vocabulary in a model's metadata.

   Byte-level BPE (tokenizer.ggml.model = "gpt2") with hand-written linear-time pre-tokenisers (tokenizer.ggml.pre), BPE
   of characters ("gemma4"), and SentencePiece-style merging by score ("llama"). Merges go through a heap: time is
   O(n log n) for any text.

   Decisions. Of special tokens that start at one place the longest counts, and the search goes on behind it. Invalid
   UTF-8 gives the ids that llama.cpp gives: byte-level BPE sees U+FFFD for each bad byte, and takes overlong forms for
   what they spell (c0 af is "/") and surrogates as they are; SentencePiece falls back to byte tokens. f4 90 80 80 and
   the like, above U+10FFFF, are bad bytes. Where the model's own tokenizer composes characters (NFC), so does this one,
   in the text between special tokens: those are found in the text as it was given. */
#ifndef FKV_TOKENIZER_TOKENIZER_H
#define FKV_TOKENIZER_TOKENIZER_H

#include "base/error.h"
#include "base/warnings.h"
#include "gguf/gguf.h"

struct fkv_tokenizer;

/* Copies what it needs: the gguf may be closed afterwards. Where the model or the pre-tokeniser is unknown, ids can
   still become text, as far as there is a vocabulary, but not text ids: encoding is FKV_ERROR_UNSUPPORTED, with the
   name and the known ones, and here there is a warning. Metadata that is wrong, but that text can do without, becomes a
   warning, too. */
fkv_status fkv_tokenizer_create(struct fkv_tokenizer **tokenizer, const struct fkv_gguf *gguf,
                                struct fkv_warnings *warnings, struct fkv_error *e);
void fkv_tokenizer_destroy(struct fkv_tokenizer *tokenizer);

int fkv_tokenizer_n_vocab(const struct fkv_tokenizer *tokenizer);
/* text: n bytes of anything. *ids: malloc'ed, *n_ids of them. flags: enum fkv_tokenize_flags. Thread-safe. */
fkv_status fkv_tokenizer_encode(const struct fkv_tokenizer *tokenizer, const char *text, size_t n, unsigned flags,
                                int32_t **ids, size_t *n_ids, struct fkv_error *e);
/* A copy of a text in which no control or unknown token is spelled: U+FDD0 (FKV_MARK), which no text has, stands behind
   the first character of each; where the text has it, it is dropped. Encoding drops the marks again, after the split
   at special tokens, where those are recognised. *marked: malloc'ed; a token of one character cannot be marked. */
fkv_status fkv_tokenizer_mark(const struct fkv_tokenizer *tokenizer, const char *text, char **marked,
                              struct fkv_error *e);
/* The bytes of one token, valid as long as the tokenizer; special tokens are spelled out when `special`, else empty. */
size_t fkv_tokenizer_bytes(const struct fkv_tokenizer *tokenizer, int32_t id, bool special, const char **bytes);
/* Ends a turn, a text or a file, or hands over to a tool: see ends.h. */
bool fkv_tokenizer_is_end(const struct fkv_tokenizer *tokenizer, int32_t id);
/* -1 when the model has none. */
int32_t fkv_tokenizer_bos(const struct fkv_tokenizer *tokenizer);
int32_t fkv_tokenizer_eos(const struct fkv_tokenizer *tokenizer);

#endif
