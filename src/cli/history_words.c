/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the history: those of the verdicts, from the saved state. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli/history.h"
#include "o3/text.h"

#define COLUMNS_MIN 20

void history_time(int64_t wall_ms, char out[40]) {
    o3_rfc3339_format(wall_ms, out, 40);
    char *dot = strchr(out, '.');
    if (dot) o3_str_copy(dot, 3, "Z");
}

/* ---- paragraphs ---- */

static size_t characters(const char *s, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

/* Bytes of the first line: up to the last space within the room, or the whole first word. */
static size_t line_length(const char *s, size_t room) {
    size_t best = 0, n = 0;
    for (;;) {
        n += strcspn(s + n, " ");
        if (best && characters(s, n) > room) return best;
        best = n;
        if (!s[n] || characters(s, n) > room) return best;
        n++;
    }
}

void history_print_wrapped(const struct history *h, int first_indent, int indent, const char *text) {
    int columns = h->options->columns;
    for (int margin = first_indent;; margin = indent) {
        size_t room = columns > margin + COLUMNS_MIN ? (size_t)(columns - margin) : COLUMNS_MIN;
        size_t n = columns ? line_length(text, room) : strlen(text);
        printf("%*s%.*s\n", margin, "", (int)n, text);
        text += n;
        text += strspn(text, " ");
        if (!*text) return;
    }
}

/* ---- verdicts ---- */

bool history_next_mark(const struct history *h, const char *model, enum o3_signal sig, size_t *at,
                       struct history_mark *ret) {
    while (*at < h->n_incidents) {
        const struct o3_incident *i = h->incidents[(*at)++];
        for (int n = 0; n < i->n_members; n++) {
            const struct o3_verdict *v = &i->member[n].verdict;
            if (v->signal != sig || v->stratum != O3_STRATUM_IDLE || strcmp(v->model, model) != 0) continue;
            *ret = (struct history_mark){i, &i->member[n]};
            return true;
        }
    }
    return false;
}

bool history_standing(const struct history *h, const char *model, enum o3_signal sig, struct history_mark *ret) {
    size_t at = 0;
    while (history_next_mark(h, model, sig, &at, ret))
        if (ret->incident->is_open && !ret->member->is_over) return true;
    return false;
}

/* As it was told, without the name that stands above it; then the likeliest cause. */
static void confirmed(const struct history_mark *x, char *out, size_t size) {
    const struct o3_verdict *v = &x->member->verdict;
    const struct o3_cause_found *c = x->incident->n_causes ? &x->incident->cause[0] : NULL;
    char text[640], name[O3_MODEL_NAME_SIZE + 40];
    o3_verdict_text(v, text, sizeof text);
    int n = snprintf(name, sizeof name, "%s of %s ", o3_signal_name(v->signal), v->model);
    bool has_name = n > 0 && !strncmp(text, name, (size_t)n);
    n = snprintf(out, size, "incident %lld: %s", (long long)x->incident->id, text + (has_name ? n : 0));
    if (n < 0 || (size_t)n >= size || !c) return;
    if (c->cause == O3_CAUSE_UNKNOWN)
        snprintf(out + n, size - (size_t)n, "; cause unknown");
    else
        snprintf(out + n, size - (size_t)n, "; probably %s (%.0f %%): %s", o3_cause_name(c->cause), c->weight * 100,
                 c->evidence);
}

/* Series are saved now and then, incidents at once. */
static bool is_settled_since(const struct history *h, const char *model, enum o3_signal sig, int64_t change_wall_ms) {
    struct history_mark x;
    size_t at = 0;
    while (history_next_mark(h, model, sig, &at, &x))
        if (x.member->is_over && x.member->verdict.report.change_wall_ms == change_wall_ms) return true;
    return false;
}

void history_verdict(const struct history *h, const char *model, enum o3_signal sig, const struct o3_series_view *v,
                     char *out, size_t size) {
    struct history_mark x;
    char since[40];
    out[0] = '\0';
    if (!v->exists || (v->drift.state != O3_DRIFT_SUSPECT && v->drift.state != O3_DRIFT_CONFIRMED)) return;
    if (v->drift.state == O3_DRIFT_CONFIRMED && history_standing(h, model, sig, &x)) {
        confirmed(&x, out, size);
        return;
    }
    bool is_suspect = v->drift.state == O3_DRIFT_SUSPECT, has_fallen = v->drift.change_ratio < 0;
    const char *verb = is_suspect ? (has_fallen ? "may have fallen" : "may have risen")
                                  : (has_fallen ? "fell" : "rose");
    history_time(v->drift.change_wall_ms, since);
    snprintf(out, size, "%s by %.1f %s since %s%s", verb, 100 * fabs(v->drift.change_ratio),
             sig == O3_SIGNAL_SUCCESS ? "points" : "%", since,
             is_suspect                                                 ? ", waiting for confirmation"
             : is_settled_since(h, model, sig, v->drift.change_wall_ms) ? "; settled after this was saved"
                                                                        : "");
}
