/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about what must, or must not, be seen: "by TIME expect ...", "never expect ...", "at TIME expect METRIC ...".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/metrics.h"
#include "o3/text.h"
#include "rehearsal/grammar.h"

static struct o3_scenario_expect *add(struct o3_grammar *g, enum o3_expect_kind kind) {
    struct o3_scenario *s = g->s;
    struct o3_scenario_expect *p = o3_grammar_grow(g, s->expects, &s->n_expects, sizeof *p);
    if (!p) return NULL;
    s->expects = p;
    p += s->n_expects - 1;
    p->kind = kind;
    p->line = g->number;
    size_t start = g->w.col[0] - 1, last = g->w.n - 1;
    size_t end = g->w.col[last] - 1 + strlen(g->w.text[last]);
    (void)o3_str_copy_n(p->text, sizeof p->text, g->line + start, end - start);
    return p;
}

/* ---- events ---- */

static const struct {
    const char *word;
    enum o3_event_id event;
} SHORT_NAMES[] = {
    {"confirmed", O3_EV_DRIFT_CONFIRMED}, {"suspected", O3_EV_DRIFT_SUSPECT},  {"recovered", O3_EV_DRIFT_RECOVERED},
    {"went_away", O3_EV_DRIFT_WENT_AWAY}, {"incident", O3_EV_INCIDENT_OPENED}, /* or changed: the cause may come with
                                                                                  further members */
};
enum { N_SHORT = sizeof SHORT_NAMES / sizeof *SHORT_NAMES };

static int take_event(struct o3_grammar *g, struct o3_scenario_expect *x) {
    const char *names[N_SHORT + O3_EVENT_COUNT];
    for (size_t i = 0; i < N_SHORT; i++) {
        names[i] = SHORT_NAMES[i].word;
        if (!o3_words_take(&g->w, names[i])) continue;
        x->event = x->also = SHORT_NAMES[i].event;
        if (x->event == O3_EV_INCIDENT_OPENED) x->also = O3_EV_INCIDENT_CHANGED;
        return 0;
    }
    for (size_t i = 0; i < O3_EVENT_COUNT; i++) {
        names[N_SHORT + i] = o3_event_row((enum o3_event_id)i)->name;
        if (!o3_words_take(&g->w, names[N_SHORT + i])) continue;
        x->event = x->also = (enum o3_event_id)i;
        return 0;
    }
    return o3_words_unknown(&g->w, "confirmed, suspected, recovered, went_away, incident or the name of an event",
                            names, N_SHORT + O3_EVENT_COUNT);
}

/* Whether the event carries the field, by its table. */
static bool has_field(enum o3_event_id ev, const char *field) {
    const char *p = o3_event_row(ev)->fields;
    size_t n = strlen(field);
    for (; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (!strncmp(p, field, n) && (p[n] == ' ' || !p[n])) return true;
    return false;
}

static int refuse_field(struct o3_grammar *g, enum o3_event_id ev, const char *field) {
    return o3_err_at(g->e, O3_E_PARSE, g->number, g->w.col[g->w.next], "the event %s has no %s (its fields: %s)",
                     o3_event_row(ev)->name, field, o3_event_row(ev)->fields[0] ? o3_event_row(ev)->fields : "none");
}

/* A word "NAME=VALUE": the value, with the word taken; NULL when the next word is another. */
static const char *value_of(struct o3_grammar *g, const char *prefix) {
    const char *p = o3_words_peek(&g->w);
    size_t n = strlen(prefix);
    if (!p || strncmp(p, prefix, n) != 0 || !p[n]) return NULL;
    return p + n;
}

/* A value of a closed label: `prefix` is its name with "=". */
static int take_label(struct o3_grammar *g, enum o3_metric metric, const char *prefix, const char *value,
                      char out[32]) {
    char label[16];
    size_t n, len = strlen(prefix);
    (void)o3_str_copy_n(label, sizeof label, prefix, len - 1);
    const char *const *names = o3_label_values(metric, label, &n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(value, names[i])) {
            g->w.next++;
            (void)o3_str_copy(out, 32, value);
            return 0;
        }
    char with_name[64][48], what[64];
    const char *all[64];
    for (size_t i = 0; i < n && i < 64; i++) {
        all[i] = with_name[i];
        snprintf(with_name[i], sizeof with_name[i], "%s%.31s", prefix, names[i]);
    }
    snprintf(what, sizeof what, "a %s like \"%s%.31s\"", label, prefix, names[0]);
    return o3_words_unknown(&g->w, what, all, n < 64 ? n : 64);
}

static int take_text(struct o3_grammar *g, char *out, size_t size, const char *value, const char *what) {
    if (!o3_str_copy(out, size, value)) return o3_words_expected(&g->w, what);
    g->w.next++;
    return 0;
}

/* One of signal=, cause=, model=, reason~; 1: none of them. */
static int take_filter(struct o3_grammar *g, struct o3_scenario_expect *x) {
    const char *value;
    if ((value = value_of(g, "signal=")))
        return has_field(x->event, "signal") ? take_label(g, O3_M_DRIFT_DETECTED, "signal=", value, x->signal)
                                             : refuse_field(g, x->event, "signal");
    if ((value = value_of(g, "cause=")))
        return has_field(x->event, "cause") ? take_label(g, O3_M_DRIFT_CAUSE_INFO, "cause=", value, x->cause)
                                            : refuse_field(g, x->event, "cause");
    x->model_col = g->w.col[g->w.next];
    if ((value = value_of(g, "model=")))
        return has_field(x->event, "model")
                   ? take_text(g, x->model, sizeof x->model, value, "a shorter name of a model")
                   : refuse_field(g, x->event, "model");
    if ((value = value_of(g, "reason~")))
        return has_field(x->event, "reason") ? take_text(g, x->reason, sizeof x->reason, value, "a shorter text")
                                             : refuse_field(g, x->event, "reason");
    return 1;
}

/* WHAT: the event, its direction, its filters. */
static int take_what(struct o3_grammar *g, struct o3_scenario_expect *x) {
    int r = take_event(g, x);
    if (r < 0) return r;
    if (x->event == O3_EV_DRIFT_CONFIRMED || x->event == O3_EV_DRIFT_SUSPECT) {
        if (o3_words_take(&g->w, "slower"))
            x->direction = -1;
        else if (o3_words_take(&g->w, "faster"))
            x->direction = 1;
    }
    while (r == 0 && o3_words_peek(&g->w))
        r = take_filter(g, x);
    return r < 0 ? r : 0;
}

static const char *filters_of(const struct o3_scenario_expect *x) {
    bool has_direction = x->event == O3_EV_DRIFT_CONFIRMED || x->event == O3_EV_DRIFT_SUSPECT;
    if (has_direction) return "slower, faster, signal=, model=";
    return has_field(x->event, "cause") ? "cause=, model=" : "signal=, model=, reason~";
}

static int expected_rest(const struct o3_grammar *g, const struct o3_scenario_expect *x, const char *more) {
    char what[96];
    (void)o3_str_copy(what, sizeof what, filters_of(x));
    (void)o3_str_copy(what + strlen(what), sizeof what - strlen(what), more);
    return o3_words_expected(&g->w, what);
}

int o3_grammar_by(struct o3_grammar *g) {
    int64_t to_ns;
    int r = o3_grammar_time(g, &to_ns);
    if (r < 0) return r;
    if (to_ns < g->change_ns) {
        g->w.next--;
        return o3_words_expected(&g->w, "a time after that of the \"at\" line above");
    }
    if (!o3_words_take(&g->w, "expect")) return o3_words_expected(&g->w, "\"expect\"");
    struct o3_scenario_expect *x = add(g, O3_EXPECT_BY);
    if (!x) return O3_E_NOMEM;
    x->from_ns = g->change_ns;
    x->to_ns = to_ns;
    r = take_what(g, x);
    return r < 0 || !o3_words_peek(&g->w) ? r : expected_rest(g, x, " or the end");
}

/* ---- never ---- */

static int take_while(struct o3_grammar *g, struct o3_scenario_expect *x) {
    static const char *const STATES[] = {"unstable", "down", "busy", "stuck"};
    static const enum o3_expect_while VALUES[] = {O3_WHILE_UNSTABLE, O3_WHILE_DOWN, O3_WHILE_BUSY, O3_WHILE_STUCK};
    for (size_t i = 0; i < 4; i++)
        if (o3_words_take(&g->w, STATES[i])) {
            x->during = VALUES[i];
            return 0;
        }
    return o3_words_unknown(&g->w, "unstable, down, busy or stuck", STATES, 4);
}

static int take_before(struct o3_grammar *g, struct o3_scenario_expect *x) {
    int r = o3_grammar_time(g, &x->to_ns);
    if (r < 0 || x->to_ns > x->from_ns) return r;
    g->w.next--;
    return o3_words_expected(&g->w, "a later time");
}

int o3_grammar_never(struct o3_grammar *g) {
    if (!o3_words_take(&g->w, "expect")) return o3_words_expected(&g->w, "\"expect\"");
    struct o3_scenario_expect *x = add(g, O3_EXPECT_NEVER);
    if (!x) return O3_E_NOMEM;
    x->to_ns = INT64_MAX;
    int r = take_what(g, x);
    if (r == 0 && o3_words_take(&g->w, "while")) r = take_while(g, x);
    if (r == 0 && o3_words_take(&g->w, "after")) r = o3_grammar_time(g, &x->from_ns);
    if (r == 0 && o3_words_take(&g->w, "before")) r = take_before(g, x);
    return r < 0 || !o3_words_peek(&g->w) ? r : expected_rest(g, x, ", while, after, before or the end");
}

/* ---- metrics ---- */

static bool is_name(const char *word, size_t n, const struct o3_metric_row *row) {
    static const char *const PARTS[] = {"_count", "_sum", "_bucket"};
    size_t len = strlen(row->name);
    if (n == len && !memcmp(word, row->name, n)) return true;
    for (size_t i = 0; row->kind == O3_HISTOGRAM && i < 3; i++)
        if (n == len + strlen(PARTS[i]) && !memcmp(word, row->name, len) && !memcmp(word + len, PARTS[i], n - len))
            return true;
    return false;
}

static int check_label(const struct o3_grammar *g, const struct o3_metric_row *row, const char *name, size_t n) {
    char all[128] = "";
    bool is_known = row->kind == O3_HISTOGRAM && n == 2 && !memcmp(name, "le", 2);
    for (int i = 0; i < row->n_labels; i++) {
        is_known |= strlen(row->labels[i]) == n && !memcmp(row->labels[i], name, n);
        size_t used = strlen(all);
        (void)o3_str_copy(all + used, sizeof all - used, i ? ", " : "");
        used = strlen(all);
        (void)o3_str_copy(all + used, sizeof all - used, row->labels[i]);
    }
    if (is_known) return 0;
    return o3_err_at(g->e, O3_E_PARSE, g->number, g->w.col[g->w.next],
                     "the metric %s has no label \"%.*s\" (its labels: %s)", row->name, (int)(n > 64 ? 64 : n), name,
                     all[0] ? all : "none");
}

/* What follows the name: {label="value",...}, of labels that the metric has; else a misspelt one would never be seen,
 * and an expectation of its absence always met. */
static int check_labels(const struct o3_grammar *g, const struct o3_metric_row *row, const char *p) {
    const char *form = "labels like {model=\"sim-small:latest\",signal=\"ttft\"} without blanks";
    if (!*p) return 0;
    do {
        const char *name = ++p; /* after the brace or the comma */
        p += strcspn(p, "=,}");
        if (*p != '=' || p[1] != '"') return o3_words_expected(&g->w, form);
        int r = check_label(g, row, name, (size_t)(p - name));
        if (r < 0) return r;
        const char *value = p += 2;
        for (; *p && *p != '"'; p++)
            if (*p == '\\' && p[1]) p++;
        if (*p != '"') return o3_words_expected(&g->w, form);
        if (!strncmp(name, "model=", 6) && !memchr(value, ':', (size_t)(p - value)))
            return o3_words_expected(&g->w, "a model with its tag, like {model=\"sim-small:latest\"}");
        p++;
    } while (*p == ',');
    return *p == '}' && !p[1] ? 0 : o3_words_expected(&g->w, form);
}

/* "name" or "name{label="value",...}". */
static int take_metric(struct o3_grammar *g, struct o3_scenario_expect *x) {
    const char *what = "a metric like \"o3_ollama_up\"", *p = o3_words_peek(&g->w);
    if (!p) return o3_words_expected(&g->w, what);
    size_t n = strcspn(p, "{");
    const char *names[O3_METRIC_COUNT];
    const struct o3_metric_row *known = NULL;
    for (size_t i = 0; i < O3_METRIC_COUNT; i++) {
        const struct o3_metric_row *row = o3_metric_row((enum o3_metric)i);
        names[i] = row->name;
        if (is_name(p, n, row)) known = row;
    }
    if (!known) return o3_words_unknown(&g->w, what, names, O3_METRIC_COUNT);
    int r = check_labels(g, known, p + n);
    return r < 0 ? r : take_text(g, x->metric, sizeof x->metric, p, what);
}

static int take_op(struct o3_grammar *g, struct o3_scenario_expect *x) {
    static const char *const OPS[] = {"=", "<", ">", "<=", ">=", "!="};
    for (size_t i = 0; i < 6; i++)
        if (o3_words_take(&g->w, OPS[i])) {
            (void)o3_str_copy(x->op, sizeof x->op, OPS[i]);
            return o3_words_take_double(&g->w, "a number", -1e300, 1e300, &x->number);
        }
    return o3_words_take(&g->w, "absent") ? 0 : o3_words_expected(&g->w, "=, <, >, <=, >=, != or absent");
}

int o3_grammar_expect_metric(struct o3_grammar *g, int64_t at_ns) {
    struct o3_scenario_expect *x = add(g, O3_EXPECT_AT);
    if (!x) return O3_E_NOMEM;
    x->from_ns = x->to_ns = at_ns;
    int r = take_metric(g, x);
    if (r == 0) r = take_op(g, x);
    return r < 0 ? r : o3_words_end(&g->w);
}
