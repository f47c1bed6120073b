/* fastkv.h: the FastKV inference engine. This header is the whole public interface of libfastkv.

   FastKV (arXiv 2502.01068) makes long prompts cheap without retraining: the prompt runs in full up to a
   token-selective-propagation (TSP) layer, only the most attended tokens go on to later layers, and every layer keeps,
   independently, a small share of its key and value (KV) entries for decoding.

       struct fkv_engine_params ep = FKV_ENGINE_PARAMS_INIT;
       fkv_engine *e;
       char why[FKV_ERROR_BYTES];
       if (fkv_engine_open(&e, "model.gguf", &ep, why) != FKV_OK) { puts(why); return 1; }
       struct fkv_session_params sp = FKV_SESSION_PARAMS_INIT;
       fkv_session *s;
       if (fkv_session_open(&s, e, &sp, why) != FKV_OK) ...
       fkv_session_sync(s, ids, n_ids);            prefill: the session now holds exactly these ids
       id = fkv_sample(sampler, fkv_session_logits(s), n_vocab);
       fkv_session_append(s, id);                  decode one token, and so on

   Threads. An engine is read-only and may be shared by sessions on different threads, which take turns. One session is
   used by one thread at a time, but for fkv_session_cancel(), which any thread and any signal handler may call.
   Errors. What can fail returns a status; the message stands in the object (fkv_session_error) or, while there is no
   object yet, in the caller's buffer of FKV_ERROR_BYTES. Outputs are set only on success. The library never prints and
   never exits. Structures passed in start with their size: one of an older version is accepted, and the members it does
   not have are the defaults; one of a newer version too, if what it adds is zero. Strings passed in are copied, or not
   used after the call.
   Strings are UTF-8. Token ids are int32_t. Sizes are in bytes unless the name says otherwise. */
#ifndef FASTKV_H
#define FASTKV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FKV_API __attribute__((visibility("default")))
#else
#define FKV_API
#endif

enum { FKV_ERROR_BYTES = 512, FKV_CONTEXT_MAX = 1 << 24 };

typedef enum fkv_status {
    FKV_OK = 0,
    FKV_ERROR_ARGUMENT,    /* a value the caller passed is out of its range */
    FKV_ERROR_IO,          /* a file could not be opened or read */
    FKV_ERROR_FORMAT,      /* a file, template or text breaks the rules of its format */
    FKV_ERROR_UNSUPPORTED, /* well formed, but nothing here can run it */
    FKV_ERROR_MEMORY,      /* an allocation failed, or the machine lacks what the plan needs */
    FKV_ERROR_CONTEXT,     /* more tokens than the context holds */
    FKV_ERROR_NUMBER,      /* a NaN or infinity where a number was due */
    FKV_ERROR_CANCELLED,   /* fkv_session_cancel() was called */
    FKV_ERROR_DEVICE,      /* a GPU's driver failed or reset it: the engine must be closed */
} fkv_status;

/* "ok", "invalid argument", ...: never NULL. */
FKV_API const char *fkv_status_text(fkv_status status);
/* "0.1.0" */
FKV_API const char *fkv_version(void);

/* ---- engine: one model, read-only ------------------------------------------------------------ */

typedef struct fkv_engine fkv_engine;

struct fkv_engine_params {
    size_t size;            /* sizeof this structure */
    int n_threads;          /* 0: one per physical core that the process may use; CPU quotas count */
    bool exact;             /* the fp32 check path: activations and K and V are never rounded; slow */
    bool precise;           /* prompts' products in bf16 where they would be in int8; about half as fast */
    bool vocab_only;        /* load the tokenizer and the metadata, not the weights */
    const char *isa;        /* force a lower ISA level; NULL: the best there is */
    const char *device;     /* "cpu", "vulkan[:N]", "auto" (a GPU if it is the faster); NULL: "cpu" */
    const char *gpu_layers; /* layers on the GPU, the others on the CPU: a number, "all", "auto" (as many as fit beside
                       `session`); NULL: "auto" */
    const struct fkv_session_params *session; /* what memory is left for on the GPU; NULL: the defaults */
};
#define FKV_ENGINE_PARAMS_INIT                                                           \
    {                                                                                    \
        sizeof(struct fkv_engine_params), 0, false, false, false, NULL, NULL, NULL, NULL \
    }

struct fkv_model_info {
    const char *arch, *name;  /* general.architecture, general.name in one line ("" when the file has none) */
    const char *quantisation; /* the type that holds most weights: "Q4_K" */
    int n_layer, n_head, n_kv_head, d_head, d_model, d_ff;
    int n_expert, n_expert_used; /* 0: none; else d_ff is of an expert */
    bool layers_differ;          /* in heads, their size or d_ff: those are then the most of any layer */
    int n_vocab, n_ctx_train;
    uint64_t n_params, weight_bytes; /* weight_bytes: of all tensors, as stored */
    const char *isa, *device;        /* what runs it */
    const char *note;                /* why "auto" did not take a GPU; "" else */
    int n_threads;
    int gpu_layers;                       /* layers on the device, the others on the CPU */
    uint64_t gpu_weight_bytes, gpu_bytes; /* what they take there, and what the device had for weights and sessions */
};

/* Opens a GGUF file (of a split model, its first part). err: FKV_ERROR_BYTES or NULL. */
FKV_API fkv_status fkv_engine_open(fkv_engine **engine, const char *path, const struct fkv_engine_params *params,
                                   char *err);
/* Frees the engine, after its sessions. NULL is allowed. */
FKV_API void fkv_engine_close(fkv_engine *engine);
/* Valid as long as the engine. */
FKV_API const struct fkv_model_info *fkv_engine_info(const fkv_engine *engine);
/* The i-th of the things a user should know of this file, though it runs: one line each. NULL past the last. Valid as
   long as the engine. */
FKV_API const char *fkv_engine_warning(const fkv_engine *engine, size_t i);

/* ---- what the file holds --------------------------------------------------------------------- */

/* Of an engine opened in any way, vocab_only too. Texts are valid as long as the engine. */

struct fkv_tensor_info {
    const char *name, *type; /* "blk.0.attn_q.weight", "Q4_K" */
    int n_dims;              /* 1 .. 4 */
    uint64_t dims[4];        /* fastest first: dims[0] is the row length; 1 past n_dims */
    uint64_t bytes;          /* as stored */
};
/* The i-th tensor of the file (of a split model, of all parts); false past the last. */
FKV_API bool fkv_tensor_list(const fkv_engine *engine, size_t i, struct fkv_tensor_info *tensor);

struct fkv_metadata {
    const char *key; /* [key_bytes], any bytes, no NUL after them */
    size_t key_bytes;
    const char *type; /* of the value, or of an array's elements: "u8" to "i64", "f32", "f64", "bool", "string" */
    bool is_array;
    uint64_t count; /* elements; 1 for a single value */
};
/* The i-th key of the file; false past the last. */
FKV_API bool fkv_metadata_list(const fkv_engine *engine, size_t i, struct fkv_metadata *metadata);
/* Writes a single value as text, cut to fit and NUL-terminated (size 0: nothing is written): a string's bytes, whole
   numbers from 0 to 2^32 - 1, floats with 9 digits, true or false. Returns the bytes of the whole text; 0 when there is
   no such key, or its value is an array or another number. */
FKV_API size_t fkv_metadata_text(const fkv_engine *engine, const char *key, char *text, size_t size);

/* ---- text and tokens ------------------------------------------------------------------------- */

enum fkv_tokenize_flags {
    FKV_TOKENIZE_ADD_SPECIAL = 1,   /* BOS and EOS as the model's metadata asks */
    FKV_TOKENIZE_PARSE_SPECIAL = 2, /* "<|im_end|>" in the text is the special token, not its letters; the marks of
                                       fkv_chat_format() are dropped */
};
/* text: n_bytes of any bytes, NUL and invalid UTF-8 included. *ids: malloc'ed array of *n_ids, freed with
   fkv_free(). FKV_ERROR_UNSUPPORTED when the file's tokenizer is of a kind that is not there: ids are all that the
   engine takes then. */
FKV_API fkv_status fkv_tokenize(const fkv_engine *engine, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, char *err);
/* The bytes a token stands for (not always whole UTF-8), valid as long as the engine. Special tokens are spelled out
   when `special`, else empty. Returns the number of bytes; 0 for an id outside the vocabulary. */
FKV_API size_t fkv_token_bytes(const fkv_engine *engine, int32_t id, bool special, const char **bytes);
/* Does this token end a turn (EOS, end of turn, end of message)? */
FKV_API bool fkv_token_is_end(const fkv_engine *engine, int32_t id);
FKV_API void fkv_free(void *memory);

struct fkv_message {
    const char *role; /* "system", "user", "assistant", "tool" */
    const char *content;
};
/* Renders messages by the model's own chat template, or by `chat_template` (Jinja source) when that is not NULL. A
   template that only takes content as a list of typed parts ({"type": "text", ...}) gets it so. variables: a JSON
   object of further variables for the template, such as {"enable_thinking": false}, or NULL.
   What a message says is text, whatever it spells: where a content has a control token's text ("<|im_end|>"), a mark
   (FKV_MARK: U+FDD0, which no text has) stands behind its first character, so that it does not become the token.
   *text: malloc'ed, NUL-terminated, freed with fkv_free(); tokenise it with FKV_TOKENIZE_PARSE_SPECIAL. */
#define FKV_MARK "\xEF\xB7\x90"
FKV_API fkv_status fkv_chat_format(const fkv_engine *engine, const char *chat_template,
                                   const struct fkv_message *messages, size_t n_messages, bool add_generation_prompt,
                                   const char *variables, char **text, size_t *n_bytes, char *err);
/* The model's own template, or NULL. */
FKV_API const char *fkv_chat_template(const fkv_engine *engine);

/* ---- retention: what FastKV and its relatives keep ------------------------------------------- */

/* Which policy, and the options that policies share. Rates are shares in (0, 1]. A policy's own options, and these too,
   are set and read by name: fkv_kv_set(), fkv_kv_get(). */
enum { FKV_KV_OWN_OPTIONS = 8 };
struct fkv_kv_params {
    const char *policy; /* of fkv_policy_list(): "full", "fastkv", ...; copied when a session is opened */
    int tsp_layer;      /* the token-selective-propagation layer; -1: n_layer / 2 - 1, or none in a model
                           some of whose layers attend to a window only; never one of those: then the nearest before */
    double tsp_rate;    /* share of the prompt that is carried past it */
    double kv_retain;   /* share of the prompt kept in each layer's KV cache */
    int window;         /* observation window: the last tokens, whose attention scores the others */
    bool pool_avg;      /* average pooling in place of maximum */
    int pool_kernel;    /* odd, stride 1 */
    int sinks;          /* first positions, always kept and propagated; they take scored places */
    int kv_floor;       /* least entries kept per head */
    int tsp_floor;      /* least rows propagated */
    int kv_budget;      /* entries kept per head in place of kv_retain; 0: by rate */
    int tsp_budget;     /* rows propagated in place of tsp_rate; 0: by rate */
    unsigned own_given; /* which of a policy's own options were set: bits, by fkv_kv_set() */
    const char *own_of; /* which policy's */
    double own[FKV_KV_OWN_OPTIONS];
    int score;        /* enum fkv_kv_score */
    int span;         /* tokens to the right that take over a score, where it is better than their own */
    bool question;    /* the window is the prompt's question, 8 to 64 tokens: see fkv_session_mark(); `window` says
                       nothing then */
    bool no_signals;  /* what fkv_session_get_signals() tells is not computed */
    bool value_norm;  /* scores are multiplied with the norms of what the output projection makes of the values */
    bool pooled;      /* a layer's entries are shared out among its heads by their scores: a fifth is each head's own */
    int first_layers; /* the first layers keep first_share of the prompt, the others so much less than kv_retain that
                           the mean is that */
    double first_share; /* at least kv_retain, and not more than leaves something to the others */
};
/* What an entry's score is of the attention that the window's rows pay to it. */
enum fkv_kv_score {
    FKV_KV_SCORE_SUM, /* the sum over the rows and the query heads of a KV head */
    FKV_KV_SCORE_MAX, /* the largest */
    FKV_KV_SCORE_DROP /* what the rows' outputs would change by without it (DropKV) */
};
/* clang-format off */
#define FKV_KV_PARAMS_INIT \
    { "fastkv", -1, 0.20, 0.10, 8, false, 7, 1, 1024, 2048, 0, 0, 0, NULL, {0}, FKV_KV_SCORE_SUM, 0, false, false, \
      false, false, 0, 0.25 }
/* clang-format on */

enum fkv_option_kind {
    FKV_OPTION_SHARE,  /* in (0, 1] */
    FKV_OPTION_NUMBER, /* from least to most */
    FKV_OPTION_COUNT,  /* a whole number from least to most */
    FKV_OPTION_WORD    /* one of the words; as a number, its place among them */
};
struct fkv_kv_option {
    const char *name;   /* "kv-retain"; a policy's own is called "<policy>-<name>" */
    const char *policy; /* whose own it is; NULL: shared */
    const char *about;  /* one line */
    enum fkv_option_kind kind;
    double initial, least, most;
    const char *words; /* "max|avg" */
};
/* The i-th option of retention, those that policies share first; false past the last. */
FKV_API bool fkv_kv_option_list(int i, struct fkv_kv_option *option);
/* Sets an option by its name from text: "kv-retain" "0.2", "structkv-decay" "0.8". An own option needs its policy set
   before. What is wrong is said in err: FKV_ERROR_BYTES or NULL. */
FKV_API fkv_status fkv_kv_set(struct fkv_kv_params *params, const char *name, const char *value, char *err);
/* The policy and the values in force, as "fastkv kv-retain=0.1 ...": equal texts mean equal retention, where both have
   tsp_layer resolved (fkv_session_get_params). Cut to fit and NUL-terminated; returns the bytes of all of it, below
   FKV_KV_TEXT_BYTES. */
enum { FKV_KV_TEXT_BYTES = 512 };
FKV_API size_t fkv_kv_text(const struct fkv_kv_params *params, char *text, size_t size);
/* The value in force; false for an option there is none of, or that another policy has. */
FKV_API bool fkv_kv_get(const struct fkv_kv_params *params, const char *name, double *value);

/* The i-th preset's name and one line about it; false past the last. */
FKV_API bool fkv_kv_preset_list(int i, const char **name, const char **about);
/* Sets the policy and the options that the preset is about; the others stay. */
FKV_API fkv_status fkv_kv_preset(struct fkv_kv_params *params, const char *name, char *err);

/* The i-th policy's name and one line about it; false past the last. */
FKV_API bool fkv_policy_list(int i, const char **name, const char **about);

/* ---- session: one timeline of tokens --------------------------------------------------------- */

typedef struct fkv_session fkv_session;

/* Types of the KV cache. AUTO: bf16 where the CPU multiplies it, else f16; f32 on the check path. */
enum fkv_kv_type { FKV_KV_AUTO, FKV_KV_F32, FKV_KV_F16, FKV_KV_BF16, FKV_KV_Q8_0 };

/* Called from the calling thread during a prefill: multiply-adds done so far, and in all by the policy's estimate,
   without those of scoring and selection; return false to cancel. The last `done` of a prefill is the work it was: two
   policies' compare as their work does. */
typedef bool (*fkv_progress)(void *user, uint64_t done, uint64_t all);

struct fkv_session_params {
    size_t size;
    int n_ctx; /* most tokens the session can see, prompt and answer, FKV_CONTEXT_MAX at most; 0: what the model was
                  trained for. Beyond that positions run on as they are, and answers get worse, sooner or later */
    enum fkv_kv_type k_type, v_type;
    fkv_progress progress; /* NULL: none */
    void *progress_user;
    struct fkv_kv_params kv; /* the last member: it may grow */
};
/* clang-format off */
#define FKV_SESSION_PARAMS_INIT \
    { sizeof(struct fkv_session_params), 0, FKV_KV_AUTO, FKV_KV_AUTO, NULL, NULL, FKV_KV_PARAMS_INIT }
/* clang-format on */

/* How a prefill and the decode steps of other threads, which take turns between its blocks, share the time: a step is
   to begin gap_s at most after the one before, and the prefill has that share of the time, in (0, 1). 0, as at first:
   its blocks are as large as is fastest. Results do not depend on it. */
FKV_API void fkv_engine_pace(fkv_engine *engine, double gap_s, double share);

/* What a prompt of n_prompt tokens and n_predict decoded ones will need, before anything is allocated. */
struct fkv_memory_plan {
    uint64_t weights;    /* mapped from the file: those that no GPU holds */
    uint64_t kv;         /* cache after the prefill and n_predict tokens, with this policy */
    uint64_t kv_full;    /* the same with full attention */
    uint64_t kv_prefill; /* the largest layer's full K and V while it is prefilled */
    uint64_t scratch;    /* activations, residual stream, tables */
    uint64_t available;  /* memory that can be had now; 0: unknown. Page cache counts as free */
    char limit[256];     /* the file of the control group's limit that is met first; "": the machine's memory is */
};
FKV_API fkv_status fkv_plan_memory(const fkv_engine *engine, const struct fkv_session_params *params, int n_prompt,
                                   int n_predict, struct fkv_memory_plan *plan, char *err);

/* The parameters are copied, names in them too. Sessions of an engine share its activations and take turns: a session
   holds what it has kept, and its logits. */
FKV_API fkv_status fkv_session_open(fkv_session **session, fkv_engine *engine, const struct fkv_session_params *params,
                                    char *err);
FKV_API void fkv_session_close(fkv_session *session);
/* The last error's message, "" when there was none. */
FKV_API const char *fkv_session_error(const fkv_session *session);

/* How fkv_session_sync() met the request. */
enum fkv_sync { FKV_SYNC_EXTENDED, FKV_SYNC_CUT_BACK, FKV_SYNC_REBUILT };

/* States what the session should hold: exactly ids[0 .. n). The longest prefix that can be kept is kept, the rest is
   prefilled under the session's policy as one turn, and the logits of the last id are ready. A cache that a policy
   pruned can be extended but not cut back below the prompt it was pruned for: then it is rebuilt. An empty list empties
   the session. */
FKV_API fkv_status fkv_session_sync(fkv_session *session, const int32_t *ids, size_t n);
/* What a prompt's ids are, as far as the caller knows. Where the options' `question` is set, the window is the
   question: its last rows, with all that stands behind it 64 at most and 8 at least. Its tokens and the prompt's last
   one score the others; those between are kept, as all of the window is. Of the head the first 64 ids are kept, too.
   An unmarked question, or one that ends before the last 64 tokens to be computed, is what stands before the ids that
   the chat template adds: from the last end of a turn on or, without one, the last control token, among the last 16. */
struct fkv_marks {
    size_t size;
    size_t question_first, question_n; /* position, and how many; 0: not known */
    size_t head_n;                     /* ids before what the user says first: the template's and the system message */
};
#define FKV_MARKS_INIT                    \
    {                                     \
        sizeof(struct fkv_marks), 0, 0, 0 \
    }
/* Marks the ids of the next fkv_session_sync() or fkv_batch_prefill(), which refuses marks outside them; whatever comes
   of it, they are not used again. */
FKV_API fkv_status fkv_session_mark(fkv_session *session, const struct fkv_marks *marks);
/* How the last sync went; *reused: ids that were not computed again. */
FKV_API enum fkv_sync fkv_session_sync_kind(const fkv_session *session, size_t *reused);
/* Decodes one token: its K and V are appended in every head, its logits are ready. Nothing is allocated, but on a GPU:
   there room is taken ahead, by a prefill, fork or import for 512 tokens at least or all that the context has left,
   and again by the token that finds it used up; without memory for that, the session stays as it was. An engine's
   first tokens compile shaders, too. */
FKV_API fkv_status fkv_session_append(fkv_session *session, int32_t id);
/* Forgets the tokens from n on: 0, or not below the prompt that a policy pruned. */
FKV_API fkv_status fkv_session_cut(fkv_session *session, size_t n);
/* A session of the first n tokens of this one, with the same parameters; n as above. Both go their own way from here.
   On the CPU they share the memory of what is common. */
FKV_API fkv_status fkv_session_fork(fkv_session *session, size_t n, fkv_session **child, char *err);
/* The policy of the prefills to come; what is there stays as it is. A failure leaves the policy as it was. */
FKV_API fkv_status fkv_session_set_policy(fkv_session *session, const struct fkv_kv_params *params);
/* The i-th turn of which a policy dropped something: tokens first .. end - 1; false past the last. All other tokens are
   whole: every layer holds them. policy: its fkv_kv_text(), valid until the session changes. */
struct fkv_turn {
    size_t first, end;
    const char *policy;
};
FKV_API bool fkv_session_turn(const fkv_session *session, size_t i, struct fkv_turn *turn);
/* [n_vocab] fp32 of the last token, valid until the next sync or append; NULL before the first. */
FKV_API const float *fkv_session_logits(const fkv_session *session);
/* Ids seen so far: the next position. */
FKV_API size_t fkv_session_n_seen(const fkv_session *session);
/* Makes one call, a sync, append, batch or attention, return FKV_ERROR_CANCELLED soon: the one that runs or waits for
   its turn; if none does, or it ends before it looks, the next. A cancelled sync has kept what it could, and added
   nothing. Async-signal-safe. */
FKV_API void fkv_session_cancel(fkv_session *session);

/* What the cache holds: *positions: [count] ascending absolute positions of one layer and KV head, valid until the next
   call that changes the session. Returns the count, or -1 for a layer or head there is none of. */
FKV_API int fkv_session_kept(const fkv_session *session, int layer, int kv_head, const int32_t **positions);
/* Rows that went past the TSP layer in the last prefill: *positions as above. Returns the count, -1 when all went
   on. */
FKV_API int fkv_session_propagated(const fkv_session *session, int *layer, const int32_t **positions);

/* The window of the last prefill: how many of its last tokens, 0 before the first. *weight: [count] what each of them
   counted, NULL when all did alike; valid as above. */
FKV_API int fkv_session_window(const fkv_session *session, const float **weight);

enum { FKV_MOST_CHECKS = 4 };
/* How well the last prefill's prompt compresses, as far as its window tells: by what the window's rows attend to in a
   few global layers, among the tokens before the window but the first, which takes what heads have no use for. Means
   over those layers and their KV heads; NAN for what is not known. Costs less than 1 % of a prefill. */
struct fkv_signals {
    int n_layers;      /* measured; 0: nothing was dropped, or not by scores */
    double mass;       /* share of that attention on the tokens kept */
    double mass_least; /* the same, of the tenth of the heads that has least of it */
    double halves;     /* Jaccard index of what every other row of the window would have kept, and the rows between */
    double overlap;    /* the same of the rows that go on past the TSP layer, and those that the layer before it would
                          have let go on */
    double agreement;  /* the same of the 32 best tokens of two KV heads: first third of the layers, less the last */
    double entropy;    /* of that attention, as a share of the most there can be */
    /* By a policy that backs off (auto): the self-checks that it made, of ever more entries, and how many times what it
       would have kept at first is kept. The last check is of that; alike: it found no change. */
    int n_checks, times;
    bool alike;
    double check[FKV_MOST_CHECKS];
};
FKV_API void fkv_session_get_signals(const fkv_session *session, struct fkv_signals *signals);
/* Decodes the last token once more, over what the session holds of those before it. *kl: how far what then follows is
   from what the logits say, sum of p (ln p - ln q) in nats. After a prefill that says what the answer's first token
   loses by what was dropped, for the time of one token. The session stays as it is. */
FKV_API fkv_status fkv_session_self_check(fkv_session *session, double *kl);

struct fkv_session_stats {
    uint64_t kv_bytes;      /* of the entries held now */
    uint64_t kv_full_bytes; /* what full attention would hold for the same tokens */
    uint64_t kv_peak_bytes; /* most KV bytes held at once so far: retained entries and the layer being prefilled */
    double prefill_s, decode_s;
    uint64_t prefill_tokens, decode_tokens; /* computed so far */
    /* where the last prefill's time went, seconds of one thread's wall time: see fkv_stage_name() */
    double stage_s[16];
    uint64_t prefill_work; /* multiply-adds of the prefills so far, as fkv_progress counts them: what the session's own
                              would have taken where it shared one */
};
FKV_API void fkv_session_get_stats(const fkv_session *session, struct fkv_session_stats *stats);
/* Name of stage i of stage_s ("product", "attention", ...); NULL past the last. */
FKV_API const char *fkv_stage_name(int i);
/* The options in force, with -1 and AUTO resolved: as much of them as params->size says there is room for. */
FKV_API void fkv_session_get_params(const fkv_session *session, struct fkv_session_params *params);

/* ---- sessions as files ---------------------------------------------------------------------------

   What a session holds: ids, every layer's entries as they are stored, the turns that a policy pruned, and the last
   token's logits, if any. Loading replaces what a session holds. It trusts nothing: what is damaged or foreign
   (FKV_ERROR_FORMAT), of a later version, another model, other types of the cache or another arithmetic, or pruned
   under other options than the session's (FKV_ERROR_UNSUPPORTED), or too long for the context (FKV_ERROR_CONTEXT), is
   refused, and leaves the session empty and usable. A model is known by its tensors' names, types, shapes and samples
   of their data, and by its architecture's metadata. The form is in engine/session_form.h. */

/* Writes under a temporary name in the same folder, mode 0600, which then takes the file's place: whatever happens,
   path is the file that was there before or the new one, whole. label: a text that a load must give again; NULL: "". */
FKV_API fkv_status fkv_session_save(fkv_session *session, const char *path, const char *label);
FKV_API fkv_status fkv_session_load(fkv_session *session, const char *path, const char *label);
/* The same bytes in memory: *data is malloc'ed, freed with fkv_free(). */
FKV_API fkv_status fkv_session_export(fkv_session *session, void **data, size_t *bytes);
FKV_API fkv_status fkv_session_import(fkv_session *session, const void *data, size_t bytes);

/* What a file holds, by its head, settings and ids. */
enum { FKV_LABEL_BYTES = 256 };
struct fkv_session_file {
    int32_t *ids; /* [n_ids], malloc'ed, freed with fkv_free() */
    size_t n_ids, pruned_until;
    char policy[FKV_KV_TEXT_BYTES]; /* of the last turn that one pruned; "" */
    char label[FKV_LABEL_BYTES];
    uint64_t bytes;
};
/* Fails as a load by the session would, but for policies and labels, and for its entries, which are not read. The
   session stays as it is, but for its error. */
FKV_API fkv_status fkv_session_look(fkv_session *session, const char *path, struct fkv_session_file *file);

/* ---- several tokens in one pass ------------------------------------------------------------------

   Decoding reads every weight for each token. A batch reads them once for up to FKV_BATCH_MOST tokens: of several
   sessions of one engine (a server's answers), or of one session (a draft that is to be verified). Every token gets the
   same bits that fkv_session_append() would give it, whatever else is in the batch; what is allocated is said there.
   The sessions of a batch are used by the calling thread meanwhile. */
enum { FKV_BATCH_MOST = 8 };
/* Appends ids[i] to sessions[i], all of one engine, none twice; the logits of each are ready. Or no session has
   changed, and what is wrong is said in the errors of those it concerns (of the first, for n), such as one whose logits
   are not numbers; the errors of the others are "", and a batch of them can go on. */
FKV_API fkv_status fkv_batch_append(fkv_session *const *sessions, const int32_t *ids, int n);
/* Appends n ids to one session. logits: [n][n_vocab], of each of them. Those that turn out unwanted go by
   fkv_session_cut(). */
FKV_API fkv_status fkv_batch_verify(fkv_session *session, const int32_t *ids, int n, float *logits);

/* Where n ids look when they follow what the session holds: shares[n_layer][n_kv_head][n_seen] of a layer's attention
   that fall on each token seen so far, by KV head (of layers with fewer heads than the model's most, the others are 0),
   averaged over the ids and the query heads of the KV head. The rest falls on the ids themselves. The session, which
   has dropped nothing and was not forked, holds then what it held, without logits. */
FKV_API fkv_status fkv_session_attention(fkv_session *session, const int32_t *ids, size_t n, float *shares);

/* Prefills empty sessions of one engine with the same ids in one pass: of the first, under full attention, and of the
   others, which keep of every layer what their own policies say, as if each had run alone. Where a policy leaves rows
   behind (fastkv), the others go through the rest of the layers after the pass. A session whose cache's types or
   (longrope) angles differ from the first's, one with a fifth width of window, and one whose rows would round otherwise
   (blocks of few, products by a BLAS library) stays empty: fkv_session_sync() runs it alone, and does nothing for those
   that are full. Time counts for the first, which also reports progress, as each whose rows went on does then, and
   takes the cancelling. After a failed pass all are empty, and the first's error says what is wrong; sessions that are
   not as said stay as they were, and the error of the one concerned says so. At most 64. */
FKV_API fkv_status fkv_batch_prefill(fkv_session *const *sessions, int n, const int32_t *ids, size_t n_ids);

/* ---- sampling -------------------------------------------------------------------------------- */

typedef struct fkv_sampler fkv_sampler;

/* What is added to a logit before all else; -INFINITY: never that id. */
struct fkv_logit_bias {
    int32_t id;
    float bias;
};
struct fkv_sampler_params {
    size_t size;
    float temperature;                 /* 0: the best id, the lowest on a tie */
    int top_k;                         /* 0: all */
    float top_p, min_p;                /* 1 and 0: off */
    float repeat_penalty;              /* 1: off */
    int repeat_last_n;                 /* ids the penalties look back on */
    uint64_t seed;                     /* xoshiro256** seeded by splitmix64: same seed, same text */
    float presence_penalty;            /* taken from the logit of an id that is among those; 0: off */
    float frequency_penalty;           /* taken as often as it is among them; 0: off */
    const struct fkv_logit_bias *bias; /* [n_bias], copied */
    size_t n_bias;
};
#define FKV_SAMPLER_PARAMS_INIT                                                               \
    {                                                                                         \
        sizeof(struct fkv_sampler_params), 0.8f, 40, 0.95f, 0.05f, 1.0f, 64, 0, 0, 0, NULL, 0 \
    }

/* n_vocab: size of the logits it will be given; all memory is allocated here. */
FKV_API fkv_status fkv_sampler_open(fkv_sampler **sampler, const struct fkv_sampler_params *params, int n_vocab,
                                    char *err);
FKV_API void fkv_sampler_close(fkv_sampler *sampler);
/* Chooses an id from logits[n_vocab] (not changed) and remembers it for the penalties. -1 when a logit is NaN or the
   largest is infinite, or biases forbid all: there is nothing to choose then. */
FKV_API int32_t fkv_sample(fkv_sampler *sampler, const float *logits);
/* Makes the penalties look back on ids that were not sampled, such as the prompt's. */
FKV_API void fkv_sampler_accept(fkv_sampler *sampler, int32_t id);

/* ---- devices --------------------------------------------------------------------------------- */

struct fkv_isa_level {
    const char *name;
    bool available, in_use; /* in_use: what isa = NULL would choose now (FASTKV_ISA respected) */
};
/* Number of levels this build has; fills at most n of them, lowest first. */
FKV_API int fkv_isa_list(struct fkv_isa_level *levels, int n);

struct fkv_vulkan_device {
    char name[256], driver[96], api[24];
    const char *kind;      /* "discrete GPU", "integrated GPU", "virtual GPU", "CPU", "other" */
    char lack[96];         /* why it cannot be used; "" when it can */
    uint64_t memory_bytes; /* of its largest own heap */
    uint64_t max_range;    /* bytes of one binding */
    uint32_t shared_bytes, subgroup_size;
    char used[96]; /* what shaders use of it beyond the baseline: "subgroup matrix" */
};
/* Number of Vulkan devices, in the order of "vulkan:N"; fills at most n of them. why: FKV_ERROR_BYTES or NULL, the
   reason when there are none. */
FKV_API int fkv_vulkan_list(struct fkv_vulkan_device *devices, int n, char *why);

/* One check of the self-test: an operation on small data, against the CPU in plain C. */
struct fkv_vulkan_check {
    const char *name;
    double error; /* largest difference, as a share of the largest value; selections: wrong indices */
    double allowed;
    double ms;                   /* of the second run, submission and waiting included */
    double multiply_adds, bytes; /* what it computes and moves at least */
};
/* Runs the checks on a device ("vulkan" or "vulkan:N") and reports each. FKV_ERROR_NUMBER when one is out of bounds,
   after all of them; other failures end it. err: FKV_ERROR_BYTES or NULL. */
FKV_API fkv_status fkv_vulkan_self_test(const char *device,
                                        void (*report)(void *user, const struct fkv_vulkan_check *check), void *user,
                                        char *err);

#ifdef __cplusplus
}
#endif
#endif
