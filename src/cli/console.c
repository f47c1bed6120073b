#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/warnings.h"
#include "cli/console.h"

static void print_line(const char *before, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    fkv_make_plain(text); /* names in files and paths may hold anything */
    fflush(stdout);
    fprintf(stderr, "%s%s\n", before, text);
}

int console_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("fastkv: error: ", format, args);
    va_end(args);
    return EXIT_FAILURE;
}

void console_warning(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_line("warning ", format, args);
    va_end(args);
}

const char *console_count(char text[32], uint64_t n)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, n), out = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) text[out++] = ',';
        text[out++] = digits[i];
    }
    text[out] = '\0';
    return text;
}

const char *console_size(char text[32], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
    double x = (double)bytes / 1024;
    int unit = 0;
    while (x >= 1023.95 && unit < 4) x /= 1024, unit++;
    snprintf(text, 32, "%.1f %s", x, units[unit]);
    return text;
}

static char *read_stream(FILE *f, size_t *n)
{
    size_t capacity = 1 << 16, used = 0;
    char *text = malloc(capacity);
    while (text) {
        used += fread(text + used, 1, capacity - used - 1, f);
        if (used + 1 < capacity) break;
        char *more = realloc(text, capacity *= 2);
        if (!more) free(text);
        text = more;
    }
    if (text)
        text[used] = '\0';
    else
        errno = ENOMEM;
    *n = used;
    return text;
}

bool console_read_file(const char *path, char **text, size_t *n)
{
    bool standard_input = !strcmp(path, "-");
    errno = 0;
    FILE *f = standard_input ? stdin : fopen(path, "rb");
    char *read = f ? read_stream(f, n) : NULL;
    bool ok = read && !ferror(f);
    if (!ok) console_error("%.300s: cannot be read: %s", path, strerror(errno ? errno : EIO));
    if (f && !standard_input) fclose(f);
    if (ok)
        *text = read;
    else
        free(read);
    return ok;
}

bool console_open(FILE **file, const char *path)
{
    *file = path ? fopen(path, "w") : NULL;
    if (path && !*file) console_error("%.300s: cannot be written: %s", path, strerror(errno));
    return !path || *file;
}

bool console_close(FILE *file, const char *path)
{
    if (!file) return true;
    bool failed = ferror(file);
    failed |= fclose(file) != 0;
    if (failed) console_error("%.300s: cannot be written", path);
    return !failed;
}
