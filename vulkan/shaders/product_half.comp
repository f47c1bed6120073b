#version 450
// The tiles of product.comp, of halves.
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "common.glsl"
layout(local_size_x = 256) in;
#include "product.glsl"
#include "eights.glsl"
const uint TILE = 64u, INVOCATIONS = 256u, LD = EIGHTS;
// Where an eight of a row lies: eight rows' fall on different banks.
uint place(uint row, uint eight) { return row * LD + (eight ^ row % LD); }
vec4 floats(uvec2 q) { return vec4(unpackFloat2x16(q.x), unpackFloat2x16(q.y)); }
#define NO_SUMS                                                                                                                                \
    const uint tx = LANE % 16u, ty = LANE / 16u;                                                                                               \
    vec4 sum[4];                                                                                                                               \
    [[unroll]] for (uint i = 0u; i < 4u; i++) sum[i] = vec4(0.0);
#define MULTIPLY                                                                                                                               \
    [[dont_unroll]] for (uint kk = 0u; kk < EIGHTS; kk++) {                                                                                    \
        vec4 lo[4], hi[4];                                                                                                                     \
        [[unroll]] for (uint j = 0u; j < 4u; j++) {                                                                                            \
            const uvec4 b = sw[place(tx + 16u * j, kk)];                                                                                       \
            lo[j] = floats(b.xy);                                                                                                              \
            hi[j] = floats(b.zw);                                                                                                              \
        }                                                                                                                                      \
        [[unroll]] for (uint i = 0u; i < 4u; i++) {                                                                                            \
            const uvec4 q = sx[place(ty * 4u + i, kk)];                                                                                        \
            const vec4 a = floats(q.xy), b = floats(q.zw);                                                                                     \
            sum[i] += vec4(dot(a, lo[0]), dot(a, lo[1]), dot(a, lo[2]), dot(a, lo[3]));                                                        \
            sum[i] += vec4(dot(b, hi[0]), dot(b, hi[1]), dot(b, hi[2]), dot(b, hi[3]));                                                        \
        }                                                                                                                                      \
    }
#define FINISH                                                                                                                                 \
    [[unroll]] for (uint i = 0u; i < 4u; i++)                                                                                                  \
        [[unroll]] for (uint j = 0u; j < 4u; j++) finish(row0 + ty * 4u + i, col0 + tx + 16u * j, sum[i][j]);
#include "product_halves.glsl"
