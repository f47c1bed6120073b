/* RULER's niah_multiquery. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_multiquery, "the numbers of four keys in licence texts", .hay = EVAL_HAY_TEXT, .keys = 4,
                  .values = 1, .asked = 4);
