/* SPDX-License-Identifier: Apache-2.0 */
/* Lines about what happens: "at TIME ...". What befalls the server goes to the world as it stands; what befalls the
 * sidecar is read here. */
#include <stdlib.h>
#include <string.h>
#include "o3/replace.h"
#include "o3/text.h"
#include "rehearsal/grammar.h"

/* A line of a world begins "world", an event "at 0s": as long, so that columns stay what they are. */
static char *event_text(const struct o3_grammar *g, bool is_world_line) {
    size_t last = g->w.n - 1, end = g->w.col[last] - 1 + strlen(g->w.text[last]);
    char *text = strndup(g->line, end);
    if (text && is_world_line) memcpy(text + g->w.col[0] - 1, "at 0s", 5);
    return text;
}

static int add_event(struct o3_grammar *g, bool is_world_line) {
    struct o3_scenario *s = g->s;
    char *text = event_text(g, is_world_line);
    if (!text) return o3_err_set(g->e, O3_E_NOMEM, "no memory for the scenario");
    int64_t at_ns = 0;
    int r = o3_world_check_event(text, g->number, &at_ns, g->e);
    struct o3_scenario_line *p = r < 0 ? NULL : o3_grammar_grow(g, s->events, &s->n_events, sizeof *p);
    if (!p) {
        free(text);
        return r < 0 ? r : O3_E_NOMEM;
    }
    s->events = p;
    p[s->n_events - 1] = (struct o3_scenario_line){.text = text, .at_ns = at_ns, .number = g->number};
    return 0;
}

/* ---- what befalls the sidecar ---- */

static int take_for(struct o3_grammar *g, struct o3_scenario_fault *f) {
    int64_t ns;
    if (!o3_words_take(&g->w, "for")) return 0;
    int r = o3_words_take_time(&g->w, "a duration like \"10m\"", &ns);
    if (r == 0) f->until_ns = f->at_ns + ns;
    return r;
}

static int take_killed(struct o3_grammar *g, struct o3_scenario_fault *f) {
    f->kind = O3_FAULT_SIDECAR_KILLED;
    if (!o3_words_take(&g->w, "at")) return 0;
    const char *p = o3_words_peek(&g->w);
    for (size_t i = 0; p && i < O3_REPLACE_DISCARD; i++)
        if (!strcmp(p, O3_REPLACE_STEP_NAMES[i])) return o3_words_take_name(&g->w, "a step", f->step, sizeof f->step);
    return o3_words_unknown(&g->w, "a step of a write: open, write, fsync, rename, fsync_dir or read_back",
                            O3_REPLACE_STEP_NAMES, O3_REPLACE_DISCARD);
}

static int take_stopped(struct o3_grammar *g, struct o3_scenario_fault *f) {
    f->kind = O3_FAULT_SIDECAR_STOPPED;
    const char *p = o3_words_peek(&g->w);
    return p && !strcmp(p, "for") ? take_for(g, f) : o3_words_expected(&g->w, "\"for DURATION\"");
}

static int take_sidecar(struct o3_grammar *g, struct o3_scenario_fault *f) {
    static const char *const WHAT[] = {"killed", "stopped"};
    if (o3_words_take(&g->w, "killed")) return take_killed(g, f);
    if (o3_words_take(&g->w, "stopped")) return take_stopped(g, f);
    return o3_words_unknown(&g->w, "\"killed\" or \"stopped\"", WHAT, 2);
}

static int take_disk(struct o3_grammar *g, struct o3_scenario_fault *f) {
    static const char *const WHAT[] = {"full", "read-only", "slow"};
    if (o3_words_take(&g->w, "full"))
        f->kind = O3_FAULT_DISK_FULL;
    else if (o3_words_take(&g->w, "read-only"))
        f->kind = O3_FAULT_DISK_READ_ONLY;
    else if (o3_words_take(&g->w, "slow")) {
        f->kind = O3_FAULT_DISK_SLOW;
        int r = o3_words_take_quantity(&g->w, "a factor from 1x to 1000x like \"20x\"", "x", 1, 1000, &f->value);
        if (r < 0) return r;
        f->value *= 0.01; /* a step of a write takes about that long on a disk that is not slow */
    } else
        return o3_words_unknown(&g->w, "\"full\", \"read-only\" or \"slow\"", WHAT, 3);
    return take_for(g, f);
}

static int take_clock(struct o3_grammar *g, struct o3_scenario_fault *f) {
    const char *p = o3_words_peek(&g->w);
    int64_t ns;
    f->kind = O3_FAULT_CLOCK_JUMP;
    if (!p || (*p != '+' && *p != '-') || !o3_words_time(p + 1, &ns) || ns > O3_SCENARIO_TIME_MAX_NS ||
        ns % O3_NS_PER_S != 0)
        return o3_words_expected(&g->w, "a jump of whole seconds like \"+2h\" or \"-30m\"");
    f->value = (*p == '-' ? -1 : 1) * (double)ns / 1e9;
    g->w.next++;
    return 0;
}

static int take_pool(struct o3_grammar *g, struct o3_scenario_fault *f) {
    int64_t n = 0;
    f->kind = O3_FAULT_POOL;
    int r = o3_words_take_int(&g->w, "a number from 0 to 1000", 0, 1000, &n);
    if (r < 0) return r;
    f->value = (double)n;
    if (!o3_words_take(&g->w, "connections") && !o3_words_take(&g->w, "connection"))
        return o3_words_expected(&g->w, "\"connections\"");
    return take_for(g, f);
}

static int take_foreign(struct o3_grammar *g, struct o3_scenario_fault *f) {
    f->kind = O3_FAULT_FOREIGN_FILE;
    return o3_words_take(&g->w, "write") ? 0 : o3_words_expected(&g->w, "\"write\"");
}

static const struct {
    const char *word;
    int (*take)(struct o3_grammar *g, struct o3_scenario_fault *f);
} FAULTS[] = {
    {"sidecar", take_sidecar}, {"disk", take_disk},       {"clock", take_clock},
    {"pool", take_pool},       {"foreign", take_foreign},
};
enum { N_FAULTS = sizeof FAULTS / sizeof *FAULTS };

static int add_fault(struct o3_grammar *g, struct o3_scenario_fault *f, bool is_world_line) {
    struct o3_scenario *s = g->s;
    struct o3_scenario_fault *p = o3_grammar_grow(g, s->faults, &s->n_faults, sizeof *p);
    if (!p) return O3_E_NOMEM;
    s->faults = p;
    p[s->n_faults - 1] = *f;
    /* A slow disk is slow for the server's loads, too. */
    return f->kind == O3_FAULT_DISK_SLOW ? add_event(g, is_world_line) : 0;
}

int o3_grammar_happening(struct o3_grammar *g, int64_t at_ns, bool is_world_line) {
    for (size_t i = 0; i < N_FAULTS; i++) {
        if (!o3_words_take(&g->w, FAULTS[i].word)) continue;
        struct o3_scenario_fault f = {.at_ns = at_ns, .until_ns = INT64_MAX, .line = g->number};
        int r = FAULTS[i].take(g, &f);
        if (r == 0) r = o3_words_end(&g->w);
        return r < 0 ? r : add_fault(g, &f, is_world_line);
    }
    return add_event(g, is_world_line);
}

int o3_grammar_at(struct o3_grammar *g) {
    int64_t at_ns;
    int r = o3_grammar_time(g, &at_ns);
    if (r < 0) return r;
    if (o3_words_take(&g->w, "expect")) return o3_grammar_expect_metric(g, at_ns);
    g->change_ns = at_ns;
    return o3_grammar_happening(g, at_ns, false);
}
