/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/judge_events.h"
#include <stdio.h>
#include <string.h>
#include "o3/text.h"

static void add(struct o3_judge_event *e, struct o3_field f) {
    O3_ASSERT(e->n < O3_JUDGE_FIELDS_MAX);
    e->f[e->n++] = f;
}

static void begin(struct o3_judge_event *e, enum o3_event_id id, const char *model) {
    e->id = id;
    e->n = 0;
    add(e, O3_F_STR("model", model));
}

static void add_since(struct o3_judge_event *e, int64_t at, int64_t lo, int64_t hi) {
    o3_rfc3339_format(at, e->since, sizeof e->since);
    o3_rfc3339_format(lo, e->since_lo, sizeof e->since_lo);
    o3_rfc3339_format(hi, e->since_hi, sizeof e->since_hi);
    add(e, O3_F_STR("since", e->since));
    add(e, O3_F_STR("since_lo", e->since_lo));
    add(e, O3_F_STR("since_hi", e->since_hi));
}

static void add_text(struct o3_judge_event *e) {
    add(e, O3_F_STR("text", e->text));
}

static enum o3_event_id id_of(enum o3_drift_event ev) {
    switch (ev) {
    case O3_DRIFT_EV_BASELINE:
        return O3_EV_BASELINE_SET;
    case O3_DRIFT_EV_SUSPECT:
        return O3_EV_DRIFT_SUSPECT;
    case O3_DRIFT_EV_CONFIRMED:
        return O3_EV_DRIFT_CONFIRMED;
    case O3_DRIFT_EV_WENT_AWAY:
        return O3_EV_DRIFT_WENT_AWAY;
    case O3_DRIFT_EV_RECOVERED:
        return O3_EV_DRIFT_RECOVERED;
    case O3_DRIFT_EV_NONE:
        break;
    }
    O3_ASSERT(ev != O3_DRIFT_EV_NONE);
    return O3_EVENT_COUNT;
}

static void add_change(struct o3_judge_event *e, const struct o3_drift_report *r) {
    add(e, O3_F_DBL("from", r->reference));
    add(e, O3_F_DBL("to", r->level));
    add(e, O3_F_DBL("change_ratio", r->change_ratio));
    add(e, O3_F_DBL("change_lo", r->change_lo));
    add(e, O3_F_DBL("change_hi", r->change_hi));
    add_since(e, r->change_wall_ms, r->change_lo_ms, r->change_hi_ms);
    add(e, O3_F_INT("change_index", r->change_index));
    add(e, O3_F_INT("n", r->n_since));
    add(e, O3_F_STR("shape", r->is_slow ? "creeping" : "step"));
}

void o3_verdict_event(const struct o3_verdict *v, struct o3_judge_event *ret) {
    const struct o3_drift_report *r = &v->report;
    begin(ret, id_of(r->event), v->model);
    add(ret, O3_F_STR("signal", o3_signal_name(v->signal)));
    add(ret, O3_F_STR("stratum", o3_stratum_name(v->stratum)));
    add(ret, O3_F_INT("index", r->index));
    if (r->event == O3_DRIFT_EV_BASELINE) {
        add(ret, O3_F_DBL("value", r->reference));
        add(ret, O3_F_DBL("sd_ratio", r->baseline_sd_ratio));
        add(ret, O3_F_INT("n", r->baseline_n));
    } else {
        add_change(ret, r);
    }
    o3_verdict_text(v, ret->text, sizeof ret->text);
    add_text(ret);
}

static void list_signals(const struct o3_incident *i, char *out, size_t size) {
    uint32_t seen = 0;
    for (int n = 0; n < i->n_members; n++)
        seen |= UINT32_C(1) << i->member[n].verdict.signal;
    size_t len = 0;
    out[0] = '\0';
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        if (!(seen >> sig & 1) || len >= size) continue;
        int n = snprintf(out + len, size - len, "%s%s", len ? " " : "", o3_signal_name((enum o3_signal)sig));
        if (n > 0) len += (size_t)n;
    }
}

void o3_incident_event(const struct o3_incident *i, enum o3_incident_change change, struct o3_judge_event *ret) {
    static const enum o3_event_id IDS[] = {[O3_INCIDENT_OPENED] = O3_EV_INCIDENT_OPENED,
                                           [O3_INCIDENT_CHANGED] = O3_EV_INCIDENT_CHANGED,
                                           [O3_INCIDENT_CLOSED] = O3_EV_INCIDENT_CLOSED};
    begin(ret, IDS[change], i->n_members ? i->member[0].verdict.model : "");
    list_signals(i, ret->signals, sizeof ret->signals);
    add(ret, O3_F_INT("id", i->id));
    add(ret, O3_F_STR("signals", ret->signals));
    add_since(ret, i->since_ms, i->since_lo_ms, i->since_hi_ms);
    add(ret, O3_F_STR("cause", o3_cause_name(i->n_causes ? i->cause[0].cause : O3_CAUSE_UNKNOWN)));
    add(ret, O3_F_DBL("cause_weight", i->n_causes ? i->cause[0].weight : 0));
    add(ret, O3_F_STR("evidence", i->n_causes ? i->cause[0].evidence : ""));
    o3_str_copy(ret->text, sizeof ret->text, i->text);
    add_text(ret);
}

void o3_release_event(const struct o3_release *r, struct o3_judge_event *ret) {
    begin(ret, O3_EV_RELEASE_COMPARED, r->model);
    add(ret, O3_F_STR("signal", o3_signal_name(r->signal)));
    add(ret, O3_F_STR("reason", r->reason));
    add(ret, O3_F_STR("from", r->from));
    add(ret, O3_F_STR("to", r->to));
    add(ret, O3_F_STR("reasons", r->reasons));
    o3_rfc3339_format(r->wall_ms, ret->since, sizeof ret->since);
    add(ret, O3_F_STR("since", ret->since));
    add(ret, O3_F_DBL("before", r->before));
    add(ret, O3_F_DBL("after", r->after));
    add(ret, O3_F_DBL("change_ratio", r->change_ratio));
    add(ret, O3_F_DBL("change_lo", r->change_lo));
    add(ret, O3_F_DBL("change_hi", r->change_hi));
    add(ret, O3_F_INT("n_before", r->n_before));
    add(ret, O3_F_INT("n_after", r->n_after));
    add(ret, O3_F_STR("by", r->is_ours ? "sidecar" : "others"));
    o3_release_text(r, ret->text, sizeof ret->text);
    add_text(ret);
}

void o3_epoch_event(const char *model, const char *reason, struct o3_judge_event *ret) {
    begin(ret, O3_EV_EPOCH_CHANGED, model);
    add(ret, O3_F_STR("reason", reason));
}

void o3_acknowledged_event(const char *model, enum o3_signal signal, double level, struct o3_judge_event *ret) {
    begin(ret, O3_EV_DRIFT_ACKNOWLEDGED, model);
    add(ret, O3_F_STR("signal", o3_signal_name(signal)));
    add(ret, O3_F_DBL("value", level));
}
