/* RULER's niah_multivalue. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_multivalue, "all four numbers of one key in licence texts", .hay = EVAL_HAY_TEXT, .keys = 1,
                  .values = 4, .asked = 1);
