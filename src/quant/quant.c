#include "quant/quant.h"

#include <assert.h>
#include <stdio.h>

#include "quant/dequantize.h"

/* A tensor without blocks is an array of values: give it a "block" of one. */
struct fkv_block_f32 {
    float value;
};
struct fkv_block_f16 {
    fkv_f16 value;
};
struct fkv_block_bf16 {
    fkv_bf16 value;
};

#define QUANT_TYPE(NAME, name, elements, bytes) static_assert(sizeof(struct fkv_block_##name) == (bytes), #NAME);
#include "quant/quant_types.def"
#undef QUANT_TYPE

static const struct fkv_quant_type rows[] = {
#define QUANT_TYPE(NAME, name, elements, bytes) {#NAME, FKV_TYPE_##NAME, elements, bytes, fkv_dequantize_##name},
#include "quant/quant_types.def"
#undef QUANT_TYPE
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

/* The names of all numbers the format has given out; numbers it took back keep the name they had. */
static const char *const names[] = {
    "F32",        "F16",        "Q4_0",       "Q4_1",  "Q4_2",     "Q4_3",     "Q5_0",     "Q5_1",    "Q8_0",
    "Q8_1",       "Q2_K",       "Q3_K",       "Q4_K",  "Q5_K",     "Q6_K",     "Q8_K",     "IQ2_XXS", "IQ2_XS",
    "IQ3_XXS",    "IQ1_S",      "IQ4_NL",     "IQ3_S", "IQ2_S",    "IQ4_XS",   "I8",       "I16",     "I32",
    "I64",        "F64",        "IQ1_M",      "BF16",  "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0",
    "IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4",
};

const struct fkv_quant_type *fkv_quant_find(uint32_t type)
{
    for (int i = 0; i < N_ROWS; i++) {
        if (rows[i].type == type) return &rows[i];
    }
    return NULL;
}

const struct fkv_quant_type *fkv_quant_row(int i) { return i >= 0 && i < N_ROWS ? &rows[i] : NULL; }

const char *fkv_quant_name(uint32_t type, char *buf)
{
    if (type < sizeof names / sizeof names[0]) return names[type];
    snprintf(buf, 16, "type %u", type);
    return buf;
}
