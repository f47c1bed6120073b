#include "engine/session_form.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "engine/session_settings.h"

static_assert(sizeof(struct fkv_form_head) == 128 && sizeof(struct fkv_form_section) == 32, "sizes of the file");

static const char magic[8] = {'F', 'K', 'V', 'S', 'E', 'S', 'S', '1'};
static const uint32_t kinds[FKV_FORM_SECTIONS] = {FKV_FORM_SETTINGS,  FKV_FORM_IDS,  FKV_FORM_COUNTS,
                                                  FKV_FORM_POSITIONS, FKV_FORM_KEYS, FKV_FORM_VALUES,
                                                  FKV_FORM_LOGITS};
enum { SETTINGS, IDS, PARTS, LOGITS = PARTS + FKV_N_PARTS }; /* places in `section` */

#define TABLE_AT sizeof(struct fkv_form_head)
#define TABLE_BYTES sizeof((struct fkv_form *)NULL)->section
#define DATA_AT (TABLE_AT + TABLE_BYTES + sizeof(uint64_t))

static uint64_t head_sum(const struct fkv_form_head *h)
{
    return fkv_checksum64(h, offsetof(struct fkv_form_head, sum));
}

static fkv_status malformed(fkv_session *s, const char *what)
{
    return fkv_fail(&s->error, FKV_ERROR_FORMAT, "a saved session: %s", what);
}

/* A read failed just now. */
static fkv_status not_read(fkv_session *s)
{
    return errno ? fkv_fail(&s->error, FKV_ERROR_IO, "a saved session: %s", strerror(errno))
                 : malformed(s, "the data ends too early");
}

/* GGUF's number of a type of the cache. */
static uint16_t type_number(int elem)
{
    static const uint16_t numbers[] =
        {[FKV_ELEM_F32] = 0, [FKV_ELEM_F16] = 1, [FKV_ELEM_BF16] = 30, [FKV_ELEM_Q8_0] = 8};
    return numbers[elem];
}

static size_t logits_bytes(const fkv_session *s) { return (size_t)s->e->model->h.n_vocab * sizeof *s->logits; }

/* What the head of this session's file has in any case. */
static struct fkv_form_head head_of(const fkv_session *s)
{
    const struct fkv_hparams *h = &s->e->model->h;
    struct fkv_form_head head = {.version = FKV_FORM_VERSION,
                                 .head_bytes = sizeof head,
                                 .n_layer = (uint32_t)h->n_layer,
                                 .n_kv_head = (uint32_t)h->n_kv_head,
                                 .d_head = (uint32_t)h->d_head,
                                 .k_type = type_number(s->shape.k_type),
                                 .v_type = type_number(s->shape.v_type),
                                 .n_sections = FKV_FORM_SECTIONS};
    memcpy(head.magic, magic, sizeof magic);
    return head;
}

/* XXH3 of tag and ids. */
static fkv_status make_key(const struct fkv_form *form, const int32_t *ids, uint8_t key[16])
{
    const size_t n = form->head.end * sizeof *ids;
    uint8_t *all = malloc(sizeof form->head.tag + n);
    if (!all) return FKV_ERROR_MEMORY;
    memcpy(all, form->head.tag, sizeof form->head.tag);
    memcpy(all + sizeof form->head.tag, ids, n);
    fkv_checksum128(all, sizeof form->head.tag + n, key);
    free(all);
    return FKV_OK;
}

void fkv_form_free(struct fkv_form *form)
{
    free(form->settings);
    free(form->turn);
    *form = (struct fkv_form){.settings = NULL};
}

/* ---- out --------------------------------------------------------------------------------------------- */

static void get_parts(const struct fkv_form *form, struct fkv_part part[FKV_N_PARTS])
{
    for (int i = 0; i < FKV_N_PARTS; i++) {
        const struct fkv_form_section *c = &form->section[PARTS + i];
        part[i] = (struct fkv_part){c->at, c->bytes, c->sum};
    }
}

/* Places the sections, whose sizes are set. */
static void place(struct fkv_form *form)
{
    uint64_t at = DATA_AT;
    for (int i = 0; i < FKV_FORM_SECTIONS; i++) {
        struct fkv_form_section *c = &form->section[i];
        c->kind = kinds[i];
        c->at = at;
        at += c->bytes;
    }
    form->head.bytes = at;
}

fkv_status fkv_form_describe(struct fkv_form *form, fkv_session *s, const char *label, uint64_t created)
{
    struct fkv_part part[FKV_N_PARTS];
    *form = (struct fkv_form){.head = head_of(s)};
    form->settings = strlen(label) < FKV_LABEL_BYTES ? fkv_settings_text(s, label) : NULL;
    if (!form->settings)
        return fkv_fail(&s->error, FKV_ERROR_ARGUMENT, "a session's label: expected at most %d bytes of UTF-8",
                        FKV_LABEL_BYTES - 1);
    form->section[SETTINGS].bytes = strlen(form->settings);
    if (form->section[SETTINGS].bytes > FKV_FORM_SETTINGS_BYTES)
        return fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED, "a session of %zu pruned turns: too many to be saved",
                        s->q->n_turns);
    form->head.end = (uint32_t)s->q->n_seen;
    form->head.created = created;
    form->section[IDS].bytes = s->q->n_seen * sizeof *s->q->ids;
    fkv_sequence_measure(s->q, part);
    for (int i = 0; i < FKV_N_PARTS; i++) form->section[PARTS + i].bytes = part[i].bytes;
    form->section[LOGITS].bytes = s->have_logits ? logits_bytes(s) : 0;
    form->head.flags = (part[FKV_PART_POSITIONS].bytes ? 0 : FKV_FORM_WHOLE) | (s->q->n_turns ? FKV_FORM_PRUNED : 0) |
                       (s->have_logits ? FKV_FORM_HAS_LOGITS : 0);
    place(form);
    fkv_checksum128(form->settings, (size_t)form->section[SETTINGS].bytes, form->head.tag);
    const fkv_status status = make_key(form, s->q->ids, form->head.key);
    return status == FKV_OK ? FKV_OK : fkv_fail(&s->error, status, "no memory to save a session");
}

static bool put(struct fkv_form_section *c, const struct fkv_blob *to, const void *from)
{
    c->sum = fkv_checksum64(from, (size_t)c->bytes);
    return fkv_blob_write(to, c->at, from, (size_t)c->bytes);
}

fkv_status fkv_form_write(struct fkv_form *form, fkv_session *s, const struct fkv_blob *to)
{
    struct fkv_part part[FKV_N_PARTS];
    get_parts(form, part);
    const fkv_status status = fkv_sequence_write(s->q, to, part, &s->error);
    if (status != FKV_OK) return status;
    for (int i = 0; i < FKV_N_PARTS; i++) form->section[PARTS + i].sum = part[i].sum;
    bool ok = put(&form->section[SETTINGS], to, form->settings) && put(&form->section[IDS], to, s->q->ids) &&
              put(&form->section[LOGITS], to, s->logits);
    form->head.sum = head_sum(&form->head);
    const uint64_t sum = fkv_checksum64(form->section, TABLE_BYTES);
    ok = ok && fkv_blob_write(to, TABLE_AT, form->section, TABLE_BYTES) &&
         fkv_blob_write(to, TABLE_AT + TABLE_BYTES, &sum, sizeof sum) &&
         fkv_blob_write(to, 0, &form->head, sizeof form->head);
    return ok ? FKV_OK : fkv_fail(&s->error, FKV_ERROR_IO, "cannot write a session: %s", strerror(errno));
}

/* ---- in ---------------------------------------------------------------------------------------------- */

static fkv_status check_head(const struct fkv_form_head *h, fkv_session *s, uint64_t bytes)
{
    const struct fkv_form_head want = head_of(s);
    if (memcmp(h->magic, magic, sizeof magic) != 0) return malformed(s, "it does not begin like one");
    if (h->version != FKV_FORM_VERSION && h->version != 0)
        return fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED, "a saved session: expected version %d, found %u",
                        FKV_FORM_VERSION, h->version);
    if (h->sum != head_sum(h) || h->version == 0 || h->head_bytes != sizeof *h || h->n_sections != FKV_FORM_SECTIONS ||
        h->first || h->zero)
        return malformed(s, "its head is damaged");
    if (h->bytes != bytes)
        return fkv_fail(&s->error, FKV_ERROR_FORMAT, "a saved session: expected %llu bytes, found %llu",
                        (unsigned long long)h->bytes, (unsigned long long)bytes);
    if (h->n_layer != want.n_layer || h->n_kv_head != want.n_kv_head || h->d_head != want.d_head)
        return fkv_fail(&s->error, FKV_ERROR_UNSUPPORTED,
                        "a saved session: it is another model's: expected %u layers of %u KV heads of %u, found %u of "
                        "%u of %u",
                        want.n_layer, want.n_kv_head, want.d_head, h->n_layer, h->n_kv_head, h->d_head);
    if (h->end > (uint32_t)s->shape.params.n_ctx)
        return fkv_fail(&s->error, FKV_ERROR_CONTEXT, "a saved session: %u tokens do not fit the context of %d", h->end,
                        s->shape.params.n_ctx);
    return FKV_OK;
}

/* Are the sections where they have to be? */
static bool check_sections(const struct fkv_form *form, const fkv_session *s)
{
    uint64_t at = DATA_AT;
    for (int i = 0; i < FKV_FORM_SECTIONS; i++) {
        const struct fkv_form_section *c = &form->section[i];
        if (c->kind != kinds[i] || c->zero || c->at != at || c->bytes > form->head.bytes - at) return false;
        at += c->bytes;
    }
    return at == form->head.bytes && form->section[SETTINGS].bytes <= FKV_FORM_SETTINGS_BYTES &&
           form->section[IDS].bytes == form->head.end * sizeof(int32_t) &&
           form->section[LOGITS].bytes == (form->head.flags & FKV_FORM_HAS_LOGITS ? logits_bytes(s) : 0);
}

static fkv_status get(const struct fkv_form_section *c, fkv_session *s, const struct fkv_blob *from, void *to)
{
    if (!fkv_blob_read(from, c->at, to, (size_t)c->bytes)) return not_read(s);
    if (fkv_checksum64(to, (size_t)c->bytes) != c->sum) return malformed(s, "it is damaged: another checksum");
    return FKV_OK;
}

static fkv_status read_settings(struct fkv_form *form, fkv_session *s, const struct fkv_blob *from)
{
    uint8_t tag[16];
    const size_t n = (size_t)form->section[SETTINGS].bytes;
    form->settings = calloc(n + 1, 1);
    if (!form->settings) return fkv_fail(&s->error, FKV_ERROR_MEMORY, "no memory to read a session");
    fkv_status status = get(&form->section[SETTINGS], s, from, form->settings);
    if (status != FKV_OK) return status;
    fkv_checksum128(form->settings, n, tag);
    if (memcmp(tag, form->head.tag, sizeof tag) != 0) return malformed(s, "its settings are not its tag's");
    status = fkv_settings_read(form, s);
    const struct fkv_form_head want = head_of(s);
    if (status == FKV_OK && (form->head.k_type != want.k_type || form->head.v_type != want.v_type ||
                             (form->n_turns > 0) != ((form->head.flags & FKV_FORM_PRUNED) > 0)))
        return malformed(s, "its settings are not its head's");
    return status;
}

fkv_status fkv_form_open(struct fkv_form *form, fkv_session *s, const struct fkv_blob *from)
{
    uint64_t sum;
    *form = (struct fkv_form){.settings = NULL};
    if (from->bytes < sizeof form->head) return malformed(s, "it is too short to be one");
    if (!fkv_blob_read(from, 0, &form->head, sizeof form->head)) return not_read(s);
    const fkv_status status = check_head(&form->head, s, from->bytes);
    if (status != FKV_OK) return status;
    if (!fkv_blob_read(from, TABLE_AT, form->section, TABLE_BYTES) ||
        !fkv_blob_read(from, TABLE_AT + TABLE_BYTES, &sum, sizeof sum))
        return not_read(s);
    if (sum != fkv_checksum64(form->section, TABLE_BYTES) || !check_sections(form, s))
        return malformed(s, "its table of sections is damaged");
    return read_settings(form, s, from);
}

fkv_status fkv_form_ids(const struct fkv_form *form, fkv_session *s, const struct fkv_blob *from, int32_t *ids)
{
    const int n_vocab = s->e->model->h.n_vocab;
    uint8_t key[16];
    fkv_status status = get(&form->section[IDS], s, from, ids);
    for (uint32_t i = 0; i < form->head.end && status == FKV_OK; i++)
        if (ids[i] < 0 || ids[i] >= n_vocab)
            status = fkv_fail(&s->error, FKV_ERROR_FORMAT,
                              "a saved session, token %u: expected an id below %d, found %d", i, n_vocab, ids[i]);
    if (status == FKV_OK && (status = make_key(form, ids, key)) != FKV_OK)
        return fkv_fail(&s->error, status, "no memory to read a session");
    if (status == FKV_OK && memcmp(key, form->head.key, sizeof key) != 0)
        status = malformed(s, "its ids are not its key's");
    return status;
}

static fkv_status take_turns(const struct fkv_form *form, fkv_session *s)
{
    fkv_status status = FKV_OK;
    for (size_t i = 0; i < form->n_turns && status == FKV_OK; i++) {
        const struct fkv_sequence_turn *t = &form->turn[i];
        status = fkv_session_reserve_turn(s);
        if (status == FKV_OK) fkv_sequence_add_turn(s->q, t->first, t->end, t->policy);
    }
    return status;
}

fkv_status fkv_form_read(const struct fkv_form *form, fkv_session *s, const struct fkv_blob *from)
{
    struct fkv_part part[FKV_N_PARTS];
    get_parts(form, part);
    fkv_status status = fkv_form_ids(form, s, from, s->q->ids);
    if (status == FKV_OK) status = fkv_sequence_read(s->q, form->head.end, from, part, &s->error);
    if (status == FKV_OK) status = get(&form->section[LOGITS], s, from, s->logits);
    if (status == FKV_OK) status = take_turns(form, s);
    if (status != FKV_OK) return status;
    s->q->n_seen = form->head.end;
    s->have_logits = form->section[LOGITS].bytes > 0;
    return FKV_OK;
}
