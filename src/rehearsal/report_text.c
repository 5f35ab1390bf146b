/* SPDX-License-Identifier: Apache-2.0 */
/* The report for a terminal: 80 columns, the same bytes for the same runs. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "o3/text.h"
#include "rehearsal/report.h"

#define COLUMNS 80
#define LISTED_MAX 24 /* lines of a list; the rest is counted */

/* Text from outside on a line of its own: no control characters, cut to the width, wrapped at the indent. */
static void add_wrapped(struct o3_buf *out, const char *first, const char *rest, const char *text) {
    char clean[400];
    o3_text_clean(clean, sizeof clean, text, strlen(text));
    const char *p = clean, *indent = first;
    while (*p) {
        size_t room = COLUMNS - strlen(indent), n = strlen(p);
        if (n > room) {
            n = room;
            while (n > 0 && p[n] != ' ')
                n--;
            if (!n)
                for (n = room; n > 1 && ((unsigned char)p[n] & 0xc0) == 0x80;)
                    n--;
        }
        o3_buf_addf(out, "%s%.*s\n", indent, (int)n, p);
        p += n;
        p += strspn(p, " ");
        indent = rest;
    }
}

static void add_head(const struct o3_runs *t, struct o3_buf *out) {
    char what[160], verdict[200], line[400];
    report_what(t, what, sizeof what);
    report_verdict(t, verdict, sizeof verdict);
    snprintf(line, sizeof line, "%s: %s", t->scenario_name, what);
    add_wrapped(out, "", "  ", line);
    snprintf(line, sizeof line, "%s: %s", t->n_bad ? "NOT GOOD" : "GOOD", verdict);
    add_wrapped(out, "", "  ", line);
}

/* The detail of a user's line is what the twin world, which has no sidecar, shows. */
static void add_title(const struct o3_runs *t, enum report_group g, struct o3_buf *out) {
    if (g == REPORT_USERS && t->sum.has_twin)
        o3_buf_addf(out, "\n%-31s%-22s%s\n", report_group_title(g), "with the sidecar", "without");
    else
        o3_buf_addf(out, "\n%s\n", report_group_title(g));
}

static void add_facts(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out) {
    struct report_facts facts;
    report_facts(t, has_wall_times, &facts);
    for (size_t i = 0; i < facts.n; i++) {
        const struct report_fact *f = &facts.v[i];
        if (i == 0 || facts.v[i - 1].group != f->group) add_title(t, f->group, out);
        if (f->detail[0])
            o3_buf_addf(out, "  %-28s %-21s %s\n", f->label, f->value, f->detail);
        else
            o3_buf_addf(out, "  %-28s %s\n", f->label, f->value);
    }
}

static const char *model_name(const struct o3_run *o, int model) {
    return model >= 0 && model < o->n_models ? o->models[model].name : "(no model)";
}

static void add_rest(struct o3_buf *out, int64_t n, const char *what) {
    char count[24];
    report_count(count, sizeof count, n - LISTED_MAX);
    if (n > LISTED_MAX) o3_buf_addf(out, "  and %s more %s\n", count, what);
}

static void add_change_list(const struct o3_run *o, struct o3_buf *out) {
    if (o->n_changes) o3_buf_adds(out, "\nChanges of the world\n");
    for (int i = 0; i < o->n_changes && i < LISTED_MAX; i++) {
        const struct o3_run_change *c = &o->changes[i];
        char at[32], size[32], told[40], line[240];
        report_time(at, sizeof at, c->at_ns);
        report_change(size, sizeof size, c->ratio);
        if (c->told_ns == INT64_MAX) {
            o3_str_copy(told, sizeof told, "MISSED");
        } else {
            char delay[24];
            report_seconds(delay, sizeof delay, (double)(c->told_ns - c->at_ns) / 1e9, false, 3);
            snprintf(told, sizeof told, "told after %s", delay);
        }
        snprintf(line, sizeof line, "%-13s %s %s %s, %s", at, model_name(o, c->model), c->signal, size, told);
        add_wrapped(out, "  ", "      ", line);
    }
    add_rest(out, o->n_changes, "changes");
}

static void add_alarm_list(const struct o3_run *o, struct o3_buf *out) {
    if (o->n_alarms) o3_buf_adds(out, "\nAlarms\n");
    for (int i = 0; i < o->n_alarms && i < LISTED_MAX && i < O3_RUN_ALARMS_MAX; i++) {
        const struct o3_run_alarm *a = &o->alarms[i];
        char at[32], told[32], truth[32] = "unknown", line[240];
        report_time(at, sizeof at, a->at_ns);
        report_change(told, sizeof told, a->ratio);
        if (!isnan(a->true_ratio)) report_change(truth, sizeof truth, a->true_ratio);
        const struct o3_run_incident *x = report_incident(o, a);
        int n = snprintf(line, sizeof line, "%-13s %s %s %s, in truth %s: %s", at, model_name(o, a->model), a->signal,
                         told, truth, a->is_true ? "true" : "FALSE");
        if (x && n > 0 && (size_t)n < sizeof line)
            snprintf(line + n, sizeof line - (size_t)n, "; incident %lld, %s", (long long)x->id, x->cause);
        add_wrapped(out, "  ", "      ", line);
    }
    add_rest(out, o->n_alarms, "alarms");
}

static void add_incident_list(const struct o3_run *o, struct o3_buf *out) {
    if (o->n_incidents) o3_buf_adds(out, "\nIncidents\n");
    for (int i = 0; i < o->n_incidents && i < LISTED_MAX && i < O3_RUN_INCIDENTS_MAX; i++) {
        const struct o3_run_incident *x = &o->incidents[i];
        char at[32], end[48] = "open at the end", named[64] = "", line[400];
        report_time(at, sizeof at, x->opened_ns);
        if (x->closed_ns != INT64_MAX) {
            char closed[32];
            report_time(closed, sizeof closed, x->closed_ns);
            snprintf(end, sizeof end, "settled %s", closed);
        }
        if (x->expected[0] && !report_is_cause_right(x))
            snprintf(named, sizeof named, "; the scenario names %s: WRONG", x->expected);
        else if (x->expected[0])
            o3_str_copy(named, sizeof named, "; as the scenario names it");
        snprintf(line, sizeof line, "%-13s %lld, %s: %s (%.0f %%)%s%s%s", at, (long long)x->id, end, x->cause,
                 100 * x->weight, x->evidence[0] ? ": " : "", x->evidence, named);
        add_wrapped(out, "  ", "      ", line);
    }
    add_rest(out, o->n_incidents, "incidents");
}

static void add_failure_list(const struct o3_runs *t, struct o3_buf *out) {
    if (t->n_failures) o3_buf_adds(out, "\nBroken expectations\n");
    for (size_t i = 0; i < t->n_failures && i < LISTED_MAX; i++) {
        const struct report_failure *f = &t->failures[i];
        char line[400];
        snprintf(line, sizeof line, "line %u: %s", (unsigned)f->line, f->text);
        add_wrapped(out, "  ", "    ", line);
        snprintf(line, sizeof line, "found: %s", f->found);
        add_wrapped(out, "    ", "    ", line);
        if (t->n > 1) {
            snprintf(line, sizeof line, "in %lld of %zu runs, first with seed %llu", (long long)f->n_runs, t->n,
                     (unsigned long long)f->first_seed);
            add_wrapped(out, "    ", "    ", line);
        }
    }
    add_rest(out, (int64_t)t->n_failures, "expectations");
}

/* Numbers in lines of full width, each indented. */
static void add_seeds(const struct o3_runs *t, const char *title, bool (*is_listed)(const struct report_row *row),
                      struct o3_buf *out) {
    size_t column = COLUMNS, n = 0;
    for (size_t i = 0; i < t->n; i++) {
        char seed[24];
        if (!is_listed(&t->rows[i])) continue;
        if (!n++) o3_buf_addf(out, "\n%s\n", title);
        size_t len = (size_t)snprintf(seed, sizeof seed, "%llu", (unsigned long long)t->rows[i].seed);
        bool is_new_line = column + 1 + len > COLUMNS;
        if (is_new_line && n > 1) o3_buf_adds(out, "\n");
        o3_buf_addf(out, "%s%s", is_new_line ? "  " : " ", seed);
        column = (is_new_line ? 2 : column + 1) + len;
    }
    if (n) o3_buf_adds(out, "\n");
}

static bool is_bad_row(const struct report_row *row) {
    return !row->is_good;
}

static bool has_false_alarm(const struct report_row *row) {
    return row->n_false_alarms > 0;
}

static bool has_missed(const struct report_row *row) {
    return row->n_told < row->n_changes;
}

int o3_runs_text(const struct o3_runs *t, bool has_wall_times, struct o3_buf *out) {
    O3_ASSERT(t->n >= 1);
    add_head(t, out);
    add_facts(t, has_wall_times, out);
    if (t->n == 1) {
        add_change_list(&t->first, out);
        add_alarm_list(&t->first, out);
        add_incident_list(&t->first, out);
    }
    add_failure_list(t, out);
    if (t->n > 1) {
        add_seeds(t, "Seeds of the runs that are not good", is_bad_row, out);
        add_seeds(t, "Seeds with a false alarm", has_false_alarm, out);
        add_seeds(t, "Seeds with a missed change", has_missed, out);
    }
    return out->err;
}
