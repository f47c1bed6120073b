/* layer_loop.h: rows through all layers: the blocks of a prompt, or the tokens of a decode step. The only place where
   the batch shrinks.

   Prefill is layer-major: a layer finishes for all rows, block by block, keeps what the policy says, and its full K and
   V are overwritten by the next layer's. So the peak of KV memory is one layer's full K and V beside what is kept. Two
   exact savings: the TSP layer chooses before it attends (queries, attention, projection and MLP only for the rows that
   go on), and the last layer does so for its last row. */
#ifndef FKV_MODEL_LAYER_LOOP_H
#define FKV_MODEL_LAYER_LOOP_H

#include <stdatomic.h>

#include "kv/sequence.h"
#include "model/workspace.h"
#include "retain/policy.h"

/* Rows that go on without the others, from a layer on. */
struct fkv_fork {
    int layer, n;
    float *x;     /* [n][d_model], or NULL: nothing has parted */
    int32_t *pos; /* [n] */
};

/* A second sequence that one prefill fills: from every layer's full K and V it keeps by a policy of its own. Where the
   policy leaves rows behind, the others part from the pass, and go through the rest of the layers after it. */
struct fkv_keeper {
    struct fkv_sequence *q; /* empty */
    const struct fkv_prefill_params *params;
    struct fkv_prefill_report *report;
    float *logits;      /* [n_vocab] of the last row, where rows parted */
    void *policy;       /* its state */
    int sinks, queries; /* which of the windows is its */
    struct fkv_fork fork;
    uint64_t done; /* multiply-adds */
    float *ranked; /* [rows] as the workspace's */
    bool is_ranked;
    bool parted;   /* rows of its own went on */
    bool left_out; /* it wants what the pass cannot do: what the sequence holds is void */
};

/* What a session wants of a prefill. */
struct fkv_prefill_params {
    const struct fkv_policy *policy;
    const struct fkv_kv_params *kv;
    int window;          /* last rows of the prefill, whose attention scores the others */
    const float *weight; /* [window] what each of them counts, or NULL */
    int sinks;           /* first positions, kept and propagated */
    int k_type, v_type;  /* of the layer being prefilled: enum fkv_kv_elem */
    fkv_progress progress;
    void *progress_user;
    const atomic_bool *cancel;
    struct fkv_keeper *keepers; /* [n_keepers] beside the sequence, whose policy is full attention */
    int n_keepers;
};

enum { FKV_LEVELS = 4 }; /* once what a plan keeps, twice, four times, and the most */

/* Sums of what struct fkv_signals are means of. */
struct fkv_signal_sums {
    float *mass; /* [n_layer][n_kv_head] of the heads measured, in the order of layers */
    int n_mass, n_layers, n_halves, n_agreement[2];
    double halves, entropy, agreement[2]; /* agreement: of the first and of the last third of the layers */
    double overlap;                       /* NAN: not known */
    int n_checks, times;                  /* by the self-check: see fkv_levels_take() */
    double check[FKV_LEVELS];
    bool alike; /* the last is below the bound */
};

/* What a layer holds of a prefill until it is settled how much is kept: of each head how many entries, and the lowest
   level that has each. */
struct fkv_layer_levels {
    uint8_t *lowest; /* [sum of count] */
    int count[];     /* [heads] */
};

/* What the last prefill did. */
struct fkv_prefill_report {
    struct fkv_layer_plan *plan; /* [n_layer] as it was carried out */
    int32_t *propagated;         /* [n_ctx] positions that went past layer tsp_layer */
    int n_propagated, tsp_layer; /* -1 when all went on */
    bool pruned;                 /* something was dropped or not propagated */
    uint64_t work;               /* multiply-adds, as progress counts them */
    uint64_t kv_peak_bytes;      /* most that any prefill came to */
    struct fkv_signal_sums signals;
    struct fkv_layer_levels **level; /* [n_layer] NULL: the layer holds what it keeps */
    int n_layer;
    bool leveled; /* some layer has them: fkv_levels_drop() frees them */
    int times;    /* and the plans' `times` and `kl` */
    double kl_most;
    double stage_s[FKV_N_STAGES]; /* wall time of thread 0 by stage */
};

/* How many levels there are, and what a level keeps: so many times as much as the lowest. */
int fkv_levels_of(int most);
int fkv_level_times(int level, int most);
void fkv_levels_drop(struct fkv_prefill_report *report);
/* What the sequence would hold at a level, in stores of their own, where they differ: [n_layer], else NULL. After a
   failure, too, the caller destroys them. The prefill was the sequence's last, and the workspace is lent to the
   caller. */
fkv_status fkv_levels_trim(struct fkv_workspace *ws, const struct fkv_sequence *q,
                           const struct fkv_prefill_report *report, int level, struct fkv_kv_store **stores);

/* Prefills n >= 1 ids behind the sequence's tokens under the policy; logits[n_vocab] of the last. The workspace is lent
   to the caller. q->n_seen stays: the caller counts the tokens, or, after FKV_ERROR_CANCELLED, _MEMORY, _DEVICE or
   _NUMBER, cuts the entries that are there. */
fkv_status fkv_prefill(struct fkv_workspace *ws, struct fkv_sequence *q, const int32_t *ids, int n,
                       const struct fkv_prefill_params *params, struct fkv_prefill_report *report, float *logits);

/* One step of at most FKV_STEP_ROWS rows, each behind its sequence's tokens and those of the rows before it: K and V
   are appended in every head. sequences: by rows->sequence. logits: [n], of each row n_vocab, or NULL. Every row gets
   the bits that it gets when it is alone. Counts and failures as above; at_fault: the sequences without
   which it would have gone well; none, if it is about all. Allocates nothing but the room for entries that stores may
   want (kv_reserve). */
fkv_status fkv_step(struct fkv_workspace *ws, struct fkv_sequence *const *sequences, const struct fkv_rows *rows,
                    float *const *logits, bool at_fault[FKV_STEP_ROWS]);
/* The same of one sequence, whose stores hold all it has seen and are no other's; in place of logits, where its rows
   look: shares[n_layer][n_kv_head most][n_before] += what falls on the first n_before positions, summed over rows,
   averaged over the query heads of a KV head. rows->n: no more than the workspace's window; the workspace is lent to
   the caller. */
fkv_status fkv_step_look(struct fkv_workspace *ws, struct fkv_sequence *q, const struct fkv_rows *rows, int n_before,
                         float *shares);

#endif
