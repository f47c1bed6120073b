#include "tokenizer/utf8.h"

size_t fkv_utf8_get(const char *text, size_t n, uint32_t *code)
{
    const uint8_t *s = (const uint8_t *)text;
    const size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf8 ? 4 : 0;
    if (len == 1) {
        *code = s[0];
        return 1;
    }
    if (len == 0 || len > n) return 0;
    uint32_t c = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c > 0x10ffff) return 0;
    *code = c;
    return len;
}

size_t fkv_utf8_put(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    const size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00u >> len & 0xff) | code);
    return len;
}

size_t fkv_utf8_repair(const char *text, size_t n, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < n;) {
        uint32_t code = FKV_UTF8_REPLACEMENT;
        const size_t len = fkv_utf8_get(text + i, n - i, &code);
        written += fkv_utf8_put(code, out + written);
        i += len ? len : 1;
    }
    return written;
}
