/* utf8.h: code points of text that may be anything. */
#ifndef FKV_TOKENIZER_UTF8_H
#define FKV_TOKENIZER_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { FKV_UTF8_REPLACEMENT = 0xfffd };

/* The code point at the start of n > 0 bytes. Returns its length, 1 to 4, or 0 when the first byte is bad: a
   continuation byte, a lead byte without its continuation bytes, or a value above U+10FFFF. Overlong forms and
   surrogates count as code points. */
size_t fkv_utf8_get(const char *text, size_t n, uint32_t *code);
/* Writes a code point up to U+10FFFF, 1 to 4 bytes. */
size_t fkv_utf8_put(uint32_t code, char *out);
/* Copies n bytes; every bad byte becomes U+FFFD, every overlong form its shortest one. out: 3 n bytes. Returns the
   bytes written. */
size_t fkv_utf8_repair(const char *text, size_t n, char *out);

#endif
