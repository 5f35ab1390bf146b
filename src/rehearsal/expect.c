/* SPDX-License-Identifier: Apache-2.0 */
/* Expectations against what a sidecar does: each is decided once, and tells what was found instead. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"
#include "rehearsal/grammar.h"

struct o3_expectations {
    const struct o3_scenario *s;
    struct o3_expect_result *results;
    int64_t *near_ns; /* when `found` of an open BY was filled in; -1 never */
};

struct o3_expectations *o3_expectations_new(const struct o3_scenario *s) {
    struct o3_expectations *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->s = s;
    x->results = calloc(s->n_expects ? s->n_expects : 1, sizeof *x->results);
    x->near_ns = calloc(s->n_expects ? s->n_expects : 1, sizeof *x->near_ns);
    if (!x->results || !x->near_ns) {
        o3_expectations_free(x);
        return NULL;
    }
    for (size_t i = 0; i < s->n_expects; i++)
        x->near_ns[i] = -1;
    return x;
}

void o3_expectations_free(struct o3_expectations *x) {
    if (!x) return;
    free(x->results);
    free(x->near_ns);
    free(x);
}

const struct o3_expect_result *o3_expectations_result(const struct o3_expectations *x, size_t i) {
    O3_ASSERT(i < x->s->n_expects);
    return &x->results[i];
}

static void decide(struct o3_expect_result *r, bool is_met, int64_t at_ns) {
    r->is_decided = true;
    r->is_met = is_met;
    r->at_ns = at_ns;
}

/* ---- events ---- */

/* +1 faster, -1 slower: a time that rises is slower, a rate that rises is faster. */
static int direction_of(const struct o3_expect_seen *e) {
    if (!(e->change_ratio > 0 || e->change_ratio < 0)) return 0;
    bool is_time = !strcmp(e->signal, "ttft") || !strcmp(e->signal, "load_time") || !strcmp(e->signal, "memory");
    return (e->change_ratio > 0) == is_time ? -1 : 1;
}

static bool is_during(const struct o3_scenario_expect *x, const struct o3_expect_seen *e) {
    switch (x->during) {
    case O3_WHILE_ALWAYS:
        return true;
    case O3_WHILE_UNSTABLE:
        return e->is_unstable;
    case O3_WHILE_DOWN:
        return e->is_down;
    case O3_WHILE_BUSY:
        return e->is_busy;
    case O3_WHILE_STUCK:
        return e->is_stuck;
    }
    return false;
}

static bool is_kind(const struct o3_scenario_expect *x, const struct o3_expect_seen *e) {
    return x->event == e->event || x->also == e->event;
}

static bool is_meant(const struct o3_scenario_expect *x, const struct o3_expect_seen *e) {
    if (!is_kind(x, e) || e->mono_ns < x->from_ns || e->mono_ns > x->to_ns) return false;
    if (x->signal[0] && strcmp(x->signal, e->signal) != 0) return false;
    if (x->cause[0] && (!e->cause || strcmp(x->cause, e->cause) != 0)) return false;
    if (x->model[0] && !o3_grammar_same_model(x->model, e->model)) return false;
    if (x->reason[0] && !strstr(e->reason, x->reason)) return false;
    return (!x->direction || direction_of(e) == x->direction) && is_during(x, e);
}

static void describe(const struct o3_expect_seen *e, char *out, size_t size) {
    char at[48];
    o3_duration_format(e->mono_ns / O3_NS_PER_MS, at, sizeof at);
    size_t n = (size_t)snprintf(out, size, "%s at %s", o3_event_row(e->event)->name, at);
    const struct {
        const char *name, *value;
    } FIELDS[] = {
        {"model", e->model}, {"signal", e->signal}, {"reason", e->reason}, {"cause", e->cause ? e->cause : ""}};
    for (size_t i = 0; i < 4 && n < size; i++)
        if (FIELDS[i].value[0]) n += (size_t)snprintf(out + n, size - n, ", %s %.60s", FIELDS[i].name, FIELDS[i].value);
    if (n < size && e->signal[0] && isfinite(e->change_ratio) && e->change_ratio != 0)
        snprintf(out + n, size - n, ", %+.1f %%", 100 * e->change_ratio);
}

void o3_expectations_event(struct o3_expectations *x, const struct o3_expect_seen *seen) {
    for (size_t i = 0; i < x->s->n_expects; i++) {
        const struct o3_scenario_expect *want = &x->s->expects[i];
        struct o3_expect_result *r = &x->results[i];
        if (want->kind == O3_EXPECT_AT || r->is_decided || !is_kind(want, seen)) continue;
        bool is_it = is_meant(want, seen);
        /* Of what is nearly it, the first within the time is the most telling. */
        bool is_within = seen->mono_ns >= want->from_ns && x->near_ns[i] < want->from_ns;
        if (is_it || (want->kind == O3_EXPECT_BY && (x->near_ns[i] < 0 || is_within))) {
            describe(seen, r->found, sizeof r->found);
            x->near_ns[i] = seen->mono_ns;
        }
        if (is_it) decide(r, want->kind == O3_EXPECT_BY, seen->mono_ns);
    }
}

/* ---- metrics ---- */

int64_t o3_expectations_next_ns(const struct o3_expectations *x) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < x->s->n_expects; i++) {
        const struct o3_scenario_expect *want = &x->s->expects[i];
        if (want->kind == O3_EXPECT_AT && !x->results[i].is_decided && want->to_ns < next) next = want->to_ns;
    }
    return next;
}

/* The end of the pair key="value" that begins at p, where quotes within the value are escaped. */
static const char *pair_end(const char *p, const char *end) {
    bool is_quoted = false;
    for (; p < end; p++) {
        if (*p == '\\' && is_quoted && p + 1 < end)
            p++;
        else if (*p == '"')
            is_quoted = !is_quoted;
        else if (!is_quoted && (*p == ',' || *p == '}'))
            break;
    }
    return p;
}

static bool has_pair(const char *labels, const char *end, const char *pair, size_t n) {
    for (const char *p = labels; p < end;) {
        const char *stop = pair_end(p, end);
        if ((size_t)(stop - p) == n && !memcmp(p, pair, n)) return true;
        p = stop + 1;
    }
    return false;
}

/* Does the series on this line carry the name and all labels that were asked for? Then *ret_value is its value. */
static bool is_series(const char *line, const char *end, const char *asked, const char **ret_value) {
    size_t n = strcspn(asked, "{");
    if ((size_t)(end - line) <= n || memcmp(line, asked, n) != 0 || (line[n] != '{' && line[n] != ' ')) return false;
    const char *labels = line + n + 1, *labels_end = labels;
    if (line[n] == '{') {
        while (labels_end < end && *labels_end != '}') {
            labels_end = pair_end(labels_end, end);
            if (labels_end < end && *labels_end == ',') labels_end++;
        }
        *ret_value = labels_end + 1;
    } else
        *ret_value = labels;
    const char *want = asked + n + (asked[n] == '{'), *want_end = asked + strlen(asked);
    for (const char *p = want; p < want_end && *p != '}';) {
        const char *stop = pair_end(p, want_end);
        if (!has_pair(labels, labels_end, p, (size_t)(stop - p))) return false;
        p = stop + 1;
    }
    return *ret_value < end;
}

/* How many series are meant; the value of the last. */
static int find_series(const char *text, size_t n, const char *asked, double *ret) {
    int n_found = 0;
    for (size_t at = 0; at < n;) {
        const char *line = text + at, *end = memchr(line, '\n', n - at), *value;
        if (!end) end = text + n;
        at += (size_t)(end - line) + 1;
        if (line == end || *line == '#' || !is_series(line, end, asked, &value)) continue;
        char number[48];
        while (value < end && *value == ' ')
            value++;
        size_t len = 0;
        while (value + len < end && value[len] != ' ')
            len++;
        n_found++;
        *ret = NAN;
        if (!o3_str_copy_n(number, sizeof number, value, len)) continue;
        if (!strcmp(number, "+Inf"))
            *ret = INFINITY;
        else if (!strcmp(number, "-Inf"))
            *ret = -INFINITY;
        else if (!o3_double_parse(number, ret))
            *ret = NAN;
    }
    return n_found;
}

static bool compare(double value, const char *op, double number) {
    if (!strcmp(op, "=")) return value == number;
    if (!strcmp(op, "!=")) return value < number || value > number;
    if (!strcmp(op, "<")) return value < number;
    if (!strcmp(op, ">")) return value > number;
    if (!strcmp(op, "<=")) return value <= number;
    return value >= number;
}

static void look(const struct o3_scenario_expect *want, struct o3_expect_result *r, int64_t mono_ns, const char *text,
                 size_t n) {
    double value = NAN;
    int n_found = find_series(text, n, want->metric, &value);
    bool is_met = want->op[0] ? n_found == 1 && compare(value, want->op, want->number) : n_found == 0;
    if (n_found == 0)
        snprintf(r->found, sizeof r->found, "it is absent");
    else if (n_found > 1)
        snprintf(r->found, sizeof r->found, "%d series fit; name more labels", n_found);
    else {
        O3_AUTO_BUF number;
        o3_buf_init(&number, 64);
        (void)o3_buf_add_double(&number, value);
        snprintf(r->found, sizeof r->found, "it is %s", o3_buf_str(&number));
    }
    decide(r, is_met, mono_ns);
}

void o3_expectations_look(struct o3_expectations *x, int64_t mono_ns, const char *exposition, size_t n) {
    for (size_t i = 0; i < x->s->n_expects; i++) {
        const struct o3_scenario_expect *want = &x->s->expects[i];
        if (want->kind != O3_EXPECT_AT || x->results[i].is_decided || want->to_ns > mono_ns) continue;
        look(want, &x->results[i], mono_ns, exposition, n);
    }
}

/* ---- the end ---- */

void o3_expectations_finish(struct o3_expectations *x, int64_t mono_ns) {
    for (size_t i = 0; i < x->s->n_expects; i++) {
        const struct o3_scenario_expect *want = &x->s->expects[i];
        struct o3_expect_result *r = &x->results[i];
        if (r->is_decided) continue;
        decide(r, want->kind == O3_EXPECT_NEVER, mono_ns);
        if (want->kind == O3_EXPECT_AT) snprintf(r->found, sizeof r->found, "the run ended before");
        if (want->kind != O3_EXPECT_BY) continue;
        if (x->near_ns[i] < 0)
            snprintf(r->found, sizeof r->found, "it was never seen");
        else { /* what came nearest stands there: another of its kind, or at another time */
            char near[sizeof r->found];
            (void)o3_str_copy(near, sizeof near, r->found);
            snprintf(r->found, sizeof r->found, "only %.150s", near);
        }
    }
}
