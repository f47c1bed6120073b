/* A processor family that has no levels of its own yet: plain C. */
#include "simd/level.h"

bool fkv_has_reference(void) { return true; }
