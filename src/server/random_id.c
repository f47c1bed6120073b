#include "server/random_id.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

void random_id(char id[48], const char *prefix)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[24];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) memset(bytes, 0, sizeof bytes);
    int n = snprintf(id, 48, "%.15s", prefix);
    for (size_t i = 0; i < sizeof bytes; i++) id[n++] = letters[bytes[i] % 62];
    id[n] = '\0';
}
