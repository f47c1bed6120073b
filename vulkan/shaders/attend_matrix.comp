#version 450
#extension GL_GOOGLE_include_directive : require
#define SIDE 16u
#define GROWS subgroupAny(shrink != 1.0) // seldom, after the first tiles
#define CHANNELS(each) each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u) each(_4, 4u) each(_5, 5u) each(_6, 6u) each(_7, 7u)
#include "attend_matrix.glsl"
