/* Files that hold no model which could run here: what each is, in a line. */
#include <stdio.h>
#include <string.h>

#include "model/model.h"

static const char draft[] = "a draft head, which speeds up another model and says nothing alone",
                  vectors[] = "an embedding model, which makes vectors and no text",
                  diffusion[] = "a diffusion model, which fills in all of a text at once",
                  state_space[] = "a model with state space layers (Mamba), which are not there yet",
                  delta[] = "a hybrid of attention and recurrent layers (gated DeltaNet), which are not there yet",
                  rwkv[] = "a recurrent model (RWKV) without attention",
                  conv[] = "a hybrid of attention and short convolutions, which are not there yet",
                  latent[] = "a model with latent attention (MLA), which is not there yet", speech[] = "a speech model",
                  encoder[] = "a model with an encoder",
                  image[] = "the image half of a model (mmproj): the text half is another file";

/* By general.architecture; "*" stands for the end of a name. */
static const struct {
    const char *arch, *what;
} kinds[] = {
    {"clip", image},
    {"eagle*", draft},
    {"dflash*", draft},
    {"mtp*", draft},
    {"gemma4-assistant", draft},
    {"bert", vectors},
    {"modern-bert", vectors},
    {"nomic-bert*", vectors},
    {"neo-bert", vectors},
    {"jina-bert*", vectors},
    {"eurobert", vectors},
    {"gemma-embedding", vectors},
    {"llama-embed", vectors},
    {"t5encoder", vectors},
    {"t5", encoder},
    {"dream", diffusion},
    {"llada*", diffusion},
    {"rnd1", diffusion},
    {"diffusion-gemma", diffusion},
    {"mamba*", state_space},
    {"jamba", state_space},
    {"falcon-h1", state_space},
    {"falcon_h1", state_space},
    {"nemotron_h*", state_space},
    {"granitehybrid", state_space},
    {"plamo2", state_space},
    {"qwen35*", delta},
    {"qwen3next", delta},
    {"kimi-linear", delta},
    {"lfm2*", conv},
    {"rwkv*", rwkv},
    {"arwkv7", rwkv},
    {"deepseek2*", latent},
    {"deepseek32", latent},
    {"minicpm3", latent},
    {"glm-dsa", latent},
    {"plm", latent},
    {"whisper", speech},
    {"wavtokenizer*", speech},
    {"imatrix", "an importance matrix, which is for quantising a model"},
};

/* By keys below the architecture's name. */
static const struct {
    const char *key, *what;
} traits[] = {
    {"attention.kv_lora_rank", latent},
    {"ssm.state_size", "a model with recurrent layers, which are not there yet"},
    {"shortconv.l_cache", conv},
    {"wkv.head_size", rwkv},
};

static bool matches(struct fkv_str arch, const char *pattern)
{
    const size_t n = strlen(pattern);
    if (pattern[n - 1] != '*') return fkv_str_is(arch, pattern);
    return arch.n >= n - 1 && memcmp(arch.data, pattern, n - 1) == 0;
}

static const char *text_key(const struct fkv_gguf *g, const char *key, char text[16])
{
    struct fkv_str found = {"", 0};
    (void)fkv_gguf_str(g, key, &found, NULL);
    snprintf(text, 16, "%.*s", (int)(found.n < 15 ? found.n : 15), found.data);
    return text;
}

/* By what the file says it is. */
static const char *kind_of_file(const struct fkv_gguf *g)
{
    char type[16];
    text_key(g, "general.type", type);
    if (!strcmp(type, "adapter") || fkv_gguf_has(g, "adapter.type"))
        return "a LoRA adapter, which changes another model; adapters are not applied";
    if (!strcmp(type, "mmproj") || !strcmp(type, "projector")) return image;
    if (!strcmp(type, "imatrix")) return "an importance matrix, which is for quantising a model";
    if (!strcmp(type, "vocab")) return "a vocabulary without a model";
    return NULL;
}

/* What a decoder's file has that makes it another thing. */
static const char *kind_of_decoder(const struct fkv_gguf *g, struct fkv_str arch)
{
    enum { RANK = 4 };
    char key[96];
    uint32_t pooling = 0;
    snprintf(key, sizeof key, "%.*s.pooling_type", (int)(arch.n < 48 ? arch.n : 48), arch.data);
    if (fkv_gguf_u32(g, key, &pooling, NULL) == FKV_OK && pooling == RANK)
        return "a reranking model, which gives a text a number";
    if (pooling > 0) return vectors;
    if (fkv_gguf_find_tensor(g, "cls.output.weight")) return "a classifier, which gives a text numbers";
    if (fkv_gguf_find_tensor(g, "token_embd.weight")) return NULL;
    for (size_t i = 0; i < fkv_gguf_n_tensors(g); i++) {
        const char *name = fkv_gguf_tensor(g, i)->name;
        if (strstr(name, ".nextn.") || strncmp(name, "mtp.", 4) == 0 || strcmp(name, "fc.weight") == 0) return draft;
    }
    return NULL;
}

static const char *kind_of_arch(const struct fkv_gguf *g, struct fkv_str arch)
{
    char key[96];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (matches(arch, kinds[i].arch)) return kinds[i].what;
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++) {
        snprintf(key, sizeof key, "%.*s.%s", (int)(arch.n < 48 ? arch.n : 48), arch.data, traits[i].key);
        if (fkv_gguf_has(g, key)) return traits[i].what;
    }
    return NULL;
}

fkv_status fkv_model_refuse(const struct fkv_gguf *g, struct fkv_error *e)
{
    struct fkv_str arch = {"", 0};
    (void)fkv_gguf_str(g, "general.architecture", &arch, NULL);
    const char *what = kind_of_file(g);
    if (!what) what = kind_of_decoder(g, arch);
    if (!what && !fkv_model_has_arch(arch)) what = kind_of_arch(g, arch);
    if (!what) return FKV_OK;
    return fkv_fail(e, FKV_ERROR_UNSUPPORTED, "general.architecture %.*s: the file is %s",
                    (int)(arch.n < 64 ? arch.n : 64), arch.n ? arch.data : "", what);
}
