/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge knows again after a process that ended, and what a person said that no sample carries yet. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "sidecar/internal.h"

bool o3_sidecar_recall(struct o3_sidecar *s, const char *model, struct o3_judge_recall *ret) {
    *ret = (struct o3_judge_recall){.has_state = false};
    if (!s->config->drift_enabled) return false;
    o3_sc_resume_incidents(s);
    return o3_judge_recall(s->judge, model, ret);
}

void o3_sidecar_told_before(struct o3_sidecar *s, const struct o3_judge_told *t) {
    if (!s->config->drift_enabled) return;
    o3_sc_resume_incidents(s);
    o3_judge_told_before(s->judge, t);
}

void o3_sidecar_relive(struct o3_sidecar *s, const struct o3_sample *sample, struct o3_now now) {
    s->judged_at = now;
    o3_judge_relive(s->judge, sample);
}

void o3_sidecar_recalled(struct o3_sidecar *s, struct o3_now now) {
    s->judged_at = now;
    o3_judge_recalled(s->judge, now.wall_ms);
    s->is_show_due = true;
}

/* ---- an acknowledgement that waits for a sample ---- */

#define ACKNOWLEDGED "acknowledged/"

static void ack_key(const struct model *m, char out[sizeof ACKNOWLEDGED + O3_MODEL_NAME_SIZE]) {
    snprintf(out, sizeof ACKNOWLEDGED + O3_MODEL_NAME_SIZE, ACKNOWLEDGED "%s", m->ps.name);
}

void o3_sc_keep_acknowledged(struct o3_sidecar *s, struct model *m) {
    char key[sizeof ACKNOWLEDGED + O3_MODEL_NAME_SIZE], bits[16];
    ack_key(m, key);
    int n = snprintf(bits, sizeof bits, "%" PRIu32, m->acknowledged);
    s->ops.save_state(s->ops.ctx, key, bits, (size_t)n);
    m->is_ack_saved = true;
}

void o3_sc_acknowledged(struct o3_sidecar *s, struct model *m) {
    char key[sizeof ACKNOWLEDGED + O3_MODEL_NAME_SIZE];
    if (!m->is_ack_saved) return;
    ack_key(m, key);
    s->ops.save_state(s->ops.ctx, key, NULL, 0);
    m->is_ack_saved = false;
}

const char *o3_sc_acknowledged_model(const char *key) {
    return strncmp(key, ACKNOWLEDGED, sizeof ACKNOWLEDGED - 1) ? NULL : key + sizeof ACKNOWLEDGED - 1;
}

void o3_sc_restore_acknowledged(struct model *m, const char *value) {
    int64_t bits;
    if (!o3_int_parse(value, &bits) || bits <= 0 || bits >= INT64_C(1) << O3_SIGNAL_COUNT) return;
    m->acknowledged |= (uint32_t)bits;
    m->is_ack_saved = true;
}
