/* A saved session's settings: what has to be equal for its entries to mean the same. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "engine/session_settings.h"

static const char *arithmetic(const fkv_engine *e)
{
    const struct fkv_backend *b = e->ws.place[e->ws.n_places - 1].b;
    return b->exact ? "exact" : b->precise ? "precise" : "rounded";
}

/* In a turn. */
static uint64_t fingerprint(fkv_engine *e)
{
    if (!e->fingerprint) e->fingerprint = fkv_gguf_fingerprint(e->gguf);
    return e->fingerprint;
}

static const char *type_name(int elem)
{
    static const char *const names[] =
        {[FKV_ELEM_F32] = "f32", [FKV_ELEM_F16] = "f16", [FKV_ELEM_BF16] = "bf16", [FKV_ELEM_Q8_0] = "q8_0"};
    return names[elem];
}

/* Those that must be the session's: the last of models with two sets of rotary angles alone. */
enum { N_SAME = 5, HEX_BYTES = 17 };
struct same {
    const char *key, *value, *what;
};

static int same_of(const fkv_session *s, struct same same[N_SAME], char hex[HEX_BYTES])
{
    snprintf(hex, HEX_BYTES, "%016" PRIx64, fingerprint(s->e));
    same[0] = (struct same){"model", hex, "it is another model's: expected fingerprint"};
    same[1] = (struct same){"arithmetic", arithmetic(s->e), "its numbers were made otherwise: expected arithmetic"};
    same[2] = (struct same){"k_type", type_name(s->shape.k_type), "its cache has other keys: expected"};
    same[3] = (struct same){"v_type", type_name(s->shape.v_type), "its cache has other values: expected"};
    const struct fkv_hparams *h = &s->e->model->h;
    same[4] = (struct same){"angles", fkv_rope_begin(h, s->q->capacity) ? "long" : "short",
                            "its context has other rotary angles: expected"};
    return h->short_ctx ? N_SAME : N_SAME - 1;
}

static json_t *turns_of(const struct fkv_sequence *q)
{
    json_t *list = json_array();
    for (size_t i = 0; i < q->n_turns; i++) {
        const struct fkv_sequence_turn *t = &q->turn[i];
        if (json_array_append_new(list, json_pack("{s:I, s:I, s:s}", "first", (json_int_t)t->first, "end",
                                                  (json_int_t)t->end, "policy", t->policy)) == 0)
            continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

char *fkv_settings_text(fkv_session *s, const char *label)
{
    struct same same[N_SAME];
    char hex[HEX_BYTES];
    const int n = same_of(s, same, hex);
    json_t *all = json_pack("{s:s, s:o}", "label", label, "turns", turns_of(s->q));
    bool ok = all;
    for (int i = 0; i < n && ok; i++) ok = json_object_set_new(all, same[i].key, json_string(same[i].value)) == 0;
    char *text = ok ? json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENSURE_ASCII) : NULL;
    json_decref(all);
    return text;
}

static fkv_status check_same(fkv_session *s, const json_t *all)
{
    struct same same[N_SAME];
    char hex[HEX_BYTES];
    const int n = same_of(s, same, hex);
    for (int i = 0; i < n; i++) {
        const char *found = json_string_value(json_object_get(all, same[i].key));
        if (!found) return fkv_fail(&s->error, FKV_ERROR_FORMAT, "a saved session: its settings lack %s", same[i].key);
        if (strcmp(found, same[i].value) != 0)
            return fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED, "a saved session: %s %s, found %.40s", same[i].what,
                            same[i].value, found);
    }
    return FKV_OK;
}

/* Ascending, within end tokens. */
static bool read_turn(struct fkv_sequence_turn *t, const json_t *from, size_t least, size_t end)
{
    const json_int_t first = json_integer_value(json_object_get(from, "first")),
                     last = json_integer_value(json_object_get(from, "end"));
    const char *policy = json_string_value(json_object_get(from, "policy"));
    if (!policy || strlen(policy) >= sizeof t->policy || first < (json_int_t)least || last <= first ||
        last > (json_int_t)end)
        return false;
    *t = (struct fkv_sequence_turn){.first = (size_t)first, .end = (size_t)last};
    strcpy(t->policy, policy);
    return true;
}

static fkv_status read_turns(struct fkv_form *form, fkv_session *s, const json_t *list)
{
    const size_t n = json_array_size(list);
    form->turn = malloc((n + 1) * sizeof *form->turn);
    if (!form->turn) return fkv_fail(&s->error, FKV_ERROR_MEMORY, "no memory to read a session");
    for (; form->n_turns < n; form->n_turns++) {
        const size_t least = form->n_turns ? form->turn[form->n_turns - 1].end : 0;
        if (!read_turn(&form->turn[form->n_turns], json_array_get(list, form->n_turns), least, form->head.end))
            return fkv_fail(&s->error, FKV_ERROR_FORMAT, "a saved session: turn %zu of its settings is none",
                            form->n_turns);
    }
    return FKV_OK;
}

fkv_status fkv_settings_read(struct fkv_form *form, fkv_session *s)
{
    json_error_t why;
    json_t *all = json_loads(form->settings, JSON_REJECT_DUPLICATES, &why);
    const char *label = json_string_value(json_object_get(all, "label"));
    const json_t *turns = json_object_get(all, "turns");
    fkv_status status = FKV_OK;
    if (!label || strlen(label) >= sizeof form->label || !json_is_array(turns))
        status = fkv_fail(&s->error, FKV_ERROR_FORMAT,
                          "a saved session: its settings are not what they should be%s%.200s", all ? "" : ": ",
                          all ? "" : why.text);
    if (status == FKV_OK) {
        strcpy(form->label, label);
        status = check_same(s, all);
    }
    if (status == FKV_OK) status = read_turns(form, s, turns);
    json_decref(all);
    return status;
}
