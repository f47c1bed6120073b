#version 450
#extension GL_GOOGLE_include_directive : require
#define SIDE 8u
#define GROWS true // a branch that is not taken must not load a matrix: lavapipe of Mesa 26 then gives wrong sums
#define CHANNELS(each)                                                                                                                         \
    each(_0, 0u) each(_1, 1u) each(_2, 2u) each(_3, 3u) each(_4, 4u) each(_5, 5u) each(_6, 6u) each(_7, 7u) each(_8, 8u) each(_9, 9u)          \
    each(_10, 10u) each(_11, 11u) each(_12, 12u) each(_13, 13u) each(_14, 14u) each(_15, 15u)
#include "attend_matrix.glsl"
