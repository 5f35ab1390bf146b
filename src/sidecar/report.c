/* SPDX-License-Identifier: Apache-2.0 */
/* The state in memory as JSON, for the HTTP API and the summaries on disk. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

static int dump(json_t *root, struct o3_buf *out) {
    if (!root) return O3_E_NOMEM;
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
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
    if (wall_ms <= 0) return json_null();
    if (wall_ms == O3_TIME_NEVER_MS) return json_string("never");
    char text[40];
    o3_rfc3339_format(wall_ms, text, sizeof text);
    return json_string(text);
}

static json_t *text_or_null(const char *s) {
    return s[0] ? json_string(s) : json_null();
}

/* ---- open incidents ---- */

static bool stands_of(const struct o3_incident *i, const char *model, int signal, int stratum) {
    for (int n = 0; i->is_open && n < i->n_members; n++) {
        const struct o3_incident_member *x = &i->member[n];
        if (x->is_over || (model && strcmp(x->verdict.model, model) != 0)) continue;
        if ((signal < 0 || (int)x->verdict.signal == signal) && (stratum < 0 || (int)x->verdict.stratum == stratum))
            return true;
    }
    return false;
}

/* Numbers of the open incidents, of that model (NULL all) and, unless negative, of that signal under these conditions;
 * the newest first. */
static json_t *incident_ids(const struct o3_sidecar *s, const char *model, int signal, int stratum) {
    const struct o3_incident *v[O3_INCIDENTS_MAX];
    size_t n = o3_judge_incidents(s->judge, v, O3_INCIDENTS_MAX);
    json_t *ids = json_array();
    for (size_t i = 0; i < n; i++)
        if (stands_of(v[i], model, signal, stratum)) json_array_append_new(ids, json_integer(v[i]->id));
    return ids;
}

int o3_sidecar_status_json(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out) {
    int n_loaded = 0, n_drifted = 0;
    bool has_probed = false;
    for (int i = 0; i < s->n_models; i++) {
        n_loaded += s->models[i]->is_loaded;
        n_drifted += o3_judge_n_confirmed(s->judge, s->models[i]->ps.name) > 0;
        has_probed |= s->models[i]->last_sample_ns != INT64_MIN;
    }
    json_t *root = json_object();
    json_object_set_new(root, "time", time_text(now.wall_ms));
    json_object_set_new(root, "uptime_seconds", json_real((double)(now.mono_ns - s->started_ns) / 1e9));
    json_object_set_new(root, "ollama_up", json_boolean(s->is_up));
    json_object_set_new(root, "ollama_version", text_or_null(s->version.text));
    json_object_set_new(root, "ollama_error", text_or_null(s->last_error));
    json_object_set_new(root, "models_loaded", json_integer(n_loaded));
    json_object_set_new(root, "models_drifted", json_integer(n_drifted));
    json_object_set_new(root, "incidents_open", incident_ids(s, NULL, -1, -1));
    json_object_set_new(root, "first_probe_seen", json_boolean(has_probed));
    json_object_set_new(root, "probing", json_boolean(s->probe.id != 0));
    json_object_set_new(root, "users_busy", json_boolean(s->gate.is_busy));
    json_object_set_new(root, "sockets_readable", json_boolean(s->gate.has_sockets));
    const char *hint = s->is_up && s->has_ps && n_loaded == 0 ? o3_event_row(O3_EV_NO_MODEL)->text : "";
    json_object_set_new(root, "hint", text_or_null(hint));
    return dump(root, out);
}

#define N_NOW 5 /* samples that say how it is now */

static double level_now(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig, enum o3_stratum st,
                        const struct o3_drift_view *v) {
    double recent[N_NOW];
    if (sig == O3_SIGNAL_SUCCESS) return v->recent_median; /* a share of ones and zeros needs more of them */
    size_t n = o3_judge_recent(s->judge, m->ps.name, sig, st, recent, N_NOW);
    return n ? o3_median(recent, n) : (double)NAN;
}

static json_t *series_json(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig, enum o3_stratum st,
                           const struct o3_series_view *view) {
    const struct o3_drift_view *v = &view->drift;
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(o3_drift_state_name(v->state)));
    json_object_set_new(o, "samples", json_integer(v->n_samples));
    json_object_set_new(o, "baseline", number(v->baseline));
    json_object_set_new(o, "baseline_stddev", number(v->baseline_sd));
    json_object_set_new(o, "baseline_samples", json_integer(v->baseline_n));
    json_object_set_new(o, "baseline_established", time_text(v->established_wall_ms));
    json_object_set_new(o, "now", number(level_now(s, m, sig, st, v)));
    json_object_set_new(o, "statistic", number(v->statistic));
    json_object_set_new(o, "threshold", number(v->threshold));
    json_object_set_new(o, "change_ratio", number(v->change_ratio));
    json_object_set_new(o, "changed_since", time_text(v->change_wall_ms));
    json_object_set_new(o, "recent_median", number(v->recent_median));
    json_object_set_new(o, "recent_robust_cv", number(v->robust_cv));
    json_object_set_new(o, "recent_n", json_integer(v->n_recent));
    json_object_set_new(o, "incidents", incident_ids(s, m->ps.name, (int)sig, (int)st));
    if (isfinite(view->efficiency)) json_object_set_new(o, "roofline_efficiency", number(view->efficiency));
    return o;
}

/* What came with other software or another device, not with a setting that somebody chose. */
static bool is_worse(const struct o3_sidecar *s, const struct o3_release *r) {
    int good = o3_signal_good_direction(r->signal);
    bool is_sure = r->change_lo > 0 || r->change_hi < 0;
    return !r->is_ours && !o3_release_is_setting(r) && is_sure &&
           good * r->change_ratio <= -s->config->drift_min_effect;
}

static json_t *release_json(const struct o3_sidecar *s, const struct o3_release *compared, bool is_in_force) {
    const struct o3_release r = *compared;
    char text[640];
    o3_release_text(&r, text, sizeof text);
    json_t *o = json_object();
    json_object_set_new(o, "since", time_text(r.wall_ms));
    json_object_set_new(o, "reason", json_string(r.reason));
    json_object_set_new(o, "from", json_string(r.from));
    json_object_set_new(o, "to", json_string(r.to));
    json_object_set_new(o, "reasons", json_string(r.reasons));
    json_object_set_new(o, "before", number(r.before));
    json_object_set_new(o, "after", number(r.after));
    json_object_set_new(o, "change_ratio", number(r.change_ratio));
    json_object_set_new(o, "change_lo", number(r.change_lo));
    json_object_set_new(o, "change_hi", number(r.change_hi));
    json_object_set_new(o, "n_before", json_integer(r.n_before));
    json_object_set_new(o, "n_after", json_integer(r.n_after));
    json_object_set_new(o, "by", json_string(r.is_ours ? "sidecar" : "others"));
    json_object_set_new(o, "in_force", json_boolean(is_in_force));
    json_object_set_new(o, "worse", json_boolean(is_in_force && is_worse(s, &r)));
    json_object_set_new(o, "text", json_string(text));
    return o;
}

/* `release`: the last comparison; `releases`: the last of each kind. */
static void put_releases(json_t *o, const struct o3_sidecar *s, const struct model *m, enum o3_signal sig) {
    struct o3_release r;
    bool is_in_force;
    if (!o3_judge_release(s->judge, m->ps.name, sig, &r, &is_in_force)) return;
    json_object_set_new(o, "release", release_json(s, &r, is_in_force));
    json_t *list = json_array();
    for (int kind = 0; kind < O3_RELEASE_REASONS; kind++)
        if (o3_judge_release_of(s->judge, m->ps.name, sig, kind, &r, &is_in_force))
            json_array_append_new(list, release_json(s, &r, is_in_force));
    json_object_set_new(o, "releases", list);
}

/* Without users at the top; under other conditions below `strata`. NULL: there is none. */
static json_t *signal_json(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig) {
    json_t *o = NULL, *strata = NULL;
    for (int st = 0; st < O3_STRATUM_COUNT; st++) {
        struct o3_series_view v;
        o3_judge_view(s->judge, m->ps.name, sig, (enum o3_stratum)st, &v);
        if (!v.exists) continue;
        if (st == O3_STRATUM_IDLE) {
            o = series_json(s, m, sig, O3_STRATUM_IDLE, &v);
            continue;
        }
        if (!strata) strata = json_object();
        json_object_set_new(strata, o3_stratum_name((enum o3_stratum)st),
                            series_json(s, m, sig, (enum o3_stratum)st, &v));
    }
    if (!o) o = json_object();
    if (strata) json_object_set_new(o, "strata", strata);
    put_releases(o, s, m, sig);
    if (json_object_size(o)) return o;
    json_decref(o);
    return NULL;
}

static json_t *signals_json(const struct o3_sidecar *s, const struct model *m) {
    json_t *signals = json_object();
    for (int sig = 0; sig < O3_SIGNAL_COUNT; sig++) {
        json_t *o = signal_json(s, m, (enum o3_signal)sig);
        if (o) json_object_set_new(signals, o3_signal_name((enum o3_signal)sig), o);
    }
    return signals;
}

static json_t *stability_json(const struct o3_sidecar *s, const struct model *m) {
    struct o3_stability st = o3_sc_stability(s, m);
    json_t *o = json_object();
    json_object_set_new(o, "ratio", number(st.ratio));
    json_object_set_new(o, "n", json_integer((json_int_t)st.n));
    json_object_set_new(o, "wilson_low", number(st.wilson95.lo));
    json_object_set_new(o, "wilson_high", number(st.wilson95.hi));
    json_object_set_new(o, "median", number(st.median));
    json_object_set_new(o, "robust_cv", number(st.robust_cv));
    return o;
}

static void put_identity(json_t *o, const struct model *m) {
    json_object_set_new(o, "model", json_string(m->ps.name));
    json_object_set_new(o, "digest", json_string(m->ps.digest));
    json_object_set_new(o, "family", json_string(m->ps.family));
    json_object_set_new(o, "parameter_size", json_string(m->ps.parameter_size));
    json_object_set_new(o, "quantization", json_string(m->ps.quantization));
    json_object_set_new(o, "num_ctx", json_integer(m->ps.context_length));
}

/* Null while nobody knows when. */
static json_t *next_probe_seconds(const struct model *m, struct o3_now now) {
    if (!m->is_loaded || m->paused_for == SKIP_OLLAMA_DOWN) return json_null();
    return json_real(m->due_ns > now.mono_ns ? (double)(m->due_ns - now.mono_ns) / 1e9 : 0);
}

static json_t *model_json(const struct o3_sidecar *s, const struct model *m, struct o3_now now) {
    json_t *o = json_object();
    put_identity(o, m);
    enum o3_batch_source source;
    json_object_set_new(o, "num_batch", json_integer(o3_sc_effective_batch(s, m, &source)));
    json_object_set_new(o, "batch_source", json_string(source == O3_BATCH_RUNNER ? "runner" : "assumed"));
    json_object_set_new(o, "loaded", json_boolean(m->is_loaded));
    json_object_set_new(o, "size_bytes", json_integer(m->ps.size_bytes));
    json_object_set_new(o, "vram_bytes", json_integer(m->ps.size_vram_bytes));
    json_object_set_new(o, "expires_at", time_text(m->ps.expires_at_ms));
    json_object_set_new(o, "last_user_activity", time_text(m->last_user_wall_ms));
    json_object_set_new(o, "probe_interval_seconds", json_real((double)m->interval_ms / 1000.0));
    json_object_set_new(o, "next_probe_seconds", next_probe_seconds(m, now));
    json_object_set_new(o, "paused", text_or_null(SKIP_NAMES[m->paused_for]));
    json_object_set_new(o, "stuck", json_boolean(m->is_stuck));
    json_object_set_new(o, "induced_reload", json_boolean(m->strike != STRIKE_NONE));
    json_object_set_new(o, "decode_tokens", json_integer(m->epoch ? m->epoch->decode_tokens : 0));
    json_object_set_new(o, "stability", stability_json(s, m));
    json_object_set_new(o, "incidents", incident_ids(s, m->ps.name, -1, -1));
    json_object_set_new(o, "signals", signals_json(s, m));
    return o;
}

int o3_sidecar_models_json(const struct o3_sidecar *s, struct o3_now now, struct o3_buf *out) {
    json_t *list = json_array();
    for (int i = 0; i < s->n_models; i++)
        json_array_append_new(list, model_json(s, s->models[i], now));
    return dump(json_pack("{s:o}", "models", list), out);
}

int o3_sc_summary_json(const struct o3_sidecar *s, const struct model *m, int64_t wall_ms, struct o3_buf *out) {
    json_t *o = json_object();
    put_identity(o, m);
    json_object_set_new(o, "time", time_text(wall_ms));
    json_object_set_new(o, "ollama_version", json_string(s->version.text));
    json_object_set_new(o, "reason", json_string(m->write_reason));
    json_object_set_new(o, "stability", stability_json(s, m));
    json_object_set_new(o, "signals", signals_json(s, m));
    return dump(o, out);
}

static json_t *member_json(const struct o3_incident_member *x) {
    static const char *const ENDS[] = {"stands", "recovered", "acknowledged", "setting_left", "unseen"};
    const struct o3_drift_report *r = &x->verdict.report;
    json_t *o = json_object();
    json_object_set_new(o, "model", json_string(x->verdict.model));
    json_object_set_new(o, "signal", json_string(o3_signal_name(x->verdict.signal)));
    json_object_set_new(o, "stratum", json_string(o3_stratum_name(x->verdict.stratum)));
    json_object_set_new(o, "from", number(r->reference));
    json_object_set_new(o, "to", number(r->level));
    json_object_set_new(o, "change_ratio", number(r->change_ratio));
    json_object_set_new(o, "change_lo", number(r->change_lo));
    json_object_set_new(o, "change_hi", number(r->change_hi));
    json_object_set_new(o, "since", time_text(r->change_wall_ms));
    json_object_set_new(o, "n", json_integer(r->n_since));
    json_object_set_new(o, "shape", json_string(r->is_slow ? "creeping" : "step"));
    json_object_set_new(o, "end", json_string(ENDS[x->end]));
    return o;
}

static json_t *incident_json(const struct o3_incident *i) {
    json_t *o = json_object(), *members = json_array(), *causes = json_array();
    json_object_set_new(o, "id", json_integer(i->id));
    json_object_set_new(o, "open", json_boolean(i->is_open));
    json_object_set_new(o, "opened", time_text(i->opened_wall_ms));
    json_object_set_new(o, "closed", time_text(i->closed_wall_ms));
    json_object_set_new(o, "since", time_text(i->since_ms));
    json_object_set_new(o, "since_lo", time_text(i->since_lo_ms));
    json_object_set_new(o, "since_hi", time_text(i->since_hi_ms));
    json_object_set_new(o, "text", json_string(i->text));
    for (int n = 0; n < i->n_members; n++)
        json_array_append_new(members, member_json(&i->member[n]));
    for (int n = 0; n < i->n_causes; n++) {
        json_t *c = json_object();
        json_object_set_new(c, "cause", json_string(o3_cause_name(i->cause[n].cause)));
        json_object_set_new(c, "weight", number(i->cause[n].weight));
        json_object_set_new(c, "evidence", json_string(i->cause[n].evidence));
        json_array_append_new(causes, c);
    }
    json_object_set_new(o, "members", members);
    json_object_set_new(o, "members_left_out", json_integer(i->n_left_out));
    json_object_set_new(o, "causes", causes);
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

static json_t *doc_json(const struct o3_preset_doc *d) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 64 * 1024);
    return o3_preset_doc_encode_json(d, &text) == 0 ? json_loadb(text.p, text.len, 0, NULL) : NULL;
}

int o3_sidecar_presets_json(const struct o3_sidecar *s, struct o3_buf *out) {
    json_t *list = json_array();
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->has_published) json_array_append_new(list, doc_json(&s->models[i]->published));
    return dump(json_pack("{s:o}", "models", list), out);
}

int o3_sidecar_preset_json(const struct o3_sidecar *s, const char *model, enum o3_preset_name name,
                           struct o3_buf *out) {
    struct o3_conf_list wanted = {.n = 1, .v = {model}}, none = {0};
    for (int i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        if (!m->has_published || !m->published.presets[name].is_set ||
            !o3_model_is_selected(m->ps.name, &wanted, &none))
            continue;
        return o3_preset_encode(&m->published, name, "json", out, NULL);
    }
    return O3_E_NOT_FOUND;
}
