/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed, for the HTTP API, and a person's word that it may stay so. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "o3/reading.h"
#include "sidecar/internal.h"

static int dump(json_t *root, struct o3_buf *out) {
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(root);
    if (!text) return O3_E_NOMEM;
    int r = o3_buf_adds(out, text);
    free(text);
    return r < 0 ? r : o3_buf_adds(out, "\n");
}

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *time_text(int64_t wall_ms) {
    char text[40];
    if (!wall_ms) return json_null();
    o3_rfc3339_format(wall_ms, text, sizeof text);
    return json_string(text);
}

/* ---- incidents ---- */

static json_t *member_json(const struct o3_incident_member *x) {
    static const char *const ENDS[] = {[O3_MEMBER_STANDS] = "stands",
                                       [O3_MEMBER_RECOVERED] = "recovered",
                                       [O3_MEMBER_ACKNOWLEDGED] = "acknowledged",
                                       [O3_MEMBER_LEFT] = "other_setting"};
    const struct o3_verdict *v = &x->verdict;
    json_t *o = json_object();
    json_object_set_new(o, "model", json_string(v->model));
    json_object_set_new(o, "signal", json_string(o3_signal_name(v->signal)));
    json_object_set_new(o, "stratum", json_string(o3_stratum_name(v->stratum)));
    json_object_set_new(o, "from", number(v->report.reference));
    json_object_set_new(o, "to", number(v->report.level));
    json_object_set_new(o, "change_ratio", number(v->report.change_ratio));
    json_object_set_new(o, "change_lo", number(v->report.change_lo));
    json_object_set_new(o, "change_hi", number(v->report.change_hi));
    json_object_set_new(o, "since", time_text(v->report.change_wall_ms));
    json_object_set_new(o, "state", json_string(ENDS[x->end]));
    return o;
}

static json_t *incident_json(const struct o3_incident *i) {
    json_t *o = json_object(), *members = json_array(), *causes = json_array();
    for (int n = 0; n < i->n_members; n++)
        json_array_append_new(members, member_json(&i->member[n]));
    for (int n = 0; n < i->n_causes; n++)
        json_array_append_new(causes, json_pack("{s:s, s:o, s:s}", "cause", o3_cause_name(i->cause[n].cause), "weight",
                                                number(i->cause[n].weight), "evidence", i->cause[n].evidence));
    json_object_set_new(o, "id", json_integer(i->id));
    json_object_set_new(o, "open", json_boolean(i->is_open));
    json_object_set_new(o, "opened", time_text(i->opened_wall_ms));
    json_object_set_new(o, "closed", time_text(i->closed_wall_ms));
    json_object_set_new(o, "since", time_text(i->since_ms));
    json_object_set_new(o, "since_lo", time_text(i->since_lo_ms));
    json_object_set_new(o, "since_hi", time_text(i->since_hi_ms));
    json_object_set_new(o, "text", json_string(i->text));
    json_object_set_new(o, "causes", causes);
    json_object_set_new(o, "members", members);
    json_object_set_new(o, "members_left_out", json_integer(i->n_left_out));
    return o;
}

int o3_sidecar_incidents_json(const struct o3_sidecar *s, struct o3_buf *out) {
    const struct o3_incident *v[O3_INCIDENTS_MAX];
    size_t n = o3_judge_incidents(s->judge, v, O3_INCIDENTS_MAX);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, incident_json(v[i]));
    return dump(json_pack("{s:o}", "incidents", list), out);
}

/* ---- acknowledgements ---- */

static struct model *find(const struct o3_sidecar *s, const char *name) {
    struct o3_conf_list wanted = {.n = 1, .v = {name}}, none = {0};
    for (int i = 0; i < s->n_models; i++)
        if (o3_model_is_selected(s->models[i]->ps.name, &wanted, &none)) return s->models[i];
    return NULL;
}

/* The first stratum in which the signal stands changed; O3_STRATUM_COUNT: none. */
static enum o3_stratum changed_in(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig) {
    for (int st = 0; st < O3_STRATUM_COUNT; st++) {
        struct o3_series_view v;
        o3_judge_view(s->judge, m->ps.name, sig, (enum o3_stratum)st, &v);
        if (v.exists && v.drift.state == O3_DRIFT_CONFIRMED) return (enum o3_stratum)st;
    }
    return O3_STRATUM_COUNT;
}

static json_t *accepted_json(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig,
                             enum o3_stratum st) {
    struct o3_series_view v;
    char text[64];
    o3_judge_view(s->judge, m->ps.name, sig, st, &v);
    o3_signal_value_text(sig, v.drift.baseline, text, sizeof text);
    return json_pack("{s:s, s:o, s:s}", "signal", o3_signal_name(sig), "level", number(v.drift.baseline), "text", text);
}

int o3_sidecar_acknowledge(struct o3_sidecar *s, const char *model, int signal, struct o3_now now, struct o3_buf *out) {
    struct model *m = find(s, model);
    if (!m) return O3_E_NOT_FOUND;
    enum o3_stratum changed[O3_SIGNAL_COUNT];
    uint32_t bits = 0;
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        changed[sig] = changed_in(s, m, (enum o3_signal)sig);
        bool is_meant = signal < 0 || signal == sig;
        if (is_meant && changed[sig] != O3_STRATUM_COUNT) bits |= UINT32_C(1) << sig;
    }
    if (!bits || !s->config->drift_enabled || !m->epoch) return O3_E_NO_CHANGE;
    /* What is not loaded is not looked at; the sample carries the word alone. */
    o3_sc_look_at(s, m, m->is_loaded ? O3_OUTCOME_OK : O3_OUTCOME_CANCELLED, bits, now);
    json_t *list = json_array();
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++)
        if (bits >> sig & 1) json_array_append_new(list, accepted_json(s, m, (enum o3_signal)sig, changed[sig]));
    return dump(json_pack("{s:s, s:o}", "model", m->ps.name, "accepted", list), out);
}
