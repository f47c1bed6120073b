#define _GNU_SOURCE
#include "cli/eval_log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/console.h"
#include "cli/json.h"
#include "eval/sha256.h"

enum { FORMAT = 1, FLAGS = JSON_COMPACT };

/* ---- what is measured ------------------------------------------------------------------------ */

/* SHA-256 over the size and both ends of a file: enough to tell models apart, and read in no time. */
static bool fingerprint(const char *path, char hex[65])
{
    enum { END = 1 << 20 };
    struct eval_sha256 sha;
    char *bytes = malloc(END), size[32];
    FILE *f = fopen(path, "rb");
    bool ok = f && bytes && !fseeko(f, 0, SEEK_END);
    const off_t all = ok ? ftello(f) : 0;
    eval_sha256_start(&sha);
    eval_sha256_add(&sha, size, (size_t)snprintf(size, sizeof size, "%" PRId64, (int64_t)all));
    for (int end = 0; ok && end < 2; end++) {
        ok = !fseeko(f, end && all > END ? all - END : 0, SEEK_SET);
        if (ok) eval_sha256_add(&sha, bytes, fread(bytes, 1, END, f));
    }
    eval_sha256_end(&sha, hex);
    if (f) fclose(f);
    free(bytes);
    return ok;
}

static json_t *header_of(const struct eval_plan *p, const fkv_engine *engine)
{
    const struct settings *s = p->settings;
    const struct fkv_model_info *info = fkv_engine_info(engine);
    char sha[65];
    if (!fingerprint(s->model, sha)) {
        console_error("%.300s: cannot be read", s->model);
        return NULL;
    }
    json_t *variants = json_array();
    for (int v = 0; v < p->n_variants; v++)
        json_array_append_new(variants,
                              json_pack("{s:s, s:s, s:o}", "name", p->variants[v].name, "policy",
                                        p->variants[v].kv.policy, "options", json_of_options(&p->variants[v].kv)));
    return json_pack("{s:i, s:s, s:{s:s, s:s, s:s, s:s}, s:{s:s, s:s, s:b, s:b, s:i, s:i}, s:s, s:I, s:s, s:o}",
                     "fastkv_eval", FORMAT, "version", fkv_version(), "model", "arch", info->arch, "name", info->name,
                     "quantisation", info->quantisation, "fingerprint", sha, "engine", "device", info->device, "isa",
                     info->isa, "exact", s->engine.exact, "precise", s->engine.precise, "k_type",
                     (int)s->session.k_type, "v_type", (int)s->session.v_type, "texts", p->sources.digest, "seed",
                     (json_int_t)s->seed, "question", eval_question_is(s), "variants", variants);
}

/* ---- a sample -------------------------------------------------------------------------------- */

/* Members of eval_metrics that are shares or nats, by the names they have in the file. */
static const struct {
    const char *name;
    size_t at;
    bool time, known; /* known: it is always there, and else NAN */
} numbers[] = {
#define NUMBER(member)                                              \
    {                                                               \
#member, offsetof(struct eval_metrics, member), false, true \
    }
#define SIGNAL(member)                                                       \
    {                                                                        \
#member, offsetof(struct eval_metrics, signals.member), false, false \
    }
    NUMBER(score),
    NUMBER(strict),
    NUMBER(kl),
    NUMBER(kl_median),
    NUMBER(kl_p95),
    NUMBER(kl_first),
    NUMBER(top1),
    NUMBER(kl_reference),
    NUMBER(top1_reference),
    NUMBER(gold),
    NUMBER(kv),
    NUMBER(prefill),
    {"prefill_s", offsetof(struct eval_metrics, prefill_s), true, false},
    SIGNAL(mass),
    SIGNAL(mass_least),
    SIGNAL(halves),
    SIGNAL(overlap),
    SIGNAL(agreement),
    SIGNAL(entropy),
    {"self_check", offsetof(struct eval_metrics, self_check), false, false},
#undef SIGNAL
#undef NUMBER
};
enum { N_NUMBERS = sizeof numbers / sizeof *numbers };

static json_t *metrics_of(const struct eval_metrics *m, bool times)
{
    char kept[20];
    json_t *o = json_object();
    for (int i = 0; i < N_NUMBERS; i++) {
        const double x = *(const double *)((const char *)m + numbers[i].at);
        if ((times || !numbers[i].time) && !isnan(x)) json_object_set_new(o, numbers[i].name, json_real(x));
    }
    snprintf(kept, sizeof kept, "%016" PRIx64, m->kept);
    json_object_set_new(o, "kept", json_string(kept));
    json_object_set_new(o, "all_kept", json_boolean(m->all_kept));
    json_object_set_new(o, "n_answer", json_integer(m->n_answer));
    json_object_set_new(o, "text", json_of_text(m->text));
    return o;
}

static bool read_metrics(const json_t *o, struct eval_metrics *m)
{
    const char *kept = json_string_value(json_object_get(o, "kept"));
    if (!kept) return false;
    m->kept = strtoull(kept, NULL, 16);
    m->all_kept = json_is_true(json_object_get(o, "all_kept"));
    m->n_answer = (int)json_integer_value(json_object_get(o, "n_answer"));
    for (int i = 0; i < N_NUMBERS; i++) {
        const json_t *x = json_object_get(o, numbers[i].name);
        const bool there = json_is_number(x);
        if (!there && numbers[i].known) return false;
        *(double *)((char *)m + numbers[i].at) = there || numbers[i].time ? json_number_value(x) : NAN;
    }
    return true;
}

static json_t *references_of(const struct eval_sample *sample)
{
    json_t *references = json_array();
    for (int i = 0; i < sample->n_references; i++)
        json_array_append_new(references, json_string(sample->reference[i].s));
    return references;
}

/* One line, complete on the disk before the next sample; takes the value. */
static bool write_line(FILE *f, json_t *line)
{
    char *text = line ? json_dumps(line, FLAGS) : NULL;
    const bool ok = text && fprintf(f, "%s\n", text) > 0 && !fflush(f);
    free(text);
    json_decref(line);
    return ok;
}

static bool not_written(const char *path)
{
    console_error("%.300s: cannot be written: %s", path, strerror(errno));
    return false;
}

bool eval_log_add(struct eval_log *log, const struct eval_plan *plan, const struct eval_record *r,
                  const struct eval_sample *sample)
{
    if (!log->file) return true;
    json_t *variants = json_object();
    for (int v = 0; v < plan->n_variants; v++)
        json_object_set_new(variants, plan->variants[v].name, metrics_of(&r->variants[v], log->times));
    json_t *line = json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o}", "task", plan->tasks[r->task]->name, "length",
                             r->length, "index", r->index, "n_prompt", r->n_prompt, "references", references_of(sample),
                             "full", metrics_of(&r->full, log->times), "variants", variants);
    return write_line(log->file, line) || not_written(log->path);
}

bool eval_dump_line(FILE *f, const struct eval_plan *plan, const fkv_engine *engine, const struct eval_record *r,
                    const struct eval_sample *sample)
{
    char err[FKV_ERROR_BYTES], *text;
    size_t n;
    if (eval_request_text(engine, sample, &text, &n, err) != FKV_OK) {
        console_error("%s", err);
        return false;
    }
    json_t *line = json_pack("{s:s, s:i, s:i, s:i, s:s%, s:s, s:o}", "task", plan->tasks[r->task]->name, "length",
                             r->length, "index", r->index, "n_prompt", r->n_prompt, "prompt", text, n, "answer_begins",
                             sample->prefix.s, "references", references_of(sample));
    fkv_free(text);
    return write_line(f, line) || not_written(plan->settings->dump);
}

/* ---- going on -------------------------------------------------------------------------------- */

/* A sample of the file goes to the records; of a task that is not asked for now it is left where it is. */
static bool read_line(const json_t *line, const struct eval_plan *plan, struct eval_records *records)
{
    const char *name = json_string_value(json_object_get(line, "task"));
    for (int t = 0; name && t < plan->n_tasks; t++) {
        if (strcmp(plan->tasks[t]->name, name)) continue;
        struct eval_record *r = eval_records_add(records, plan);
        if (!r) return false;
        r->task = t;
        r->length = (int)json_integer_value(json_object_get(line, "length"));
        r->index = (int)json_integer_value(json_object_get(line, "index"));
        r->n_prompt = (int)json_integer_value(json_object_get(line, "n_prompt"));
        bool ok = read_metrics(json_object_get(line, "full"), &r->full);
        const json_t *variants = json_object_get(line, "variants");
        for (int v = 0; ok && v < plan->n_variants; v++)
            ok = read_metrics(json_object_get(variants, plan->variants[v].name), &r->variants[v]);
        return ok;
    }
    return name != NULL;
}

/* Reads text[n], which holds whole lines; the first has to be the header. */
static bool read_lines(const char *path, const char *text, size_t n, const json_t *header, const struct eval_plan *plan,
                       struct eval_records *records)
{
    int number = 0;
    bool ok = true;
    for (const char *end = text + n; ok && text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        json_t *line = json_loadb(text, (size_t)(stop - text), 0, NULL);
        ok = number ? line && read_line(line, plan, records) : line && json_equal(line, header);
        if (!ok && number) console_error("%.300s: line %d: expected a sample of fastkv eval", path, number + 1);
        if (!ok && !number)
            console_error("%.300s: expected a file of the same model, texts, seed and variants, found another; it is "
                          "left as it is",
                          path);
        json_decref(line);
        text = stop + 1;
    }
    return ok;
}

static bool resume(const char *path, const json_t *header, const struct eval_plan *plan, struct eval_records *records,
                   bool *started)
{
    char *text;
    size_t n;
    if (access(path, F_OK)) return true;
    if (!console_read_file(path, &text, &n)) return false;
    while (n && text[n - 1] != '\n') n--;
    *started = n > 0;
    bool ok = read_lines(path, text, n, header, plan, records);
    if (ok && truncate(path, (off_t)n)) ok = not_written(path);
    free(text);
    return ok;
}

bool eval_log_open(struct eval_log *log, const struct eval_plan *plan, const fkv_engine *engine,
                   struct eval_records *records)
{
    const struct settings *s = plan->settings;
    bool started = false;
    *log = (struct eval_log){.path = s->json, .times = s->times};
    if (!s->json) return true;
    json_t *header = header_of(plan, engine);
    bool ok = header != NULL;
    if (ok && s->resume)
        ok = resume(s->json, header, plan, records, &started);
    else if (ok && !access(s->json, F_OK)) {
        console_error("%.300s: is there already; --resume goes on with it", s->json);
        ok = false;
    }
    if (ok && !(log->file = fopen(s->json, "a"))) ok = not_written(s->json);
    if (ok && !started)
        ok = write_line(log->file, header) || not_written(s->json);
    else
        json_decref(header);
    return ok;
}

bool eval_log_close(struct eval_log *log)
{
    if (!log->file) return true;
    const bool failed = ferror(log->file), closed = !fclose(log->file);
    log->file = NULL;
    return (!failed && closed) || not_written(log->path);
}
