/* SPDX-License-Identifier: Apache-2.0 */
/* A scenario as a whole: its lines, one after the other, and what they come to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"
#include "rehearsal/grammar.h"

#define AFTER_LAST_NS (15 * 60 * O3_NS_PER_S)

void *o3_grammar_grow(struct o3_grammar *g, void *array, size_t *n, size_t size) {
    char *p = reallocarray(array, *n + 1, size);
    if (!p) {
        (void)o3_err_set(g->e, O3_E_NOMEM, "no memory for the scenario");
        return NULL;
    }
    memset(p + *n * size, 0, size);
    (*n)++;
    return p;
}

int o3_grammar_time(struct o3_grammar *g, int64_t *ret_ns) {
    const char *what = "a time like \"2m\" or \"18h20\"";
    int64_t ns;
    int r = o3_words_take_time(&g->w, what, &ns);
    if (r < 0) return r;
    if (ns <= O3_SCENARIO_TIME_MAX_NS) {
        *ret_ns = ns;
        return 0;
    }
    g->w.next--;
    return o3_words_expected(&g->w, "a time within ten years");
}

bool o3_grammar_same_model(const char *asked, const char *is) {
    static const char TAG[] = ":latest";
    size_t n = strlen(asked);
    return !strncmp(asked, is, n) && (!is[n] || (!strcmp(is + n, TAG) && !strchr(asked, ':')));
}

static int take_run(struct o3_grammar *g) {
    if (!o3_words_take(&g->w, "for")) return o3_words_expected(&g->w, "\"for\"");
    if (g->s->run_line)
        return o3_err_at(g->e, O3_E_PARSE, g->number, g->w.col[0], "expected one \"run for\", found another in line %u",
                         g->s->run_line);
    int r = o3_grammar_time(g, &g->s->duration_ns);
    if (r < 0) return r;
    if (g->s->duration_ns == 0) {
        g->w.next--;
        return o3_words_expected(&g->w, "a duration above 0");
    }
    g->s->run_line = g->number;
    return o3_words_end(&g->w);
}

static const struct {
    const char *word;
    int (*take)(struct o3_grammar *g);
} STATEMENTS[] = {
    {"world", o3_grammar_world}, {"load", o3_grammar_load}, {"users", o3_grammar_users}, {"config", o3_grammar_config},
    {"at", o3_grammar_at},       {"by", o3_grammar_by},     {"never", o3_grammar_never}, {"run", take_run},
};
enum { N_STATEMENTS = sizeof STATEMENTS / sizeof *STATEMENTS };

static int take_statement(struct o3_grammar *g) {
    if (!o3_words_peek(&g->w)) return 0;
    const char *names[N_STATEMENTS];
    for (size_t i = 0; i < N_STATEMENTS; i++) {
        names[i] = STATEMENTS[i].word;
        if (o3_words_take(&g->w, names[i])) return STATEMENTS[i].take(g);
    }
    return o3_words_unknown(&g->w, "world, load, users, config, at, by, never or run", names, N_STATEMENTS);
}

/* The column of the first byte that no text holds, 0 when there is none. */
static uint32_t bad_column(const char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)p[i];
        size_t len = o3_utf8_sequence(p + i, n - i);
        if (!len || (c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) return (uint32_t)i + 1;
        i += len;
    }
    return 0;
}

static int refuse_byte(const struct o3_grammar *g, uint32_t col) {
    unsigned char c = (unsigned char)g->line[col - 1];
    return o3_err_at(g->e, O3_E_PARSE, g->number, col, "expected text in UTF-8, found the %s 0x%02x",
                     c < 0x80 ? "control character" : "byte", c);
}

static int take_line(struct o3_grammar *g) {
    uint32_t bad = bad_column(g->line, g->n);
    if (bad) return refuse_byte(g, bad);
    int r = o3_words_split(&g->w, g->line, g->n, g->number, g->e);
    return r < 0 ? r : take_statement(g);
}

static int take_lines(struct o3_grammar *g, const char *text, size_t n) {
    static const char BYTE_ORDER_MARK[] = "\xef\xbb\xbf"; /* which some editors put before the first line */
    if (n >= 3 && !memcmp(text, BYTE_ORDER_MARK, 3)) {
        text += 3;
        n -= 3;
    }
    for (size_t at = 0; at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        g->line = text + at;
        g->n = len;
        if (++g->number > O3_SCENARIO_LINES_MAX)
            return o3_err_at(g->e, O3_E_LIMIT, g->number, 1, "expected at most %d lines", O3_SCENARIO_LINES_MAX);
        int r = take_line(g);
        if (r < 0) return r;
        at += len + 1;
    }
    return 0;
}

/* ---- what needs all lines ---- */

struct latest {
    int64_t ns;
    uint32_t line;
};

static void take_latest(struct latest *l, int64_t ns, uint32_t line) {
    if (ns == INT64_MAX || ns <= l->ns) return;
    *l = (struct latest){ns, line};
}

static int settle_duration(struct o3_grammar *g) {
    struct o3_scenario *s = g->s;
    struct latest l = {0};
    for (size_t i = 0; i < s->n_events; i++)
        take_latest(&l, s->events[i].at_ns, s->events[i].number);
    for (size_t i = 0; i < s->n_faults; i++)
        take_latest(&l, s->faults[i].at_ns, s->faults[i].line);
    for (size_t i = 0; i < s->n_expects; i++) {
        take_latest(&l, s->expects[i].from_ns, s->expects[i].line);
        if (s->expects[i].kind != O3_EXPECT_NEVER) take_latest(&l, s->expects[i].to_ns, s->expects[i].line);
    }
    if (!s->run_line) {
        s->duration_ns = l.ns + AFTER_LAST_NS;
        return 0;
    }
    if (l.ns <= s->duration_ns) return 0;
    return o3_err_at(g->e, O3_E_PARSE, l.line, 1,
                     "expected a time before the end of the run in line %u, found a later one", s->run_line);
}

static void sort_faults(struct o3_scenario *s) {
    for (size_t i = 1; i < s->n_faults; i++) {
        struct o3_scenario_fault f = s->faults[i];
        size_t k = i;
        for (; k > 0 && s->faults[k - 1].at_ns > f.at_ns; k--)
            s->faults[k] = s->faults[k - 1];
        s->faults[k] = f;
    }
}

static int take_all(struct o3_grammar *g, const char *text, size_t n) {
    if (n > O3_SCENARIO_FILE_MAX)
        return o3_err_set(g->e, O3_E_LIMIT, "expected at most %zu bytes, found %zu", O3_SCENARIO_FILE_MAX, n);
    int r = take_lines(g, text, n);
    if (r == 0) r = o3_grammar_check_config(g);
    if (r == 0) r = settle_duration(g);
    sort_faults(g->s);
    return r;
}

int o3_scenario_parse(const char *name, const char *text, size_t n, struct o3_scenario **ret, struct o3_err *e) {
    struct o3_scenario *s = calloc(1, sizeof *s);
    struct o3_grammar *g = calloc(1, sizeof *g);
    int r = s && g ? 0 : o3_err_set(e, O3_E_NOMEM, "no memory for the scenario");
    if (r == 0) {
        (void)o3_str_copy(s->name, sizeof s->name, name);
        s->world.noise_cv = -1;
        g->s = s;
        g->e = e;
        r = take_all(g, text, n);
    }
    free(g);
    if (r < 0) {
        o3_scenario_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void o3_scenario_free(struct o3_scenario *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n_events; i++)
        free(s->events[i].text);
    for (size_t i = 0; i < s->n_config; i++) {
        free(s->config[i].name);
        free(s->config[i].value);
    }
    free(s->events);
    free(s->faults);
    free(s->expects);
    free(s->config);
    free(s);
}

/* ---- the world ---- */

/* What the world refuses, it refuses without knowing our line. */
static int name_place(int r, uint32_t line, uint32_t col, struct o3_err *e) {
    if (r < 0 && e) {
        e->line = line;
        if (col) e->col = col;
    }
    return r;
}

static int check_expect(const struct o3_scenario_expect *x, const struct o3_world *w, struct o3_err *e) {
    return x->model[0] ? name_place(o3_world_check_model(w, x->model, e), x->line, x->model_col, e) : 0;
}

int o3_scenario_fill_world(const struct o3_scenario *s, struct o3_world *w, struct o3_err *e) {
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_events; i++)
        r = name_place(o3_world_add_event(w, s->events[i].text, e), s->events[i].number, 0, e);
    for (size_t i = 0; r == 0 && i < s->n_users; i++)
        r = name_place(o3_world_add_users(w, &s->users[i], e), s->users_lines[i], s->users_cols[i], e);
    for (size_t i = 0; r == 0 && i < s->n_loads; i++)
        r = name_place(o3_world_preload(w, s->loads[i].model, s->loads[i].num_ctx, 0, e), s->loads[i].line,
                       s->loads[i].col, e);
    for (size_t i = 0; r == 0 && i < s->n_expects; i++)
        r = check_expect(&s->expects[i], w, e);
    return r;
}
