/* The options, in the order in which --help shows them. A new one is a row here and a member of struct settings. Those
   of retention, which follow --kv-policy, come from the library's table: see retention.h. */
#include <math.h>

#include "cli/options.h"

#define AT(member) offsetof(struct settings, member)
/* what a number is, its range, whether the low end is outside */
#define FROM(what, low) what, low, INFINITY, false
#define ABOVE(what, low) what, low, INFINITY, true
#define RANGE(what, low, high) what, low, high, false
#define UP_TO(what, high) what, -INFINITY, high, false
#define SHARE(what) what, 0, 1, true
#define ANY(what) what, -INFINITY, INFINITY, false
#define WORDS(words) words, 0, 0, false
#define PLAIN NULL, 0, 0, false

enum {
    GENERATE = COMMAND_RUN | COMMAND_CHAT,
    PROMPT = GENERATE | COMMAND_COMPARE,
    SESSION = PROMPT | COMMAND_BENCH | COMMAND_EVAL,
    PLAN = SESSION | COMMAND_INFO,
    MODEL = PLAN | COMMAND_TOKENIZE,
    EVERY = MODEL | COMMAND_DEVICES,
};

static const char kv_types[] = "auto|f32|f16|bf16|q8_0"; /* in the order of enum fkv_kv_type */

const struct option cli_options[] = {
    {MODEL, GROUP_MODEL, "-m, --model", "FILE", NULL, OPTION_TEXT, AT(model),
     "the GGUF file; of a split model, its first part", PLAIN},
    {PLAN, GROUP_MODEL, "-t, --threads", "N", "0", OPTION_INT, AT(engine.n_threads),
     "threads; 0 or less: one per physical core that the process may use", UP_TO("a number of threads", 1024)},
    {PLAN, GROUP_MODEL, "-c, --ctx-size", "N", "0", OPTION_INT, AT(session.n_ctx),
     "most tokens in the context, prompt and answer; 0: what the model was trained for. More is possible: answers get "
     "worse",
     RANGE("a number of tokens", 0, FKV_CONTEXT_MAX)},
    {SESSION, GROUP_MODEL, "--no-memory-check", NULL, NULL, OPTION_FLAG, AT(no_memory_check),
     "start even when the plan needs more memory than there is", PLAIN},
    {PLAN | COMMAND_DEVICES, GROUP_MODEL, "--device", "NAME", "cpu", OPTION_TEXT, AT(engine.device),
     "cpu, vulkan[:N] or auto: a GPU if its products are the faster", PLAIN},
    {PLAN, GROUP_MODEL, "-ngl, --gpu-layers, --n-gpu-layers", "N|auto|all", "auto", OPTION_TEXT, AT(engine.gpu_layers),
     "layers on the GPU, from the first; the others stay on the CPU. auto: as many as its memory holds", PLAIN},
    {PLAN, GROUP_MODEL, "--exact", NULL, NULL, OPTION_FLAG, AT(engine.exact),
     "fp32 throughout, nothing rounded: slow, for checking", PLAIN},
    {PLAN, GROUP_MODEL, "--precise", NULL, NULL, OPTION_FLAG, AT(engine.precise),
     "multiply the prompt's activations in bf16, not rounded to 8 bits: slower", PLAIN},

    {PROMPT | COMMAND_TOKENIZE, GROUP_PROMPT, "-p, --prompt", "TEXT", NULL, OPTION_TEXT, AT(prompt),
     "the text, or the question about the document given by -f", PLAIN},
    {PROMPT | COMMAND_TOKENIZE, GROUP_PROMPT, "-e, --escape", NULL, NULL, OPTION_FLAG, AT(escape),
     "read \\n, \\t, \\r, \\\", \\', \\\\ and \\x41 in -p, -sys and -r as in C: the default", PLAIN},
    {PROMPT | COMMAND_TOKENIZE, GROUP_PROMPT, "--no-escape", NULL, NULL, OPTION_FLAG, AT(no_escape),
     "take them as they stand", PLAIN},
    {PROMPT | COMMAND_TOKENIZE, GROUP_PROMPT, "-f, --file", "FILE", NULL, OPTION_TEXT, AT(prompt_file),
     "a file with the document, which comes before the text of -p; - is standard input", PLAIN},
    {COMMAND_TOKENIZE, GROUP_PROMPT, "--stdin", NULL, NULL, OPTION_FLAG, AT(from_stdin),
     "the text comes from standard input", PLAIN},
    {COMMAND_RUN | COMMAND_COMPARE, GROUP_PROMPT, "--prompt-ids", "FILE", NULL, OPTION_TEXT, AT(prompt_ids),
     "a JSON array of token ids in place of text", PLAIN},
    {COMMAND_RUN | COMMAND_COMPARE, GROUP_PROMPT, "--repeat-question", NULL, NULL, OPTION_FLAG, AT(repeat_question),
     "the first line asks about the text below it: say it again at the end, where it has been read", PLAIN},
    {PROMPT, GROUP_PROMPT, "-sys, --system-prompt", "TEXT", NULL, OPTION_TEXT, AT(system), "the system message", PLAIN},
    {PROMPT, GROUP_PROMPT, "-sysf, --system-prompt-file", "FILE", NULL, OPTION_TEXT, AT(system_file),
     "a file with the system message", PLAIN},
    {COMMAND_RUN | COMMAND_COMPARE, GROUP_PROMPT, "--raw", NULL, NULL, OPTION_FLAG, AT(raw),
     "no chat template: the text is tokenised as it stands", PLAIN},
    {PROMPT, GROUP_PROMPT, "--chat-template", "NAME|FILE", NULL, OPTION_TEXT, AT(chat_template),
     "chatml, gemma, llama3, mistral, or a file with a Jinja template, in place of the model's own", PLAIN},
    {PROMPT, GROUP_PROMPT, "--chat-template-kwargs", "JSON", NULL, OPTION_TEXT, AT(template_variables),
     "an object of further variables for the template: {\"enable_thinking\": false}", PLAIN},
    {COMMAND_TOKENIZE, GROUP_PROMPT, "--no-bos", NULL, NULL, OPTION_FLAG, AT(no_bos),
     "do not add the begin and end tokens that the model asks for", PLAIN},
    {COMMAND_TOKENIZE, GROUP_PROMPT, "--no-parse-special", NULL, NULL, OPTION_FLAG, AT(no_parse_special),
     "read special tokens in the text (<|im_end|>) as plain text", PLAIN},

    {GENERATE, GROUP_ANSWER, "-n, --predict, --n-predict", "N", "-1", OPTION_INT, AT(n_predict),
     "most tokens of an answer; -1 or less: until the context is full", ANY("a number of tokens")},
    {COMMAND_COMPARE, GROUP_ANSWER, "-n, --predict, --n-predict", "N", "64", OPTION_INT, AT(n_predict),
     "most tokens of an answer", RANGE("a number of tokens", 1, 65536)},
    {GENERATE, GROUP_ANSWER, "-r, --reverse-prompt", "TEXT", NULL, OPTION_TEXTS, AT(stops),
     "stop before this text or special token; may be given several times", PLAIN},
    {GENERATE, GROUP_ANSWER, "--ignore-eos", NULL, NULL, OPTION_FLAG, AT(ignore_eos), "go on after an end token",
     PLAIN},

    {PLAN, GROUP_RETENTION, "--kv-policy", "NAME", "fastkv", OPTION_POLICY, AT(session.kv.policy),
     "which key and value (KV) entries a prompt leaves in the cache", PLAIN},
    {PLAN, GROUP_RETENTION, "-ctk, --cache-type-k", "TYPE", "auto", OPTION_CHOICE, AT(session.k_type),
     "type of cached keys: auto (bf16 where the CPU multiplies it, else f16; f16 on a GPU), f32, f16, bf16, q8_0",
     WORDS(kv_types)},
    {PLAN, GROUP_RETENTION, "-ctv, --cache-type-v", "TYPE", "auto", OPTION_CHOICE, AT(session.v_type),
     "type of cached values, likewise", WORDS(kv_types)},

    {GENERATE, GROUP_SAMPLING, "--temp", "T", "0.8", OPTION_FLOAT, AT(sampler.temperature),
     "temperature; 0 or less: always the likeliest token", ANY("a temperature")},
    {GENERATE, GROUP_SAMPLING, "--top-k", "N", "40", OPTION_INT, AT(sampler.top_k),
     "choose among the N likeliest tokens; 0 or less: all", ANY("a number of tokens")},
    {GENERATE, GROUP_SAMPLING, "--top-p", "P", "0.95", OPTION_FLOAT, AT(sampler.top_p),
     "choose among the likeliest that together reach this share; 1: all, 0: the likeliest", ANY("a share")},
    {GENERATE, GROUP_SAMPLING, "--min-p", "P", "0.05", OPTION_FLOAT, AT(sampler.min_p),
     "drop tokens less likely than this share of the likeliest; 0: none", ANY("a share")},
    {GENERATE, GROUP_SAMPLING, "--repeat-penalty", "X", "1", OPTION_FLOAT, AT(sampler.repeat_penalty),
     "make tokens seen lately less likely; 1: off", ABOVE("a factor", 0)},
    {GENERATE, GROUP_SAMPLING, "--repeat-last-n", "N", "64", OPTION_INT, AT(sampler.repeat_last_n),
     "tokens that the penalty looks back on; -1: all", RANGE("a number of tokens", -1, 1 << 20)},
    {GENERATE, GROUP_SAMPLING, "-s, --seed", "N", "-1", OPTION_INT64, AT(seed),
     "same seed, same text; -1 or less: a random one, which is printed", ANY("a whole number")},

    {COMMAND_BENCH, GROUP_BENCH, "--lengths", "N,N,...", "512,2048,8192", OPTION_INTS, AT(lengths),
     "prompt lengths in tokens", FROM("numbers of tokens", 1)},
    {COMMAND_BENCH, GROUP_BENCH, "--policies", "NAME,...", "full,fastkv", OPTION_POLICIES, AT(policies),
     "KV policies to compare", PLAIN},
    {COMMAND_BENCH, GROUP_BENCH, "-n, --predict", "N", "64", OPTION_INT, AT(n_predict),
     "tokens decoded after each prompt", FROM("a number of tokens", 1)},
    {COMMAND_BENCH, GROUP_BENCH, "-r, --repetitions", "N", "3", OPTION_INT, AT(repetitions),
     "repetitions, of which the median is shown", RANGE("a number of repetitions", 1, 99)},
    {COMMAND_BENCH, GROUP_BENCH, "--stages", NULL, NULL, OPTION_FLAG, AT(stages),
     "also the seconds of each stage of the prefill", PLAIN},
    {COMMAND_BENCH, GROUP_OUTPUT, "-o, --output", "md|csv|json", "md", OPTION_CHOICE, AT(output),
     "format; csv and json are in plain units", WORDS("md|csv|json")},

    {COMMAND_EVAL, GROUP_BENCH, "--tasks", "NAME,...", "ruler", OPTION_TEXT, AT(tasks),
     "tasks: ruler for the thirteen types of RULER, long for seven others, or single ones: vt, qa_2, code_line", PLAIN},
    {COMMAND_EVAL, GROUP_BENCH, "--lengths", "N,N,...", "4096", OPTION_INTS, AT(lengths),
     "tokens of prompt and answer together", FROM("numbers of tokens", 256)},
    {COMMAND_EVAL, GROUP_BENCH, "--samples", "N", "10", OPTION_INT, AT(samples), "samples of each task at each length",
     RANGE("a number of samples", 1, 100000)},
    {COMMAND_EVAL, GROUP_BENCH, "-s, --seed", "N", "1", OPTION_INT64, AT(seed),
     "same seed, same samples; measure a winner again with another", FROM("a whole number", 0)},
    {COMMAND_EVAL, GROUP_BENCH, "--policies", "NAME,...", "fastkv,streamingllm", OPTION_POLICIES, AT(policies),
     "KV policies to compare with full attention, with the options above", PLAIN},
    {COMMAND_EVAL, GROUP_BENCH, "--variant", "NAME=POLICY,OPTION=VALUE,...", NULL, OPTION_TEXTS, AT(variants),
     "a policy with options of its own, as in wide=fastkv,kv-retain=0.2,kv-window=32; may be given several times",
     PLAIN},
    {COMMAND_EVAL, GROUP_BENCH, "--closed-book", NULL, NULL, OPTION_FLAG, AT(closed_book),
     "leave the texts out: what scores then was known or guessed", PLAIN},
    {COMMAND_EVAL, GROUP_BENCH, "--hidden", NULL, NULL, OPTION_FLAG, AT(hidden),
     "the question comes when the context has been compressed, as that of a later turn does", PLAIN},
    {COMMAND_EVAL, GROUP_BENCH, "--texts", "FOLDER", NULL, OPTION_TEXT, AT(texts),
     "texts to hide needles in, such as /usr/share/common-licenses, in place of the licences that come with the "
     "program",
     PLAIN},
    {COMMAND_EVAL, GROUP_OUTPUT, "--json", "FILE", NULL, OPTION_TEXT, AT(json),
     "write each sample, with answers and all that was measured, as a line of JSON", PLAIN},
    {COMMAND_EVAL, GROUP_OUTPUT, "--resume", NULL, NULL, OPTION_FLAG, AT(resume),
     "go on with the file of --json: its samples are not measured again", PLAIN},
    {COMMAND_EVAL, GROUP_OUTPUT, "--times", NULL, NULL, OPTION_FLAG, AT(times),
     "seconds, too, in the table and the file, which else is the same bytes each time", PLAIN},
    {COMMAND_EVAL, GROUP_OUTPUT, "--dump", "FILE", NULL, OPTION_TEXT, AT(dump),
     "write the prompts as lines of JSON and measure nothing", PLAIN},
    {COMMAND_COMPARE, GROUP_BENCH, "--budgets", "R,R,...", NULL, OPTION_DOUBLES, AT(budgets),
     "also a line for each of these in place of --kv-retain, without --kv-floor; one prefill serves all where the "
     "policy "
     "lets every row go on, as snapkv does",
     SHARE("shares")},
    {COMMAND_COMPARE, GROUP_OUTPUT, "--picture", "FILE", NULL, OPTION_TEXT, AT(picture),
     "draw what was kept and where full attention looked: FILE.svg has a map of the prompt, FILE.html its text", PLAIN},
    {COMMAND_COMPARE, GROUP_OUTPUT, "--json", "FILE", NULL, OPTION_TEXT, AT(json),
     "write all that was measured, and the shares of every token, as JSON", PLAIN},
    {COMMAND_DEVICES, GROUP_OUTPUT, "--self-test", NULL, NULL, OPTION_FLAG, AT(self_test),
     "run every Vulkan shader on small data and compare with the CPU: on the device named, or the best", PLAIN},
    {COMMAND_TOKENIZE, GROUP_OUTPUT, "--ids", NULL, NULL, OPTION_FLAG, AT(ids_only), "print one JSON array of ids",
     PLAIN},
    {COMMAND_RUN, GROUP_OUTPUT, "--trace", "FILE", NULL, OPTION_TEXT, AT(trace),
     "write what was kept, logits, ids and times as JSON, to check a run from outside", PLAIN},
    {SESSION, GROUP_OUTPUT, "--no-progress", NULL, NULL, OPTION_FLAG, AT(no_progress),
     "no progress bar (there is none off a terminal)", PLAIN},
    {EVERY, GROUP_OUTPUT, "-h, --help", NULL, NULL, OPTION_FLAG, AT(help), "show this", PLAIN},
    {0, 0, NULL, NULL, NULL, 0, 0, NULL, PLAIN},
};
