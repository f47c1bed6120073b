/* session_form.h: a session as bytes, in a file or in memory. Little-endian, every byte under a checksum.

       offset 0   struct fkv_form_head, 128 bytes
       128        FKV_FORM_SECTIONS times struct fkv_form_section, in the order of enum fkv_form_kind
       then       uint64_t: XXH3 of those
       then       the sections, without gaps: settings (JSON: model, arithmetic, types, label, pruned turns), ids
                  (uint32_t), counts, positions, keys, values (kv/sequence_bytes.h), logits (float [n_vocab], or
                  none)

   What a server has to know of a file stands in its settings; the head's tag is their XXH3 of 128 bits, its key that
   of tag and ids. Files hold all from the first token on: `first` and `parent` are for parts of a chain, of which there
   are none yet. */
#ifndef FKV_ENGINE_SESSION_FORM_H
#define FKV_ENGINE_SESSION_FORM_H

#include "engine/session.h"
#include "kv/sequence_bytes.h"

enum { FKV_FORM_VERSION = 1, FKV_FORM_SECTIONS = 7, FKV_FORM_SETTINGS_BYTES = 1 << 20 };

enum fkv_form_kind { /* numbers of the file */
                     FKV_FORM_SETTINGS = 1,
                     FKV_FORM_IDS = 2,
                     FKV_FORM_COUNTS = 4,
                     FKV_FORM_POSITIONS = 5,
                     FKV_FORM_KEYS = 6,
                     FKV_FORM_VALUES = 7,
                     FKV_FORM_LOGITS = 9
};

enum { FKV_FORM_WHOLE = 1, FKV_FORM_PRUNED = 2, FKV_FORM_HAS_LOGITS = 4 }; /* flags */

struct fkv_form_head {
    char magic[8]; /* "FKVSESS1" */
    uint32_t version, head_bytes;
    uint64_t bytes; /* of all */
    uint8_t tag[16], key[16], parent[16];
    uint32_t first, end;                 /* tokens */
    uint32_t n_layer, n_kv_head, d_head; /* the most of any layer */
    uint16_t k_type, v_type;             /* numbers of GGUF */
    uint32_t flags, n_sections;
    uint64_t created; /* seconds since 1970; 0: not said */
    uint64_t zero;
    uint64_t sum; /* XXH3 of the bytes before */
};

struct fkv_form_section {
    uint32_t kind, zero;
    uint64_t at, bytes, sum;
};

struct fkv_form {
    struct fkv_form_head head;
    struct fkv_form_section section[FKV_FORM_SECTIONS];
    char *settings; /* [section[0].bytes] and a NUL */
    char label[FKV_LABEL_BYTES];
    struct fkv_sequence_turn *turn; /* [n_turns] */
    size_t n_turns;
};

/* What a session's bytes will be, but for the sums. Free it, also after a failure. */
fkv_status fkv_form_describe(struct fkv_form *form, fkv_session *s, const char *label, uint64_t created);
/* Writes them all: the entries, and last the head. */
fkv_status fkv_form_write(struct fkv_form *form, fkv_session *s, const struct fkv_blob *to);
/* Reads head, sections and settings, and checks that they are sound and fit the session but for policies and label.
   Free it, also after a failure. */
fkv_status fkv_form_open(struct fkv_form *form, fkv_session *s, const struct fkv_blob *from);
/* Reads the ids[head.end]. */
fkv_status fkv_form_ids(const struct fkv_form *form, fkv_session *s, const struct fkv_blob *from, int32_t *ids);
/* Fills the session, which is empty; after a failure it is to be emptied. */
fkv_status fkv_form_read(const struct fkv_form *form, fkv_session *s, const struct fkv_blob *from);
void fkv_form_free(struct fkv_form *form);

#endif
