/* tiny_model.h: small random models of each architecture, as GGUF files, for tests that must not wait for a real
   one. */
#ifndef FKV_TESTS_TINY_MODEL_H
#define FKV_TESTS_TINY_MODEL_H

#include "support/gguf_writer.h"

/* What a layer has of its own. */
struct tiny_layer {
    int n_head, n_kv_head, d_head;
    bool local;
    float scale; /* of its logits; 0: as a rule */
};

struct tiny_model {
    const char *arch; /* of tiny_archs */
    int n_layer, n_head, n_kv_head, d_head, d_model, d_ff;
    uint32_t type;                       /* of the matrices: F32, F16, BF16 or one of blocks */
    bool rope_freqs, own_output, biases; /* optional tensors; biases: of all matrices but the embedding table */
    uint32_t seed;
    int n_ctx;                           /* 0: TINY_CONTEXT */
    bool fused;                          /* the same weights with q, k, v in one tensor, and gate and up */
    bool arrays;                         /* the same numbers, with an array where a layer may have its own */
    int d_ff_more;                       /* every layer's d_ff is so much more than the one's before */
    const struct tiny_layer *layers;     /* [n_layer] in place of n_head, n_kv_head, d_head; NULL: all alike */
    int n_expert, n_expert_used;         /* 0: TINY_EXPERTS and TINY_USED where the architecture always has experts */
    int window;                          /* of local layers: 0: TINY_WINDOW and every third layer full where the
                                            architecture has them, else no keys for them */
    int n_rot;                           /* 0: d_head, and no key for it */
    const char *without;                 /* a key or tensor that is left out; NULL: none */
    void (*also)(struct gguf_writer *w); /* writes keys or tensors besides; NULL: none */
};
#define TINY_MODEL_INIT                                                                                                \
    {                                                                                                                  \
        .arch = "llama", .n_layer = 4, .n_head = 4, .n_kv_head = 2, .d_head = 32, .d_model = 64, .d_ff = 96, .seed = 1 \
    }

enum { TINY_VOCAB = 320, TINY_CONTEXT = 1024, TINY_EXPERTS = 8, TINY_USED = 3, TINY_WINDOW = 24 };

/* The file, malloc'ed. The same parameters make the same file. */
uint8_t *tiny_model_make(const struct tiny_model *m, size_t *bytes);
/* The same in a file of a temporary name, which goes to path[64]; the caller removes it. */
void tiny_model_write(const struct tiny_model *m, char path[64]);
/* The key with which a file says the scales of its layers, for tests alone: "<arch>.test.scale". */
#define TINY_SCALE "test.scale"
/* Of a layer; 0: it attends to all. */
int tiny_model_window(const struct tiny_model *m, int layer);
/* Its experts; 0: it is dense. */
int tiny_model_n_expert(const struct tiny_model *m);
/* ids[n] of the vocabulary, the same for the same seed. */
void tiny_model_prompt(uint32_t seed, int32_t *ids, int n);

#endif
