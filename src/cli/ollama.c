#define _GNU_SOURCE
#include "cli/ollama.h"

#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH = 4, MANIFEST_BYTES = 1 << 20, TEMPLATE_BYTES = 1 << 16, HEX = 64 };

/* ---- which there are ------------------------------------------------------------------------- */

struct search {
    const char *wanted;      /* with its tag */
    char *manifest;          /* malloc'ed; NULL: not found */
    char there[200];         /* the models that there are, cut to fit */
    const char *part[DEPTH]; /* of the place in manifests: HOST, NAMESPACE, MODEL, TAG */
    bool cut;                /* there are more */
};

static void look_at_manifest(struct search *s, const char *path)
{
    char full[4 * NAME_MAX];
    snprintf(full, sizeof full, "%s/%s/%s:%s", s->part[0], s->part[1], s->part[2], s->part[3]);
    const char *of_host = strchr(full, '/') + 1, *model = strchr(of_host, '/') + 1;
    const bool in_library = strcmp(s->part[1], "library") == 0;
    if (!s->manifest &&
        (!strcmp(s->wanted, full) || !strcmp(s->wanted, of_host) || (in_library && !strcmp(s->wanted, model))))
        s->manifest = strdup(path);
    const size_t n = strlen(s->there), left = sizeof s->there - n;
    if (snprintf(s->there + n, left, "%s%s", n ? ", " : "", in_library ? model : full) >= (int)left) s->cut = true;
}

/* The files DEPTH folders down, in the order of their names. */
static void walk(struct search *s, const char *path, int depth)
{
    struct dirent **entries = NULL;
    if (depth == DEPTH) {
        look_at_manifest(s, path);
        return;
    }
    const int n = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        char *below = NULL;
        if (entries[i]->d_name[0] != '.' && asprintf(&below, "%s/%s", path, entries[i]->d_name) > 0) {
            s->part[depth] = entries[i]->d_name;
            walk(s, below, depth + 1);
            free(below);
        }
        free(entries[i]);
    }
    free(entries);
}

/* Looks for the model in a folder of models. */
static void search_folder(struct search *s, const char *folder)
{
    char *manifests = NULL;
    if (asprintf(&manifests, "%s/manifests", folder) < 0) return;
    walk(s, manifests, 0);
    free(manifests);
}

/* ---- what a manifest says -------------------------------------------------------------------- */

/* The blob of the first layer of a kind: malloc'ed, or NULL. */
static char *blob_of(const json_t *manifest, const char *folder, const char *kind)
{
    static const char prefix[] = "application/vnd.ollama.image.";
    const json_t *layer;
    size_t i;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer)
    {
        const char *type = json_string_value(json_object_get(layer, "mediaType")),
                   *digest = json_string_value(json_object_get(layer, "digest"));
        char *path = NULL;
        if (!type || strncmp(type, prefix, sizeof prefix - 1) != 0) continue;
        const char *found = type + sizeof prefix - 1;
        if (strncmp(found, kind, strlen(kind)) != 0 || !strchr("; ", found[strlen(kind)])) continue;
        if (!digest || strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 7 + HEX ||
            strspn(digest + 7, "0123456789abcdef") != HEX)
            continue;
        return asprintf(&path, "%s/blobs/sha256-%s", folder, digest + 7) > 0 ? path : NULL;
    }
    return NULL;
}

static bool has_layer(const json_t *manifest, const char *folder, const char *kind)
{
    char *path = blob_of(manifest, folder, kind);
    free(path);
    return path != NULL;
}

/* The built-in template with the marks of Ollama's, which is in a language of its own; NULL: none. */
static const char *template_like(const char *path)
{
    static const char *const marks[][2] = {{"<|im_start|>", "chatml"},
                                           {"<|start_header_id|>", "llama3"},
                                           {"<start_of_turn>", "gemma"},
                                           {"[INST]", "mistral"}};
    const char *name = NULL;
    FILE *file = path ? fopen(path, "r") : NULL;
    char *text = calloc(1, TEMPLATE_BYTES + 1);
    if (file && text && fread(text, 1, TEMPLATE_BYTES, file) > 0)
        for (size_t i = 0; !name && i < sizeof marks / sizeof *marks; i++)
            if (strstr(text, marks[i][0])) name = marks[i][1];
    if (file) fclose(file);
    free(text);
    return name;
}

static json_t *read_manifest(const char *path)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode) || st.st_size > MANIFEST_BYTES) return NULL;
    return json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
}

static bool take_manifest(struct settings *s, const char *manifest_path, const char *folder, char **path, char *err)
{
    json_t *manifest = read_manifest(manifest_path);
    char *model = manifest ? blob_of(manifest, folder, "model") : NULL, *text = NULL;
    bool ok = false;
    if (!manifest)
        settings_fail(err, "-m %.100s: %.300s: expected a manifest of Ollama's, found no JSON of up to 1 MiB", s->model,
                      manifest_path);
    else if (has_layer(manifest, folder, "adapter"))
        settings_fail(
            err, "-m %.100s: it is a model and a LoRA adapter, which are not applied: the answers would be the model's",
            s->model);
    else if (!model && has_layer(manifest, folder, "tensor"))
        settings_fail(err, "-m %.100s: its weights are in a file for each tensor; only models in one GGUF file can run",
                      s->model);
    else if (!model)
        settings_fail(err, "-m %.100s: %.300s: expected a layer with a model in a GGUF file, found none", s->model,
                      manifest_path);
    else if (access(model, F_OK))
        settings_fail(err, "-m %.100s: %.300s, which its manifest names, is missing", s->model, model);
    else
        ok = true;
    if (ok) {
        text = blob_of(manifest, folder, "template");
        s->fallback_template = template_like(text);
        *path = model;
    } else {
        free(model);
    }
    free(text);
    json_decref(manifest);
    return ok;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The i-th folder to look at, in buf; false past the last. */
static bool folder_at(int i, char buf[512])
{
    static const char *const usual[] = {"/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models",
                                        "/var/lib/ollama/models", "/var/snap/ollama/common/models"};
    const char *given = getenv("OLLAMA_MODELS"), *home = getenv("HOME");
    if (given && *given) return snprintf(buf, 512, "%s", given) < 512 && i == 0;
    if (i == 0) return snprintf(buf, 512, "%s/.ollama/models", home ? home : "") < 512;
    if (i > (int)(sizeof usual / sizeof *usual)) return false;
    snprintf(buf, 512, "%s", usual[i - 1]);
    return true;
}

bool ollama_find(struct settings *s, char **path, char *err)
{
    static const char scheme[] = "ollama:";
    char wanted[512], folder[512];
    *path = NULL;
    if (!s->model || strncmp(s->model, scheme, sizeof scheme - 1) != 0) return true;
    const char *name = s->model + sizeof scheme - 1, *slash = strrchr(name, '/');
    const bool tagged = strchr(slash ? slash : name, ':') != NULL;
    if ((size_t)snprintf(wanted, sizeof wanted, tagged ? "%s" : "%s:latest", name) >= sizeof wanted || !*name)
        return settings_fail(err, "-m: expected ollama:NAME or ollama:NAME:TAG, found %.100s", s->model);
    struct search search = {.wanted = wanted};
    for (int i = 0; !search.manifest && folder_at(i, folder); i++) search_folder(&search, folder);
    if (!search.manifest && !*search.there) {
        const char *given = getenv("OLLAMA_MODELS");
        return settings_fail(err, "-m %.100s: there are no models of Ollama's in %.200s", s->model,
                             given && *given ? given : "the usual folders; OLLAMA_MODELS can name another");
    }
    if (!search.manifest)
        return settings_fail(err, "-m %.100s: Ollama has no such model here; it has %s%s", s->model, search.there,
                             search.cut ? "..." : "");
    const bool ok = take_manifest(s, search.manifest, folder, path, err);
    if (ok && !s->alias) s->alias = name;
    if (ok) s->model = *path;
    free(search.manifest);
    return ok;
}
