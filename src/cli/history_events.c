/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, oldest first: an incident in full where it was told last, in short before. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/json.h"
#include "cli/history.h"
#include "o3/reading.h"

#define INDENT 4

struct event {
    char name[40], model[O3_MODEL_NAME_SIZE], signal[24], signals[160], text[700], reason[700], error[300];
    char from[100], to[100], reasons[330];
    int64_t id;
    double value, before, after, lo, hi;
};

static double number(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

static bool decode(const char *json, struct event *ret) {
    O3_AUTO_JSON *o = NULL;
    if (o3_json_load_object(json, strlen(json), &o, NULL) < 0) return false;
    o3_json_copy(o, "event", ret->name, sizeof ret->name);
    o3_json_copy(o, "model", ret->model, sizeof ret->model);
    o3_json_copy(o, "signal", ret->signal, sizeof ret->signal);
    o3_json_copy(o, "signals", ret->signals, sizeof ret->signals);
    o3_json_copy(o, "text", ret->text, sizeof ret->text);
    o3_json_copy(o, "reason", ret->reason, sizeof ret->reason);
    ret->id = o3_json_count(o, "id");
    o3_json_copy(o, "error", ret->error, sizeof ret->error);
    o3_json_copy(o, "from", ret->from, sizeof ret->from);
    o3_json_copy(o, "to", ret->to, sizeof ret->to);
    o3_json_copy(o, "reasons", ret->reasons, sizeof ret->reasons);
    if (!ret->reasons[0])
        snprintf(ret->reasons, sizeof ret->reasons, "%.90s %.99s to %.99s", ret->reason, ret->from, ret->to);
    ret->value = number(o, "value");
    ret->before = number(o, "before");
    ret->after = number(o, "after");
    ret->lo = number(o, "change_lo");
    ret->hi = number(o, "change_hi");
    return true;
}

static bool is_incident(const struct event *ev) {
    return !strncmp(ev->name, "incident_", strlen("incident_"));
}

static const struct o3_incident *kept(const struct history *h, int64_t id) {
    for (size_t i = 0; i < h->n_incidents; i++)
        if (h->incidents[i]->id == id) return h->incidents[i];
    return NULL;
}

/* Members beyond the limit may be of any model. */
static bool is_member(const struct o3_incident *i, const char *model) {
    for (int n = 0; n < i->n_members; n++)
        if (!strcmp(i->member[n].verdict.model, model)) return true;
    return i->n_left_out > 0;
}

/* "ttft of MODEL 80.0 to 200 ms" */
static bool is_named(const char *text, const char *model) {
    static const char OF[] = " of ";
    size_t n = strlen(model);
    for (const char *p = strstr(text, OF); p; p = strstr(p, OF)) {
        p += strlen(OF);
        if (!strncmp(p, model, n) && p[n] == ' ') return true;
    }
    return false;
}

/* The event of an incident bears the model of its first member. All members stand in the incident as it was saved; of
 * one that is not kept any more the words are left. */
bool history_concerns(const struct history *h, const struct o3_store_event *ev, const char *model) {
    struct event x = {.name = ""};
    if (!*ev->model || !strcmp(ev->model, model)) return true;
    if (!decode(ev->json, &x) || !is_incident(&x)) return false;
    const struct o3_incident *i = kept(h, x.id);
    return (i && is_member(i, model)) || is_named(x.text, model);
}

/* The words of a later event of the same incident hold those of this one. */
static bool is_told_again(const struct history *h, size_t at, const struct event *ev) {
    struct event later;
    for (size_t i = at + 1; i < h->n_events; i++)
        if (strstr(h->events[i].json, "\"incident_") && decode(h->events[i].json, &later) && is_incident(&later) &&
            later.id == ev->id)
            return true;
    return false;
}

/* The words of the comparison where there is a difference to tell, else that there is none. */
static void comparison(const struct event *ev, char *out, size_t size) {
    enum o3_signal sig;
    char before[64], after[64];
    bool is_known = o3_signal_parse(ev->signal, &sig) && isfinite(ev->before) && isfinite(ev->after);
    if (!is_known || ev->lo > 0 || ev->hi < 0) {
        snprintf(out, size, "compared: %s", ev->text);
        return;
    }
    o3_signal_value_text(sig, ev->before, before, sizeof before);
    o3_signal_value_text(sig, ev->after, after, sizeof after);
    snprintf(out, size, "compared: no change of %s of %s seen, %s before and %s after, with %s", ev->signal, ev->model,
             before, after, ev->reasons);
}

static void words_of(const struct history *h, size_t at, const struct event *ev, char *out, size_t size) {
    enum o3_signal sig;
    char value[64];
    if (is_incident(ev)) {
        bool is_short = is_told_again(h, at, ev);
        const char *change = ev->name + strlen("incident_");
        if (is_short)
            snprintf(out, size, "incident %lld %s: %s of %s", (long long)ev->id, change, ev->signals, ev->model);
        else
            snprintf(out, size, "incident %lld %s: %s", (long long)ev->id, change, ev->text);
    } else if (!strcmp(ev->name, "release_compared")) {
        comparison(ev, out, size);
    } else if (!strcmp(ev->name, "epoch_changed")) {
        snprintf(out, size, "new setting of %s: another %s, a new baseline begins", ev->model, ev->reason);
    } else if (!strcmp(ev->name, "ollama_down")) {
        snprintf(out, size, "Ollama did not answer: %s", ev->error);
    } else if (!strcmp(ev->name, "drift_acknowledged") && o3_signal_parse(ev->signal, &sig)) {
        o3_signal_value_text(sig, ev->value, value, sizeof value);
        snprintf(out, size, "%s of %s: %s accepted as the normal level", ev->signal, ev->model, value);
    } else {
        int n = (int)strcspn(ev->reason, "(,"); /* the verdict itself stands above */
        while (n > 0 && ev->reason[n - 1] == ' ')
            n--;
        snprintf(out, size, "presets of %s written: %.*s", ev->model, n, ev->reason);
    }
}

static bool is_chosen(const struct history *h, const struct event *ev) {
    int wanted = h->options->signal;
    enum o3_signal sig;
    return wanted < 0 || !o3_signal_parse(ev->signal, &sig) || sig == (enum o3_signal)wanted;
}

void history_print_events(const struct history *h) {
    for (size_t i = 0; i < h->n_events; i++) {
        struct event ev;
        char time[40], words[1400], line[1500];
        if (!decode(h->events[i].json, &ev) || !is_chosen(h, &ev)) continue;
        history_time(h->events[i].wall_ms, time);
        words_of(h, i, &ev, words, sizeof words);
        snprintf(line, sizeof line, "%s  %s", time, words);
        history_print_wrapped(h, 0, INDENT, line);
    }
}
