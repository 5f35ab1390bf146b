/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample shows in the metrics, the sizes of the probes of each setting, and the way to the judge. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

/* ---- epochs ---- */

static bool is_epoch(const struct epoch *ep, const struct model *m, const char *version, int64_t batch) {
    return !strcmp(ep->digest, m->ps.digest) && !strcmp(ep->version, version) && ep->num_ctx == m->ps.context_length &&
           ep->num_batch == batch;
}

/* Sizes are kept in memory, too: few bytes, and a model that comes back under an old setting is probed as before. */
void o3_sc_keep_sizes(struct o3_sidecar *s, const struct epoch *ep) {
    char key[200], value[64];
    snprintf(key, sizeof key, "sizes/%s/%lld/%lld/%s", ep->digest, (long long)ep->num_ctx, (long long)ep->num_batch,
             ep->version);
    int n = snprintf(value, sizeof value, "%lld %lld", (long long)ep->decode_tokens, (long long)ep->prefill_words);
    o3_sc_keep_state(s, key, value, (size_t)n);
}

static struct epoch *new_epoch(struct o3_sidecar *s, struct model *m, int64_t batch) {
    int slot = 0;
    for (int i = 0; i < O3_EPOCHS_MAX; i++) {
        if (!m->epochs[i]) {
            slot = i;
            break;
        }
        if (m->epochs[i]->used_ns < m->epochs[slot]->used_ns) slot = i;
    }
    struct epoch *ep = m->epochs[slot];
    if (!ep && !(ep = m->epochs[slot] = malloc(sizeof *ep))) return NULL;
    *ep = (struct epoch){.num_ctx = m->ps.context_length, .num_batch = batch};
    o3_str_copy(ep->digest, sizeof ep->digest, m->ps.digest);
    o3_str_copy(ep->version, sizeof ep->version, s->version.text);
    return ep;
}

static void restore_sizes(struct o3_sidecar *s, struct epoch *ep) {
    char key[200];
    snprintf(key, sizeof key, "sizes/%s/%lld/%lld/%s", ep->digest, (long long)ep->num_ctx, (long long)ep->num_batch,
             ep->version);
    const char *value = o3_sc_find_restored(s, key);
    long long decode = 0, prefill = 0;
    if (!value || sscanf(value, "%lld %lld", &decode, &prefill) != 2) return;
    if (decode >= O3_DECODE_TOKENS_MIN && decode <= O3_DECODE_TOKENS_MAX) ep->decode_tokens = decode;
    if (prefill >= O3_PREFILL_WORDS_MIN && prefill <= s->config->probe_prefill_tokens) ep->prefill_words = prefill;
}

void o3_sc_enter_epoch(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    if (!m->is_loaded || m->show_state == SHOW_WANTED || m->ps.context_length <= 0) return;
    enum o3_batch_source source;
    int64_t batch = o3_sc_effective_batch(s, m, &source);
    struct epoch *before = m->epoch;
    if (before && is_epoch(before, m, s->version.text, batch)) return;
    m->epoch = NULL;
    for (int i = 0; i < O3_EPOCHS_MAX; i++)
        if (m->epochs[i] && is_epoch(m->epochs[i], m, s->version.text, batch)) m->epoch = m->epochs[i];
    if (!m->epoch) {
        m->epoch = new_epoch(s, m, batch);
        if (!m->epoch) return; /* no memory: it is tried again with the next list */
        restore_sizes(s, m->epoch);
    }
    o3_sc_restore_strike(s, m);
    m->epoch->used_ns = now.mono_ns;
    m->n_attempts = m->next_attempt = 0;
    m->is_gap = true;
    /* The old ones hold no longer; the first sample shows those of this setting. After a restart they are the same. */
    o3_sc_drop_series(s, m);
    if (before) return;
    o3_judge_expect(s->judge, m->ps.name);
    o3_sc_show_series(s, m);
}

/* ---- metrics ---- */

void o3_sc_drop_live_gauges(struct o3_sidecar *s, struct model *m) {
    static const enum o3_metric IDS[] = {O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_M_PROBE_PREFILL_TOKENS_PER_SECOND,
                                         O3_M_PROBE_SUCCESS};
    for (size_t i = 0; i < sizeof IDS / sizeof *IDS; i++)
        o3_metric_drop_matching(s->metrics, IDS[i], O3_L(m->ps.name), 1);
    m->has_live_gauges = false;
}

static void show_sample(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample) {
    const char *name = m->ps.name, *kind = o3_probe_kind_name(sample->kind);
    o3_metric_add(s->metrics, O3_M_PROBES, O3_L(name, kind, o3_outcome_name(sample->outcome)), 1);
    if (sample->outcome == O3_OUTCOME_CANCELLED) return;
    m->last_sample_ns = sample->mono_ns;
    m->has_live_gauges = true;
    o3_metric_set(s->metrics, O3_M_PROBE_SUCCESS, O3_L(name), !o3_outcome_is_failure(sample->outcome));
    o3_metric_observe(s->metrics, O3_M_PROBE_DURATION_SECONDS, O3_L(name, kind), (double)sample->wall_ns / 1e9);
    if (o3_outcome_is_failure(sample->outcome) || sample->flags & O3_SAMPLE_IMPLAUSIBLE) return;
    o3_metric_set(s->metrics, O3_M_PROBE_LAST_SUCCESS_TIMESTAMP_SECONDS, O3_L(name),
                  (double)(sample->wall_ms + sample->wall_ns / O3_NS_PER_MS) / 1000.0);
    if (sample->ttft_ns >= 0)
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_TO_FIRST_TOKEN_SECONDS, O3_L(name, kind),
                          (double)sample->ttft_ns / 1e9);
    if (sample->ttfc_ns >= 0)
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_TO_FIRST_CONTENT_SECONDS, O3_L(name),
                          (double)sample->ttfc_ns / 1e9);
    if (sample->load_ns >= O3_RELOAD_NS)
        o3_metric_observe(s->metrics, O3_M_PROBE_LOAD_DURATION_SECONDS, O3_L(name), (double)sample->load_ns / 1e9);
    if (sample->kind == O3_PROBE_DECODE && isfinite(sample->decode_tps)) {
        o3_metric_set(s->metrics, O3_M_PROBE_DECODE_TOKENS_PER_SECOND, O3_L(name), sample->decode_tps);
        o3_metric_observe(s->metrics, O3_M_PROBE_TIME_PER_OUTPUT_TOKEN_SECONDS, O3_L(name), sample->tpot_s);
    }
    if (isfinite(sample->prefill_tps))
        o3_metric_set(s->metrics, O3_M_PROBE_PREFILL_TOKENS_PER_SECOND, O3_L(name), sample->prefill_tps);
}

/* ---- stability ---- */

static void note_attempt(struct model *m, const struct o3_sample *sample) {
    if (sample->outcome == O3_OUTCOME_CANCELLED || sample->kind == O3_PROBE_PREFILL) return;
    bool is_success = sample->outcome == O3_OUTCOME_OK;
    if (is_success && sample->flags & O3_SAMPLE_REJECTED)
        return; /* disturbed: says nothing about the server's own stability */
    double value = sample->kind == O3_PROBE_DECODE ? sample->decode_tps : 1e9 / (double)sample->wall_ns;
    if (is_success && !isfinite(value)) return;
    m->attempts[m->next_attempt] = (struct attempt){
        .is_success = is_success, .value = value, .wall_ms = sample->wall_ms};
    m->next_attempt = (m->next_attempt + 1) % O3_ATTEMPTS_MAX;
    if (m->n_attempts < O3_ATTEMPTS_MAX) m->n_attempts++;
}

/* Two levels, each as steady as can be, are no unsteady one. */
void o3_sc_level_changed(struct model *m, enum o3_signal sig, int64_t since_wall_ms) {
    bool is_embedding = o3_sc_usual_kind(m) == O3_PROBE_EMBED;
    if (sig != (is_embedding ? O3_SIGNAL_TTFT : O3_SIGNAL_DECODE_RATE)) return;
    struct attempt kept[O3_ATTEMPTS_MAX];
    int n = 0, first = m->next_attempt - m->n_attempts + O3_ATTEMPTS_MAX;
    for (int i = 0; i < m->n_attempts; i++) {
        const struct attempt *a = &m->attempts[(first + i) % O3_ATTEMPTS_MAX];
        if (a->wall_ms >= since_wall_ms) kept[n++] = *a;
    }
    memcpy(m->attempts, kept, (size_t)n * sizeof *kept);
    m->n_attempts = n;
    m->next_attempt = n % O3_ATTEMPTS_MAX;
}

/* What a person accepts while it is only suspected becomes the normal level without a verdict. */
static void accept_levels(const struct o3_sidecar *s, struct model *m, uint32_t acknowledged) {
    for (int sig = 0; acknowledged >> sig; sig++) {
        struct o3_series_view v;
        o3_judge_glance(s->judge, m->ps.name, (enum o3_signal)sig, O3_STRATUM_IDLE, &v);
        if ((acknowledged >> sig & 1) && v.exists) o3_sc_level_changed(m, (enum o3_signal)sig, v.drift.change_wall_ms);
    }
}

struct o3_stability o3_sc_stability(const struct o3_sidecar *s, const struct model *m) {
    double values[O3_ATTEMPTS_MAX];
    size_t n = 0;
    for (int i = 0; i < m->n_attempts; i++)
        if (m->attempts[i].is_success) values[n++] = m->attempts[i].value;
    return o3_stability_of(values, n, (size_t)m->n_attempts, s->config->statistics_max_variation);
}

static void count_rejected(struct o3_sidecar *s, const struct o3_sample *sample) {
    static const struct {
        uint32_t flag;
        const char *name;
    } FLAGS[] = {{O3_SAMPLE_WARMUP, "warmup"},
                 {O3_SAMPLE_BUSY, "busy"},
                 {O3_SAMPLE_TAINTED, "tainted"},
                 {O3_SAMPLE_INCOMPLETE, "incomplete"},
                 {O3_SAMPLE_IMPLAUSIBLE, "implausible"}};
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
        if (sample->flags & FLAGS[i].flag) o3_metric_add(s->metrics, O3_M_SAMPLES_REJECTED, O3_L(FLAGS[i].name), 1);
}

void o3_sc_judge(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, struct o3_now now) {
    if (sample->kind != O3_PROBE_LOOK) {
        show_sample(s, m, sample);
        count_rejected(s, sample);
        note_attempt(m, sample);
    }
    o3_sc_show_series(s, m);
    if (sample->acknowledged) o3_sc_acknowledged(s, m);
    if (!s->config->drift_enabled) {
        o3_judge_pass(s->judge, sample);
        return;
    }
    if (!m->epoch) return;
    s->judged_at = now;
    accept_levels(s, m, sample->acknowledged);
    o3_judge_add(s->judge, sample); /* also one whose model left meanwhile: a replay knows no better */
    o3_sc_complete_presets(s, m, now);
}
