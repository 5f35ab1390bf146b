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
    char name[40], model[O3_MODEL_NAME_SIZE], signal[24], signals[160], text[700], reason[700];
    int64_t id;
    double value;
};

static bool decode(const struct history_event *ev, struct event *ret) {
    O3_AUTO_JSON *o = NULL;
    if (o3_json_load_object(ev->json, strlen(ev->json), &o, NULL) < 0) return false;
    o3_json_copy(o, "event", ret->name, sizeof ret->name);
    o3_json_copy(o, "model", ret->model, sizeof ret->model);
    o3_json_copy(o, "signal", ret->signal, sizeof ret->signal);
    o3_json_copy(o, "signals", ret->signals, sizeof ret->signals);
    o3_json_copy(o, "text", ret->text, sizeof ret->text);
    o3_json_copy(o, "reason", ret->reason, sizeof ret->reason);
    ret->id = o3_json_count(o, "id");
    const json_t *v = json_object_get(o, "value");
    ret->value = json_is_number(v) ? json_number_value(v) : (double)NAN;
    return true;
}

static bool is_incident(const struct event *ev) {
    return !strncmp(ev->name, "incident_", strlen("incident_"));
}

/* The words of a later event of the same incident hold those of this one. */
static bool is_told_again(const struct history *h, size_t at, const struct event *ev) {
    struct event later;
    for (size_t i = at + 1; i < h->n_events; i++)
        if (strstr(h->events[i].json, "\"incident_") && decode(&h->events[i], &later) && is_incident(&later) &&
            later.id == ev->id)
            return true;
    return false;
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
        snprintf(out, size, "compared: %s", ev->text);
    } else if (!strcmp(ev->name, "epoch_changed")) {
        snprintf(out, size, "new setting of %s: another %s, a new baseline begins", ev->model, ev->reason);
    } else if (!strcmp(ev->name, "drift_acknowledged") && o3_signal_parse(ev->signal, &sig)) {
        o3_signal_value_text(sig, ev->value, value, sizeof value);
        snprintf(out, size, "%s of %s: %s accepted as the normal level", ev->signal, ev->model, value);
    } else {
        snprintf(out, size, "presets of %s written: %s", ev->model, ev->reason);
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
        char time[40], words[900], line[960];
        if (!decode(&h->events[i], &ev) || !is_chosen(h, &ev)) continue;
        history_time(h->events[i].wall_ms, time);
        words_of(h, i, &ev, words, sizeof words);
        snprintf(line, sizeof line, "%s  %s", time, words);
        history_print_wrapped(h, 0, INDENT, line);
    }
}
