/* SPDX-License-Identifier: Apache-2.0 */
/* The pictures of the page: the first run over time, what users felt, and the seeds side by side. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "o3/num.h"
#include "rehearsal/plot.h"
#include "rehearsal/report_html.h"

#define SECONDS_PER_DAY 86400.0
#define GAP_POINTS 12   /* of a series */
#define COLUMNS_MAX 120 /* of the pictures by seed */
#define BINS_PER_SIDE 64
#define BINS_PER_E 2.0 /* bins of the added wait in a factor of e */
#define BIN_UNIT 1e-3  /* seconds; below it counts as no wait */

/* ---- one run over time ---- */

struct time_unit {
    double seconds;
    const char *name;
};

static struct time_unit unit_of(double seconds) {
    if (seconds > 2 * SECONDS_PER_DAY) return (struct time_unit){SECONDS_PER_DAY, "days"};
    if (seconds > 2 * 3600) return (struct time_unit){3600, "hours"};
    return (struct time_unit){60, "minutes"};
}

static double in_unit(int64_t ns, struct time_unit u) {
    return (double)ns / 1e9 / u.seconds;
}

static bool range_of(const struct o3_run_series *s, double *ret_lo, double *ret_hi) {
    double lo = (double)INFINITY, hi = -(double)INFINITY;
    for (int i = 0; i < s->n && i < O3_RUN_POINTS_MAX; i++)
        if (isfinite(s->value[i])) {
            lo = fmin(lo, (double)s->value[i]);
            hi = fmax(hi, (double)s->value[i]);
        }
    *ret_lo = lo;
    *ret_hi = hi;
    return lo <= hi;
}

static void shade_changes(struct plot *p, const struct o3_run *o, int model, struct time_unit u) {
    for (int i = 0; i < o->n_changes; i++) {
        const struct o3_run_change *c = &o->changes[i];
        char words[160], size[24], at[32];
        if (c->model >= 0 && c->model != model) continue;
        report_change(size, sizeof size, c->ratio);
        report_time(at, sizeof at, c->at_ns);
        snprintf(words, sizeof words, "change at %s: %s %s, %s", at, c->signal, size,
                 c->told_ns == INT64_MAX ? "missed" : "told");
        plot_shade(p, in_unit(c->at_ns, u), c->until_ns == INT64_MAX ? p->x.hi : in_unit(c->until_ns, u), words);
    }
}

static void mark_alarms(struct plot *p, const struct o3_run *o, int model, bool is_decode, struct time_unit u) {
    for (int i = 0; i < o->n_alarms && i < O3_RUN_ALARMS_MAX; i++) {
        const struct o3_run_alarm *a = &o->alarms[i];
        char words[160], told[24], truth[24] = "unknown", at[32];
        if (a->model != model || (!strcmp(a->signal, "decode_rate")) != is_decode) continue;
        report_change(told, sizeof told, a->ratio);
        if (!isnan(a->true_ratio)) report_change(truth, sizeof truth, a->true_ratio);
        report_time(at, sizeof at, a->at_ns);
        snprintf(words, sizeof words, "%s alarm at %s: %s %s, in truth %s", a->is_true ? "true" : "false", at,
                 a->signal, told, truth);
        plot_mark(p, a->is_true, in_unit(a->at_ns, u), words);
    }
}

/* Points with nothing in them are passed over; a line breaks only where many follow each other. */
static int take_points(const struct o3_run_series *s, struct time_unit u, double *x, double *y) {
    int n = 0;
    for (int i = 0, last = 0; i < s->n && i < O3_RUN_POINTS_MAX; i++) {
        if (!isfinite(s->value[i])) continue;
        if (n && i - last > GAP_POINTS) {
            x[n] = x[n - 1];
            y[n++] = (double)NAN; /* in place of one that was passed over */
        }
        x[n] = in_unit(s->step_ns, u) * (i + 0.5);
        y[n++] = (double)s->value[i];
        last = i;
    }
    return n;
}

static void add_series(struct o3_buf *out, const struct o3_run *o, int model, bool is_decode) {
    const struct o3_run_model *m = &o->models[model];
    const struct o3_run_series *s = is_decode ? &m->decode_rate : &m->ttft_seconds;
    double lo, hi, x[O3_RUN_POINTS_MAX], y[O3_RUN_POINTS_MAX];
    if (!range_of(s, &lo, &hi)) return;
    struct time_unit u = unit_of((double)o->simulated_ns / 1e9);
    double room = fmax(0.15 * (hi - lo), 0.05 * fabs(hi)), end = fmax(in_unit(o->simulated_ns, u), 1e-9);
    char label[48], words[200];
    snprintf(label, sizeof label, "simulated time, %s", u.name);
    snprintf(words, sizeof words, "%s of %s over simulated time, from %.4g to %.4g %s",
             is_decode ? "Decode rate" : "Time to first token", m->name, lo, hi, is_decode ? "tokens per second" : "s");
    struct plot_axis time = {PLOT_LINEAR, PLOT_PLAIN, 0, end, label};
    struct plot_axis value = {PLOT_LINEAR, is_decode ? PLOT_PLAIN : PLOT_SECONDS, fmax(lo - room, 0), hi + room + 1e-9,
                              is_decode ? "tokens per second" : "mean of the probes"};
    struct plot p;
    plot_begin(&p, out, is_decode ? "Decode rate" : "Time to first token", m->name, words, &time, &value);
    shade_changes(&p, o, model, u);
    plot_line(&p, "with", x, y, take_points(s, u, x, y));
    mark_alarms(&p, o, model, is_decode, u);
    plot_end(&p, "");
}

void report_plots_of_models(const struct o3_run *o, struct o3_buf *out) {
    for (int i = 0; i < o->n_models; i++) {
        add_series(out, o, i, true);
        add_series(out, o, i, false);
    }
}

/* ---- what users felt ---- */

/* Share of values up to the end of each bucket; returns the number of points. */
static int cumulate(const struct o3_spread *s, double *x, double *y) {
    double below = (double)s->n_zero;
    int n = 0;
    for (int i = 0; i < O3_SPREAD_BUCKETS; i++)
        below += s->negative[i];
    for (int i = 0; i < O3_SPREAD_BUCKETS; i++) {
        if (!s->positive[i]) continue;
        if (!n) {
            x[n] = o3_spread_bucket(i);
            y[n++] = below / (double)s->n;
        }
        below += s->positive[i];
        x[n] = o3_spread_bucket(i);
        y[n++] = below / (double)s->n;
    }
    return n;
}

static double power_of_ten_below(double v) {
    double p = 1e-6;
    while (p * 10 <= v)
        p *= 10;
    return p;
}

static void add_cdf(struct o3_buf *out, const char *title, const struct o3_spread *with,
                    const struct o3_spread *without) {
    double x[O3_SPREAD_BUCKETS + 1], y[O3_SPREAD_BUCKETS + 1];
    if (!with->n || !(with->max > 1e-6)) return;
    double lo = with->min, hi = with->max;
    if (without->n) {
        lo = fmin(lo, without->min);
        hi = fmax(hi, without->max);
    }
    char words[200];
    snprintf(words, sizeof words, "%s: half of the requests within %.3g s, 99 %% within %.3g s", title,
             o3_spread_quantile(with, 0.5), o3_spread_quantile(with, 0.99));
    struct plot_axis time = {PLOT_LOG, PLOT_SECONDS, power_of_ten_below(lo), power_of_ten_below(hi) * 10,
                             "seconds, logarithmic"};
    struct plot_axis share = {PLOT_LINEAR, PLOT_PERCENT, 0, 1, "share of requests answered within"};
    struct plot p;
    plot_begin(&p, out, title, "", words, &time, &share);
    plot_line(&p, "with", x, y, cumulate(with, x, y));
    if (without->n) plot_line(&p, "without", x, y, cumulate(without, x, y)); /* dashed: both are seen */
    plot_end(&p, without->n ? "<span class=\"with\">&#9644;</span> with the sidecar &nbsp; "
                              "<span class=\"without\">&#9548;&#9548;</span> without"
                            : "");
}

struct bins {
    double count[2 * BINS_PER_SIDE + 1]; /* BINS_PER_SIDE: no wait */
    int first, last;
};

static int bin_of(double magnitude) {
    if (magnitude < BIN_UNIT) return 0;
    int i = 1 + (int)floor(o3_log(magnitude / BIN_UNIT) * BINS_PER_E);
    return i < BINS_PER_SIDE ? i : BINS_PER_SIDE;
}

static double bin_edge(int i) { /* the inner one, of the i-th from the middle, i >= 1 */
    return BIN_UNIT * o3_exp((i - 1) / BINS_PER_E);
}

static struct bins bins_of(const struct o3_spread *s) {
    struct bins b = {.count = {[BINS_PER_SIDE] = (double)s->n_zero}, .first = BINS_PER_SIDE, .last = BINS_PER_SIDE};
    for (int i = 0; i < O3_SPREAD_BUCKETS; i++) {
        int k = bin_of(o3_spread_bucket(i));
        b.count[BINS_PER_SIDE - k] += s->negative[i];
        b.count[BINS_PER_SIDE + k] += s->positive[i];
        if (s->negative[i] && BINS_PER_SIDE - k < b.first) b.first = BINS_PER_SIDE - k;
        if (s->positive[i] && BINS_PER_SIDE + k > b.last) b.last = BINS_PER_SIDE + k;
    }
    return b;
}

static void add_bins(struct plot *p, const struct bins *b, int64_t n) {
    for (int i = b->first; i <= b->last; i++) {
        int k = i < BINS_PER_SIDE ? BINS_PER_SIDE - i : i - BINS_PER_SIDE;
        double inner = k ? bin_edge(k) : -BIN_UNIT, outer = bin_edge(k + 1), share = b->count[i] / (double)n;
        char words[120], from[24], to[24], percent[24];
        if (!(share > 0)) continue;
        report_seconds(from, sizeof from, k ? inner : 0, false, 2);
        report_seconds(to, sizeof to, outer, false, 2);
        report_percent(percent, sizeof percent, share, 2);
        const char *side = k == 0 ? "within 1 ms of the same" : i < BINS_PER_SIDE ? "sooner" : "later";
        if (k)
            snprintf(words, sizeof words, "%s of requests %s to %s %s", percent, from, to, side);
        else
            snprintf(words, sizeof words, "%s of requests %s", percent, side);
        if (i < BINS_PER_SIDE)
            plot_bar(p, "sooner", -outer, -inner, share, words);
        else
            plot_bar(p, k ? "later" : "same", inner, outer, share, words);
    }
}

/* Shares on a logarithmic scale: what matters is the rare end, and most requests feel nothing. */
static void add_added(struct o3_buf *out, const char *title, const struct o3_spread *s) {
    if (!s->n) return;
    struct bins b = bins_of(s);
    double left = bin_edge(BINS_PER_SIDE - b.first + 1), right = bin_edge(b.last - BINS_PER_SIDE + 1);
    char words[200], mean[24];
    report_seconds(mean, sizeof mean, o3_spread_mean(s), true, 3);
    snprintf(words, sizeof words, "%s with the sidecar against without: mean %s", title, mean);
    struct plot_axis wait = {PLOT_SYMLOG, PLOT_SECONDS, -fmax(left, 0.02), fmax(right, 0.02),
                             "seconds added, negative: sooner"};
    double lowest = power_of_ten_below(0.9 / (double)s->n);
    struct plot_axis share = {PLOT_LOG, PLOT_PERCENT, fmin(lowest, 0.01), 1, "share of requests, logarithmic"};
    struct plot p;
    plot_begin(&p, out, title, "", words, &wait, &share);
    add_bins(&p, &b, s->n);
    plot_end(&p, "<span class=\"sooner\">&#9632;</span> sooner with the sidecar &nbsp; "
                 "<span class=\"same\">&#9632;</span> the same &nbsp; <span class=\"later\">&#9632;</span> later");
}

void report_plots_of_users(const struct o3_run *sum, struct o3_buf *out) {
    add_cdf(out, "Time to first token", &sum->ttft, &sum->twin_ttft);
    add_cdf(out, "Time to whole answer", &sum->total, &sum->twin_total);
    add_added(out, "Wait added to the first token", &sum->added_ttft);
    add_added(out, "Wait added to the whole answer", &sum->added_total);
}

/* ---- the seeds side by side; many share a column ---- */

static size_t columns_of(const struct o3_runs *t) {
    return t->n < COLUMNS_MAX ? t->n : COLUMNS_MAX;
}

static void name_column(const struct o3_runs *t, size_t from, size_t to, char *out, size_t size) {
    unsigned long long first = t->rows[from].seed, last = t->rows[to - 1].seed;
    if (first == last)
        snprintf(out, size, "seed %llu", first);
    else
        snprintf(out, size, "seeds %llu to %llu", first, last);
}

/* Seeds too large for a tick are counted instead. */
static struct plot_axis seed_axis(const struct o3_runs *t) {
    bool is_small = t->rows[0].seed < 1000000000;
    double first = is_small ? (double)t->rows[0].seed : 1;
    return (struct plot_axis){PLOT_LINEAR, PLOT_PLAIN, first - 0.5, first + (double)t->n - 0.5,
                              is_small ? "seed" : "number of the run"};
}

static void add_false_alarms(const struct o3_runs *t, struct o3_buf *out) {
    size_t n = columns_of(t);
    int64_t most = 1;
    struct plot p;
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].n_false_alarms > most) most = t->rows[i].n_false_alarms;
    struct plot_axis seeds = seed_axis(t);
    struct plot_axis count = {PLOT_LINEAR, PLOT_COUNT, 0, (double)most * 1.05, "false alarms in a run, most of a bar"};
    plot_begin(&p, out, "False alarms by seed", "", "False alarms of each run", &seeds, &count);
    for (size_t c = 0; c < n; c++) {
        size_t from = c * t->n / n, to = (c + 1) * t->n / n;
        int64_t worst = 0;
        char words[120], name[64];
        for (size_t i = from; i < to; i++)
            if (t->rows[i].n_false_alarms > worst) worst = t->rows[i].n_false_alarms;
        if (!worst) continue;
        name_column(t, from, to, name, sizeof name);
        snprintf(words, sizeof words, "%s: %lld", name, (long long)worst);
        plot_bar(&p, "later", seeds.lo + (double)from, seeds.lo + (double)to, (double)worst, words);
    }
    plot_end(&p, "");
}

static void add_wait_by_seed(const struct o3_runs *t, struct o3_buf *out) {
    size_t n = columns_of(t);
    double lo = 0, hi = 0;
    struct plot p;
    for (size_t i = 0; i < t->n; i++)
        if (isfinite(t->rows[i].added_ttft_mean)) {
            lo = fmin(lo, t->rows[i].added_ttft_mean);
            hi = fmax(hi, t->rows[i].added_ttft_mean);
        }
    double room = fmax(0.1 * (hi - lo), 1e-4);
    struct plot_axis seeds = seed_axis(t);
    struct plot_axis wait = {PLOT_LINEAR, PLOT_SECONDS, lo - room, hi + room, "mean wait added to the first token"};
    plot_begin(&p, out, "Added wait by seed", "", "Mean wait added to the first token in each run", &seeds, &wait);
    plot_level(&p, 0);
    for (size_t c = 0; c < n; c++) {
        size_t from = c * t->n / n, to = (c + 1) * t->n / n;
        double least = (double)NAN, most = (double)NAN, sum = 0;
        int known = 0;
        for (size_t i = from; i < to; i++) {
            double v = t->rows[i].added_ttft_mean;
            if (!isfinite(v)) continue;
            least = fmin(least, v);
            most = fmax(most, v);
            sum += v;
            known++;
        }
        if (known) plot_range(&p, seeds.lo + (double)(from + to) / 2, least, most, sum / known);
    }
    plot_end(&p, n < t->n ? "A dot is the mean of neighbouring seeds, its line their range." : "");
}

void report_plots_of_seeds(const struct o3_runs *t, struct o3_buf *out) {
    if (t->n < 2) return;
    if (t->sum.n_false_alarms) add_false_alarms(t, out);
    if (t->sum.added_ttft.n) add_wait_by_seed(t, out);
}
