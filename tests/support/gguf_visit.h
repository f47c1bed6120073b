/* gguf_visit.h: reads all that an open GGUF file offers, so that a sanitizer sees a bad pointer. */
#ifndef FKV_TESTS_GGUF_VISIT_H
#define FKV_TESTS_GGUF_VISIT_H

#include "gguf/gguf.h"

/* Every key by every accessor that fits it, every array element, the first and last byte of every tensor. A finding
   that contradicts another (a key that cannot be found, a tensor that is not of its dimensions' size) ends the program.
   Returns a sum of what was read. */
uint64_t gguf_visit(const struct fkv_gguf *gguf);

#endif
