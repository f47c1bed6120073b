/* The commands: a new one is a row here, its file, and a bit in options.h. */
#include "cli/commands.h"

#define RETENTION_EXAMPLES(command)                                                                              \
    "  fastkv " command                                                                                          \
    " -m model.gguf -f report.txt -p \"What is recommended?\" --kv-policy full     full attention, to compare\n" \
    "  fastkv " command                                                                                          \
    " -m model.gguf -f report.txt -p \"What is recommended?\" --kv-retain 0.2      the quality setting\n"

const struct command cli_commands[] = {
    {COMMAND_RUN, "run", "One prompt in, the answer streamed to standard output.",
     "-m MODEL (-p TEXT | -f FILE | --prompt-ids FILE) [options]",
     "  fastkv run -m model.gguf -p \"Why is the sky blue?\"\n" RETENTION_EXAMPLES(
         "run") "  fastkv run -m model.gguf --raw -p \"Once upon a time\" -n 100 --temp 0\n",
     cmd_run},
    {COMMAND_CHAT, "chat", "A conversation at the terminal, or with standard input line by line.", "-m MODEL [options]",
     "  fastkv chat -m model.gguf -sys \"Answer briefly.\"\n"
     "  fastkv chat -m model.gguf -f report.txt -p \"Summarise this.\"     the first turn is about a document\n",
     cmd_chat},
    {COMMAND_TOKENIZE, "tokenize", "Text to token ids.", "-m MODEL (-p TEXT | -f FILE | --stdin) [options]",
     "  fastkv tokenize -m model.gguf -p \"Hello world\"\n"
     "  fastkv tokenize -m model.gguf --stdin --ids < report.txt\n",
     cmd_tokenize},
    {COMMAND_INFO, "info", "What a GGUF file holds, whether it can run, and the memory it needs.", "-m MODEL [options]",
     "  fastkv info -m model.gguf\n"
     "  fastkv info -m model.gguf -c 32768 --kv-retain 0.2\n",
     cmd_info},
    {COMMAND_BENCH, "bench", "Speed and memory at several prompt lengths, per KV policy.", "-m MODEL [options]",
     "  fastkv bench -m model.gguf\n"
     "  fastkv bench -m model.gguf --lengths 4096,16384 --policies full,snapkv,fastkv -r 5 -o csv\n",
     cmd_bench},
    {COMMAND_EVAL, "eval", "What retention costs in quality: tasks with known answers, against full attention.",
     "-m MODEL [options]",
     "  fastkv eval -m model.gguf --lengths 4096,8192 --samples 20 --json results.jsonl\n"
     "  fastkv eval -m model.gguf --tasks vt,niah_multikey_3 --kv-floor 0 --tsp-floor 0 --variant "
     "wide=fastkv,kv-retain=0.2\n"
     "  fastkv eval -m model.gguf --samples 40 --json results.jsonl --resume        go on with a run that was ended\n",
     cmd_eval},
    {COMMAND_COMPARE, "compare",
     "Your own prompt with and without retention: both answers, and how far apart they are.",
     "-m MODEL (-p TEXT | -f FILE | --prompt-ids FILE) [options]",
     "  fastkv compare -m model.gguf -f report.txt -p \"What is recommended?\"\n"
     "  fastkv compare -m model.gguf -f report.txt -p \"What is recommended?\" --kv-policy snapkv --budgets "
     "0.05,0.1,0.2,0.4\n"
     "  fastkv compare -m model.gguf -f report.txt -p \"What is recommended?\" --picture map.svg\n",
     cmd_compare},
    {COMMAND_SERVE, "serve", "Answers over HTTP, by the OpenAI protocol, for editors, agents and scripts.",
     "-m MODEL [options]",
     "  fastkv serve -m model.gguf\n"
     "  fastkv serve -m model.gguf -c 32768 -np 8 --port 8081 --api-key-file keys.txt --host 0.0.0.0\n"
     "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
     "       -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]}'\n",
     cmd_serve},
    {COMMAND_DEVICES, "devices", "The instruction set levels and back ends of this machine.", "", "", cmd_devices},
    {0, NULL, NULL, NULL, NULL, NULL},
};
