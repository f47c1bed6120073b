#include "eval/haystack.h"

#include <stdlib.h>
#include <string.h>

static const char *const noise[] = {"The river is wide.", "The hills are quiet.", "A cart rolls by.", "The wind turns.",
                                    "Off it goes and home again."};
enum { N_NOISE = sizeof noise / sizeof *noise };

void eval_haystack_depths(struct eval_haystack *h, struct eval_maker *maker, int n)
{
    enum { STEPS = 1000 };
    h->n = n;
    h->depth[0] = maker->depth;
    for (int i = 1; i < n; i++) {
        const double depth = (double)eval_random_below(&maker->random, STEPS + 1) / STEPS;
        int at = i;
        for (; at > 0 && h->depth[at - 1] > depth; at--) h->depth[at] = h->depth[at - 1];
        h->depth[at] = depth;
    }
}

/* Bytes of the first `words` words of a sentence; *found: how many it has, at most `words`. */
static size_t cut(const char *sentence, int words, int *found)
{
    size_t n = 0;
    *found = 0;
    while (sentence[n] && *found < words) {
        n += strcspn(sentence + n, " ");
        if (++*found < words && sentence[n]) n++;
    }
    return n;
}

struct writer {
    struct eval_haystack *h;
    struct eval_text *out;
    int done, units, next; /* units written and in all; the next needle */
};

static void separate(struct writer *w)
{
    const char *gap = w->h->hay == EVAL_HAY_NEEDLES ? "\n" : " ";
    if (w->out->n && w->out->s[w->out->n - 1] != '\n') eval_text_add(w->out, gap, 1);
}

/* The needles whose place has come. */
static void hide(struct writer *w)
{
    struct eval_haystack *h = w->h;
    for (; w->next < h->n && (w->done >= w->units || w->done >= h->depth[w->next] * w->units); w->next++) {
        separate(w);
        eval_text_add(w->out, h->needle[w->next].s ? h->needle[w->next].s : "", h->needle[w->next].n);
        w->out->failed |= h->needle[w->next].failed;
    }
}

static void write_text(struct writer *w, struct eval_maker *maker)
{
    const struct eval_list *sentences = &maker->sources->sentences;
    int *order = malloc((size_t)sentences->n * sizeof *order), words;
    if (!order) {
        w->out->failed = true;
        return;
    }
    eval_random_order(&maker->random, order, sentences->n);
    for (int i = 0; w->done < w->units; i = (i + 1) % sentences->n) {
        const char *sentence = sentences->items[order[i]];
        hide(w);
        separate(w);
        eval_text_add(w->out, sentence, cut(sentence, w->units - w->done, &words));
        w->done += words;
    }
    free(order);
}

void eval_haystack_write(struct eval_haystack *h, struct eval_maker *maker, int units, struct eval_text *out)
{
    struct writer w = {h, out, 0, units, 0};
    if (h->hay == EVAL_HAY_TEXT) write_text(&w, maker);
    while (w.done < units) {
        hide(&w);
        separate(&w);
        if (h->hay == EVAL_HAY_NOISE)
            eval_text_print(out, "%s", noise[w.done % N_NOISE]);
        else
            h->other(h->user, maker, out);
        w.done++;
    }
    hide(&w);
    for (int i = 0; i < h->n; i++) free(h->needle[i].s);
}
