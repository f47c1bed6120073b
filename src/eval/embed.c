/* A tool of the build: text files as C, rows {"name", "text"} for an array. embed FILE... */
#include <stdio.h>
#include <string.h>

static void print_char(int c)
{
    if (c == '\n')
        fputs("\\n\"\n\"", stdout);
    else if (c == '"' || c == '\\')
        printf("\\%c", c);
    else if (c < ' ' || c > '~')
        printf("\\%03o", (unsigned)c);
    else
        putchar(c);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/');
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        printf("{\"%s\", \"", slash ? slash + 1 : argv[i]);
        for (int c; (c = getc(f)) != EOF;) print_char(c);
        puts("\"},");
        fclose(f);
    }
    return 0;
}
