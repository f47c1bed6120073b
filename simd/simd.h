/* simd.h: the kernels, a leaf library: plain arrays in and out, no tensors, no threads, no allocation.

   One table of function pointers (struct fkv_kernels), filled once for the best ISA level the machine has or for the
   one FASTKV_ISA names. Any n, no alignment promised but where it says so, no read or write past the end, no aliasing
   unless stated. "a level" below: the rows of the table in simd/meson.build.

   Rounding. Each row's result depends on that row alone: not on the other rows of the call, not on m, not on how rows
   are shared out to calls. So batches of any size give the same numbers on one level. */
#ifndef FKV_SIMD_H
#define FKV_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/blocks.h"

enum {
    FKV_PANEL_ROWS = 32,           /* weight rows of one panel, and of one panel call at least: see panel_rows */
    FKV_BLOCK_ROWS = 576,          /* most rows m of one panel call: 48 x FKV_PACK_ROWS */
    FKV_PACK_ROWS = 12,            /* x8_pack and x16_pack share rows out in multiples of this */
    FKV_MOST_PANEL_ROWS = 256,     /* no level's panel_rows is larger */
    FKV_PANEL_SCRATCH = 640 << 10, /* bytes of scratch a panel call may use, 64-byte aligned */
    FKV_TILE = 32,                 /* entries of one cache tile */
    FKV_ATTEND_ROWS = 288,         /* most query rows of one attend call: see attend_rows */
    FKV_ATTEND_SCRATCH = 4 << 19,  /* bytes of scratch an attend call may use, 64-byte aligned */
    FKV_STEP_VECTORS = 8,          /* most vectors of one matvec call */
    FKV_MAX_HEAD = 512,            /* largest head size d */
    FKV_MAX_WINDOW = 64,           /* largest observation window */
};

/* ---- products: Y[m][n] = X[m][k] W[n][k]^T ------------------------------------------------------

   Packed activations. The layout and rounding of packed X belong to the level: only its own panel kernels read it. x8
   serves the block-quantised types and rounds X to 8 bits (blocks of 32 along k, one scale each) or to bf16; k divides
   by 32, the K types' k by 256; x16 serves F16 and BF16 weights and rounds X to bf16 or not at all. panel_f32 takes
   plain floats.
   *_bytes(m, k): size of the packed form, a multiple of 64; packed is 64-byte aligned.
   *_pack(x, ldx, m, k, row0, row1, packed): packs rows [row0, row1) of x[m][ldx] (x points to row 0) into the form of
   all m rows. row0 is a multiple of FKV_PACK_ROWS, row1 too or m: so threads share the rows out. m <= FKV_BLOCK_ROWS.
   Any k >= 32 that divides by 32 is right; the fast kernels may ask for a multiple of 64 and inherit the rest
   themselves. */
struct fkv_panel {
    const void *w;   /* n rows of stored blocks (panel_f32: floats) */
    size_t w_stride; /* bytes from row to row */
    int n, k;        /* 1 <= n <= the level's panel_rows; panel_f32: FKV_PANEL_ROWS */
    const void *x;   /* packed for this m and k; panel_f32: float [m][ldx] */
    size_t ldx;      /* panel_f32 only */
    int m;           /* 1 <= m <= FKV_BLOCK_ROWS */
    float *y;        /* y[m][ldy], columns 0 .. n-1 are written */
    size_t ldy;
    const void *prefetch; /* weights the same thread will want next (n more rows at w_stride), or NULL */
    void *scratch;        /* FKV_PANEL_SCRATCH bytes of the calling thread */
};
/* panel_f32 sums over k in one order whatever m: exact enough to serve the fp32 check path.

   Matvec. v8 is the packed form of one vector for the block-quantised types (v8_bytes a multiple of 64, 64-byte
   aligned); matvec_f16, _bf16 and _f32 take plain floats. A vector gets the same bits whatever m is; memory
   gives each weight once, if w_stride is not large. */
struct fkv_matvec {
    const void *w; /* n rows of stored blocks or values */
    size_t w_stride;
    int n, k;        /* n >= 0 */
    const void *v;   /* m vectors */
    size_t v_stride; /* bytes from vector to vector; not read when m is 1 */
    int m;           /* 1 <= m <= FKV_STEP_VECTORS */
    float *y;        /* y[m][ldy], columns 0 .. n-1 are written */
    size_t ldy;      /* not read when m is 1 */
};

/* Vector i of a call, and where its results go. */
static inline const void *fkv_matvec_vector(const struct fkv_matvec *p, int i)
{
    return (const char *)p->v + (size_t)i * p->v_stride;
}
static inline float *fkv_matvec_result(const struct fkv_matvec *p, int i) { return p->y + (size_t)i * p->ldy; }
static inline const uint8_t *fkv_matvec_row(const struct fkv_matvec *p, int i)
{
    return (const uint8_t *)p->w + (size_t)i * p->w_stride;
}

/* ---- the KV cache's tiles -----------------------------------------------------------------------

   One KV head's entries lie in tiles of 32, so that prefill, decode and scores read them alike and a cache grows by
   tiles. With dp = d rounded up to 32 (channels past d are zero), for the types of 2 and 4 bytes:
       K [n/32][dp/2][32][2]           tile, channel pair, entry, channel of the pair
       V [n/32][dp/32][16][32][2]      tile, 32 channels, entry pair, channel, entry of the pair
   Both are "pairs x 32 x 2": a tile kernel adds, over the pairs, a broadcast pair of q (or p) times 32 lanes.
   q8_0: the same order with int8, preceded per tile by its scales, f16:
       K tile: scale[dp/32][32 entries], then int8 [dp/2][32][2]
       V tile: scale[dp/32][32 entries], then int8 [dp/32][16][32][2]
   A scale serves 32 channels of one entry. Tiles are 64-byte aligned. */
enum fkv_kv_elem { FKV_ELEM_F32, FKV_ELEM_F16, FKV_ELEM_BF16, FKV_ELEM_Q8_0 };

static inline int fkv_padded_head(int d) { return (d + 31) & ~31; }

/* Bytes of one tile of K, or of V: they are equal. */
static inline size_t fkv_tile_bytes(int elem, int d)
{
    const size_t values = (size_t)fkv_padded_head(d) * FKV_TILE;
    return elem == FKV_ELEM_F32 ? values * 4 : elem == FKV_ELEM_Q8_0 ? values + values / 32 * 2 : values * 2;
}

/* Index of an element within a tile, in elements (of q8_0: within its int8 part). entry < 32, channel < dp. */
static inline size_t fkv_k_index(int entry, int channel)
{
    return (size_t)(channel / 2) * 64 + (size_t)entry * 2 + (size_t)(channel % 2);
}
static inline size_t fkv_v_index(int entry, int channel)
{
    return (size_t)(channel / 32) * 1024 + (size_t)(entry / 2) * 64 + (size_t)(channel % 32) * 2 + (size_t)(entry % 2);
}

/* kv_pack: appends `n` rows to a head's tiles, as entries first .. first + n - 1. K and V have types of their own.
   Channels d .. dp-1 are written as zero; entries past the last one written within its tile are zeroed too (so tiles
   never hold garbage). Entries before `first` are not touched. */
struct fkv_kv_rows {
    const float *k, *v; /* [n][ld] each, d floats used per row; either may be NULL: then only the other is written */
    size_t ld;
    int n, d, first;
    void *k_tiles, *v_tiles; /* base of the head's tiles */
    int k_type, v_type;      /* enum fkv_kv_elem */
};

/* attend: softmax(q K^T scale) V for n_rows query rows of one KV head over entries [first, last), unnormalised:
       max[i] = the largest logit in units of log 2 (q . k scale log2(e)), -inf when row i sees no entry here
       sum[i] = sum over the entries of 2^(logit - max[i])
       out[i] = sum over the entries of 2^(logit - max[i]) v
   Row i sees entries from first_keys[i] on and below n_keys[i] only; what no row sees costs nothing, but for parts of
   tiles. first is a multiple of 256. A row that sees no entry has sum 0 and out 0. The caller divides by sum, or merges
   ranges first: weights 2^(max_r - max). Entries past `last` in its tile are stored zeros and must not count. */
struct fkv_attend {
    const float *q; /* [n_rows][ldq], d floats used per row */
    size_t ldq;
    const int32_t *n_keys;     /* [n_rows] */
    const int32_t *first_keys; /* [n_rows], >= 0, in any order; NULL: all from 0 */
    int n_rows, d;             /* 1 <= n_rows <= FKV_ATTEND_ROWS, d <= FKV_MAX_HEAD, even */
    bool alone;                /* rows of a decode step: what is read bounds them, and a level may multiply otherwise */
    float scale;               /* above 0, 1/sqrt(d) as a rule */
    const void *k, *v;         /* base of the head's tiles (entry 0) */
    int k_type, v_type;        /* enum fkv_kv_elem */
    int first, last;           /* entries */
    float *out;                /* [n_rows][ldo], d floats written per row */
    size_t ldo;
    float *max, *sum; /* [n_rows] */
    void *scratch;    /* FKV_ATTEND_SCRATCH bytes of the calling thread */
};

/* ---- FastKV's scores and selection (fastkv paper, sections 3.2 and 3.3) -------------------------

   window_logits(q, ldq, w, k, k_type, d, n, scale, logits, ld): logits[i][j] = q_i . k_j scale, in fp32, for the w
     window queries of one query head (q[w][ldq]) over the n entries of its KV head's tiles. logits[w][ld].
   window_sums(logits, ld, w, n, first, sink, weight, largest, sums, halves): row i sees keys first[i] .. n - w + i
     (causal inside the corner; first NULL: from 0; a row may see none); softmax of each row over the keys it sees and a
     sink, which is a logit in the sum below the fraction alone (-inf: none), times weight[i] >= 0 (weight NULL: 1);
     sums[j] = sum over the rows, or the largest of them, j < n - w. A row of weight 0 takes no part, even if its
     logits are NaN. halves[2][n - w], unless NULL: [0] the sum over the 1st, 3rd, ... of the rows that take part, [1]
     that over the others. Overwrites logits. Rows are added in order 0, 1, ...
   pool_max, pool_avg(x, n, kernel, y): stride 1, padding kernel / 2, kernel odd; max pads with -inf, avg counts the
     padding's zeros: sums left to right, then divides by kernel. y[n], not x.
   top_k(x, n, k, keys, indices): the k largest of x[n], ties to the lower index, indices ascending into indices[k]; 0
     <= k <= n. -0 equals +0, a NaN is below -inf. keys[n]: scratch.

   ---- rows ---------------------------------------------------------------------------------------
   rms_norm(x, w, n, eps, y): y = x / sqrt(mean(x^2) + eps) * w; y may be x.
   rope_half / rope_pair(x, heads, d, n_rot, cos_sin): rotates x[heads][d] in place; channels i and i + n_rot/2 (half,
     "NeoX"), or 2i and 2i + 1 (pair). cos_sin[n_rot/2][2]. Channels from n_rot on stay.
   swiglu(gate, up, n, y): y = gate / (1 + exp(-gate)) * up; y may be gate or up.
   geglu(gate, up, n, y): y = gate (1 + tanh(t)) / 2 up with t = sqrt(2 / pi) (gate + 0.044715 gate^3), the usual GELU;
     that is gate / (1 + exp(-2 t)) up. y may be gate or up.
   add(x, n, y): y += x. */

#define FKV_GELU_TWICE 1.5957691216f /* 2 sqrt(2 / pi) */
#define FKV_GELU_CUBE 0.044715f

struct fkv_kernels {
#define KERNEL(result, name, args) result(*name) args;
#include "simd/kernels.def"
#undef KERNEL
    const char *isa; /* name of the level */
    int kv_elem;     /* the 16-bit cache type this level likes best: FKV_ELEM_BF16 or FKV_ELEM_F16 */
    int panel_rows; /* most weight rows of a panel call but panel_f32's: FKV_PANEL_ROWS, or more where that is faster */
    int attend_rows;      /* query rows of an attend call that this level likes best, where there are many */
    bool x8_is_bf16;      /* x8 rounds X to bf16, not to 8 bits */
    bool batch_invariant; /* always true; here so that a level which breaks the rule has to say so */
};

/* ---- levels ---------------------------------------------------------------------------------- */

/* Number of levels in this build, lowest first, and what they are. */
int fkv_simd_n_levels(void);
const char *fkv_simd_level_name(int level);
bool fkv_simd_level_available(int level);
/* The level by name, or the best available one when name is NULL; -1 when there is none of that name. */
int fkv_simd_find_level(const char *name);
/* The table of an available level. Thread-safe; same pointer every time. */
const struct fkv_kernels *fkv_simd_kernels(int level);

#endif
