/* RULER's niah_multikey_2. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_multikey_2, "a number among nothing but others", .hay = EVAL_HAY_NEEDLES, .keys = 1, .values = 1,
                  .asked = 1);
