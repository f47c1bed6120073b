/* gguf.h: reads a GGUF model file, and trusts nothing in it.

   A file is a header (magic "GGUF", version 2 or 3, counts), metadata (key, type, value), tensor descriptions (name,
   dims, type, offset) and, aligned, the tensors' data. Everything is little-endian. The file is mapped; strings, arrays
   and tensor data point into the mapping. Every length, count, offset, alignment and product is checked against the
   file's size, with overflow-safe arithmetic, before anything is read or allocated: memory use is bounded by a small
   multiple of the header's size. Source: the GGUF specification (ggml documentation, "GGUF"). */
#ifndef FKV_GGUF_GGUF_H
#define FKV_GGUF_GGUF_H

#include <string.h>

#include "base/error.h"
#include "simd/blocks.h"

struct fkv_gguf;

/* Bytes in the mapping: not NUL-terminated, any bytes. */
struct fkv_str {
    const char *data;
    size_t n;
};
static inline bool fkv_str_is(struct fkv_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.data, text, s.n) == 0;
}

enum fkv_gguf_kind { /* numbers of the file format */
                     FKV_GGUF_U8,
                     FKV_GGUF_I8,
                     FKV_GGUF_U16,
                     FKV_GGUF_I16,
                     FKV_GGUF_U32,
                     FKV_GGUF_I32,
                     FKV_GGUF_F32,
                     FKV_GGUF_BOOL,
                     FKV_GGUF_STRING,
                     FKV_GGUF_ARRAY,
                     FKV_GGUF_U64,
                     FKV_GGUF_I64,
                     FKV_GGUF_F64
};

struct fkv_gguf_tensor {
    char name[128];      /* NUL-terminated; the format allows 64 bytes */
    uint32_t type;       /* enum fkv_type, of a row in quant_types.def */
    int n_dims;          /* 1 .. 4 */
    uint64_t dims[4];    /* fastest first: dims[0] is the row length; 1 past n_dims */
    const uint8_t *data; /* in the mapping */
    uint64_t bytes;
};

/* Opens a file, or all parts of a split one given its first ("x-00001-of-00003.gguf"). Errors name the file and the key
   or tensor. A tensor type that quant_types.def lacks is FKV_ERROR_UNSUPPORTED: "blk.0.ffn_up.weight: type TQ1_0 is
   not supported (supported: ...)". */
fkv_status fkv_gguf_open(struct fkv_gguf **gguf, const char *path, struct fkv_error *e);
/* The same over bytes in memory, which must outlive it (tests and fuzzing). */
fkv_status fkv_gguf_open_memory(struct fkv_gguf **gguf, const void *data, size_t bytes, struct fkv_error *e);
void fkv_gguf_close(struct fkv_gguf *gguf);

size_t fkv_gguf_n_tensors(const struct fkv_gguf *gguf);
const struct fkv_gguf_tensor *fkv_gguf_tensor(const struct fkv_gguf *gguf, size_t i);
/* The tensor's index; fkv_gguf_n_tensors() when there is none. */
size_t fkv_gguf_find(const struct fkv_gguf *gguf, const char *name);
/* NULL when there is none. */
const struct fkv_gguf_tensor *fkv_gguf_find_tensor(const struct fkv_gguf *gguf, const char *name);

/* Of what a model computes: the keys of its architecture, and every tensor's name, type and shape and samples of its
   data, so that a few pages of each are read. Names, texts, vocabulary and the parts of a split file do not count. */
uint64_t fkv_gguf_fingerprint(const struct fkv_gguf *gguf);

size_t fkv_gguf_n_keys(const struct fkv_gguf *gguf);
/* i-th key; its kind; for arrays the element kind and count (else *elem = kind, *count = 1). */
struct fkv_str fkv_gguf_key(const struct fkv_gguf *gguf, size_t i, enum fkv_gguf_kind *kind, enum fkv_gguf_kind *elem,
                            uint64_t *count);
bool fkv_gguf_has(const struct fkv_gguf *gguf, const char *key);

/* Values. A missing key leaves *value as it was and is FKV_OK: set the default first. A key of another kind, or out of
   range, is FKV_ERROR_FORMAT with key, wanted and found kind. Integers of any width and sign serve as u32 where the
   value fits. */
fkv_status fkv_gguf_u32(const struct fkv_gguf *gguf, const char *key, uint32_t *value, struct fkv_error *e);
/* One of n numbers that the file may give as one for all or as an array: element i of the array, which must have n.
   Bools of an array serve as 0 and 1. */
fkv_status fkv_gguf_u32_of(const struct fkv_gguf *gguf, const char *key, uint64_t i, uint64_t n, uint32_t *value,
                           struct fkv_error *e);
fkv_status fkv_gguf_f32(const struct fkv_gguf *gguf, const char *key, float *value, struct fkv_error *e);
fkv_status fkv_gguf_bool(const struct fkv_gguf *gguf, const char *key, bool *value, struct fkv_error *e);
fkv_status fkv_gguf_str(const struct fkv_gguf *gguf, const char *key, struct fkv_str *value, struct fkv_error *e);
/* Count of an array of this element kind (integer kinds serve for one another); 0 when the key is missing. */
fkv_status fkv_gguf_array(const struct fkv_gguf *gguf, const char *key, enum fkv_gguf_kind elem, uint64_t *count,
                          struct fkv_error *e);
/* Element i < count of an array that fkv_gguf_array() has found, in constant time, strings too. A bool is 0 or not, a
   u64 above INT64_MAX comes out as that. */
struct fkv_str fkv_gguf_array_str(const struct fkv_gguf *gguf, const char *key, uint64_t i);
float fkv_gguf_array_f32(const struct fkv_gguf *gguf, const char *key, uint64_t i);
int64_t fkv_gguf_array_int(const struct fkv_gguf *gguf, const char *key, uint64_t i);

#endif
