/* gguf_writer.h: makes GGUF files in memory, for tests. Good ones, and bad ones where a test asks for it: nothing is
   checked.

       struct gguf_writer *w = gguf_writer_new(3, 0);
       gguf_put_str(w, "general.architecture", "llama");
       gguf_put_u32(w, "llama.block_count", 2);
       gguf_put_tensor(w, "output_norm.weight", FKV_TYPE_F32, 1, (const uint64_t[]){64}, norm, sizeof norm);
       size_t bytes;
       uint8_t *file = gguf_writer_finish(w, &bytes);

   Keys and tensors stand in the file in the order of the calls. What is passed in is copied. Out of memory ends the
   program. */
#ifndef FKV_TESTS_GGUF_WRITER_H
#define FKV_TESTS_GGUF_WRITER_H

#include "gguf/gguf.h"

struct gguf_writer;

/* version: 2 or 3. alignment: of the tensor data; a key is written for it, but for 0, which is the default of 32 and no
   key. */
struct gguf_writer *gguf_writer_new(uint32_t version, uint32_t alignment);
/* The key (it gets a name that nobody asks for) or tensor of this name, if it comes, is left out. NULL: none. The name
   must stay. */
void gguf_writer_leave_out(struct gguf_writer *w, const char *name);
/* Ends the writer; the file is malloc'ed. */
uint8_t *gguf_writer_finish(struct gguf_writer *w, size_t *bytes);
/* Ends the writer; ends the program when the file cannot be written. */
void gguf_writer_finish_to_file(struct gguf_writer *w, const char *path);

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t value);
void gguf_put_f32(struct gguf_writer *w, const char *key, float value);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_put_str(struct gguf_writer *w, const char *key, const char *value);
/* A scalar of any kind but string and array, from its bytes. */
void gguf_put_scalar(struct gguf_writer *w, const char *key, enum fkv_gguf_kind kind, const void *value);
/* values: [count] of elem, not strings. */
void gguf_put_array(struct gguf_writer *w, const char *key, enum fkv_gguf_kind elem, const void *values,
                    uint64_t count);
void gguf_put_array_str(struct gguf_writer *w, const char *key, const char *const *values, uint64_t count);
/* A key whose value is `bytes` bytes as they are: for files that lie. */
void gguf_put_raw(struct gguf_writer *w, struct fkv_str key, uint32_t kind, const void *value, size_t bytes);

/* dims: fastest first, [n_dims]. data: the blocks of all rows, laid at the next aligned offset. */
void gguf_put_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                     const void *data, size_t bytes);
/* The same with an offset as it is and no data: for files that lie. */
void gguf_put_tensor_at(struct gguf_writer *w, struct fkv_str name, uint32_t type, uint32_t n_dims,
                        const uint64_t *dims, uint64_t offset);
/* What the header will claim in place of the true counts: the last call before the end. */
void gguf_claim_counts(struct gguf_writer *w, uint64_t n_tensors, uint64_t n_keys);

#endif
