/* SPDX-License-Identifier: Apache-2.0 */
/* What changed, since when, by how much, how sure, probably why: the same words everywhere. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "judge/parts.h"
#include "o3/reading.h"
#include "o3/text.h"

#define LINE_MAX_BYTES 2048
#define NAMED_MAX 4 /* members of an incident that are told one by one */

struct line {
    char p[LINE_MAX_BYTES];
    size_t n;
};

O3_PRINTF(2, 3) static void put(struct line *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(l->p + l->n, sizeof l->p - l->n, fmt, args);
    va_end(args);
    size_t room = sizeof l->p - 1 - l->n;
    if (n > 0) l->n += (size_t)n < room ? (size_t)n : room;
}

/* A time of the log; hostile ones are named as what they are. */
static void put_time(struct line *l, int64_t wall_ms) {
    char text[40];
    o3_rfc3339_format(wall_ms, text, sizeof text);
    char *dot = strchr(text, '.');
    if (dot) o3_str_copy(dot, sizeof text - (size_t)(dot - text), "Z");
    put(l, "%s", text);
}

static double in_unit(enum o3_signal sig, double v) {
    if (sig == O3_SIGNAL_TTFT) return v * 1000;
    if (sig == O3_SIGNAL_MEMORY) return v / 1073741824.0;
    if (sig == O3_SIGNAL_GPU_RATIO || sig == O3_SIGNAL_SUCCESS) return v * 100;
    return v;
}

static const char *unit_of(enum o3_signal sig) {
    static const char *const UNITS[O3_SIGNAL_COUNT] = {"tokens/s", "tokens/s", "ms", "s", "GiB", "%", "tokens", "%"};
    return UNITS[sig];
}

static void put_number(struct line *l, enum o3_signal sig, double v) {
    double x = in_unit(sig, v), size = fabs(x);
    int digits = sig == O3_SIGNAL_CONTEXT || size >= 1000 ? 0 : size >= 100 || size == 0 ? 0 : size >= 10 ? 1 : 2;
    put(l, "%.*f", digits, x);
}

static void put_value(struct line *l, enum o3_signal sig, double v) {
    put_number(l, sig, v);
    put(l, " %s", unit_of(sig));
}

void o3_signal_value_text(enum o3_signal sig, double value, char *out, size_t size) {
    struct line l = {.n = 0};
    put_value(&l, sig, value);
    o3_str_copy(out, size, l.p);
}

static void put_levels(struct line *l, enum o3_signal sig, double from, double to) {
    put_number(l, sig, from);
    put(l, " to ");
    put_value(l, sig, to);
}

static const char *unit_of_change(enum o3_signal sig) {
    return sig == O3_SIGNAL_SUCCESS ? "points" : "%";
}

static const char *verb(double change) {
    return change < 0 ? "fell" : "rose";
}

struct tenths {
    char p[32];
};

/* In print; there is no "-0.0". */
static struct tenths tenths(double percent) {
    struct tenths t;
    snprintf(t.p, sizeof t.p, "%.1f", isnan(percent) ? percent : fmax(-1e12, fmin(1e12, percent)));
    if (!strcmp(t.p, "-0.0")) o3_str_copy(t.p, sizeof t.p, "0.0");
    return t;
}

static bool is_in_print(double ratio) {
    return strcmp(tenths(ratio * 100).p, "0.0") != 0;
}

struct change {
    double from, to, ratio, lo, hi;
};

/* "fell by 38.1 % (95 % interval 36.4 to 39.7 %), 45.2 to 28.0 tokens/s": both ends in the direction told; one on the
 * other side is negative. An interval that is narrower than its print says nothing. Of a rise from nothing there is no
 * ratio. */
static void put_change(struct line *l, enum o3_signal sig, const struct change *c) {
    const char *unit = unit_of_change(sig);
    double sign = c->ratio < 0 ? -100 : 100;
    struct tenths near_end = tenths((sign < 0 ? c->hi : c->lo) * sign),
                  far_end = tenths((sign < 0 ? c->lo : c->hi) * sign);
    bool has_change = is_in_print(c->ratio), has_ratio = c->from > 0 || sig == O3_SIGNAL_SUCCESS;
    put(l, "%s", has_change ? verb(c->ratio) : "unchanged at ");
    if (!has_change) put_value(l, sig, c->to);
    if (has_change && has_ratio) put(l, " by %s %s", tenths(c->ratio * sign).p, unit);
    if (has_ratio && strcmp(near_end.p, far_end.p) != 0)
        put(l, " (95 %% interval %s to %s %s)", near_end.p, far_end.p, unit);
    if (!has_change) return;
    put(l, ", ");
    put_levels(l, sig, c->from, c->to);
}

static void put_since(struct line *l, int64_t at, int64_t lo, int64_t hi) {
    put(l, "since ");
    put_time(l, at);
    if (hi <= lo || lo > at || hi < at) return;
    put(l, " (");
    put_time(l, lo);
    put(l, " to ");
    put_time(l, hi);
    put(l, ")");
}

static void put_budget(struct line *l, double budget_ms) {
    if (!(budget_ms >= 1 && budget_ms < 1e15)) return;
    char text[64];
    int64_t whole_s = (int64_t)(budget_ms / 1000) * 1000;
    o3_duration_format(whole_s ? whole_s : (int64_t)budget_ms, text, sizeof text);
    put(l, "; this sidecar expects one false alarm in %s", text);
}

static void put_conditions(struct line *l, enum o3_stratum st) {
    if (st == O3_STRATUM_BUSY) put(l, " beside users");
    if (st == O3_STRATUM_THROTTLED) put(l, " while throttled");
}

/* grown_ms: of the incident, 0 none. */
static void put_confirmed(struct line *l, const struct o3_verdict *v, int64_t grown_ms) {
    const struct o3_drift_report *r = &v->report;
    struct change c = {r->reference, r->level, r->change_ratio, r->change_lo, r->change_hi};
    put_change(l, v->signal, &c);
    put(l, ", ");
    put_since(l, r->change_wall_ms, r->change_lo_ms, r->change_hi_ms);
    if (grown_ms) {
        put(l, ", further since ");
        put_time(l, grown_ms);
    }
    put(l, ", %sconfirmed by %d samples", r->is_slow ? "a slow change, " : "", r->n_since);
    put_budget(l, v->budget_ms);
}

static void put_event(struct line *l, const struct o3_verdict *v) {
    const struct o3_drift_report *r = &v->report;
    switch (r->event) {
    case O3_DRIFT_EV_BASELINE:
        put(l, "normal level ");
        put_value(l, v->signal, r->reference);
        put(l, ", of %" PRId64 " samples", r->baseline_n);
        break;
    case O3_DRIFT_EV_SUSPECT:
        put(l, "may have %s", r->change_ratio < 0 ? "fallen" : "risen");
        if (r->reference > 0 || v->signal == O3_SIGNAL_SUCCESS)
            put(l, " by %.1f %s", fabs(r->change_ratio) * 100, unit_of_change(v->signal));
        put(l, ", ");
        put_levels(l, v->signal, r->reference, r->level);
        put(l, ", ");
        put_since(l, r->change_wall_ms, r->change_lo_ms, r->change_hi_ms);
        put(l, ", %d samples so far", r->n_since);
        break;
    case O3_DRIFT_EV_CONFIRMED:
        put_confirmed(l, v, 0);
        break;
    case O3_DRIFT_EV_WENT_AWAY:
        put(l, "the suspected change did not last or is too small to matter, now ");
        put_value(l, v->signal, r->level);
        break;
    case O3_DRIFT_EV_RECOVERED:
        put(l, "back to normal at ");
        put_value(l, v->signal, r->level);
        put(l, " (normal is ");
        put_value(l, v->signal, r->reference);
        put(l, "), ");
        put_since(l, r->change_wall_ms, r->change_lo_ms, r->change_hi_ms);
        break;
    case O3_DRIFT_EV_NONE:
        put(l, "nothing new");
        break;
    }
}

void o3_verdict_text(const struct o3_verdict *v, char *out, size_t size) {
    struct line l = {.n = 0};
    put(&l, "%s of %s", o3_signal_name(v->signal), v->model);
    put_conditions(&l, v->stratum);
    put(&l, v->report.event == O3_DRIFT_EV_CONFIRMED || v->report.event == O3_DRIFT_EV_SUSPECT ? " " : ": ");
    put_event(&l, v);
    o3_str_copy(out, size, l.p);
}

void o3_release_text(const struct o3_release *r, char *out, size_t size) {
    struct line l = {.n = 0};
    put(&l, "%s of %s ", o3_signal_name(r->signal), r->model);
    bool is_sure = r->change_lo > 0 || r->change_hi < 0;
    struct change c = {r->before, r->after, r->change_ratio, r->change_lo, r->change_hi};
    put_change(&l, r->signal, &c);
    if (r->reasons[0])
        put(&l, ", with %s", r->reasons);
    else
        put(&l, ", with %s %s to %s", r->reason, r->from, r->to);
    put(&l, "%s, ", r->is_ours ? " (our setting)" : "");
    put_since(&l, r->wall_ms, 0, 0);
    put(&l, ", %" PRId64 " samples before and %" PRId64 " after", r->n_before, r->n_after);
    if (!is_sure && is_in_print(r->change_ratio)) put(&l, "; this may be chance");
    if (isfinite(r->drifted)) {
        put(&l, "; compared with the normal level, which had drifted to ");
        put_value(&l, r->signal, r->drifted);
        put(&l, " before the switch");
    }
    o3_str_copy(out, size, l.p);
}

/* ---- incidents ---- */

/* What stands first, and of that what the others follow from or what people feel. */
static int rank_of(const struct o3_incident_member *x) {
    static const int RANKS[O3_SIGNAL_COUNT] = {
        [O3_SIGNAL_GPU_RATIO] = 0,    [O3_SIGNAL_SUCCESS] = 1,   [O3_SIGNAL_DECODE_RATE] = 2, [O3_SIGNAL_TTFT] = 3,
        [O3_SIGNAL_PREFILL_RATE] = 4, [O3_SIGNAL_LOAD_TIME] = 5, [O3_SIGNAL_CONTEXT] = 6,     [O3_SIGNAL_MEMORY] = 7};
    return RANKS[x->verdict.signal] + (x->is_over ? O3_SIGNAL_COUNT : 0);
}

/* Stable: of equals the one that came first. */
static void order_members(const struct o3_incident *i, const struct o3_incident_member *out[O3_INCIDENT_MEMBERS_MAX]) {
    for (int n = 0; n < i->n_members; n++) {
        int at = n;
        for (; at > 0 && rank_of(out[at - 1]) > rank_of(&i->member[n]); at--)
            out[at] = out[at - 1];
        out[at] = &i->member[n];
    }
}

static void put_others(struct line *l, const struct o3_incident *i, const struct o3_incident_member *const *v_of) {
    static const char *const ENDS[] = {"", " (back)", " (accepted)", " (with the old setting)", " (not measured)"};
    const struct o3_incident_member *lead = v_of[0];
    for (int n = 1; n < i->n_members && n < NAMED_MAX; n++) {
        const struct o3_incident_member *x = v_of[n];
        const struct o3_verdict *v = &x->verdict;
        put(l, "; %s", o3_signal_name(v->signal));
        put_conditions(l, v->stratum);
        if (strcmp(v->model, lead->verdict.model) != 0) put(l, " of %s", v->model);
        put(l, " ");
        put_levels(l, v->signal, v->report.reference, v->report.level);
        if (x->end != lead->end) put(l, "%s", ENDS[x->end]);
    }
    int n_more = (i->n_members > NAMED_MAX ? i->n_members - NAMED_MAX : 0) + i->n_left_out;
    if (n_more > 0) put(l, "; %d more", n_more);
}

static void put_end(struct line *l, const struct o3_incident *i, const struct o3_incident_member *lead) {
    static const char *const ENDS[] = {
        "", "the old level is back", "accepted as the normal level",
        "the model runs with another setting now; with the old one the change would still be there",
        "not measured since "};
    if (i->is_open && lead->is_unproven)
        put(l, "; the samples that are kept do not reach back to it, so its end cannot be seen: accept the level");
    if (i->is_open) return;
    put(l, "; settled ");
    put_time(l, i->closed_wall_ms);
    put(l, ": %s", ENDS[lead->end]);
    if (lead->end == O3_MEMBER_UNSEEN) put_time(l, lead->seen_ms);
}

static void put_cause(struct line *l, const struct o3_incident *i) {
    if (!i->n_causes) return;
    const struct o3_cause_found *c = &i->cause[0];
    if (c->cause == O3_CAUSE_UNKNOWN)
        put(l, "; cause unknown");
    else
        put(l, "; probably %s (%.0f %%)", o3_cause_name(c->cause), c->weight * 100);
    if (c->evidence[0]) put(l, ": %s", c->evidence);
}

void o3_incident_text(const struct o3_incident *i, char *out, size_t size) {
    struct line l = {.n = 0};
    const struct o3_incident_member *members[O3_INCIDENT_MEMBERS_MAX];
    order_members(i, members);
    const struct o3_incident_member *lead = members[0];
    const struct o3_verdict *v = &lead->verdict;
    put(&l, "%s of %s", o3_signal_name(v->signal), v->model);
    put_conditions(&l, v->stratum);
    put(&l, " ");
    put_confirmed(&l, v, i->grown_ms);
    put_others(&l, i, members);
    put_cause(&l, i);
    put_end(&l, i, lead);
    o3_str_copy(out, size, l.p);
}
