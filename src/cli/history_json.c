/* SPDX-License-Identifier: Apache-2.0 */
/* o3 history --json: the same facts for programs. */
#include <math.h>
#include <stdio.h>
#include "cli/history.h"
#include "o3/text.h"

static void add_time(struct o3_buf *b, const char *name, int64_t wall_ms) {
    char text[40];
    o3_rfc3339_format(wall_ms, text, sizeof text);
    o3_buf_addf(b, wall_ms ? ",\"%s\":\"%s\"" : ",\"%s\":null", name, text);
}

static void add_verdict(const struct history *h, struct o3_buf *b, const char *model, enum o3_signal sig,
                        const struct o3_series_view *v) {
    struct history_mark x;
    char words[1024];
    history_verdict(h, model, sig, v, words, sizeof words);
    if (!words[0]) return;
    o3_buf_adds(b, ",\"verdict\":");
    o3_buf_add_quoted(b, words);
    if (v->drift.state == O3_DRIFT_CONFIRMED && history_standing(h, model, sig, &x))
        o3_buf_addf(b, ",\"incident\":%lld", (long long)x.incident->id);
}

static void add_signal(const struct history *h, struct o3_buf *b, const char *model, enum o3_signal sig,
                       const struct history_series *s) {
    o3_buf_addf(b, "{\"signal\":\"%s\",\"samples\":%lld,\"levels\":[", o3_signal_name(sig), (long long)s->n);
    for (int i = 0; i < h->width; i++) {
        if (i) o3_buf_adds(b, ",");
        o3_buf_add_json_number(b, s->level[i]);
    }
    o3_buf_adds(b, "]");
    if (s->view.exists) {
        const struct o3_drift_view *v = &s->view.drift;
        o3_buf_addf(b, ",\"state\":\"%s\",\"baseline\":", o3_drift_state_name(v->state));
        o3_buf_add_json_number(b, v->baseline);
        o3_buf_adds(b, ",\"now\":");
        o3_buf_add_json_number(b, s->now);
        o3_buf_adds(b, ",\"change_ratio\":");
        o3_buf_add_json_number(b, v->change_ratio);
        add_time(b, "change_time", v->change_wall_ms);
        add_verdict(h, b, model, sig, &s->view);
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
        add_signal(h, b, m->name, (enum o3_signal)sig, &m->signals[sig]);
        is_first = false;
    }
    o3_buf_adds(b, "]}");
}

int history_print_json(const struct history *h) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, (size_t)256 << 20);
    o3_buf_adds(&b, "{\"format\":1");
    add_time(&b, "since", h->since_ms);
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
