/* Files that people have where a GGUF file is wanted, by their first bytes. */
#include <string.h>

#include "gguf/gguf_internal.h"

static const struct magic {
    const char *bytes;
    size_t n;
    const char *what;
} magics[] = {
#define MAGIC(bytes, what)             \
    {                                  \
        bytes, sizeof(bytes) - 1, what \
    }
    MAGIC("lmgg", "a GGML file of early 2023, before GGUF: newer files of the same model are GGUF"),
    MAGIC("fmgg", "a GGML file of 2023, before GGUF: newer files of the same model are GGUF"),
    MAGIC("tjgg", "a GGML file of 2023, before GGUF: newer files of the same model are GGUF"),
    MAGIC("algg", "a LoRA adapter of 2023, before GGUF"),
    MAGIC("PK\3\4", "a ZIP archive, as PyTorch's .bin, .pt and .pth files are"),
    MAGIC("\x80\2", "a Python pickle, as older .bin, .pt and .pth files of PyTorch are"),
    MAGIC("version https://git-lfs", "Git LFS's pointer to a file: the file itself was not fetched"),
    MAGIC("MZqFpD", "a llamafile, a program with a model inside"),
    MAGIC("\x7f"
          "ELF",
          "a program"),
    MAGIC("\x89HDF", "an HDF5 file, as Keras writes"),
    MAGIC("\x1f\x8b", "a file compressed by gzip"),
    MAGIC("\x28\xb5\x2f\xfd", "a file compressed by zstd"),
    MAGIC("\xfd"
          "7zXZ",
          "a file compressed by xz"),
    MAGIC("7z\xbc\xaf", "a 7z archive"),
    MAGIC("<!DOCTYPE", "a web page: the download went wrong"),
    MAGIC("<!doctype", "a web page: the download went wrong"),
    MAGIC("<html", "a web page: the download went wrong"),
    MAGIC("{", "JSON"),
    MAGIC("\0\0\0\0\0\0\0\0", "one that begins with zeros, as downloads do that were not finished"),
#undef MAGIC
};

/* A header's length, less than the file's, and the header, which is JSON. */
static bool is_safetensors(const uint8_t *data, size_t n)
{
    uint64_t header;
    if (n < sizeof header + 2) return false;
    memcpy(&header, data, sizeof header);
    return header > 0 && header <= n - sizeof header && memcmp(data + sizeof header, "{\"", 2) == 0;
}

const char *fkv_gguf_stranger(const uint8_t *data, size_t n)
{
    if (is_safetensors(data, n)) return "a safetensors file: the model has to be had as GGUF, or made into it";
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (n >= magics[i].n && memcmp(data, magics[i].bytes, magics[i].n) == 0) return magics[i].what;
    return NULL;
}
