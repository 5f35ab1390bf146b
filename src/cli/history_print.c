/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "cli/history.h"
#include "o3/reading.h"
#include "o3/text.h"

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

static void print_curve(const struct history *h, const double *v) {
    static const char *const BLOCKS[8] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                          "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const ASCII[8] = {"_", ".", "-", "=", "+", "*", "%", "#"};
    int width = h->options->width, last = width - 1;
    double lo, hi;
    limits_of(v, width, &lo, &hi);
    while (last >= 0 && isnan(v[last]))
        last--;
    fputs("    ", stdout);
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

/* ---- signals ---- */

static const char *state_words(const struct o3_series_view *v) {
    static const char *const WORDS[] = {[O3_DRIFT_LEARNING] = "learning",
                                        [O3_DRIFT_STABLE] = "steady",
                                        [O3_DRIFT_SUSPECT] = "may have changed",
                                        [O3_DRIFT_CONFIRMED] = "changed"};
    return WORDS[v->drift.state];
}

static void print_words(enum o3_signal sig, const struct history_series *s) {
    const struct o3_series_view *v = &s->view;
    char normal[64], now[64], since[40];
    printf("  %-12s ", o3_signal_name(sig));
    if (!v->exists) {
        printf("%lld samples, not judged yet\n", (long long)s->n);
        return;
    }
    if (v->drift.state == O3_DRIFT_LEARNING) {
        printf("learning, %lld samples so far\n", (long long)v->drift.n_samples);
        return;
    }
    o3_signal_value_text(sig, v->drift.baseline, normal, sizeof normal);
    o3_signal_value_text(sig, v->drift.recent_median, now, sizeof now);
    printf("normal %s, now %s: %s", normal, now, state_words(v));
    if (v->drift.state != O3_DRIFT_STABLE) {
        o3_rfc3339_format(v->drift.change_wall_ms, since, sizeof since);
        const char *unit = sig == O3_SIGNAL_SUCCESS ? "points" : "%";
        printf(" by %+.1f %s since %s", 100 * v->drift.change_ratio, unit, since);
    }
    putchar('\n');
}

static void print_model(const struct history *h, const struct history_model *m) {
    printf("%s\n", m->name);
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        const struct history_series *s = &m->signals[sig];
        if (!s->n) continue;
        print_words((enum o3_signal)sig, s);
        print_curve(h, s->level);
    }
    putchar('\n');
}

/* ---- events ---- */

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static void print_release(const json_t *o, const char *model, const char *signal, const char *text) {
    char from[100], to[100];
    double ratio = number(o, "change_ratio"), lo = number(o, "change_lo"), hi = number(o, "change_hi");
    o3_json_copy(o, "from", from, sizeof from);
    o3_json_copy(o, "to", to, sizeof to);
    if (!isfinite(ratio) || !isfinite(lo) || !isfinite(hi))
        printf("%s\n", text);
    else
        printf("%s, %s -> %s: %s %+.1f %% (%+.1f to %+.1f)\n", model, from, to, signal, 100 * ratio, 100 * lo,
               100 * hi);
}

static void print_event(const struct history *h, const struct history_event *ev) {
    O3_AUTO_JSON *o = NULL;
    char time[40], name[40], model[O3_MODEL_NAME_SIZE], signal[24], text[700], reason[200];
    if (o3_json_load_object(ev->json, strlen(ev->json), &o, NULL) < 0) return;
    o3_rfc3339_format(ev->wall_ms, time, sizeof time);
    o3_json_copy(o, "event", name, sizeof name);
    o3_json_copy(o, "model", model, sizeof model);
    o3_json_copy(o, "signal", signal, sizeof signal);
    o3_json_copy(o, "text", text, sizeof text);
    o3_json_copy(o, "reason", reason, sizeof reason);
    enum o3_signal sig = O3_SIGNAL_COUNT;
    bool has_signal = o3_signal_parse(signal, &sig);
    if (h->options->signal >= 0 && has_signal && sig != (enum o3_signal)h->options->signal) return;
    printf("%s  ", time);
    if (!strncmp(name, "incident_", 9))
        printf("incident %lld %s: %s\n", (long long)o3_json_count(o, "id"), name + 9, text);
    else if (!strcmp(name, "release_compared"))
        print_release(o, model, signal, text);
    else if (!strcmp(name, "drift_acknowledged") && has_signal) {
        o3_signal_value_text(sig, number(o, "value"), text, sizeof text);
        printf("%s of %s: %s accepted as the normal level\n", signal, model, text);
    } else
        printf("presets of %s written: %s\n", model, reason);
}

static bool has_samples(const struct history_model *m) {
    int64_t n = 0;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        n += m->signals[sig].n;
    return n > 0;
}

int history_print_text(const struct history *h) {
    char from[40], to[40];
    bool any = false;
    o3_rfc3339_format(h->options->since_ms, from, sizeof from);
    o3_rfc3339_format(h->options->now_ms, to, sizeof to);
    printf("%s to %s\n\n", from, to);
    for (int i = 0; i < h->n_models; i++) {
        if (!has_samples(h->models[i])) continue;
        any = true;
        print_model(h, h->models[i]);
    }
    if (!any) puts("nothing was measured in this time\n");
    if (h->n_models_left_out) printf("more than %d models: the others are left out\n\n", HISTORY_MODELS_MAX);
    for (size_t i = 0; i < h->n_events; i++)
        print_event(h, &h->events[i]);
    return 0;
}

/* ---- JSON ---- */

static void add_time(struct o3_buf *b, const char *name, int64_t wall_ms) {
    char text[40];
    o3_rfc3339_format(wall_ms, text, sizeof text);
    o3_buf_addf(b, wall_ms ? ",\"%s\":\"%s\"" : ",\"%s\":null", name, text);
}

static void add_signal(const struct history *h, struct o3_buf *b, enum o3_signal sig, const struct history_series *s) {
    o3_buf_addf(b, "{\"signal\":\"%s\",\"samples\":%lld,\"levels\":[", o3_signal_name(sig), (long long)s->n);
    for (int i = 0; i < h->options->width; i++) {
        if (i) o3_buf_adds(b, ",");
        o3_buf_add_json_number(b, s->level[i]);
    }
    o3_buf_adds(b, "]");
    if (s->view.exists) {
        const struct o3_drift_view *v = &s->view.drift;
        o3_buf_addf(b, ",\"state\":\"%s\",\"baseline\":", o3_drift_state_name(v->state));
        o3_buf_add_json_number(b, v->baseline);
        o3_buf_adds(b, ",\"now\":");
        o3_buf_add_json_number(b, v->recent_median);
        o3_buf_adds(b, ",\"change_ratio\":");
        o3_buf_add_json_number(b, v->change_ratio);
        add_time(b, "change_time", v->change_wall_ms);
    }
    o3_buf_adds(b, "}");
}

static void add_model(const struct history *h, struct o3_buf *b, const struct history_model *m) {
    bool is_first = true;
    o3_buf_adds(b, "{\"model\":");
    o3_buf_add_quoted(b, m->name);
    o3_buf_adds(b, ",\"signals\":[");
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        if (!m->signals[sig].n) continue;
        if (!is_first) o3_buf_adds(b, ",\n");
        add_signal(h, b, (enum o3_signal)sig, &m->signals[sig]);
        is_first = false;
    }
    o3_buf_adds(b, "]}");
}

int history_print_json(const struct history *h) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, (size_t)256 << 20);
    o3_buf_adds(&b, "{\"format\":1");
    add_time(&b, "since", h->options->since_ms);
    add_time(&b, "now", h->options->now_ms);
    o3_buf_adds(&b, ",\"models\":[");
    for (int i = 0; i < h->n_models; i++) {
        if (i) o3_buf_adds(&b, ",\n");
        add_model(h, &b, h->models[i]);
    }
    o3_buf_adds(&b, "],\"events\":[");
    for (size_t i = 0; i < h->n_events; i++) {
        if (i) o3_buf_adds(&b, ",\n");
        o3_buf_adds(&b, h->events[i].json);
    }
    o3_buf_adds(&b, "]}\n");
    if (b.err) {
        fputs("o3 history: no memory for the text\n", stderr);
        return o3_error_row(b.err)->exit_status;
    }
    fwrite(o3_buf_str(&b), 1, b.len, stdout);
    return 0;
}
