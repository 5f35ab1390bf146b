/* SPDX-License-Identifier: Apache-2.0 */
/* Verdict to preset. Written when a baseline is established, when a change is confirmed and when the level is back;
 * never on a suspicion, never when nothing that a reader acts on has changed. A failed write is tried again, the file
 * on disk stays whole. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

#define RETRY_FIRST_NS (5LL * O3_NS_PER_S)
#define RETRY_MAX_NS (600LL * O3_NS_PER_S)
#define DOC_BYTES_MAX (64u * 1024)
#define TUNE_OFF 0
#define TOLD (UINT32_C(1) << O3_SIGNAL_DECODE_RATE | UINT32_C(1) << O3_SIGNAL_TTFT) /* signals with a figure in it */

static const char *const USE_CASES[O3_PRESET_COUNT] = {"Long-form reasoning, extensive tool traces",
                                                       "Everyday chat and coding", "Short questions, quick answers"};

/* The level of a signal now, without users: the changed level while a change stands, else the baseline. NaN while
 * learning. */
static double level_now(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig, int64_t *ret_n) {
    struct o3_series_view v;
    o3_judge_glance(s->judge, m->ps.name, sig, O3_STRATUM_IDLE, &v);
    if (!m->epoch || !v.exists || v.drift.state == O3_DRIFT_LEARNING) return (double)NAN;
    bool is_drifted = v.drift.state == O3_DRIFT_CONFIRMED;
    *ret_n = is_drifted && m->epoch->n_changed[sig] ? m->epoch->n_changed[sig] : v.drift.baseline_n;
    return is_drifted ? v.drift.baseline * (1 + v.drift.change_ratio) : v.drift.baseline;
}

static double stability_now(const struct o3_sidecar *s, const struct model *m) {
    struct o3_stability st = o3_sc_stability(s, m);
    return st.n < O3_STABILITY_ATTEMPTS_MIN ? (double)NAN : st.ratio;
}

static struct o3_performance performance_now(const struct o3_sidecar *s, const struct model *m, int64_t wall_ms) {
    int64_t n = 0, n_other = 0;
    double tps = level_now(s, m, O3_SIGNAL_DECODE_RATE, &n);
    double ttft_s = level_now(s, m, O3_SIGNAL_TTFT, isnan(tps) ? &n : &n_other);
    return (struct o3_performance){.is_set = n > 0,
                                   .tokens_per_sec = tps,
                                   .ttft_ms = ttft_s * 1000,
                                   .stability = stability_now(s, m),
                                   .n = n,
                                   .as_of_ms = wall_ms};
}

/* What holds for all three presets as long as nothing but the loaded setting is known. */
static struct o3_preset observed_preset(const struct o3_sidecar *s, const struct model *m, int64_t wall_ms) {
    struct o3_preset p = {.is_set = true,
                          .num_ctx = m->ps.context_length,
                          .f16_kv = !m->has_runner || !m->runner.has_other_kv_type,
                          .source = O3_SOURCE_OBSERVED,
                          .as_of_ms = wall_ms};
    p.batch = o3_sc_effective_batch(s, m, &p.batch_source);
    p.performance = performance_now(s, m, wall_ms);
    return p;
}

static void build(const struct o3_sidecar *s, const struct model *m, const struct o3_performance *previous,
                  int64_t wall_ms, struct o3_preset_doc *ret) {
    *ret = (struct o3_preset_doc){0};
    o3_str_copy(ret->model, sizeof ret->model, m->ps.name);
    o3_str_copy(ret->digest, sizeof ret->digest, m->ps.digest);
    struct o3_preset p = observed_preset(s, m, wall_ms);
    if (previous) p.previous = *previous;
    for (int i = 0; i < O3_PRESET_COUNT; i++) {
        ret->presets[i] = p;
        o3_str_copy(ret->presets[i].use_case, sizeof ret->presets[i].use_case, USE_CASES[i]);
    }
}

static void save_as(struct o3_sidecar *s, const char *kind, const struct model *m, const struct o3_preset_doc *doc,
                    bool keep) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, DOC_BYTES_MAX);
    char key[160];
    snprintf(key, sizeof key, "%s/%s", kind, m->ps.name);
    if (o3_preset_doc_encode_yaml(doc, &text) < 0) return;
    if (keep)
        o3_sc_keep_state(s, key, o3_buf_str(&text), text.len);
    else
        s->ops.save_state(s->ops.ctx, key, o3_buf_str(&text), text.len);
}

static void begin_writing(struct model *m, const char *reason, struct o3_now now) {
    if (!m->is_write_wanted)
        o3_str_copy(m->write_reason, sizeof m->write_reason, reason); /* the first of several signals */
    m->is_write_wanted = true;
    m->n_write_failures = 0;
    m->write_at_ns = now.mono_ns;
}

/* What is wanted is saved before the write begins: a process that dies in it has not forgotten it. */
static void want_write(struct o3_sidecar *s, struct model *m, const char *reason, struct o3_now now) {
    save_as(s, "wanted", m, &m->wanted, false);
    begin_writing(m, reason, now);
}

static void forget_wanted(struct o3_sidecar *s, const struct model *m) {
    char key[160];
    snprintf(key, sizeof key, "wanted/%s", m->ps.name);
    s->ops.save_state(s->ops.ctx, key, NULL, 0);
}

static const struct o3_preset_doc *newest_doc(const struct model *m) {
    return m->is_write_wanted ? &m->wanted : m->is_writing ? &m->writing : m->has_published ? &m->published : NULL;
}

static bool is_same_setting(const struct o3_preset_doc *d, const struct model *m, int64_t batch) {
    return !strcmp(d->digest, m->ps.digest) && d->presets[0].num_ctx == m->ps.context_length &&
           d->presets[0].batch == batch;
}

/* ---- what was before ---- */

/* Of which signals the newest document tells a changed level, and whether its `previous` is that of a change which is
 * going away. Kept beside the document, or after a restart the second return of one change would look like the first.
 */
struct told {
    uint32_t signals;
    bool is_returning;
};

static void told_key(const struct model *m, char out[O3_MODEL_NAME_SIZE + 8]) {
    snprintf(out, O3_MODEL_NAME_SIZE + 8, "told/%s", m->ps.name);
}

static struct told told_of(const struct o3_sidecar *s, const struct model *m) {
    char key[O3_MODEL_NAME_SIZE + 8];
    unsigned signals = 0, is_returning = 0;
    told_key(m, key);
    const char *value = o3_sc_find_restored(s, key);
    if (!value || sscanf(value, "%u %u", &signals, &is_returning) != 2) return (struct told){0};
    return (struct told){.signals = signals, .is_returning = is_returning != 0};
}

static void keep_told(struct o3_sidecar *s, const struct model *m, struct told now) {
    struct told was = told_of(s, m);
    if (was.signals == now.signals && was.is_returning == now.is_returning) return;
    char key[O3_MODEL_NAME_SIZE + 8], value[32];
    told_key(m, key);
    int n = snprintf(value, sizeof value, "%u %u", (unsigned)now.signals, (unsigned)now.is_returning);
    o3_sc_keep_state(s, key, value, (size_t)n);
}

void o3_sc_untell(struct o3_sidecar *s, const struct model *m, uint32_t signals) {
    struct told t = told_of(s, m);
    t.signals &= ~signals;
    keep_told(s, m, t);
}

/* `previous` is what was true before the incident, also when a second signal confirms it then or later; and when it
 * goes away, what was true in it, also when a second signal returns later. */
static const struct o3_performance *previous_of(struct told *t, uint32_t changed, const struct o3_preset *last) {
    bool is_more = (changed & ~t->signals) != 0, is_less = !is_more && changed != t->signals;
    bool is_first = is_more ? !t->signals || t->is_returning : is_less && !t->is_returning;
    if (is_more || is_less) t->is_returning = is_less;
    t->signals = changed;
    return is_first ? &last->performance : &last->previous;
}

void o3_sc_want_presets(struct o3_sidecar *s, struct model *m, const char *reason, struct o3_now now) {
    if (s->config->tune_mode == TUNE_OFF) return;
    const struct o3_preset_doc *last = newest_doc(m);
    const struct o3_performance *previous = NULL;
    enum o3_batch_source source;
    uint32_t changed = o3_judge_signals_in_state(s->judge, m->ps.name, O3_STRATUM_IDLE, O3_DRIFT_CONFIRMED) & TOLD;
    struct told t = {.signals = changed};
    if (last && is_same_setting(last, m, o3_sc_effective_batch(s, m, &source))) {
        t = told_of(s, m);
        previous = previous_of(&t, changed, &last->presets[0]);
    }
    keep_told(s, m, t);
    struct o3_preset_doc doc;
    build(s, m, previous, now.wall_ms, &doc);
    if (last && o3_preset_doc_equal(last, &doc)) {
        o3_metric_add(s->metrics, O3_M_PRESET_WRITES, O3_L("results", "unchanged"), 1);
        return;
    }
    m->wanted = doc;
    want_write(s, m, reason, now);
}

void o3_sc_complete_presets(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    const struct o3_preset_doc *last = newest_doc(m);
    enum o3_batch_source source;
    if (!last || !m->epoch || !last->presets[0].performance.is_set || isfinite(last->presets[0].performance.stability))
        return;
    if (m->n_attempts < O3_STABILITY_ATTEMPTS_MIN || o3_sc_is_unsure(s, m)) return;
    if (is_same_setting(last, m, o3_sc_effective_batch(s, m, &source)))
        o3_sc_want_presets(s, m, "stability measured", now);
}

void o3_sidecar_publish_again(struct o3_sidecar *s, const char *reason, struct o3_now now) {
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        const struct o3_preset_doc *last = newest_doc(m);
        if (!last || s->config->tune_mode == TUNE_OFF) continue;
        m->wanted = *last;
        want_write(s, m, reason, now);
    }
}

static const char *primary_model(const struct o3_sidecar *s) {
    if (s->config->publish_primary_model[0]) return s->config->publish_primary_model;
    return s->config->models_include.n ? s->config->models_include.v[0] : "";
}

static bool is_primary(const struct o3_sidecar *s, const struct model *m) {
    struct o3_conf_list primary = {.n = 1, .v = {primary_model(s)}}, none = {0};
    return primary.v[0][0] && o3_model_is_selected(m->ps.name, &primary, &none);
}

/* ---- what is published beside the results ---- */

void o3_sc_offer_soon(struct o3_sidecar *s, const char *reason) {
    if (!s->is_offer_due) o3_str_copy(s->offer_reason, sizeof s->offer_reason, reason); /* the first of several */
    s->is_offer_due = true;
}

static void offer(struct o3_sidecar *s) {
    struct o3_sidecar_offer o = {
        .primary = -1, .has_primary_setting = primary_model(s)[0] != '\0', .reason = s->offer_reason};
    bool is_asked_for = s->ops.offer && s->config->tune_mode != TUNE_OFF;
    const struct o3_preset_doc **docs = is_asked_for ? calloc((size_t)s->n_models + 1, sizeof *docs) : NULL;
    s->is_offer_due = is_asked_for && !docs; /* without memory, at the next turn */
    if (!docs) return;
    for (int i = 0; i < s->n_models; i++) {
        const struct o3_preset_doc *d = newest_doc(s->models[i]);
        if (!d) continue;
        if (o.primary < 0 && is_primary(s, s->models[i])) o.primary = (int)o.n;
        docs[o.n++] = d;
    }
    o.docs = docs;
    if (o.n) s->ops.offer(s->ops.ctx, &o);
    free(docs);
}

static void set_preset_metrics(struct o3_sidecar *s, const struct model *m) {
    for (int i = 0; i < O3_PRESET_COUNT; i++) {
        const struct o3_preset *p = &m->published.presets[i];
        const char *const *l = O3_L(m->ps.name, o3_preset_name((enum o3_preset_name)i));
        o3_metric_set(s->metrics, O3_M_PRESET_CONTEXT_TOKENS, l, (double)p->num_ctx);
        o3_metric_set(s->metrics, O3_M_PRESET_BATCH_SIZE, l, (double)p->batch);
    }
}

static void write_failed(struct o3_sidecar *s, struct model *m, const char *file, const char *error,
                         struct o3_now now) {
    O3_SC_EVENT(s, O3_EV_PRESET_WRITE_FAILED, O3_F_STR("file", file), O3_F_STR("error", error));
    if (m->n_write_failures < 12) m->n_write_failures++;
    int64_t wait = RETRY_FIRST_NS << (m->n_write_failures - 1);
    m->write_at_ns = now.mono_ns + (wait < RETRY_MAX_NS ? wait : RETRY_MAX_NS);
    m->is_write_wanted = true;
}

static void start_write(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    O3_AUTO_BUF doc;
    O3_AUTO_BUF summary;
    o3_buf_init(&doc, DOC_BYTES_MAX);
    o3_buf_init(&summary, DOC_BYTES_MAX);
    if (o3_preset_doc_encode_yaml(&m->wanted, &doc) < 0 || o3_sc_summary_json(s, m, now.wall_ms, &summary) < 0) {
        write_failed(s, m, "o3_results", "no memory for the document", now);
        return;
    }
    m->writing = m->wanted;
    m->is_write_wanted = false;
    m->is_writing = true;
    m->ticket = s->next_ticket++;
    o3_sc_offer_soon(s, m->write_reason);
    struct o3_sidecar_presets w = {.ticket = m->ticket,
                                   .model = m->ps.name,
                                   .reason = m->write_reason,
                                   .doc = o3_buf_str(&doc),
                                   .doc_len = doc.len,
                                   .summary = m->epoch ? o3_buf_str(&summary)
                                                       : NULL, /* nothing measured by this process */
                                   .summary_len = summary.len};
    if (s->ops.write_presets(s->ops.ctx, &w)) return;
    m->is_writing = false;
    write_failed(s, m, "o3_results", "too much work is waiting", now);
}

void o3_sc_publish_turn(struct o3_sidecar *s, struct o3_now now) {
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (m->is_write_wanted && !m->is_writing && now.mono_ns >= m->write_at_ns) start_write(s, m, now);
    }
    if (s->is_offer_due) offer(s);
}

int64_t o3_sc_publish_deadline(const struct o3_sidecar *s) {
    int64_t t = INT64_MAX;
    for (int i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        if (m->is_write_wanted && !m->is_writing && m->write_at_ns < t) t = m->write_at_ns;
    }
    return t;
}

void o3_sc_keep_presets(struct o3_sidecar *s, const struct model *m) {
    if (m->has_published) save_as(s, "preset", m, &m->published, true);
}

static void count_write(struct o3_sidecar *s, bool is_done, struct o3_now now) {
    static const char TARGET[] = "results";
    o3_metric_add(s->metrics, O3_M_PRESET_WRITES, O3_L(TARGET, is_done ? "written" : "failed"), 1);
    if (!is_done) o3_metric_add(s->metrics, O3_M_PRESET_WRITE_ERRORS, O3_L(TARGET, "io"), 1);
    if (is_done)
        o3_metric_set(s->metrics, O3_M_PRESET_LAST_WRITE_SUCCESS_TIMESTAMP_SECONDS, O3_L(TARGET),
                      (double)now.wall_ms / 1000.0);
}

void o3_sidecar_preset_written(struct o3_sidecar *s, uint64_t ticket, const char *error, struct o3_now now) {
    struct model *m = NULL;
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->is_writing && s->models[i]->ticket == ticket) m = s->models[i];
    if (!m) return;
    m->is_writing = false;
    count_write(s, !error, now);
    if (error) {
        if (!m->is_write_wanted) m->wanted = m->writing;
        write_failed(s, m, "o3_results", error, now);
        return;
    }
    m->published = m->writing;
    m->has_published = true;
    if (!m->is_write_wanted) m->n_write_failures = 0;
    set_preset_metrics(s, m);
    save_as(s, "preset", m, &m->published, false);
    if (!m->is_write_wanted) forget_wanted(s, m);
    O3_SC_EVENT(s, O3_EV_PRESET_WRITTEN, O3_F_STR("model", m->ps.name), O3_F_STR("file", "o3_results"),
                O3_F_STR("reason", m->write_reason));
}

void o3_sc_restore_presets(struct o3_sidecar *s, struct model *m) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, DOC_BYTES_MAX);
    char key[160];
    snprintf(key, sizeof key, "preset/%s", m->ps.name);
    struct o3_err e;
    if (!o3_sc_take_restored(s, key, &text)) return;
    if (o3_preset_doc_decode_yaml(o3_buf_str(&text), text.len, &m->published, &e) < 0) return;
    m->has_published = true;
    set_preset_metrics(s, m);
    o3_sc_offer_soon(s, "what was known at the start");
}

void o3_sc_restore_wanted(struct o3_sidecar *s, struct model *m, const char *text, size_t n, struct o3_now now) {
    struct o3_err e;
    if (s->config->tune_mode == TUNE_OFF || o3_preset_doc_decode_yaml(text, n, &m->wanted, &e) < 0) return;
    begin_writing(m, "an interrupted write", now);
}
