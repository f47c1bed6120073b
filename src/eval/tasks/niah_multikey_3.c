/* RULER's niah_multikey_3. */
#include "eval/needles.h"

EVAL_NEEDLES_TASK(niah_multikey_3, "a UUID by a UUID among nothing but others", .hay = EVAL_HAY_NEEDLES,
                  .uuid_keys = true, .uuid_values = true, .keys = 1, .values = 1, .asked = 1);
