/* A saved session with bytes changed and checksums mended: imported, or a message; the session stays usable. The input:
   which of two sessions, how much of it, and places with their new bytes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "engine/session_form.h"
#include "support/tiny_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum { PROMPT = 150, KINDS = 2 };

static fkv_session *session;
static uint8_t *saved[KINDS];
static size_t saved_bytes[KINDS];

static void need(bool ok)
{
    if (!ok) abort();
}

static void set_up(void)
{
    static const char *const policies[KINDS] = {"full", "fastkv"};
    struct tiny_model m = TINY_MODEL_INIT;
    struct fkv_engine_params p = FKV_ENGINE_PARAMS_INIT;
    int32_t ids[PROMPT];
    char path[64];
    fkv_engine *e;
    m.n_layer = 2;
    p.n_threads = 1;
    tiny_model_write(&m, path);
    need(fkv_engine_open(&e, path, &p, NULL) == FKV_OK);
    unlink(path);
    tiny_model_prompt(1, ids, PROMPT);
    for (int i = 0; i < KINDS; i++) {
        struct fkv_session_params params = FKV_SESSION_PARAMS_INIT;
        void *made;
        params.kv.policy = policies[i];
        params.kv.kv_floor = params.kv.tsp_floor = 0;
        fkv_session_close(session);
        need(fkv_session_open(&session, e, &params, NULL) == FKV_OK);
        need(fkv_session_sync(session, ids, PROMPT) == FKV_OK);
        need(fkv_session_export(session, &made, &saved_bytes[i]) == FKV_OK);
        saved[i] = made;
    }
}

/* Makes the sums right, so that what is behind them is reached. */
static void mend(uint8_t *file, size_t n)
{
    struct fkv_form_head head;
    struct fkv_form_section section[FKV_FORM_SECTIONS];
    if (n < sizeof head + sizeof section + sizeof(uint64_t)) return;
    memcpy(&head, file, sizeof head);
    memcpy(section, file + sizeof head, sizeof section);
    for (int i = 0; i < FKV_FORM_SECTIONS; i++)
        if (section[i].at <= n && section[i].bytes <= n - section[i].at)
            section[i].sum = fkv_checksum64(file + section[i].at, (size_t)section[i].bytes);
    if (section[0].at <= n && section[0].bytes <= n - section[0].at)
        fkv_checksum128(file + section[0].at, (size_t)section[0].bytes, head.tag);
    const size_t ids = (size_t)head.end * sizeof(int32_t);
    if (section[1].at <= n && ids <= n - section[1].at) {
        uint8_t *all = malloc(sizeof head.tag + ids);
        need(all);
        memcpy(all, head.tag, sizeof head.tag);
        memcpy(all + sizeof head.tag, file + section[1].at, ids);
        fkv_checksum128(all, sizeof head.tag + ids, head.key);
        free(all);
    }
    head.bytes = n;
    head.sum = fkv_checksum64(&head, offsetof(struct fkv_form_head, sum));
    const uint64_t sum = fkv_checksum64(section, sizeof section);
    memcpy(file, &head, sizeof head);
    memcpy(file + sizeof head, section, sizeof section);
    memcpy(file + sizeof head + sizeof section, &sum, sizeof sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!session) set_up();
    if (bytes < 4) return 0;
    const int kind = data[0] % KINDS;
    size_t n = saved_bytes[kind], less = (size_t)data[1] << 8 | data[2];
    uint8_t *file = malloc(n);
    need(file);
    memcpy(file, saved[kind], n);
    if (data[0] & 2) n -= less < n ? less : n;
    for (size_t i = 4; i + 4 <= bytes && n; i += 4) {
        const size_t at = (size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2];
        file[at % n] = data[i + 3];
    }
    if (!(data[0] & 4)) mend(file, n);
    if (fkv_session_import(session, file, n) != FKV_OK)
        need(*fkv_session_error(session) && fkv_session_n_seen(session) == 0);
    free(file);
    return 0;
}
