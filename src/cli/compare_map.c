#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/console.h"
#include "cli/markup.h"
#include "cli/utf8.h"

/* Rows of equal length, each two strips of cells, with its first position and its first words. */
enum {
    ROWS = 32,
    CELLS = 96, /* of a row, a token each or more */
    CELL = 6,   /* pixels */
    CELLS_WIDTH = CELLS * CELL,
    STRIP = 66, /* where strips begin */
    WORDS = STRIP + CELLS * CELL + 14,
    WIDTH = 1000,
    TOP = 104,
    ROW = 20,
    QUOTE = 46,
    ANSWER = 130, /* characters of an answer */
    PASSAGES = 2, /* dropped, that are marked and quoted */
    FAINT = 3,    /* least level of attention that is drawn: every token gets some */
};

struct map {
    FILE *out;
    const struct comparison *c;
    size_t n, per_row; /* tokens */
    int rows;
    double most; /* of `looked`, a token, of any cell */
};

/* The tokens of a cell. */
static void cell_tokens(const struct map *m, int row, int cell, size_t *from, size_t *to)
{
    const size_t first = (size_t)row * m->per_row;
    *from = first + m->per_row * (size_t)cell / CELLS;
    *to = first + m->per_row * (size_t)(cell + 1) / CELLS;
    if (*from > m->n) *from = m->n;
    if (*to > m->n) *to = m->n;
}

static double mean_of(const struct map *m, const float *x, int row, int cell)
{
    size_t from, to;
    double sum = 0;
    cell_tokens(m, row, cell, &from, &to);
    for (size_t i = from; i < to; i++) sum += (double)x[i];
    return to > from ? sum / (double)(to - from) : 0;
}

/* The question's own words get most of the attention: the third root shows the document's, too. */
static int level_of(const struct map *m, enum markup_hue hue, int row, int cell)
{
    if (hue == MARKUP_BLUE) return markup_level(mean_of(m, m->c->shares.kept, row, cell));
    return m->most > 0 ? markup_level(pow(mean_of(m, m->c->shares.looked, row, cell) / m->most, 2.0 / 3)) : 0;
}

/* All cells of one colour as one path; y, height: of the strip within a row. */
static void draw_level(const struct map *m, enum markup_hue hue, int level, int y, int height)
{
    bool any = false;
    for (int row = 0; row < m->rows; row++) {
        for (int cell = 0, end; cell < CELLS; cell = end) {
            for (end = cell; end < CELLS && level_of(m, hue, row, end) == level;) end++;
            if (end == cell) {
                end++;
                continue;
            }
            if (!any)
                fprintf(m->out, "<path stroke=\"%s\" stroke-width=\"%d\" d=\"",
                        markup_colour((char[8]){""}, hue, level), height);
            any = true;
            fprintf(m->out, "M%d %dh%d", STRIP + cell * CELL, TOP + row * ROW + y, (end - cell) * CELL);
        }
    }
    if (any) fputs("\"/>\n", m->out);
}

static void draw_words(const struct map *m)
{
    for (int row = 0; row < m->rows; row++) {
        struct eval_text quote = {0};
        const size_t from = (size_t)row * m->per_row, to = from + m->per_row < m->n ? from + m->per_row : m->n;
        const int y = TOP + row * ROW + 13;
        fprintf(m->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#666\">%s</text>", STRIP - 8, y,
                COUNT((uint64_t)from));
        compare_quote(m->c, from, to, QUOTE, &quote);
        fprintf(m->out, "<text x=\"%d\" y=\"%d\">", WORDS, y);
        if (!quote.failed) markup_text(m->out, quote.s, quote.n);
        fputs("</text>\n", m->out);
        free(quote.s);
    }
}

static void draw_legend(const struct map *m, int x, enum markup_hue hue, const char *what)
{
    fprintf(m->out, "<text x=\"%d\" y=\"74\">%s</text>", x, what);
    for (int level = 1; level <= MARKUP_LEVELS; level++) {
        const int left = x + (level - 1) * 26;
        fprintf(m->out, "<rect x=\"%d\" y=\"80\" width=\"26\" height=\"8\" fill=\"%s\"/>", left,
                markup_colour((char[8]){""}, hue, level));
    }
    fprintf(m->out, "<text x=\"%d\" y=\"88\" fill=\"#666\">%s</text>\n", x + MARKUP_LEVELS * 26 + 6,
            hue == MARKUP_BLUE ? "2 to 100 %" : "least to most");
}

static void draw_answer(const struct map *m, int y, const char *name, const char *answer)
{
    struct eval_text line = {0};
    utf8_add_line(&line, answer, strlen(answer), ANSWER);
    fprintf(m->out, "<text x=\"20\" y=\"%d\" font-weight=\"bold\">%s</text><text x=\"120\" y=\"%d\">", y, name, y);
    if (!line.failed) markup_text(m->out, line.s, line.n);
    fputs("</text>\n", m->out);
    free(line.s);
}

/* A frame around each row's part of the passage, and its words; y: where these go. */
static void draw_dropped(const struct map *m, const struct passage *passage, int y)
{
    struct eval_text quote = {0};
    const double scale = CELLS_WIDTH / (double)m->per_row;
    for (size_t from = passage->from, to; from < passage->to; from = to) {
        const size_t row = from / m->per_row, end = (row + 1) * m->per_row;
        to = end < passage->to ? end : passage->to;
        fprintf(m->out,
                "<rect x=\"%.0f\" y=\"%d\" width=\"%.0f\" height=\"18\" fill=\"none\" stroke=\"#d00\" "
                "stroke-width=\"2\"/>\n",
                STRIP - 2 + scale * (double)(from - row * m->per_row), TOP + (int)row * ROW - 1,
                4 + scale * (double)(to - from));
    }
    compare_quote(m->c, passage->from, passage->to, ANSWER, &quote);
    fprintf(m->out,
            "<text x=\"20\" y=\"%d\" fill=\"#d00\">dropped</text><text x=\"120\" y=\"%d\">%.1f %% of the attention: ",
            y, y, 100 * passage->lost);
    if (!quote.failed) markup_text(m->out, quote.s, quote.n);
    fputs("</text>\n", m->out);
    free(quote.s);
}

static void draw_head(const struct map *m)
{
    const struct compared *x = &m->c->all[1];
    const struct fkv_model_info *info = fkv_engine_info(m->c->g.engine);
    struct eval_text name = {0};
    utf8_add_line(&name, *info->name ? info->name : info->arch, strlen(*info->name ? info->name : info->arch), QUOTE);
    fputs("<text x=\"20\" y=\"26\" font-size=\"15\" font-weight=\"bold\">", m->out);
    if (!name.failed) markup_text(m->out, name.s, name.n);
    free(name.s);
    fprintf(m->out, ", %s: %s tokens, %.1f %% of full attention's KV, KL %.4f</text>\n", x->kv.policy,
            COUNT((uint64_t)m->n), x->kept.full_bytes ? 100 * (double)x->kept.bytes / (double)x->kept.full_bytes : 0,
            x->m.kl);
    fputs(
        "<text x=\"20\" y=\"48\" fill=\"#666\">Each row is a stretch of the prompt, from the position at its left and "
        "the words at its right.</text>\n",
        m->out);
    draw_legend(m, STRIP, MARKUP_ORANGE, "above: where full attention looked for its answer");
    draw_legend(m, STRIP + 480, MARKUP_BLUE, "below: share of layers and heads that kept it");
}

static struct map lay_out(FILE *out, const struct comparison *c)
{
    struct map m = {.out = out, .c = c, .n = c->request.n};
    m.per_row = (m.n + ROWS - 1) / ROWS;
    if (m.per_row < CELLS) m.per_row = CELLS;
    m.rows = (int)((m.n + m.per_row - 1) / m.per_row);
    for (int row = 0; row < m.rows; row++) {
        for (int cell = 0; cell < CELLS; cell++) {
            const double x = mean_of(&m, c->shares.looked, row, cell);
            if (x > m.most) m.most = x;
        }
    }
    return m;
}

void compare_map(FILE *out, const struct comparison *c)
{
    const struct map m = lay_out(out, c);
    struct passage passages[PASSAGES];
    const int n_dropped = c->looked ? compare_dropped(c, passages, PASSAGES) : 0, bottom = TOP + m.rows * ROW,
              height = bottom + 56 + 20 * (n_dropped > 0 ? n_dropped : 0);
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" "
            "font-size=\"12\" fill=\"#222\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
            WIDTH, height, WIDTH, height);
    draw_head(&m);
    for (int level = FAINT; level <= MARKUP_LEVELS; level++) draw_level(&m, MARKUP_ORANGE, level, 4, 6);
    for (int level = 1; level <= MARKUP_LEVELS; level++) draw_level(&m, MARKUP_BLUE, level, 11, 8);
    draw_words(&m);
    draw_answer(&m, bottom + 26, "full attention", c->all[0].m.text);
    draw_answer(&m, bottom + 46, c->all[1].kv.policy, c->all[1].m.text);
    for (int i = 0; i < n_dropped; i++) draw_dropped(&m, &passages[i], bottom + 66 + 20 * i);
    fputs("</svg>\n", out);
}
