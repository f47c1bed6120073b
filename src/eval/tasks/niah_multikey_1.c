/* RULER's niah_multikey_1. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_multikey_1, "one of four numbers in licence texts", .hay = EVAL_HAY_TEXT, .keys = 4, .values = 1,
                  .asked = 1);
