/* quant.h: the tensor types of the file format, one row each in quant_types.def, and what they dequantise to.

   The reference: plain C, one file per type, equal to ggml's own dequantiser bit for bit
   (tests/golden/quants.jsonl). */
#ifndef FKV_QUANT_QUANT_H
#define FKV_QUANT_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/blocks.h"

struct fkv_quant_type {
    const char *name;        /* "Q4_K" */
    uint32_t type;           /* enum fkv_type: the file format's number */
    uint32_t block_elements; /* values of one block */
    uint32_t block_bytes;
    /* k values (a multiple of block_elements) from k / block_elements blocks at src, any alignment, to dst[k]. */
    void (*dequantize)(const void *src, float *dst, size_t k);
};

/* NULL for a type that has no row. */
const struct fkv_quant_type *fkv_quant_find(uint32_t type);
/* The i-th row, NULL past the last. */
const struct fkv_quant_type *fkv_quant_row(int i);
/* The format's own name of any number, supported or not ("TQ1_0"); "type 99" is written to buf for an unknown one.
   buf: 16 bytes. */
const char *fkv_quant_name(uint32_t type, char *buf);
/* Bytes of a row of k values; k is a multiple of block_elements. */
static inline size_t fkv_quant_row_bytes(const struct fkv_quant_type *q, size_t k)
{
    return k / q->block_elements * q->block_bytes;
}

#endif
