/* SPDX-License-Identifier: Apache-2.0 */
/* o3 history for people: the curves and what is made of them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli/history.h"
#include "o3/reading.h"

#define MARGIN 4
#define LABEL_MAX 24

#define SPAN_MIN 0.1 /* a curve that moves less than 10 % is drawn as flat as it is */

/* ---- curves ---- */

static void limits_of(const double *v, int n, double *ret_lo, double *ret_hi) {
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    for (int i = 0; i < n; i++)
        if (!isnan(v[i])) {
            lo = fmin(lo, v[i]);
            hi = fmax(hi, v[i]);
        }
    double short_of = SPAN_MIN * fabs(0.5 * (hi + lo)) - (hi - lo);
    if (short_of > 0) {
        lo -= 0.5 * short_of;
        hi += 0.5 * short_of;
    }
    *ret_lo = lo;
    *ret_hi = hi;
}

static void print_spaces(int n) {
    printf("%*s", n, "");
}

static void print_curve(const struct history *h, const double *v) {
    static const char *const BLOCKS[8] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                          "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const ASCII[8] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    int last = h->width - 1;
    double lo, hi;
    limits_of(v, h->width, &lo, &hi);
    while (last >= 0 && isnan(v[last]))
        last--;
    print_spaces(MARGIN);
    for (int i = 0; i <= last; i++) {
        if (isnan(v[i])) {
            putchar(' ');
            continue;
        }
        int step = hi > lo ? (int)((v[i] - lo) / (hi - lo) * 8) : 4;
        fputs((h->options->is_ascii ? ASCII : BLOCKS)[step > 7 ? 7 : step], stdout);
    }
    putchar('\n');
}

/* ---- where changes began ---- */

static int part_of(const struct history *h, int64_t wall_ms) {
    int64_t end = h->options->now_ms;
    if (wall_ms < h->since_ms || wall_ms >= end) return -1;
    int part = (int)((double)(wall_ms - h->since_ms) / (double)(end - h->since_ms) * h->width);
    return part < h->width ? part : h->width - 1;
}

/* "^1" below the part of the curve; the number only where it covers no other mark. */
static void mark(char *line, int part, const char *label) {
    size_t n = strlen(label);
    if (part < 0) return;
    bool is_free = strspn(line + part, " ") >= n;
    if (line[part] == ' ') memcpy(line + part, label, is_free ? n : 1);
}

static void print_marks(const struct history *h, const struct history_model *m, enum o3_signal sig) {
    char line[HISTORY_WIDTH_MAX + LABEL_MAX + 1], label[LABEL_MAX];
    const struct o3_series_view *v = &m->signals[sig].view;
    struct history_mark x;
    size_t at = 0, n = sizeof line - 1;
    memset(line, ' ', n);
    line[n] = '\0';
    if (v->exists && v->drift.state == O3_DRIFT_SUSPECT) mark(line, part_of(h, v->drift.change_wall_ms), "^?");
    while (history_next_mark(h, m->name, sig, &at, &x)) {
        snprintf(label, sizeof label, "^%lld", (long long)x.incident->id);
        mark(line, part_of(h, x.member->verdict.report.change_wall_ms), label);
    }
    if (!history_standing(h, m->name, sig, &x) && v->exists && v->drift.state == O3_DRIFT_CONFIRMED)
        mark(line, part_of(h, v->drift.change_wall_ms), "^");
    while (n > 0 && line[n - 1] == ' ')
        line[--n] = '\0';
    if (n) printf("%*s%s\n", MARGIN, "", line);
}

/* The times at both ends, once below the curves of a model. */
static void print_axis(const struct history *h) {
    char from[40], to[40];
    history_time(h->since_ms, from);
    history_time(h->options->now_ms, to);
    int room = h->width - (int)strlen(from) - (int)strlen(to);
    if (room > 0)
        printf("%*s%s%*s%s\n", MARGIN, "", from, room, "", to);
    else
        printf("%*s%s to %s\n", MARGIN, "", from, to);
}

/* ---- signals ---- */

static const char *state_words(enum o3_drift_state state) {
    static const char *const WORDS[] = {[O3_DRIFT_LEARNING] = "learning",
                                        [O3_DRIFT_STABLE] = "steady",
                                        [O3_DRIFT_SUSPECT] = "may have changed",
                                        [O3_DRIFT_CONFIRMED] = "CHANGED"};
    return WORDS[state];
}

static void print_range(const struct history *h, enum o3_signal sig, const double *v) {
    char from[64], to[64];
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    for (int i = 0; i < h->width; i++)
        if (!isnan(v[i])) {
            lo = fmin(lo, v[i]);
            hi = fmax(hi, v[i]);
        }
    o3_signal_value_text(sig, lo, from, sizeof from);
    o3_signal_value_text(sig, hi, to, sizeof to);
    if (strcmp(from, to) != 0) printf("; curve from %s to %s", from, to);
}

static void print_words(const struct history *h, enum o3_signal sig, const struct history_series *s) {
    const struct o3_series_view *v = &s->view;
    char normal[64], now[64];
    printf("  %-12s ", o3_signal_name(sig));
    if (!v->exists) {
        printf("%lld %s, not judged yet", (long long)s->n, s->n == 1 ? "sample" : "samples");
    } else if (v->drift.state == O3_DRIFT_LEARNING) {
        printf("learning, %lld %s so far", (long long)v->drift.n_recent, v->drift.n_recent == 1 ? "sample" : "samples");
    } else {
        o3_signal_value_text(sig, v->drift.baseline, normal, sizeof normal);
        o3_signal_value_text(sig, s->now, now, sizeof now);
        printf("normal %s, now %s: %s", normal, now, state_words(v->drift.state));
    }
    print_range(h, sig, s->level);
    putchar('\n');
}

static void print_signal(const struct history *h, const struct history_model *m, enum o3_signal sig) {
    const struct history_series *s = &m->signals[sig];
    char verdict[1024];
    print_words(h, sig, s);
    print_curve(h, s->level);
    print_marks(h, m, sig);
    history_verdict(h, m->name, sig, &s->view, verdict, sizeof verdict);
    if (verdict[0]) history_print_wrapped(h, MARGIN, MARGIN, verdict);
}

static void print_model(const struct history *h, const struct history_model *m) {
    printf("%s\n", m->name);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        if (m->signals[sig].n) print_signal(h, m, (enum o3_signal)sig);
    print_axis(h);
    putchar('\n');
}

/* ---- the whole ---- */

static bool has_samples(const struct history_model *m) {
    int64_t n = 0;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        n += m->signals[sig].n;
    return n > 0;
}

int history_print_text(const struct history *h) {
    char from[40], to[40];
    bool any = false;
    history_time(h->since_ms, from);
    history_time(h->options->now_ms, to);
    printf("%s to %s\n\n", from, to);
    for (int i = 0; i < h->n_models; i++) {
        if (!has_samples(h->models[i])) continue;
        any = true;
        print_model(h, h->models[i]);
    }
    if (!any) puts("nothing was measured in this time\n");
    if (h->n_models_left_out) printf("more than %d models: the others are left out\n\n", HISTORY_MODELS_MAX);
    history_print_events(h);
    return 0;
}
