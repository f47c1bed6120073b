/* What the public calls have in common: parameters of any size, and messages. */
#include <string.h>

#include "engine/engine.h"

fkv_status fkv_take_params(void *to, size_t to_size, const void *from, const char *what, struct fkv_error *e)
{
    size_t size;
    if (!from) return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected a structure, found NULL", what);
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size % sizeof size) /* no version ends within a pointer */
        return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected their size, a multiple of %zu up to %zu, first; found %zu",
                        what, sizeof size, to_size, size);
    for (size_t i = to_size; i < size; i++)
        if (((const unsigned char *)from)[i] != 0)
            return fkv_fail(e, FKV_ERROR_ARGUMENT, "%s: expected size %zu at most, or zeros behind, found %zu", what,
                            to_size, size);
    memcpy(to, from, size < to_size ? size : to_size);
    memcpy(to, &to_size, sizeof to_size);
    return FKV_OK;
}

fkv_status fkv_tell(char *err, const struct fkv_error *e, fkv_status status)
{
    if (status != FKV_OK && err) memcpy(err, e->text, sizeof e->text);
    return status;
}
