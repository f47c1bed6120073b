/* The GGUF reader over any bytes: a status, or a file all of which can be read. */
#include <stdlib.h>

#include "support/gguf_visit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fkv_gguf *g;
    struct fkv_error e = {""};
    if (fkv_gguf_open_memory(&g, data, bytes, &e) != FKV_OK) {
        if (e.text[0] == '\0') abort(); /* every failure says why */
        return 0;
    }
    gguf_visit(g);
    fkv_gguf_close(g);
    return 0;
}
