/* Options of llama.cpp that this program has not, and what serves instead: the hands of its users know them. A name
   that ends with * stands for all that begin so. */
#include "cli/options.h"

const struct other_option cli_other_options[] = {
    {"-b, --batch-size, -ub, --ubatch-size", "the prompt is computed in blocks that fit the caches"},
    {"--usage", "--help shows it"},
    {"--license", "the file LICENSE lies beside the source"},
    {"-cl, --cache-list", "models are files, named with -m"},
    {"-tb, --threads-batch, -tbd, --threads-batch-draft, -td, --threads-draft", "-t is for prompt and answer"},
    {"-fa, --flash-attn", "attention never stores its scores"},
    {"--attention, --memory-f32", "attention is as the model has it; -ctk and -ctv are the types of its cache"},
    {"-C, --cpu-mask*, -Cr, --cpu-range*, -Cb, -Crb, -Cd, -Crd, -Cbd, -Crbd, --cpu-strict*",
     "taskset -c LIST fastkv ... binds it to CPUs"},
    {"--prio*, --poll*", "nice -n N fastkv ... sets its priority"},
    {"--numa", "numactl --interleave=all fastkv ... spreads memory"},
    {"--mlock, --no-mmap, --mmap, -mmp, -lm, --load-mode, -lzm, --lazy-mode, -dio, --direct-io, -ndio, --no-direct-io",
     "weights are always mapped from the file"},
    {"--no-repack, -nr, --repack", "weights are always used as the file has them"},
    {"--check-tensors", "tensors are always checked against the file's size"},
    {"--override-kv, --override-tensor, -ot, --op-offload, --no-op-offload, -nopo, --no-host, --fit*, -fit*",
     "the file is taken as it is; -ngl says what the GPU computes"},
    {"-dev, --list-devices", "--device NAME chooses, fastkv devices lists"},
    {"-sm, --split-mode, -ts, --tensor-split, -mg, --main-gpu", "one GPU: --device vulkan:N"},
    {"-nkvo, --no-kv-offload, -kvo, --kv-offload", "a layer's cache lies where the layer is computed: -ngl"},
    {"-cmoe, --cpu-moe, -ncmoe, --n-cpu-moe, --moe-cache-mib, -ncffn, --n-cpu-ffn", "-ngl N leaves layers on the CPU"},
    {"-hf*, --hf-*, -mu, --model-url, -dr, --docker-repo, --offline, --fim-*, --gpt-oss-*, --vision-*",
     "download the GGUF file and name it with -m"},
    {"--tags", "models have no tags here"},
    {"--lora*, --control-vector*", "not there yet: merge the adapter into the model"},
    {"-bf, --binary-file", "-f takes any bytes with --raw"},
    {"-i, --interactive, -if, --interactive-first, -cnv, --conversation", "fastkv chat is the conversation"},
    {"-no-cnv, --no-conversation, -st, --single-turn", "fastkv run answers one prompt; --raw without a chat template"},
    {"--temperature, --top_k, --top_p", "--temp, --top-k and --top-p are their names"},
    {"-mli, --multiline-input", "in fastkv chat, a line that ends with \\ goes on in the next"},
    {"--in-prefix*, --in-suffix*", "the chat template says what surrounds a message: --chat-template"},
    {"--chat-template-file", "--chat-template takes a name or a file"},
    {"--jinja, --no-jinja", "templates are always read as Jinja"},
    {"--reasoning*, --no-reasoning-preserve, -rea, --prefill-assistant, --no-prefill-assistant",
     "--chat-template-kwargs passes values on"},
    {"--skip-chat-parsing, --no-skip-chat-parsing", "answers are never parsed"},
    {"-sp, --special", "fastkv tokenize shows special tokens; run --trace has all ids"},
    {"-ptc, --print-token-count, --show-count", "run ends with its numbers of tokens"},
    {"--keep, --context-shift, --no-context-shift", "--kv-policy says what stays in the cache; nothing is shifted"},
    {"--prompt-cache*, --cache-reuse, --no-cache-prompt, --cache-prompt", "--session FILE keeps a computed prompt"},
    {"-gan, --grp-attn-n, -gaw, --grp-attn-w, --swa-full, -kvu, --kv-unified*, -no-kvu, --no-kv-unified, -dt, "
     "--defrag-thold, -dkvc, --dump-kv-cache, -ctxcp, --ctx-checkpoints, --swa-checkpoints, -cms, --checkpoint-*",
     "--kv-policy and its options say what the cache holds"},
    {"--rope-*, --yarn-*", "positions are scaled as the file says"},
    {"--grammar*, -j, --json-schema*, -jf", "answers cannot be constrained yet"},
    {"--samplers, --sampler-seq, --sampling-seq, --typical*, --xtc-*, --dry-*, --mirostat*, --presence-penalty, "
     "--frequency-penalty, --dynatemp-*, -l, --logit-bias, --top-n-sigma, --top-nsigma, --adaptive-*, -bs",
     "sampling is by --temp, --top-k, --top-p, --min-p and --repeat-penalty"},
    {"-md, --model-draft, --draft*, -ngld, --gpu-layers-draft, --n-gpu-layers-draft, -devd, --device-draft, -cd, "
     "--ctx-size-draft, --spec-*, --no-spec-*, --lookup*, -lcs, -lcd, -ctkd, --cache-type-k-draft, -ctvd, "
     "--cache-type-v-draft, -otd, --override-tensor-draft, -cmoed, --cpu-moe-draft, -ncmoed, --n-cpu-moe-draft",
     "there is no speculative decoding yet"},
    {"-mm, -mmu, -mmdev, --mmproj*, --no-mmproj*, --image*, --audio, --video*, --mtmd-*, --media-path, -mv, "
     "--model-vocoder, --tts-*, --diffusion-*",
     "text only, a token after the other"},
    {"-to", "fastkv serve --timeout S"},
    {"-ns, --sequences, --reuse-port, --api-prefix, --threads-http, --ssl-*, --path, --ui*, --no-ui*, --webui*, "
     "--no-webui*, "
     "--sleep-*, --models-*, --no-models-*, --tools*, --mcp-*, -ag, --agent, -no-ag, --no-agent, --n-probs, --rpc, "
     "-rpc",
     "fastkv serve answers over HTTP at one address; a proxy before it does the rest"},
    {"-cb, --cont-batching, -nocb, --no-cont-batching, --metrics, --slots, --props", "fastkv serve always does that"},
    {"--slot-prompt-similarity, -sps, --cors-*, --no-cors-*, --sse-*, --cache-ram, -cram, --cache-idle-slots, "
     "--no-cache-idle-slots",
     "see fastkv serve --help for what there is"},
    {"--embedding*, --embd-*, -embd, --cls-separator, --rerank*, --pooling",
     "texts are answered, not embedded or ranked"},
    {"--infill, --spm-infill", "fastkv run --raw takes a text with the model's fill-in-the-middle tokens"},
    {"--context-file, --chunk-size, --chunk-separator, --junk, --pos",
     "-f is the document; fastkv eval hides needles in texts"},
    {"-v, --verbose, --log-verbose, -lv, --verbosity, --log-*, --no-log-*, -ld, --logdir, --verbose-prompt",
     "what there is to say goes to standard error; --trace FILE has the rest"},
    {"-co, --color, --simple-io, --no-display-prompt, --display-prompt", "the answer alone goes to standard output"},
    {"--perf, --no-perf, --show-timings, --no-show-timings", "run ends with its times; fastkv bench measures"},
    {"--no-warmup, --warmup", "there is no warming up"},
    {"-ppl, --ppl*, --no-ppl, --perplexity, --chunks, --hellaswag*, --winogrande*, --multiple-choice*, "
     "--kl-divergence*, --save-all-logits, --logits-all",
     "not there yet; fastkv eval measures what retention costs"},
    {"-ofreq, --output-frequency, --output-format, --save-frequency, --process-output, --chunk, --from-chunk, "
     "--in-file, --show-statistics, --positive-file, --negative-file, --pca-*, --method, -lr*, --learning-rate*, "
     "-decay-epochs, -wd, --weight-decay, -val-split, --val-split, -epochs, --epochs, -opt, --optimizer",
     "models are run here, not made"},
    {"-pg, -d, --n-depth, --n-gen, --n-prompt, -oe, --delay, --progress, -npp, -ntg, -npl, -pps, -tgs",
     "--lengths and -n say what bench measures"},
    {NULL, NULL},
};
