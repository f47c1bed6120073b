#include "simd/level.h"
