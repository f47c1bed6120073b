/* normalize.h: Unicode's composed form (NFC, UAX #15), in linear time for any text. */
#ifndef FKV_TOKENIZER_NORMALIZE_H
#define FKV_TOKENIZER_NORMALIZE_H

#include "base/error.h"

/* *out: malloc'ed, the n bytes of repaired UTF-8 (fkv_utf8_repair()) in NFC, *n_out of them. Surrogates, which have no
   normal form, stay as they are and nothing combines with them. */
fkv_status fkv_nfc(const char *text, size_t n, char **out, size_t *n_out, struct fkv_error *e);

#endif
