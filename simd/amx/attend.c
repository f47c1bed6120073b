/* Attention by tdpbf16ps. The cache's tiles are what it takes as b, 16 pairs x 16 entries or channels x 2,
   128 bytes from pair to pair; queries and weights, rows of bf16, are a. Types but bf16 become cells of bf16, and
   queries and weights are rounded, as on the level below.

   A group has 17 to 32 rows, or up to 16, as in decoding, and then half of the tiles: 4 of sums (32 rows x 32 entries
   or channels), 2 a, 2 b. Rows past the group's are computed too, from what lies there, and never looked at.

   The tiles' products take as long as the weights' exponentials, so they go together: while the logits of 32 entries
   are made, a row of the 32 before becomes weights after every tile instruction (in larger portions neither helps the
   other). That leaves no time to look for a block's largest logit first. Instead e^(logit - reference) is taken with
   one reference per row, the largest of the first 32 logits: floats hold weights far above 1 as well (values of V above
   2e19 could overflow). If a later logit is above by LIMIT, which is rare, the row's reference rises and the block is
   done again. Sums are of the rounded weights, so that a row which looks at one entry gets its value.

   288 rows share what L2 holds of a block, 128 KiB at d 128. */
#include "simd/amx/amx.h"
#include "simd/avx512/attend_blocks.h"
#include "simd/avx512/avx512.h"
#include "simd/avx512bf16/cells_bf16.h"

enum {
    HALF_ROWS = 16,
    GROUP_ROWS = 2 * HALF_ROWS,
    HALVES = FKV_ATTEND_ROWS / HALF_ROWS,
    TILE_FLOATS = 256,
    LIMIT = 44
};
#define LOG2_E 1.44269504f
#define LN_2 0.69314718f
#define MAGIC 0x1.8p18f /* added to a float leaves its 32nds in the low bits */

/* Tiles of floats hold 16 x 16; of 32 entries or channels there are two. */
struct attend_scratch {
    _Alignas(64) char q[HALVES * HEAD_CELLS][TILE_BYTES];        /* [half][cell] */
    _Alignas(64) float out[HALVES * HEAD_CELLS][2][TILE_FLOATS]; /* [half][32 channels] */
    _Alignas(64) float logits[2][2][2][TILE_FLOATS];             /* [tile of entries, odd or even][half][16 entries] */
    _Alignas(64) char weights[BLOCK_TILES][2][TILE_BYTES];       /* [tile of entries][half] */
    _Alignas(64) float sum[FKV_ATTEND_ROWS][16], top[FKV_ATTEND_ROWS][16]; /* by lane; top: largest logits */
    _Alignas(64) float sum_before[GROUP_ROWS][16];                         /* the block */
    float reference[FKV_ATTEND_ROWS];
    struct fkv_span seen[FKV_ATTEND_ROWS];
    struct expanded cells;
};
_Static_assert(sizeof(struct attend_scratch) <= FKV_ATTEND_SCRATCH, "the scratch of an attend call is too small");

static char *query_tile(const struct block *b, int row, int c) { return b->w->q[row / HALF_ROWS * b->n_cells + c]; }
static float *out_tile(const struct block *b, int row, int c) { return b->w->out[row / HALF_ROWS * b->n_cells + c][0]; }

/* A row of the second tile of two is TILE_FLOATS on. */
static float *row_of_tile(float *tile, int row) { return tile + row % HALF_ROWS * 16; }

/* ---- weights --------------------------------------------------------------------------------- */

/* e^x, not below e^-87. With n the 32nds of log 2 in x, 2^(n / 32) is looked up and moved to its exponent, and what
   remains of x, |r| < ln 2 / 64, is 1 + r: at most 5.9e-5 too small, for results that are rounded to bf16, and exactly
   1 at 0. */
INLINE __m512 weights_of(__m512 x)
{
    /* 2^(i / 32) less i << 18, which n << 18 adds */
    static const _Alignas(64)
        uint32_t powers[32] = {0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a, 0x3f79c3d3,
                               0x3f78f4f0, 0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043, 0x3f75fed7, 0x3f75a15b,
                               0x3f75583f, 0x3f7523f6, 0x3f7504f3, 0x3f74fbaf, 0x3f7508a4, 0x3f752c4d, 0x3f75672a,
                               0x3f75b9be, 0x3f76248c, 0x3f76a81e, 0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907,
                               0x3f7ac0c7, 0x3f7be4ba, 0x3f7d257d, 0x3f7e83b3};
    const __m512 magic = _mm512_set1_ps(MAGIC);
    x = _mm512_max_ps(_mm512_set1_ps(-87), x);
    const __m512 n = _mm512_fmadd_ps(x, _mm512_set1_ps(LOG2_E), magic),
                 r = _mm512_fnmadd_ps(_mm512_sub_ps(n, magic), _mm512_set1_ps(LN_2), x);
    const __m512i power = _mm512_permutex2var_epi32(_mm512_load_si512(powers), _mm512_castps_si512(n),
                                                    _mm512_load_si512(powers + 16));
    const __m512 p = _mm512_castsi512_ps(_mm512_add_epi32(power, _mm512_slli_epi32(_mm512_castps_si512(n), 18)));
    return _mm512_fmadd_ps(p, r, p);
}

/* What becomes weights while logits are made: 32 entries of a group's rows. */
struct softmax {
    const struct block *b;
    const struct group *g;
    int tile, next, at_once; /* of entries, or -1; rows */
};

INLINE void make_row_weights(bool all_seen, const struct softmax *s, int r)
{
    struct attend_scratch *w = s->b->w;
    const int row = s->g->row0 + r;
    const float *x = row_of_tile(w->logits[s->tile % 2][r / HALF_ROWS][0], r);
    const __m512 low = _mm512_load_ps(x), high = _mm512_load_ps(x + TILE_FLOATS),
                 reference = _mm512_set1_ps(w->reference[row]);
    __m512 top = _mm512_load_ps(w->top[row]), a = weights_of(_mm512_sub_ps(low, reference)),
           b = weights_of(_mm512_sub_ps(high, reference));
    if (all_seen) {
        top = _mm512_max_ps(top, _mm512_max_ps(low, high));
    } else {
        const struct fkv_span seen = fkv_span_within(s->b->seen[row], s->b->start + FKV_TILE * s->tile, FKV_TILE);
        const __mmask16 in_low = lanes_seen(seen, 0), in_high = lanes_seen(seen, 16);
        top = _mm512_mask_max_ps(top, in_low, top, low);
        top = _mm512_mask_max_ps(top, in_high, top, high);
        a = _mm512_maskz_mov_ps(in_low, a);
        b = _mm512_maskz_mov_ps(in_high, b);
    }
    _mm512_store_ps(w->top[row], top);
    const __m512i rounded = pack_bf16(a, b), one = _mm512_set1_epi16(0x3f80);
    _mm512_store_ps(w->sum[row], _mm512_dpbf16_ps(_mm512_load_ps(w->sum[row]), (__m512bh)rounded, (__m512bh)one));
    _mm512_store_si512(w->weights[s->tile][r / HALF_ROWS] + r % HALF_ROWS * 64, rounded);
}

/* After a tile instruction: some rows, or a pause. */
INLINE void meanwhile(bool all_seen, struct softmax *s)
{
    if (s->next >= s->g->n) TILE_PAUSE();
    for (int i = 0; i < s->at_once && s->next < s->g->n; i++) make_row_weights(all_seen, s, s->next++);
}

/* Of the rows for which tile t is the first that they see of all. */
static void set_references(const struct block *b, const struct group *g, int t)
{
    struct attend_scratch *w = b->w;
    const int start = b->start + FKV_TILE * t;
    for (int r = 0; r < g->n; r++) {
        const int row = g->row0 + r;
        if (b->seen[row].from < start) continue;
        const struct fkv_span seen = fkv_span_within(b->seen[row], start, FKV_TILE);
        const float *x = row_of_tile(w->logits[t % 2][r / HALF_ROWS][0], r);
        __m512 top = _mm512_load_ps(w->top[row]);
        top = _mm512_mask_max_ps(top, lanes_seen(seen, 0), top, _mm512_load_ps(x));
        top = _mm512_mask_max_ps(top, lanes_seen(seen, 16), top, _mm512_load_ps(x + TILE_FLOATS));
        if (seen.to > 0) w->reference[row] = _mm512_reduce_max_ps(top);
    }
}

/* Lanes of a row's largest logits that have left its reference behind; none that is not a number. */
static __mmask16 lanes_above(const struct attend_scratch *w, int row)
{
    return _mm512_cmp_ps_mask(_mm512_load_ps(w->top[row]), _mm512_set1_ps(w->reference[row] + LIMIT), _CMP_GT_OQ);
}

/* Raises the references that logits have left behind; true if there were any: the block's weights are to be made again,
   once. */
static bool raise_references(const struct block *b, const struct group *g)
{
    struct attend_scratch *w = b->w;
    __mmask16 above = 0;
    for (int r = g->row0; r < g->row0 + g->n; r++) above |= lanes_above(w, r);
    if (!above) return false;
    memcpy(w->sum[g->row0], w->sum_before, (size_t)g->n * sizeof *w->sum_before);
    for (int r = g->row0; r < g->row0 + g->n; r++) {
        const __mmask16 lanes = lanes_above(w, r);
        if (!lanes) continue;
        const float old = w->reference[r], top = _mm512_mask_reduce_max_ps(lanes, _mm512_load_ps(w->top[r]));
        w->reference[r] = top;
        const __m512 by = exp2_precise(_mm512_set1_ps((old - top) * LOG2_E));
        _mm512_store_ps(w->sum[r], _mm512_mul_ps(by, _mm512_load_ps(w->sum[r])));
        for (int c = 0; c < b->n_cells; c++) {
            float *out = row_of_tile(out_tile(b, r, c), r);
            _mm512_store_ps(out, _mm512_mul_ps(by, _mm512_load_ps(out)));
            _mm512_store_ps(out + TILE_FLOATS, _mm512_mul_ps(by, _mm512_load_ps(out + TILE_FLOATS)));
        }
    }
    return true;
}

/* ---- products -------------------------------------------------------------------------------- */

INLINE void load_sums(bool both, const float *upper, const float *lower)
{
    TILE_LOAD(0, upper, 64);
    TILE_LOAD(1, upper + TILE_FLOATS, 64);
    if (both) TILE_LOAD(2, lower, 64);
    if (both) TILE_LOAD(3, lower + TILE_FLOATS, 64);
}

INLINE void store_sums(bool both, float *upper, float *lower)
{
    TILE_STORE(0, upper, 64);
    TILE_STORE(1, upper + TILE_FLOATS, 64);
    if (both) TILE_STORE(2, lower, 64);
    if (both) TILE_STORE(3, lower + TILE_FLOATS, 64);
}

/* The sums += two tiles of rows by a cell. */
INLINE void multiply_cell(bool both, const char *upper, const char *lower, const char *cell, bool all_seen,
                          struct softmax *s)
{
    TILE_LOAD(4, upper, 64);
    meanwhile(all_seen, s);
    TILE_LOAD(6, cell, 128);
    meanwhile(all_seen, s);
    TILE_LOAD(7, cell + 64, 128);
    meanwhile(all_seen, s);
    if (both) TILE_LOAD(5, lower, 64);
    meanwhile(all_seen, s);
    TILE_DOT_BF16(0, 4, 6);
    meanwhile(all_seen, s);
    TILE_DOT_BF16(1, 4, 7);
    meanwhile(all_seen, s);
    if (!both) return;
    TILE_DOT_BF16(2, 5, 6);
    meanwhile(all_seen, s);
    TILE_DOT_BF16(3, 5, 7);
    meanwhile(all_seen, s);
}

/* Tile t's logits, and of the tile before, if there is one, the weights. */
INLINE void make_tile_logits(bool both, bool all_seen, const struct block *b, const struct group *g, int t)
{
    const char *k = k_tile(&cells_bf16, b, t), *q = query_tile(b, g->row0, 0);
    float(*const logits)[2][TILE_FLOATS] = b->w->logits[t % 2];
    struct softmax s = {b, g, t - 1, t > g->tiles.from ? 0 : g->n,
                        (GROUP_ROWS + 8 * b->n_cells - 1) / (8 * b->n_cells)};
    if (b->stored_k) fetch(b, b->v + t * b->v_bytes, b->v_bytes);
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    for (int c = 0; c < b->n_cells; c++)
        multiply_cell(both, q + c * TILE_BYTES, q + (b->n_cells + c) * TILE_BYTES, k + c * BF16_CELL_BYTES, all_seen,
                      &s);
    while (s.next < g->n) make_row_weights(all_seen, &s, s.next++);
    store_sums(both, logits[0][0], logits[1][0]);
}

/* begins: a row sees nothing before this block, and no reference of the block has been set. */
INLINE void make_weights(bool both, bool all_seen, bool begins, const struct block *b, const struct group *g)
{
    const struct softmax last = {b, g, g->tiles.to - 1, 0, 0};
    for (int t = g->tiles.from; t < g->tiles.to; t++) {
        make_tile_logits(both, all_seen, b, g, t);
        if (begins) set_references(b, g, t);
    }
    for (int r = 0; r < g->n; r++) make_row_weights(all_seen, &last, r);
}

static void add_values(bool both, const struct block *b, const struct group *g)
{
    struct softmax none = {b, g, -1, g->n, 0};
    for (int c = 0; c < b->n_cells; c++) {
        const size_t ahead = (size_t)(g->tiles.to - g->tiles.from) * part(b->k_bytes, b);
        size_t stride;
        const char *v = v_channels(&cells_bf16, b, c, &stride);
        float *upper = out_tile(b, g->row0, c), *lower = out_tile(b, g->row0 + HALF_ROWS, c);
        if (b->stored_v) fetch(b, b->next_k + c * ahead, ahead);
        load_sums(both, upper, lower);
        for (int t = g->tiles.from; t < g->tiles.to; t++)
            multiply_cell(both, b->w->weights[t][0], b->w->weights[t][1], v + t * stride, true, &none);
        store_sums(both, upper, lower);
    }
}

static void attend_group(const struct block *b, const struct group *g)
{
    const bool both = g->n > HALF_ROWS;
    bool all_seen = true, begins = false;
    for (int r = g->row0; r < g->row0 + g->n; r++) {
        const struct fkv_span seen = seen_of_block(b, r);
        all_seen &= seen.from <= FKV_TILE * g->tiles.from && seen.to >= FKV_TILE * g->tiles.to;
        begins |= b->seen[r].from >= b->start;
    }
    memcpy(b->w->sum_before, b->w->sum[g->row0], (size_t)g->n * sizeof *b->w->sum_before);
    if (!both)
        make_weights(false, false, begins, b, g);
    else if (all_seen)
        make_weights(true, true, begins, b, g);
    else
        make_weights(true, false, begins, b, g);
    if (raise_references(b, g)) make_weights(both, false, false, b, g);
    for (int t = b->tiles.from; t < b->tiles.to && b->fresh; t++)
        if (t < g->tiles.from || t >= g->tiles.to) k_tile(&cells_bf16, b, t);
    add_values(both, b, g);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void begin_rows(const struct block *b)
{
    const struct fkv_attend *a = b->a;
    struct attend_scratch *w = b->w;
    for (int r = 0; r < a->n_rows; r++) {
        _Alignas(64) uint32_t words[FKV_MAX_HEAD / 2];
        pack_query_bf16(a->q + r * a->ldq, a->d, a->scale, words);
        for (int c = 0; c < b->n_cells; c++) {
            float *out = row_of_tile(out_tile(b, r, c), r);
            memcpy(query_tile(b, r, c) + r % HALF_ROWS * 64, words + 16 * c, 64);
            _mm512_store_ps(out, _mm512_setzero_ps());
            _mm512_store_ps(out + TILE_FLOATS, _mm512_setzero_ps());
        }
        _mm512_store_ps(w->sum[r], _mm512_setzero_ps());
        _mm512_store_ps(w->top[r], _mm512_set1_ps(-1e30f));
        w->reference[r] = 0;
    }
}

static void finish_rows(const struct block *b)
{
    const struct fkv_attend *a = b->a;
    const struct attend_scratch *w = b->w;
    for (int r = 0; r < a->n_rows; r++) {
        const bool sees = w->seen[r].to > w->seen[r].from;
        const float top = _mm512_reduce_max_ps(_mm512_load_ps(w->top[r])), by = sees ? expf(w->reference[r] - top) : 0;
        a->max[r] = sees ? top * LOG2_E : -INFINITY;
        a->sum[r] = by * _mm512_reduce_add_ps(_mm512_load_ps(w->sum[r]));
        for (int i = 0; i < a->d; i += 16) {
            const float *out = row_of_tile(out_tile(b, r, i / 32), r) + i / 16 % 2 * TILE_FLOATS;
            _mm512_mask_storeu_ps(a->out + r * a->ldo + i, lanes_below(a->d - i),
                                  _mm512_mul_ps(_mm512_set1_ps(by), _mm512_load_ps(out)));
        }
    }
}

void fkv_attend_amx(const struct fkv_attend *a)
{
    struct attend_scratch *w = a->scratch;
    if (a->k_type == FKV_ELEM_F32 || a->v_type == FKV_ELEM_F32) {
        fkv_attend_avx512(a);
        return;
    }
    struct block b = first_block(a, GROUP_ROWS, HALF_ROWS, w->seen, &w->cells);
    b.stored_k = a->k_type == FKV_ELEM_BF16;
    b.stored_v = a->v_type == FKV_ELEM_BF16;
    b.fetches = !b.shared; /* several groups have enough to do with a block for the processor to fetch it in time */
    begin_rows(&b);
    TILES_CONFIGURE(&whole_tiles);
    for (struct group g; next_group(&b, &g); b.fresh = false) attend_group(&b, &g);
    TILES_RELEASE();
    finish_rows(&b);
}
