/* RULER's niah_single_3. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_single_3, "a UUID in licence texts", .hay = EVAL_HAY_TEXT, .uuid_values = true, .keys = 1,
                  .values = 1, .asked = 1);
