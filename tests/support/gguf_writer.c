#include "support/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>

struct bytes {
    uint8_t *data;
    size_t n, capacity;
};

struct gguf_writer {
    struct bytes keys, tensors, data; /* the three parts of the file as far as they are written */
    uint32_t version, alignment;
    uint64_t n_keys, n_tensors;
    const char *without; /* or NULL */
};

/* Bytes of a scalar by its kind. */
static const uint8_t kind_bytes[] = {
    [FKV_GGUF_U8] = 1,  [FKV_GGUF_I8] = 1,  [FKV_GGUF_BOOL] = 1, [FKV_GGUF_U16] = 2,
    [FKV_GGUF_I16] = 2, [FKV_GGUF_U32] = 4, [FKV_GGUF_I32] = 4,  [FKV_GGUF_F32] = 4,
    [FKV_GGUF_U64] = 8, [FKV_GGUF_I64] = 8, [FKV_GGUF_F64] = 8,
};

static void bytes_append(struct bytes *b, const void *data, size_t n)
{
    if (n > b->capacity - b->n) {
        b->capacity = 2 * b->capacity + n;
        b->data = realloc(b->data, b->capacity);
        if (!b->data) abort();
    }
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
}

static void append_u32(struct bytes *b, uint32_t value) { bytes_append(b, &value, sizeof value); }
static void append_u64(struct bytes *b, uint64_t value) { bytes_append(b, &value, sizeof value); }

static void append_str(struct bytes *b, struct fkv_str s)
{
    append_u64(b, s.n);
    bytes_append(b, s.data, s.n);
}

static void pad(struct bytes *b, uint32_t alignment)
{
    while (b->n % alignment != 0) bytes_append(b, "", 1);
}

static struct fkv_str str(const char *s) { return (struct fkv_str){s, strlen(s)}; }

static bool is_left_out(const struct gguf_writer *w, struct fkv_str name)
{
    return w->without && strlen(w->without) == name.n && memcmp(w->without, name.data, name.n) == 0;
}

struct gguf_writer *gguf_writer_new(uint32_t version, uint32_t alignment)
{
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w) abort();
    w->version = version;
    w->alignment = alignment ? alignment : 32;
    if (alignment) gguf_put_u32(w, "general.alignment", alignment);
    return w;
}

void gguf_writer_leave_out(struct gguf_writer *w, const char *name) { w->without = name; }

uint8_t *gguf_writer_finish(struct gguf_writer *w, size_t *bytes)
{
    struct bytes file = {0};
    bytes_append(&file, "GGUF", 4);
    append_u32(&file, w->version);
    append_u64(&file, w->n_tensors);
    append_u64(&file, w->n_keys);
    bytes_append(&file, w->keys.data, w->keys.n);
    bytes_append(&file, w->tensors.data, w->tensors.n);
    pad(&file, w->alignment);
    bytes_append(&file, w->data.data, w->data.n);
    free(w->keys.data);
    free(w->tensors.data);
    free(w->data.data);
    free(w);
    *bytes = file.n;
    return file.data;
}

void gguf_writer_finish_to_file(struct gguf_writer *w, const char *path)
{
    size_t n;
    uint8_t *bytes = gguf_writer_finish(w, &n);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        perror(path);
        abort();
    }
    free(bytes);
}

void gguf_put_raw(struct gguf_writer *w, struct fkv_str key, uint32_t kind, const void *value, size_t bytes)
{
    append_str(&w->keys, is_left_out(w, key) ? str("left out") : key);
    append_u32(&w->keys, kind);
    bytes_append(&w->keys, value, bytes);
    w->n_keys++;
}

void gguf_put_scalar(struct gguf_writer *w, const char *key, enum fkv_gguf_kind kind, const void *value)
{
    gguf_put_raw(w, str(key), kind, value, kind_bytes[kind]);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value)
{
    gguf_put_scalar(w, key, FKV_GGUF_U32, &value);
}
void gguf_put_i32(struct gguf_writer *w, const char *key, int32_t value)
{
    gguf_put_scalar(w, key, FKV_GGUF_I32, &value);
}
void gguf_put_f32(struct gguf_writer *w, const char *key, float value)
{
    gguf_put_scalar(w, key, FKV_GGUF_F32, &value);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool value)
{
    const uint8_t byte = value;
    gguf_put_scalar(w, key, FKV_GGUF_BOOL, &byte);
}

void gguf_put_str(struct gguf_writer *w, const char *key, const char *value)
{
    gguf_put_raw(w, str(key), FKV_GGUF_STRING, NULL, 0);
    append_str(&w->keys, str(value));
}

static void put_array_head(struct gguf_writer *w, const char *key, enum fkv_gguf_kind elem, uint64_t count)
{
    gguf_put_raw(w, str(key), FKV_GGUF_ARRAY, NULL, 0);
    append_u32(&w->keys, elem);
    append_u64(&w->keys, count);
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum fkv_gguf_kind elem, const void *values, uint64_t count)
{
    put_array_head(w, key, elem, count);
    bytes_append(&w->keys, values, (size_t)count * kind_bytes[elem]);
}

void gguf_put_array_str(struct gguf_writer *w, const char *key, const char *const *values, uint64_t count)
{
    put_array_head(w, key, FKV_GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++) append_str(&w->keys, str(values[i]));
}

void gguf_put_tensor_at(struct gguf_writer *w, struct fkv_str name, uint32_t type, uint32_t n_dims,
                        const uint64_t *dims, uint64_t offset)
{
    append_str(&w->tensors, name);
    append_u32(&w->tensors, n_dims);
    bytes_append(&w->tensors, dims, n_dims * sizeof *dims);
    append_u32(&w->tensors, type);
    append_u64(&w->tensors, offset);
    w->n_tensors++;
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                     const void *data, size_t bytes)
{
    if (is_left_out(w, str(name))) return;
    pad(&w->data, w->alignment);
    gguf_put_tensor_at(w, str(name), type, n_dims, dims, w->data.n);
    bytes_append(&w->data, data, bytes);
}

void gguf_claim_counts(struct gguf_writer *w, uint64_t n_tensors, uint64_t n_keys)
{
    w->n_tensors = n_tensors;
    w->n_keys = n_keys;
}
