/* Prefill products by tdpbf16ps, of every type: sums[16][16] += a[16 rows of X][32 k] b[16 pairs of k][16
   weight rows][2], all bf16.

   Quantised weights become bf16 too. A tile of int8 sums 64 k at a time, but scales come per 32 or 16 and would have to
   be applied outside the tiles; bf16 takes the scales in, is four times as fast as vpdpbusd, and rounds less than 8
   bits do (relative RMS 0.24 % a factor). So there is one micro-kernel and one packed X for all.

   A call takes 8 panels of 32 weight rows, about 256 k at a time: a panel's 16 KiB are unpacked to one place in L1 and
   stay there while X streams by from L2, 32 rows (16 KiB) at a time, and what L2 has of X serves all eight. Where the
   time goes (Emerald Rapids, m 512, q4_k, ns for 4 products of tiles): the products alone 29; with X from L2 and sums
   that come from there and go back every 256 k 53; another 10 to 15 for unpacking; X from L3, where all of it does not
   fit in L2, 100 instead of 53, but one time in eight. Larger chunks push each other out of L1, smaller ones load and
   store the sums too often; unpacking the next panel between products does the former and is slower, though neither
   waits for the other then.

   The four loads stand before the four products: when the core's other thread is busy, tiles wait for each other more,
   and loads overlap with loads (126 ns, and 142 where they are mixed; otherwise all the same).

   Packed X: [chunk of k][group of 32 rows][32 k][32 rows][32], so that tiles are contiguous. Rows past m are there, but
   never written: what they yield is never read. Tiles: 4 of sums (32 rows of X x 32 weight rows), 2 a, 2 b: 4 loads for
   4 products per 32 k. */
#include "simd/amx/amx.h"
#include "simd/amx/weights.h"

enum {
    GROUP = 32,
    PANELS = FKV_MOST_PANEL_ROWS / FKV_PANEL_ROWS, /* in a call */
    PANEL_BYTES = MOST_PARTS * 32 * FKV_PANEL_ROWS * 2,
    SUMS = GROUP * FKV_PANEL_ROWS, /* of a group and panel */
    SUMS_STRIDE = FKV_PANEL_ROWS * sizeof(float),
    AHEAD = 2, /* chunks from a product to the weights that are fetched meanwhile */
};
_Static_assert(PANEL_BYTES + (FKV_BLOCK_ROWS + GROUP - 1) / GROUP * PANELS * SUMS * sizeof(float) <= FKV_PANEL_SCRATCH,
               "scratch holds a panel and sums");

/* ---- packed X -------------------------------------------------------------------------------- */

static int groups_of(int m) { return (m + GROUP - 1) / GROUP; }

/* k in a chunk: 256, or, where that does not divide k, chunks of about the same size. */
static int chunk_of(int k)
{
    const int parts = k / 32, chunks = (parts + MOST_PARTS - 1) / MOST_PARTS;
    return k % 256 == 0 ? 256 : (parts + chunks - 1) / chunks * 32;
}

/* k in the chunk at k0. */
static int chunk_at(int k, int k0) { return k - k0 < chunk_of(k) ? k - k0 : chunk_of(k); }

size_t fkv_x8_bytes_amx(int m, int k) { return (size_t)groups_of(m) * GROUP * (size_t)k * sizeof(fkv_bf16); }

/* Where a group's chunk starts, in bytes; k0 is a multiple of chunk_of(k). */
static size_t group_at(int m, int k, int group, int k0)
{
    return ((size_t)groups_of(m) * (size_t)k0 + (size_t)group * (size_t)chunk_at(k, k0)) * GROUP * sizeof(fkv_bf16);
}

void fkv_x8_pack_amx(const float *x, size_t ldx, int m, int k, int row0, int row1, void *packed)
{
    const int chunk = chunk_of(k);
    for (int i = 0; i < k; i += 32) {
        const int k0 = i / chunk * chunk;
        const size_t group_bytes = (size_t)chunk_at(k, k0) * GROUP * sizeof(fkv_bf16);
        char *first = (char *)packed + group_at(m, k, 0, k0) + (i - k0) / 32 * 2 * TILE_BYTES;
        for (int row = row0; row < row1; row++) {
            const float *from = x + (size_t)row * ldx + i;
            _mm512_store_si512(first + (size_t)(row / GROUP) * group_bytes + row % GROUP * 64,
                               to_bf16(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16)));
        }
    }
}

/* ---- weights --------------------------------------------------------------------------------- */

/* The chunk at k0 of weight rows first .. first + 31, to panel. Rows past n are the last one; of 16 that are, nothing
   is unpacked. */
static void unpack_chunk(const struct fkv_panel *p, const struct weight_type *type, int first, int k0, char *panel)
{
    const uint8_t *w = (const uint8_t *)p->w + row_bytes(type, k0);
    const int parts = chunk_at(p->k, k0) / 32;
    for (int half = 0; half < 2 && first + 16 * half < p->n; half++) {
        const uint8_t *row[16];
        head_of_row heads[16];
        for (int r = 0; r < 16; r++) {
            const int i = first + 16 * half + r;
            row[r] = w + (size_t)(i < p->n ? i : p->n - 1) * p->w_stride;
        }
        type->heads(row, parts, heads);
        for (int part = 0; part < parts; part++) type->unpack(row, part, heads, panel + (2 * part + half) * TILE_BYTES);
    }
}

/* ---- the micro-kernel ------------------------------------------------------------------------ */

/* sums[32 or 16 rows][32] = or += parts 32s of k. stride: of y in bytes, in which the results go. */
INLINE void multiply(bool both, const char *x, const char *w, int parts, bool add, const float *sums, float *y,
                     size_t stride)
{
    char *lower = (char *)y + 16 * stride;
    if (add) {
        TILE_LOAD(0, sums, SUMS_STRIDE);
        TILE_LOAD(1, sums + 16, SUMS_STRIDE);
        if (both) TILE_LOAD(2, sums + SUMS / 2, SUMS_STRIDE);
        if (both) TILE_LOAD(3, sums + SUMS / 2 + 16, SUMS_STRIDE);
    } else {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    }
    for (int i = 0; i < parts; i++, x += 2 * TILE_BYTES, w += 2 * TILE_BYTES) {
        TILE_LOAD(4, x, 64);
        TILE_PAUSE();
        TILE_LOAD(6, w, 64);
        TILE_PAUSE();
        TILE_LOAD(7, w + TILE_BYTES, 64);
        TILE_PAUSE();
        if (both) TILE_LOAD(5, x + TILE_BYTES, 64);
        TILE_PAUSE();
        TILE_DOT_BF16(0, 4, 6);
        TILE_PAUSE();
        TILE_DOT_BF16(1, 4, 7);
        TILE_PAUSE();
        if (!both) continue;
        TILE_DOT_BF16(2, 5, 6);
        TILE_PAUSE();
        TILE_DOT_BF16(3, 5, 7);
        TILE_PAUSE();
    }
    TILE_STORE(0, y, stride);
    TILE_STORE(1, y + 16, stride);
    if (both) TILE_STORE(2, lower, stride);
    if (both) TILE_STORE(3, lower + 64, stride);
}

/* A chunk of one group by one panel. */
static void multiply_chunk(const struct fkv_panel *p, const char *panel, int first, int group, int k0, float *sums)
{
    const int k = chunk_at(p->k, k0), row = group * GROUP, rows = p->m - row < GROUP ? p->m - row : GROUP,
              n = p->n - first;
    const char *x = (const char *)p->x + group_at(p->m, p->k, group, k0);
    const bool last = k0 + k == p->k, straight = last && rows == GROUP && n >= FKV_PANEL_ROWS;
    float *y = p->y + (size_t)row * p->ldy + first;
    if (straight)
        multiply(true, x, panel, k / 32, k0 > 0, sums, y, p->ldy * sizeof *y);
    else if (rows > 16)
        multiply(true, x, panel, k / 32, k0 > 0, sums, sums, SUMS_STRIDE);
    else
        multiply(false, x, panel, k / 32, k0 > 0, sums, sums, SUMS_STRIDE);
    for (int r = 0; r < rows && last && !straight; r++)
        store_row(y + (size_t)r * p->ldy, n, _mm512_load_ps(sums + r * FKV_PANEL_ROWS),
                  _mm512_load_ps(sums + r * FKV_PANEL_ROWS + 16));
}

/* ---- a call ---------------------------------------------------------------------------------- */

/* What will be wanted in L2, a little after every product, as few lines at a time hold up those of X: of the weights
   AHEAD chunks on, this call's or the next one's, every second line, since the processor fetches its neighbour too. */
struct fetching {
    const char *w;
    size_t stride, bytes; /* of a row's chunk */
    int row, n;
};

static void begin_fetching(struct fetching *f, const struct fkv_panel *p, const struct weight_type *type, int k0)
{
    const int chunk = chunk_of(p->k), chunks = (p->k + chunk - 1) / chunk, next = k0 / chunk + AHEAD;
    f->w = next < chunks ? p->w : p->prefetch;
    f->n = f->w ? p->n : 0;
    if (f->w) f->w += row_bytes(type, next % chunks * chunk);
    f->stride = p->w_stride;
    f->bytes = row_bytes(type, chunk);
    f->row = 0;
}

static void fetch_rows(struct fetching *f, int count)
{
    for (; count > 0 && f->row < f->n; count--, f->row++, f->w += f->stride)
        for (size_t i = 0; i < f->bytes; i += 128) _mm_prefetch(f->w + i, _MM_HINT_T1);
}

/* Chunk after chunk, panel after panel. */
static void run(const struct fkv_panel *p, const struct weight_type *type)
{
    char *panel = p->scratch;
    float *sums = (float *)(panel + PANEL_BYTES);
    const int groups = groups_of(p->m), n_panels = (p->n + FKV_PANEL_ROWS - 1) / FKV_PANEL_ROWS, chunk = chunk_of(p->k);
    TILES_CONFIGURE(&whole_tiles);
    for (int k0 = 0; k0 < p->k; k0 += chunk) {
        struct fetching f;
        begin_fetching(&f, p, type, k0);
        const int rows = (f.n + groups * n_panels - 1) / (groups * n_panels);
        for (int j = 0; j < n_panels; j++) {
            unpack_chunk(p, type, j * FKV_PANEL_ROWS, k0, panel);
            for (int g = 0; g < groups; g++) {
                fetch_rows(&f, rows);
                multiply_chunk(p, panel, j * FKV_PANEL_ROWS, g, k0, sums + (j * groups + g) * SUMS);
            }
        }
    }
    TILES_RELEASE();
}

#define PANEL(type) \
    void fkv_panel_##type##_amx(const struct fkv_panel *p) { run(p, &weights_##type); }
PANEL(q8_0) PANEL(q4_0) PANEL(q4_1) PANEL(q5_0) PANEL(q4_k) PANEL(q5_k) PANEL(q6_k) PANEL(f16) PANEL(bf16)
#define UNPACKED(NAME, name, values, bits, scales, has_offset) PANEL(name)
#include "simd/unpacked.def"
