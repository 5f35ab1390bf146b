/* SPDX-License-Identifier: Apache-2.0 */
/* o3 replay of bare values and of a CSV: one series through the detector that the sidecar uses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cli/replay.h"
#include "io/series.h"
#include "o3/text.h"

#define HELD_MAX 31            /* rows whose times tell how far apart two values are */
#define LEFT_OUT_MAX (4 << 20) /* values that are no positive numbers */

struct series {
    const struct replay *replay;
    struct o3_drift *drift;
    int64_t n, n_taken; /* values of the input; those that the detector took */
    /* The detector counts what it takes; places are told in values of the input. How many it had taken before each
     * value left out: */
    int64_t *left_out;
    size_t n_left_out, cap;
    int64_t n_nan, n_infinite, n_not_positive;
    int64_t n_skipped;   /* broken lines */
    int64_t n_confirmed; /* alarms */
    bool has_times, is_told_suspect;
    /* The first rows of a table with times, until the detector is made. */
    int64_t held_ms[HELD_MAX];
    double held[HELD_MAX];
    int n_held;
};

/* ---- places ---- */

static int64_t place_of(const struct series *s, int64_t taken_index) {
    size_t lo = 0, hi = s->n_left_out; /* how many were left out before it */
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (s->left_out[middle] <= taken_index)
            lo = middle + 1;
        else
            hi = middle;
    }
    return taken_index + (int64_t)lo;
}

static int leave_out(struct series *s, double value, struct o3_err *e) {
    if (isnan(value))
        s->n_nan++;
    else if (isinf(value))
        s->n_infinite++;
    else
        s->n_not_positive++;
    if (s->n_left_out == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        if (cap > LEFT_OUT_MAX) return o3_err_set(e, O3_E_LIMIT, "too many values are no positive numbers");
        int64_t *more = reallocarray(s->left_out, cap, sizeof *more);
        if (!more) return o3_err_set(e, O3_E_NOMEM, "no memory");
        s->left_out = more;
        s->cap = cap;
    }
    s->left_out[s->n_left_out++] = s->n_taken;
    return 0;
}

/* ---- output ---- */

static void add_time(struct o3_buf *b, int64_t wall_ms) {
    char text[40];
    o3_rfc3339_format(wall_ms, text, sizeof text);
    o3_buf_adds(b, text);
}

static void add_place(const struct series *s, struct o3_buf *b, int64_t index, int64_t wall_ms) {
    o3_buf_addf(b, "value %lld", (long long)place_of(s, index));
    if (!s->has_times) return;
    o3_buf_adds(b, " (");
    add_time(b, wall_ms);
    o3_buf_adds(b, ")");
}

static void print_text(const struct series *s, enum o3_drift_event ev, const struct o3_drift_report *r,
                       int64_t wall_ms) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    add_place(s, &b, r->index, wall_ms);
    o3_buf_addf(&b, ": %s", o3_drift_event_name(ev));
    if (ev == O3_DRIFT_EV_BASELINE) {
        o3_buf_addf(&b, ", %.5g +- %.2g %%", r->reference, 100 * r->baseline_sd_ratio);
    } else {
        o3_buf_addf(&b, ", %.5g -> %.5g, %+.1f %% (%+.1f to %+.1f), %s ", r->reference, r->level, 100 * r->change_ratio,
                    100 * r->change_lo, 100 * r->change_hi, r->is_slow ? "creeping since" : "since");
        add_place(s, &b, r->change_index, r->change_wall_ms);
    }
    puts(o3_buf_str(&b));
}

static void add_number(struct o3_buf *b, const char *name, double v) {
    o3_buf_addf(b, ",\"%s\":", name);
    o3_buf_add_json_number(b, v);
}

static void add_quoted_time(struct o3_buf *b, const char *name, int64_t wall_ms) {
    o3_buf_addf(b, ",\"%s\":\"", name);
    add_time(b, wall_ms);
    o3_buf_adds(b, "\"");
}

static void print_json(const struct series *s, enum o3_drift_event ev, const struct o3_drift_report *r,
                       int64_t wall_ms) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    o3_buf_addf(&b, "{\"event\":\"%s\",\"index\":%lld", o3_drift_event_name(ev), (long long)place_of(s, r->index));
    if (s->has_times) add_quoted_time(&b, "time", wall_ms);
    add_number(&b, "reference", r->reference);
    add_number(&b, "reference_sd_ratio", r->baseline_sd_ratio);
    if (ev != O3_DRIFT_EV_BASELINE) {
        o3_buf_addf(&b, ",\"change_index\":%lld", (long long)place_of(s, r->change_index));
        if (s->has_times) add_quoted_time(&b, "change_time", r->change_wall_ms);
        o3_buf_addf(&b, ",\"direction\":\"%s\"", r->direction > 0 ? "up" : "down");
        add_number(&b, "level", r->level);
        add_number(&b, "change_ratio", r->change_ratio);
        add_number(&b, "change_lo", r->change_lo);
        add_number(&b, "change_hi", r->change_hi);
        o3_buf_addf(&b, ",\"n_since\":%d,\"slow\":%s", r->n_since, r->is_slow ? "true" : "false");
    }
    o3_buf_adds(&b, "}");
    puts(o3_buf_str(&b));
}

/* ---- judging ---- */

/* A suspicion that is told is not told again when it is confirmed. */
static bool is_alarm(struct series *s, enum o3_drift_event ev) {
    bool was_told = s->is_told_suspect;
    s->is_told_suspect = ev == O3_DRIFT_EV_SUSPECT;
    if (s->replay->level != REPLAY_SUSPECT) return ev == O3_DRIFT_EV_CONFIRMED;
    return ev == O3_DRIFT_EV_SUSPECT || (ev == O3_DRIFT_EV_CONFIRMED && !was_told);
}

static void start_over(struct series *s) {
    if (s->replay->after == REPLAY_CONTINUE) return;
    if (s->replay->after == REPLAY_RESTART)
        o3_drift_reset(s->drift);
    else
        o3_drift_acknowledge(s->drift);
    s->is_told_suspect = false;
}

static void tell(struct series *s, enum o3_drift_event ev, const struct o3_drift_report *r, int64_t wall_ms) {
    bool has_alarm = is_alarm(s, ev);
    s->n_confirmed += ev == O3_DRIFT_EV_CONFIRMED;
    if (s->replay->level != REPLAY_VERDICTS) {
        if (has_alarm) printf("%lld %lld\n", (long long)place_of(s, r->index), (long long)place_of(s, r->change_index));
    } else if (s->replay->is_json) {
        print_json(s, ev, r, wall_ms);
    } else {
        print_text(s, ev, r, wall_ms);
    }
    if (has_alarm) start_over(s);
}

static int judge(struct series *s, double value, int64_t wall_ms, struct o3_err *e) {
    s->n++;
    if (!isfinite(value) || value <= 0) return leave_out(s, value, e);
    struct o3_drift_report r;
    enum o3_drift_event ev = o3_drift_add(s->drift, value, wall_ms, &r);
    s->n_taken++;
    if (ev != O3_DRIFT_EV_NONE) tell(s, ev, &r, wall_ms);
    return 0;
}

/* ---- the detector, and how far apart two values are ---- */

static struct o3_drift_params params_of(const struct replay *r, int64_t interval_ms) {
    const struct o3_config_values *v = r->values;
    struct o3_drift_params p = o3_drift_params_default();
    double budget_ms;
    p.detector = v->drift_detector == O3_DETECTOR_RANK ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM;
    p.has_season = v->drift_season;
    p.interval_ms = interval_ms;
    p.min_effect = v->drift_min_effect;
    p.n0 = (int)v->drift_baseline_samples;
    p.confirm_samples = (int)v->drift_confirm_samples;
    /* One series has the whole budget to itself. */
    if (o3_false_alarms_parse(v->drift_false_alarms, &budget_ms)) p.arl0_samples = budget_ms / (double)interval_ms;
    return p;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The usual time between two of the first rows; 0: none moves on. */
static int64_t usual_step(const struct series *s) {
    int64_t steps[HELD_MAX];
    size_t n = 0;
    for (int i = 1; i < s->n_held; i++)
        if (s->held_ms[i] > s->held_ms[i - 1]) steps[n++] = s->held_ms[i] - s->held_ms[i - 1];
    qsort(steps, n, sizeof *steps, by_size);
    return n ? steps[n / 2] : 0;
}

static int begin(struct series *s, int64_t interval_ms, struct o3_err *e) {
    struct o3_drift_params p = params_of(s->replay, interval_ms);
    s->drift = o3_drift_new(&p);
    if (!s->drift) return o3_err_set(e, O3_E_NOMEM, "no memory for the detector");
    int r = 0;
    for (int i = 0; r == 0 && i < s->n_held; i++)
        r = judge(s, s->held[i], s->held_ms[i], e);
    return r;
}

static int begin_by_times(struct series *s, struct o3_err *e) {
    int64_t step_ms = s->has_times && !s->replay->has_interval ? usual_step(s) : 0;
    return begin(s, step_ms ? step_ms : s->replay->interval_ms, e);
}

static int add(struct series *s, double value, int64_t wall_ms, struct o3_err *e) {
    if (s->drift) return judge(s, value, wall_ms, e);
    s->held_ms[s->n_held] = wall_ms;
    s->held[s->n_held++] = value;
    return s->n_held == HELD_MAX ? begin_by_times(s, e) : 0;
}

/* ---- reading ---- */

static bool is_blank(const char *line) {
    return !line[strspn(line, " \t")];
}

static int add_line(struct series *s, const struct o3_csv *csv, char *line, struct o3_err *e) {
    int64_t wall_ms = (s->n + (s->drift ? 0 : s->n_held)) * s->replay->interval_ms;
    double value;
    if (csv) {
        int r = o3_csv_row(csv, line, &wall_ms, &value, e);
        if (r < 0) return r;
    } else if (!o3_series_value_parse(line, &value)) {
        return o3_err_set(e, O3_E_PARSE, "expected a number, found \"%.40s\"", line);
    }
    return add(s, value, wall_ms, e);
}

static int read_lines(struct series *s, struct replay_input *in, const struct o3_csv *csv, struct o3_err *e) {
    for (;;) {
        char *line;
        size_t n;
        int r = o3_lines_next(&in->lines, &line, &n, e);
        if (r == 0) return 0;
        if (r > 0 && !is_blank(line)) r = add_line(s, csv, line, e);
        if (r >= 0) continue;
        if (r != O3_E_PARSE || !s->replay->is_skip_bad) return r;
        s->n_skipped++;
    }
}

static int read_csv(struct series *s, struct replay_input *in, struct o3_err *e) {
    struct o3_csv csv;
    char *line;
    size_t n;
    int r;
    do
        r = o3_lines_next(&in->lines, &line, &n, e);
    while (r > 0 && is_blank(line));
    if (r == 0) return o3_err_set(e, O3_E_PARSE, "the file is empty; a CSV begins with a line of names");
    if (r > 0) r = o3_csv_header(&csv, line, s->replay->time_column, s->replay->value_column, e);
    if (r < 0) return r;
    s->has_times = csv.time >= 0;
    r = read_lines(s, in, &csv, e);
    o3_csv_done(&csv);
    return r;
}

/* ---- the whole ---- */

static void tell_left_out(const struct series *s) {
    if (s->n_left_out)
        fprintf(stderr, "o3 replay: %zu of %lld values left out: %lld NaN, %lld infinite, %lld not above 0\n",
                s->n_left_out, (long long)s->n, (long long)s->n_nan, (long long)s->n_infinite,
                (long long)s->n_not_positive);
    if (s->n_skipped) fprintf(stderr, "o3 replay: %lld broken lines passed over\n", (long long)s->n_skipped);
}

static void print_end(const struct series *s, const struct o3_drift_view *v) {
    printf("%lld values, confirmed changes: %lld; at the end ", (long long)s->n, (long long)s->n_confirmed);
    if (v->state == O3_DRIFT_LEARNING)
        printf("learning, %lld values so far\n", (long long)v->n_samples);
    else
        printf("%s, %.5g against %.5g\n", o3_drift_state_name(v->state), v->recent_median, v->baseline);
}

static int finish(const struct series *s) {
    struct o3_drift_view v;
    o3_drift_view(s->drift, &v);
    tell_left_out(s);
    if (s->replay->level != REPLAY_VERDICTS) return 0;
    if (!s->replay->is_json) print_end(s, &v);
    bool is_found = s->replay->after == REPLAY_CONTINUE ? v.state == O3_DRIFT_CONFIRMED : s->n_confirmed > 0;
    return is_found ? 1 : 0;
}

int replay_series(const struct replay *r, struct replay_input *in) {
    struct series s = {.replay = r};
    struct o3_err e = {0};
    int result = r->format == REPLAY_CSV ? read_csv(&s, in, &e) : read_lines(&s, in, NULL, &e);
    if (result == 0 && !s.drift) result = begin_by_times(&s, &e);
    int status = result < 0 ? 2 : 0;
    if (result < 0) {
        if (result != O3_E_PARSE) in->lines.number = 0;
        replay_complain(in, &e);
        if (result != O3_E_PARSE && result != O3_E_LIMIT) status = o3_error_row(result)->exit_status;
    } else {
        status = finish(&s);
    }
    o3_drift_free(s.drift);
    free(s.left_out);
    return status;
}
