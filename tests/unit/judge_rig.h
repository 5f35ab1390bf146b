/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEST_JUDGE_RIG_H
#define O3_TEST_JUDGE_RIG_H
/* What the tests of the judge share: parameters, a judge, a sample, a store of states, and what is told as text. */
#include <stdlib.h>
#include <string.h>
#include "o3/judge.h"
#include "o3/rand.h"
#include "o3/text.h"
#include "o3_test.h"

#define T0 INT64_C(1790000000000)
#define STEP_MS 60000
#define GIB (INT64_C(1) << 30)
#define MODEL "qwen3:8b"

static inline struct o3_judge_params judge_params(void) {
    return (struct o3_judge_params){.min_effect = 0.05,
                                    .budget_ms = 30 * 86400e3,
                                    .confirm_samples = 10,
                                    .n0 = 30,
                                    .max_models = 4,
                                    .prefill_interval_ms = 600000};
}

static inline struct o3_judge *judge_with(struct o3_judge_params p, struct o3_judge_ops ops) {
    struct o3_judge *j = NULL;
    struct o3_err e;
    assert_int_equal(o3_judge_new(&p, &ops, &j, &e), 0);
    return j;
}

/* A probe of minute n on a machine in its normal state, wholly on the GPU. */
static inline struct o3_sample judge_sample(int64_t n) {
    struct o3_sample s = {.wall_ms = T0 + n * STEP_MS,
                          .mono_ns = n * STEP_MS * O3_NS_PER_MS,
                          .kind = O3_PROBE_DECODE,
                          .model = MODEL,
                          .digest = "aaaa",
                          .num_ctx = 4096,
                          .num_batch = 512,
                          .size_bytes = 6 * GIB,
                          .vram_bytes = 6 * GIB,
                          .decode_tps = 45,
                          .ttft_ns = 200 * O3_NS_PER_MS,
                          .wall_ns = O3_NS_PER_S,
                          .load_ns = 3 * O3_NS_PER_MS,
                          .prefill_tps = (double)NAN,
                          .tpot_s = (double)NAN};
    o3_surroundings_init(&s.around);
    o3_str_copy(s.around.version, sizeof s.around.version, "0.30.1");
    s.around.interval_ms = STEP_MS;
    s.around.n_models = 1;
    return s;
}

/* A factor around 1; sd: its relative standard deviation. */
static inline double judge_noise(struct o3_rand *r, double sd) {
    return 1 + sd * fmax(-3, fmin(3, o3_rand_normal(r)));
}

/* ---- a store of states ---- */

enum { JUDGE_STATES_MAX = 4096 };
struct judge_states {
    struct {
        char *key, *value;
        size_t n;
    } v[JUDGE_STATES_MAX];
    size_t n;
};

static inline void judge_states_save(struct judge_states *m, const char *key, const char *value, size_t n) {
    size_t i = 0;
    assert_int_equal(strncmp(key, "judge/", 6), 0);
    while (i < m->n && strcmp(m->v[i].key, key) != 0)
        i++;
    if (i < m->n) {
        free(m->v[i].key);
        free(m->v[i].value);
        m->v[i] = m->v[--m->n];
    }
    if (!n) return;
    assert_true(m->n < JUDGE_STATES_MAX);
    char *copy = malloc(n + 1);
    memcpy(copy, value, n);
    copy[n] = '\0';
    m->v[m->n].key = strdup(key);
    m->v[m->n].value = copy;
    m->v[m->n++].n = n;
}

static inline bool judge_states_take(const struct judge_states *m, const char *key, struct o3_buf *ret) {
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].n && !strcmp(m->v[i].key, key)) return o3_buf_add(ret, m->v[i].value, m->v[i].n) == 0;
    return false;
}

static inline void judge_states_free(struct judge_states *m) {
    for (size_t i = 0; i < m->n; i++) {
        free(m->v[i].key);
        free(m->v[i].value);
    }
    m->n = 0;
}

/* ---- what is told, a line each ---- */

static inline void judge_log_verdict(struct o3_buf *log, const struct o3_verdict *v) {
    char text[640];
    o3_verdict_text(v, text, sizeof text);
    o3_buf_addf(log, "verdict %s %s %s\n", o3_drift_event_name(v->report.event), o3_stratum_name(v->stratum), text);
}

static inline void judge_log_incident(struct o3_buf *log, const struct o3_incident *i, enum o3_incident_change change) {
    static const char *const NAMES[] = {"opened", "changed", "closed"};
    o3_buf_addf(log, "incident %lld %s %d %s\n", (long long)i->id, NAMES[change], i->n_members, i->text);
}

static inline void judge_log_release(struct o3_buf *log, const struct o3_release *r) {
    char text[640];
    o3_release_text(r, text, sizeof text);
    o3_buf_addf(log, "release %s\n", text);
}

static inline void judge_log_epoch(struct o3_buf *log, const char *model, const char *reason) {
    o3_buf_addf(log, "epoch %s %s\n", model, reason);
}

static inline void judge_log_acknowledged(struct o3_buf *log, const char *model, enum o3_signal signal, double level) {
    o3_buf_addf(log, "acknowledged %s %s %a\n", model, o3_signal_name(signal), level);
}

#endif
