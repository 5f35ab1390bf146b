/* SPDX-License-Identifier: Apache-2.0 */
/* What the sidecar tells while a scenario is played, put into the record: verdicts beside the truth, incidents beside
 * the causes expected, and what makes expectations true. */
#include <string.h>
#include "rehearsal/grammar.h"
#include "rehearsal/inner.h"

static const struct o3_field *field(const struct o3_field *f, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(f[i].name, name)) return &f[i];
    return NULL;
}

static const char *text_of(const struct o3_field *f, size_t n, const char *name) {
    const struct o3_field *x = field(f, n, name);
    return x && x->type == O3_FIELD_STR && x->s ? x->s : "";
}

static double number_of(const struct o3_field *f, size_t n, const char *name) {
    const struct o3_field *x = field(f, n, name);
    return x && x->type == O3_FIELD_DBL ? x->d : 0;
}

static void note_verdict(struct o3_rehearsal *r, enum o3_event_id ev, const char *model, const char *signal) {
    int i = o3_truth_model(&r->truth, &r->run, model), sig = o3_truth_signal_of(signal);
    if (i < 0 || sig < 0) return;
    char *mark = &r->state.suspects[i][sig];
    if (ev == O3_EV_DRIFT_SUSPECT)
        *mark = 's';
    else
        *mark = ev == O3_EV_DRIFT_CONFIRMED ? 'c' : '\0';
}

/* A suspicion of a model of which nothing is confirmed. */
static bool is_unstable(const struct o3_rehearsal *r, const char *model) {
    for (int i = 0; i < r->run.n_models; i++) {
        const char *marks = r->state.suspects[i];
        if (*model && strcmp(model, r->run.models[i].name) != 0) continue;
        if (memchr(marks, 's', O3_TRUTH_SIGNALS) && !memchr(marks, 'c', O3_TRUTH_SIGNALS)) return true;
    }
    return false;
}

/* The newest moment at which the wall clock showed that time: between two jumps it runs with the world. */
static int64_t mono_of_wall(const struct o3_rehearsal *r, int64_t wall_ms) {
    const struct o3_scenario *s = r->params.scenario;
    const struct o3_coupling *c = r->coupling;
    int64_t shift_ms = c->wall_shift_ms, end_ns = c->now_ns;
    for (size_t i = r->next_fault; i-- > 0;) {
        const struct o3_scenario_fault *f = &s->faults[i];
        if (f->kind != O3_FAULT_CLOCK_JUMP) continue;
        int64_t t = (wall_ms - c->start_wall_ms - shift_ms) * O3_NS_PER_MS;
        if (t >= f->at_ns && t <= end_ns) return t;
        end_ns = f->at_ns;
        shift_ms -= (int64_t)(f->value * 1e3);
    }
    return (wall_ms - c->start_wall_ms - shift_ms) * O3_NS_PER_MS;
}

static int64_t since_ns(const struct o3_rehearsal *r, const struct o3_field *f, size_t n) {
    int64_t wall_ms;
    return o3_rfc3339_parse(text_of(f, n, "since"), &wall_ms) ? mono_of_wall(r, wall_ms) : r->coupling->now_ns;
}

static void note_server(struct o3_rehearsal *r, enum o3_event_id ev) {
    if (ev == O3_EV_OLLAMA_DOWN || ev == O3_EV_OLLAMA_UP) r->state.is_down = ev == O3_EV_OLLAMA_DOWN;
    if (ev == O3_EV_RUNNER_STUCK) r->state.n_stuck++;
    if (ev == O3_EV_RUNNER_FREE && r->state.n_stuck > 0) r->state.n_stuck--;
}

static void note_drift(struct o3_rehearsal *r, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    const char *model = text_of(f, n, "model"), *signal = text_of(f, n, "signal");
    int64_t now_ns = r->coupling->now_ns;
    bool is_idle = !strcmp(text_of(f, n, "stratum"), o3_stratum_name(O3_STRATUM_IDLE));
    if (ev == O3_EV_BASELINE_SET && is_idle) o3_truth_baseline(&r->truth, &r->run, model, signal, now_ns);
    if (ev == O3_EV_DRIFT_CONFIRMED) {
        o3_truth_look(&r->truth, &r->run, now_ns);
        o3_truth_alarm(&r->truth, &r->run, model, signal, number_of(f, n, "change_ratio"), since_ns(r, f, n), now_ns);
    }
    if (ev == O3_EV_DRIFT_SUSPECT || ev == O3_EV_DRIFT_CONFIRMED || ev == O3_EV_DRIFT_WENT_AWAY ||
        ev == O3_EV_DRIFT_RECOVERED)
        note_verdict(r, ev, model, signal);
}

/* ---- incidents ---- */

static int64_t integer_of(const struct o3_field *f, size_t n, const char *name) {
    const struct o3_field *x = field(f, n, name);
    return x && x->type == O3_FIELD_INT ? x->i : 0;
}

/* The cause that the scenario names for an incident of then: that of the next moment by which one is expected. */
static const char *expected_cause(const struct o3_scenario *s, const char *model, int64_t now_ns) {
    const struct o3_scenario_expect *best = NULL;
    for (size_t i = 0; i < s->n_expects; i++) {
        const struct o3_scenario_expect *x = &s->expects[i];
        bool is_named = x->kind == O3_EXPECT_BY && x->event == O3_EV_INCIDENT_OPENED && x->cause[0];
        if (!is_named || x->to_ns < now_ns || (x->model[0] && !o3_grammar_same_model(x->model, model))) continue;
        if (!best || x->to_ns < best->to_ns) best = x;
    }
    return best ? best->cause : "";
}

static struct o3_run_incident *incident_of(struct o3_run *run, int64_t id) {
    for (int64_t i = 0; i < run->n_incidents && i < O3_RUN_INCIDENTS_MAX; i++)
        if (run->incidents[i].id == id) return &run->incidents[i];
    return NULL;
}

static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strcspn(p, " "), p += strspn(p, " "))
        if (!strncmp(p, word, n) && (p[n] == ' ' || !p[n])) return true;
    return false;
}

/* Its members are alarms that were told in the same moment. */
static void claim_alarms(struct o3_run *run, int64_t id, const char *signals, int64_t now_ns) {
    for (int64_t i = 0; i < run->n_alarms && i < O3_RUN_ALARMS_MAX; i++) {
        struct o3_run_alarm *a = &run->alarms[i];
        if (!a->incident && a->at_ns == now_ns && has_word(signals, a->signal)) a->incident = id;
    }
}

static void note_incident(struct o3_rehearsal *r, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct o3_run *run = &r->run;
    int64_t id = integer_of(f, n, "id"), now_ns = r->coupling->now_ns;
    if (ev != O3_EV_INCIDENT_OPENED && ev != O3_EV_INCIDENT_CHANGED && ev != O3_EV_INCIDENT_CLOSED) return;
    struct o3_run_incident *x = incident_of(run, id);
    if (ev == O3_EV_INCIDENT_OPENED && !x && run->n_incidents++ < O3_RUN_INCIDENTS_MAX) {
        x = &run->incidents[run->n_incidents - 1];
        *x = (struct o3_run_incident){.id = id, .opened_ns = now_ns};
        o3_str_copy(x->expected, sizeof x->expected,
                    expected_cause(r->params.scenario, text_of(f, n, "model"), now_ns));
    }
    if (!x) return;
    x->closed_ns = ev == O3_EV_INCIDENT_CLOSED ? now_ns : INT64_MAX;
    x->weight = number_of(f, n, "cause_weight");
    o3_str_copy(x->cause, sizeof x->cause, text_of(f, n, "cause"));
    o3_str_copy(x->evidence, sizeof x->evidence, text_of(f, n, "evidence"));
    claim_alarms(run, id, text_of(f, n, "signals"), now_ns);
}

void o3_rehearsal_hear(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct o3_rehearsal *r = ctx;
    if (!r->coupling) return; /* still being made */
    struct o3_world_truth t;
    o3_world_truth(r->coupling->world, now.mono_ns, &t);
    struct o3_expect_seen seen = {.mono_ns = now.mono_ns,
                                  .event = ev,
                                  .model = text_of(f, n, "model"),
                                  .signal = text_of(f, n, "signal"),
                                  .reason = text_of(f, n, "reason"),
                                  .cause = text_of(f, n, "cause"),
                                  .change_ratio = number_of(f, n, "change_ratio"),
                                  .is_down = r->state.is_down,
                                  .is_stuck = r->state.n_stuck > 0,
                                  .is_busy = t.n_users_active > 0};
    seen.is_unstable = is_unstable(r, seen.model);
    note_server(r, ev);
    note_drift(r, ev, f, n);
    note_incident(r, ev, f, n);
    o3_expectations_event(r->expectations, &seen);
    if (r->params.on_event) r->params.on_event(r->params.ctx, now, ev, f, n);
}
