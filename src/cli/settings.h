/* settings.h: what the command line says, in the types the library takes. Filled by options.c only. */
#ifndef FKV_CLI_SETTINGS_H
#define FKV_CLI_SETTINGS_H

#include "fastkv.h"

enum { OPTION_LIST_MAX = 32 };

struct option_texts {
    int n;
    const char *items[OPTION_LIST_MAX];
};

struct option_ints {
    int n;
    int items[OPTION_LIST_MAX];
};

struct option_doubles {
    int n;
    double items[OPTION_LIST_MAX];
};

/* An option and its value, as they were typed. */
struct option_pair {
    const char *name;
    size_t name_bytes;
    const char *value;
};

struct option_pairs {
    int n;
    struct option_pair items[OPTION_LIST_MAX];
};

enum output_format { OUTPUT_MD, OUTPUT_CSV, OUTPUT_JSON };

/* Texts point into argv or are constants. */
struct settings {
    bool help;
    /* what is asked of the library */
    struct fkv_engine_params engine;
    struct fkv_session_params session;
    struct fkv_sampler_params sampler;
    int64_t seed;              /* -1: a random one; settings_finish() puts it into `sampler` */
    struct option_pairs given; /* of retention, in their order: see retention.h */
    const char *preset;
    bool policy_given;
    /* model and prompt */
    const char *model, *prompt, *prompt_file, *prompt_ids, *system, *system_file, *chat_template;
    const char *fallback_template;  /* a built-in one, where neither option nor file has one; see ollama.h */
    const char *template_variables; /* JSON */
    const char *session_file;
    bool raw, escape, no_escape, repeat_question;
    /* answer */
    int n_predict; /* -1: until the context is full */
    struct option_texts stops;
    bool ignore_eos, no_progress, no_memory_check;
    const char *trace;
    bool self_check;
    /* tokenize */
    bool ids_only, no_bos, no_parse_special, from_stdin;
    /* bench */
    struct option_ints lengths;
    struct option_texts policies;
    int repetitions, output;
    bool stages;
    /* eval; it has lengths and policies, too */
    const char *tasks, *texts, *json, *dump;
    struct option_texts variants;
    int samples;
    bool hidden, closed_book, resume, times;
    /* compare; it has a file of JSON, too */
    struct option_doubles budgets;
    const char *picture;
    /* serve */
    const char *host, *api_key, *api_key_file, *alias, *cors_origins, *allowed_hosts, *slot_save_path, *cache_disk;
    int port, n_sessions, queue, queue_timeout_s, timeout_s, sse_ping_s, drain_s, max_gap_ms, resume_s;
    float prefill_share;
    int64_t kv_ram, max_body, cache_disk_limit; /* bytes; kv_ram 0: half of what is free */
    bool no_slots, no_webui, log_prompts;
    /* devices */
    bool self_test;
};

/* Writes what is wrong with them to err, of FKV_ERROR_BYTES; returns false. */
bool settings_fail(char *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
