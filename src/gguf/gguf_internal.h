/* gguf_internal.h: what the files of src/gguf share. parse.c reads one file, split.c adds the other parts of a split
   one, index.c finds names, aliases.c makes names of a converter's own the common ones, stranger.c knows other kinds of
   file, fingerprint.c tells models apart, gguf.c opens, closes and answers. */
#ifndef FKV_GGUF_GGUF_INTERNAL_H
#define FKV_GGUF_GGUF_INTERNAL_H

#include "base/file_map.h"
#include "gguf/gguf.h"

struct fkv_gguf_key {
    struct fkv_str name;
    enum fkv_gguf_kind kind, elem; /* elem = kind and count = 1 where kind is not FKV_GGUF_ARRAY */
    uint64_t count;
    const uint8_t *data; /* the value or the first element, in the mapping */
    uint64_t *strings;   /* array of strings: [count] where each begins, counted from data; else NULL */
};

/* Names in order, so that finding one and finding duplicates takes n log n whatever the names are (a hash can be
   attacked). */
struct fkv_name_index {
    struct fkv_name_entry {
        struct fkv_str name;
        size_t i;
    } * entries;
    size_t n;
};

struct fkv_gguf_tensor_entry {
    struct fkv_gguf_tensor tensor;
    uint64_t offset; /* from the start of its file's tensor data */
};

/* Names and values that are not the file's. */
struct fkv_gguf_made {
    struct fkv_gguf_made *next;
    uint8_t bytes[];
};

struct fkv_gguf {
    char *file;              /* name without folders, for messages */
    struct fkv_file_map map; /* empty when the bytes are the caller's */
    const uint8_t *data;
    size_t bytes;
    struct fkv_gguf_key *keys;
    size_t n_keys;
    struct fkv_name_index key_index;
    struct fkv_gguf_tensor_entry *tensors; /* of all parts */
    size_t n_tensors;
    struct fkv_name_index tensor_index;
    struct fkv_gguf_made *made;
    struct fkv_gguf **parts; /* the second to the last part of a split file */
    size_t n_parts;
};

/* Fills keys, tensors and indices from data[bytes]. On failure g holds what there is: fkv_gguf_close() frees it. */
fkv_status fkv_gguf_parse(struct fkv_gguf *g, struct fkv_error *e);
/* What a file is that is no GGUF file, to say so; NULL: unknown. */
const char *fkv_gguf_stranger(const uint8_t *data, size_t n);
/* Renames what aliases.c knows; part of fkv_gguf_parse(). */
fkv_status fkv_gguf_take_aliases(struct fkv_gguf *g, struct fkv_error *e);
/* Opens one file, whatever its split keys say. */
fkv_status fkv_gguf_open_one(struct fkv_gguf **gguf, const char *path, struct fkv_error *e);
/* When the keys say that g is the first part of several: opens the others beside path and appends their tensors. */
fkv_status fkv_gguf_open_parts(struct fkv_gguf *g, const char *path, struct fkv_error *e);

/* Rebuild an index from keys or tensors; a name that is there twice is FKV_ERROR_FORMAT. */
fkv_status fkv_gguf_index_keys(struct fkv_gguf *g, struct fkv_error *e);
fkv_status fkv_gguf_index_tensors(struct fkv_gguf *g, struct fkv_error *e);
/* NULL when there is none. */
const struct fkv_name_entry *fkv_name_index_find(const struct fkv_name_index *index, struct fkv_str name);

/* Bytes of a value; of a string the least, its length; 0 for an array. */
size_t fkv_gguf_kind_bytes(enum fkv_gguf_kind kind);
/* A name from the file, made fit for a message: cut, and a '?' for what is not printable ASCII. Returns buf. */
enum { FKV_GGUF_NAME_BYTES = 96 };
const char *fkv_gguf_printable(struct fkv_str name, char buf[FKV_GGUF_NAME_BYTES]);

#endif
