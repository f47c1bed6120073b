/* sequence_bytes.h: what a sequence holds as bytes, in four parts, for another with the same layers.
   engine/session_form.h puts them into a file.

   Counts: uint32_t [layer][head]. Positions: uint32_t of every head's entries in list order; none when every head holds
   every token. Keys, values: entries in list order, elements of the stored type side by side (q8_0: per 32 channels an
   f16 scale and 32 int8). Heads and layers follow one another without gaps. */
#ifndef FKV_KV_SEQUENCE_BYTES_H
#define FKV_KV_SEQUENCE_BYTES_H

#include "base/blob.h"
#include "kv/sequence.h"

enum fkv_sequence_part { FKV_PART_COUNTS, FKV_PART_POSITIONS, FKV_PART_KEYS, FKV_PART_VALUES, FKV_N_PARTS };

/* Where a part lies in a blob, and the XXH3 of its bytes. */
struct fkv_part {
    uint64_t at, bytes, sum;
};

/* How many bytes each part takes. */
void fkv_sequence_measure(const struct fkv_sequence *q, struct fkv_part part[FKV_N_PARTS]);
/* Writes the parts, which were measured and placed, and sets their sums. */
fkv_status fkv_sequence_write(struct fkv_sequence *q, const struct fkv_blob *to, struct fkv_part part[FKV_N_PARTS],
                              struct fkv_error *e);
/* Fills an empty sequence with n_seen tokens' entries, but not with their ids and turns. Trusts nothing: a failure
   leaves it to be cut to nothing. */
fkv_status fkv_sequence_read(struct fkv_sequence *q, size_t n_seen, const struct fkv_blob *from,
                             const struct fkv_part part[FKV_N_PARTS], struct fkv_error *e);

#endif
