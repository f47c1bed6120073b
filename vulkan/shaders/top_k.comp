#version 450
// Exact top-k of rows, in six dispatches over slices of 2048 values, by integers only: the same indices on every device. Keys order like the
// floats, with -0 as +0 and a NaN below all; the first `sinks` values are above all.
//   passes 0 to 3: histogram of 8 bits, from the top, of the keys that agree with the digits found so far
//   pass 4: how many keys of each slice are above the k-th largest, and how many equal it
//   pass 5: the indices, ascending: all keys above, and of the equal ones the first; behind them those of the window, which follow the values
// work, words: histogram[4][rows][256], zeroed before; state[5][rows][2]: digits so far and rank among the keys that agree; count[rows][slices][2]
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
layout(local_size_x = 256) in;
PUSH(uint pass; uint rows; uint n; uint k; uint sinks; uint slices; uint window; uint ld;)
layout(std430, set = 0, binding = 0) readonly buffer X { uint x[]; };
layout(std430, set = 0, binding = 1) buffer Work { uint work[]; };
layout(std430, set = 0, binding = 2) writeonly buffer Out { uint indices[]; };

const uint SLICE = 2048u;
shared uint digits[256], scan[2][256], s_found, s_want;

uint key(uint row, uint i)
{
    if (i < p.sinks) return 0xffffffffu;
    uint bits = x[p.at[0] + row * p.n + i];
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0u;
    if (bits == 0x80000000u) bits = 0u;
    return (bits & 0x80000000u) != 0u ? ~bits : bits | 0x80000000u;
}

uint histogram_at(uint pass, uint row) { return p.at[1] + (pass * p.rows + row) * 256u; }
uint state_at(uint pass, uint row) { return p.at[1] + 4u * p.rows * 256u + (pass * p.rows + row) * 2u; }
uint count_at(uint row, uint slice) { return p.at[1] + 4u * p.rows * 256u + 10u * p.rows + (row * p.slices + slice) * 2u; }

// s_found and s_want before this pass: one digit more than before the last, by walking its histogram down from the top.
void next_state(uint row, uint slice)
{
    if (p.pass > 0u && p.pass < 5u) digits[LANE] = work[histogram_at(p.pass - 1u, row) + LANE];
    barrier();
    if (LANE == 0u) {
        uint found = 0u, want = p.k;
        if (p.pass == 5u) {
            found = work[state_at(4u, row)];
            want = work[state_at(4u, row) + 1u];
        } else if (p.pass > 0u) {
            found = work[state_at(p.pass - 1u, row)];
            want = work[state_at(p.pass - 1u, row) + 1u];
            uint d = 255u;
            for (; d > 0u && digits[d] < want; d--) want -= digits[d];
            found |= d << 8u * (4u - p.pass);
        }
        if (slice == 0u && p.pass < 5u) {
            work[state_at(p.pass, row)] = found;
            work[state_at(p.pass, row) + 1u] = want;
        }
        s_found = found;
        s_want = want;
    }
    barrier();
}

// Sum of one number of each invocation, the same for all.
uint sum_of(uint mine)
{
    scan[0][LANE] = mine;
    barrier();
    for (uint s = 128u; s > 0u; s >>= 1) {
        if (LANE < s) scan[0][LANE] += scan[0][LANE + s];
        barrier();
    }
    const uint sum = scan[0][0];
    barrier();
    return sum;
}

void histogram(uint row, uint first, uint end)
{
    const uint shift = 24u - 8u * p.pass, known = p.pass == 0u ? 0u : ~0u << shift + 8u;
    digits[LANE] = 0u;
    barrier();
    for (uint i = first + LANE; i < end; i += 256u) {
        const uint v = key(row, i);
        if ((v & known) == s_found) atomicAdd(digits[v >> shift & 255u], 1u);
    }
    barrier();
    if (digits[LANE] > 0u) atomicAdd(work[histogram_at(p.pass, row) + LANE], digits[LANE]);
}

void count(uint row, uint slice, uint first, uint end)
{
    uint above = 0u, equal = 0u;
    for (uint i = first + LANE; i < end; i += 256u) {
        const uint v = key(row, i);
        above += v > s_found ? 1u : 0u;
        equal += v == s_found ? 1u : 0u;
    }
    above = sum_of(above);
    equal = sum_of(equal);
    if (LANE == 0u) {
        work[count_at(row, slice)] = above;
        work[count_at(row, slice) + 1u] = equal;
    }
}

void write(uint row, uint slice, uint first, uint end)
{
    uint above = 0u, equal = 0u; // in the slices before this one, then also in the steps before
    for (uint s = LANE; s < slice; s += 256u) {
        above += work[count_at(row, s)];
        equal += work[count_at(row, s) + 1u];
    }
    above = sum_of(above);
    equal = sum_of(equal);
    for (uint i0 = first; i0 < end; i0 += 256u) {
        const uint i = i0 + LANE, v = i < end ? key(row, i) : 0u;
        const bool is_above = i < end && v > s_found, is_equal = i < end && v == s_found;
        const uint mine = (is_above ? 1u : 0u) | (is_equal ? 0x10000u : 0u); // two counters in a word
        uint from = 0u;
        scan[0][LANE] = mine;
        barrier();
        for (uint s = 1u; s < 256u; s <<= 1) {
            scan[1u - from][LANE] = scan[from][LANE] + (LANE >= s ? scan[from][LANE - s] : 0u);
            from = 1u - from;
            barrier();
        }
        const uint before = scan[from][LANE] - mine, all = scan[from][255], a = above + (before & 0xffffu), e = equal + (before >> 16);
        if (is_above || (is_equal && e < s_want)) indices[p.at[2] + row * p.ld + a + min(e, s_want)] = i;
        above += all & 0xffffu;
        equal += all >> 16;
        barrier();
    }
}

void main()
{
    const uint row = GROUP / p.slices, slice = GROUP % p.slices, first = slice * SLICE, end = min(first + SLICE, p.n);
    next_state(row, slice);
    if (p.pass < 4u) histogram(row, first, end);
    else if (p.pass == 4u) count(row, slice, first, end);
    else write(row, slice, first, end);
    if (p.pass == 5u && slice == 0u && LANE < p.window) indices[p.at[2] + row * p.ld + p.k + LANE] = p.n + LANE;
}
