/* check_model.h: the engine against the plain forward pass, on tiny models. */
#ifndef FKV_TESTS_CHECK_MODEL_H
#define FKV_TESTS_CHECK_MODEL_H

#include "support/plain_forward.h"
#include "support/tiny_session.h"

static const char *const tiny_archs[] = {"llama", "qwen2", "qwen3", "qwen3moe", "gemma3", "gpt-oss"};
enum { N_TINY_ARCHS = sizeof tiny_archs / sizeof *tiny_archs };

/* The plain pass over the model's file. */
struct plain_result *plain(const struct tiny_model *m, const int32_t *ids, int n, int more,
                           const struct plain_policy *p);
/* Relative RMS of the difference of [TINY_VOCAB] logits. */
double difference(const double *want, const float *got);
/* A prompt and some tokens after it, against the plain pass. exact: to fp32 rounding; else to what 8-bit activations
   cost. */
void check_model(const struct tiny_model *m, bool exact, double most_rms);
/* FastKV's choices and logits on the fp32 path equal those of the paper's order. */
void check_fastkv(const struct tiny_model *m, double tsp_rate, double kv_rate, int sinks);

#endif
