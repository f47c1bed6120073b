/* RULER's niah_single_1. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_single_1, "a number among short sentences that repeat", .hay = EVAL_HAY_NOISE, .keys = 1,
                  .values = 1, .asked = 1);
