// What the variants of `product` that multiply halves share: x and w come as rows of ldx halves (halve.comp), zeros past k, in steps of 64; the next step
// waits in registers. Theirs are the tile, where a step lies (TILE, INVOCATIONS, LD, place()), and what is summed: NO_SUMS, MULTIPLY a step, FINISH.
const uint SHARE = TILE * EIGHTS / INVOCATIONS;                         // of the eights of a step, an invocation's
shared uvec4 sx[TILE * LD], sw[TILE * LD];                              // [row][k]

void main()
{
    const uint tiles_m = (p.m + TILE - 1u) / TILE, row0 = GROUP % tiles_m * TILE, col0 = GROUP / tiles_m * TILE, ld = p.ldx / 8u;
    uvec4 next_x[SHARE], next_w[SHARE];
    NO_SUMS
    for (uint k = 0u; k <= ld; k += EIGHTS) { // the step at k is fetched while the one before is used
        if (k > 0u) {
            barrier();
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS, to = place(e / EIGHTS, e % EIGHTS);
                sx[to] = next_x[i];
                sw[to] = next_w[i];
            }
            barrier();
        }
        if (k < ld)
            [[unroll]] for (uint i = 0u; i < SHARE; i++) {
                const uint e = LANE + i * INVOCATIONS;
                next_x[i] = x[p.at[1] / 4u + min(row0 + e / EIGHTS, p.m - 1u) * ld + k + e % EIGHTS];
                next_w[i] = w[p.at[0] / 4u + min(col0 + e / EIGHTS, p.n - 1u) * ld + k + e % EIGHTS];
            }
        if (k == 0u) continue;
        MULTIPLY
    }
    FINISH
}
