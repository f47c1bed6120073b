// What the variants of `matvec` share: y[n] = w[n][k] x + bias, or what else finish.glsl says, of a row x, which may be normalised on the way:
// x / sqrt(mean(x^2) + eps) * norm. A group makes 4 rows.
PUSH(uint n; uint k; uint stride; uint has_bias; uint how; uint has_norm; float eps;)
#include "weights.glsl"
layout(std430, set = 0, binding = 1) readonly buffer X { vec4 x[]; };
layout(std430, set = 0, binding = 2) readonly buffer Bias { float bias[]; };
layout(std430, set = 0, binding = 3) buffer Y { float y[]; };
layout(std430, set = 0, binding = 4) readonly buffer Norm { vec4 norm[]; };
#include "finish.glsl"

void finish(uint row, float v)
{
    if (row >= p.n) return;
    const uint to = p.at[3] + row;
    if (p.has_bias != 0u) v += bias[p.at[2] + row];
    y[to] = p.how == SET ? v : finished(v, y[to]);
}

// Adds the squares of x[k .. k + 7] to `squares`; what x is to be multiplied by.
Vector x_eight(uint k, inout float squares)
{
    const uint i = (p.at[1] + k) / 4u, j = (p.at[4] + k) / 4u;
    vec4 lo = x[i], hi = x[i + 1u];
    if (p.has_norm != 0u) {
        squares += dot(lo, lo) + dot(hi, hi);
        lo *= norm[j];
        hi *= norm[j + 1u];
    }
    return Vector(lo, hi, dot(lo + hi, vec4(1.0)));
}

float factor(float squares) { return p.has_norm != 0u ? 1.0 / sqrt(squares / float(p.k) + p.eps) : 1.0; }
