#version 450
#extension GL_GOOGLE_include_directive : require
#define SIDE 8u
#include "product_matrix.glsl"
