/* RULER's niah_single_2. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_single_2, "a number in licence texts", .hay = EVAL_HAY_TEXT, .keys = 1, .values = 1, .asked = 1);
