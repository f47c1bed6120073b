// What the variants of `product` share: y[m][n] = x[m][k] w[n][k]^T + bias, or what else finish.glsl says, in tiles of which a group makes one, over
// steps along k that lie in shared memory.
PUSH(uint m; uint n; uint k; uint ldx; uint ldy; uint stride; uint has_bias; uint how;)
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };
#include "finish.glsl"

void finish(uint row, uint col, float v)
{
    if (row >= p.m || col >= p.n) return;
    const uint to = p.at[3] + row * p.ldy + col;
    if (p.has_bias != 0u) v += bias[p.at[2] + col];
    y[to] = p.how == SET ? v : finished(v, y[to]);
}
