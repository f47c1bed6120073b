/* generate.h: what run, chat and bench share: a model, a session, a prompt computed, an answer sampled. */
#ifndef FKV_CLI_GENERATE_H
#define FKV_CLI_GENERATE_H

#include "cli/answer.h"
#include "cli/progress.h"

/* Functions that can fail print why and return an exit status: EXIT_SUCCESS, EXIT_FAILURE or EXIT_INTERRUPTED. */

struct generator {
    const struct settings *settings;
    fkv_engine *engine;
    fkv_session *session;
    fkv_sampler *sampler;
    struct progress progress;
    struct fkv_marks marks; /* of the ids that the session was last made to hold */
    double load_s;
    int n_ctx; /* most tokens of prompt and answer */
};

/* That of a call of the library, whose message is printed. */
int exit_status_of(fkv_status status, const char *err);

/* Loads the model. */
int generator_open(struct generator *g, const struct settings *settings);
void generator_close(struct generator *g);

struct memory_need {
    size_t n_prompt, n_answer;
    struct fkv_memory_plan plan;
};
/* What a prompt and n_predict tokens after it (-1: an answer of ordinary length) need; fails when the prompt exceeds
   the context. */
int generator_plan(const struct generator *g, const struct fkv_session_params *params, size_t n_prompt, int n_predict,
                   struct memory_need *need);
/* Bytes in all. */
uint64_t memory_need_bytes(const struct fkv_memory_plan *plan);
/* Fails with the figures when the machine lacks them, unless --no-memory-check is given. */
int generator_check_memory(const struct generator *g, const struct fkv_memory_plan *plan);
/* The same for sessions of n tokens that are there together: full attention's, and one by each of kv: [n_variants]. */
int generator_check_variants(const struct generator *g, size_t n, const struct fkv_kv_params *const *kv,
                             int n_variants);
/* Opens the session and the sampler; Ctrl-C stops it from now on. Closes those of before. */
int generator_start(struct generator *g, const struct fkv_session_params *params);
/* Makes the session hold exactly these ids, which are what the marks say, under the progress bar. */
int generator_prefill(struct generator *g, const int32_t *ids, size_t n, const struct fkv_marks *marks);

/* Decodes one token that was sampled; -1, which stands for logits that are no numbers, is an error. */
int generator_append(struct generator *g, int32_t id);

/* The cache after a prefill, before the answer. */
struct kept {
    uint64_t n_prompt, n_min, n_max; /* entries per head, over all layers and heads */
    uint64_t bytes, full_bytes;
    struct fkv_session_stats stats; /* so far */
    int tsp_layer;                  /* -1: all rows went through all layers */
    uint64_t n_propagated;
    double self_check; /* KL; NAN: not known */
};
void kept_of(const fkv_session *session, struct kept *kept);

enum stop { STOP_EOS, STOP_LENGTH, STOP_STRING, STOP_INTERRUPT };
const char *stop_name(enum stop stop); /* "eos", "length", "stop", "interrupt" */

struct generated {
    struct answer answer;
    int32_t *ids; /* [n] every sampled id, the end token included */
    size_t n;
    enum stop stop;
    double first_s; /* clock when the first token was out; 0 before */
};
/* Samples until an end. `generated` starts with its answer's `out` and `stops` set, all else zero. Ctrl-C is an end,
   not a failure. */
int generator_answer(struct generator *g, struct generated *generated);
void generated_free(struct generated *generated);

#endif
