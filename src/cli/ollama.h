/* ollama.h: models that Ollama keeps on this machine, by their names there. Its program is not asked, and need not run.

   A folder of models holds manifests/HOST/NAMESPACE/MODEL/TAG, JSON whose layers name the blobs of a model, and
   blobs/sha256-<hex>, of which the layer of the model itself is a GGUF file. */
#ifndef FKV_CLI_OLLAMA_H
#define FKV_CLI_OLLAMA_H

#include "cli/settings.h"

/* Where -m says "ollama:NAME[:TAG]" (TAG: latest; NAME may be NAMESPACE/MODEL or HOST/NAMESPACE/MODEL), puts the blob
   in its place, the name where answers are to call the model so, and as fallback_template the built-in template whose
   marks Ollama's own has. The folders: that of OLLAMA_MODELS, or those of its usual installations.
   *path: malloc'ed, what s->model is then; NULL: nothing was to be done. err: FKV_ERROR_BYTES; why not, when false. */
bool ollama_find(struct settings *s, char **path, char *err);

#endif
