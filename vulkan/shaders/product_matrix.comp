#version 450
#extension GL_GOOGLE_include_directive : require
#define SIDE 16u
#include "product_matrix.glsl"
