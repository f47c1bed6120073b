/* workspace.h: the memory of passes: where the layers are computed, and the activations that live there. The engine
   owns one, and lends it to the pass that runs: sessions hold nothing but what they have kept. */
#ifndef FKV_MODEL_WORKSPACE_H
#define FKV_MODEL_WORKSPACE_H

#include "base/turns.h"
#include "model/model.h"

/* Activations of one block of rows: they live within a region. */
struct fkv_block_buffers {
    struct fkv_tensor q, k, v, att, ff; /* [block_rows][width], widths the most of any layer */
    struct fkv_tensor spare;            /* [block_rows][d_model], or none: see fkv_model_needs_spare() */
};

/* A run of layers on one back end. The first place has the embedding table, the last the output head. */
struct fkv_place {
    struct fkv_backend *b;
    int end; /* its layers end before this one */
    struct fkv_block_buffers block;
    struct fkv_tensor step;     /* [FKV_STEP_ROWS][d_model] the residual stream of a decode step */
    struct fkv_tensor logits;   /* [FKV_STEP_ROWS][n_vocab] */
    struct fkv_tensor x;        /* [n_ctx][d_model] the residual stream of a prefill */
    struct fkv_tensor q_window; /* [FKV_WINDOWS][FKV_MAX_WINDOW][q_width] */
    struct fkv_tensor scores;   /* [n_kv_head][n_ctx] */
    struct fkv_tensor looked;   /* [2][n_kv_head][n_ctx] what a window attends to: see `score` */
    struct fkv_rope *ropes;     /* [n_ropes] tables of n_ctx positions, one per description: see fkv_rope_begin() */
    struct fkv_choice *kept, *going_on;
};
enum { FKV_MAX_PLACES = 2 }; /* a GPU, and the CPU for the layers it has no room for */

enum { FKV_WINDOWS = 4 }; /* most windows by which a layer is scored for several sequences */

struct fkv_workspace {
    const struct fkv_model *model;
    struct fkv_place place[FKV_MAX_PLACES]; /* in the order of their layers; of several, the last is the CPU */
    int n_places;
    struct fkv_turns lent;       /* to one prefill at a time, in the order in which they come */
    struct fkv_turns turn;       /* of what computes: a block of a prefill, or a decode step */
    _Atomic double gap_s, share; /* of a prefill beside decode steps: see fkv_engine_pace(); 0: any */
    _Atomic double step_s;       /* that the last decode step took */
    _Atomic double stepped_s;    /* when it ended */
    atomic_uint n_steps;         /* decode steps begun */
    int n_ctx, window;           /* what the rest is sized for; 0: nothing yet */
    int angles;                  /* positions that the rotary tables hold */
    int32_t *pos, *hidden;       /* [n_ctx] of the rows alive: see struct fkv_rows */
    int block_rows;              /* the most of any place */
    int32_t *after;              /* [block_rows] block_rows - 1 .. 0: what rows of a block do not see of it */
    int32_t *turns;              /* [block_rows] of the block that runs: see struct fkv_rows */
    float *angle_rows;           /* those of a rotary table that are being made */
    void *choosing;              /* fkv_choose_bytes(n_kv_head, n_ctx) */
    float *looked;               /* [2][n_kv_head][n_ctx] what the host reads of a place's with memory of its own */
    float *ranked;               /* [n_ctx] the scores by which the layer before the TSP layer would have rows go on */
    float *copy;                 /* what the host reads of a device with its own memory: [n_ctx][d_model], or logits */
    void *memory;
    size_t bytes;
};

/* places: their b and end; taken over, the back ends too. After a failure destroy it. */
fkv_status fkv_workspace_create(struct fkv_workspace *ws, const struct fkv_model *model, const struct fkv_place *places,
                                int n_places);
void fkv_workspace_destroy(struct fkv_workspace *ws);
/* Room for passes of n_ctx tokens and a window. No prefill has it lent, or the caller does. */
fkv_status fkv_workspace_reserve(struct fkv_workspace *ws, int n_ctx, int window);
/* Does it hold what a sequence of that capacity needs for its positions before `end`? A larger session may have taken
   it, and failed. */
static inline bool fkv_workspace_holds(const struct fkv_workspace *ws, int capacity, int end)
{
    return end <= ws->n_ctx && fkv_rope_begin(&ws->model->h, capacity) <= fkv_rope_begin(&ws->model->h, ws->n_ctx);
}
/* The rotary tables of n positions at least. */
void fkv_workspace_rotate(struct fkv_workspace *ws, int n);
/* pace.c: before a decode step: a prefill under way gets its share of the time since the last one. */
void fkv_pace_give_way(struct fkv_workspace *ws);

/* What a workspace for n_ctx tokens takes at one back end, its scratch included. */
struct fkv_bytes fkv_workspace_bytes(const struct fkv_backend *b, const struct fkv_model *model, int n_ctx, int window);
/* The host's lists of such a workspace. */
uint64_t fkv_workspace_lists(const struct fkv_workspace *ws, int n_ctx);

#endif
