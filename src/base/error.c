#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

fkv_status fkv_fail(struct fkv_error *e, fkv_status status, const char *format, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, format);
        vsnprintf(e->text, sizeof e->text, format, ap);
        va_end(ap);
    }
    return status;
}

const char *fkv_status_text(fkv_status status)
{
    switch (status) {
    case FKV_OK: return "ok";
    case FKV_ERROR_ARGUMENT: return "invalid argument";
    case FKV_ERROR_IO: return "input or output failed";
    case FKV_ERROR_FORMAT: return "malformed input";
    case FKV_ERROR_UNSUPPORTED: return "not supported";
    case FKV_ERROR_MEMORY: return "out of memory";
    case FKV_ERROR_CONTEXT: return "context exceeded";
    case FKV_ERROR_NUMBER: return "not a number";
    case FKV_ERROR_CANCELLED: return "cancelled";
    case FKV_ERROR_DEVICE: return "the device failed";
    }
    return "unknown status";
}
