/* SPDX-License-Identifier: Apache-2.0 */
/* More probes while a change is suspected, so that it takes minutes and not hours to know. They come between those of
 * the usual cadence, which goes on as before, and have means of their own: probe.suspect_tokens_per_day, and
 * probe.max_busy_ratio of a day once more, of which ten times as much may be used at any one time. Whatever keeps a
 * probe from users keeps these from them, too. */
#include <string.h>
#include "sidecar/internal.h"

#define BUSY_AT_ONCE 10 /* times probe.max_busy_ratio */
#define PREFILL_EVERY 4 /* of these intervals: a long prompt costs ten times the tokens */
#define PREFILL_PART 2  /* so long as no more than 1/2 of the day's tokens are used: decode probes go first */
#define DAY_MS 86400000LL
#define TOKENS_KEY "haste/tokens"
#define BUSY_KEY "haste/busy"
#define SAVE_TOKENS 200

#define PREFILL_BIT (UINT32_C(1) << O3_SIGNAL_PREFILL_RATE)
#define LOAD_BIT (UINT32_C(1) << O3_SIGNAL_LOAD_TIME)

static uint32_t suspects(const struct o3_sidecar *s, const struct model *m) {
    return o3_judge_signals_in_state(s->judge, m->ps.name, O3_STRATUM_IDLE, O3_DRIFT_SUSPECT);
}

bool o3_sc_is_suspect(const struct o3_sidecar *s, const struct model *m, enum o3_signal sig) {
    return suspects(s, m) >> sig & 1;
}

/* Of something that the usual probes measure. */
static bool is_usual_suspect(const struct o3_sidecar *s, const struct model *m) {
    return (suspects(s, m) & ~(PREFILL_BIT | LOAD_BIT)) != 0;
}

bool o3_sc_is_any_suspect(const struct o3_sidecar *s, const struct model *m) {
    return m->is_loaded && (suspects(s, m) & ~LOAD_BIT) != 0;
}

int64_t o3_sc_quick_interval_ms(const struct o3_sidecar *s, const struct model *m) {
    int n = 0;
    for (int i = 0; i < s->n_models; i++)
        n += o3_sc_is_any_suspect(s, s->models[i]);
    double ratio = s->config->probe_max_busy_ratio * BUSY_AT_ONCE;
    return o3_effective_interval_ms(s->config->probe_suspect_interval_ms, m->probe_seconds, n > 0 ? n : 1,
                                    ratio < 1 ? ratio : 1);
}

static bool may_cost(struct o3_sidecar *s, const struct model *m, enum o3_probe_kind kind, int part, int64_t wall_ms) {
    int64_t tokens = s->config->probe_suspect_tokens_per_day / part;
    int64_t busy_ms = (int64_t)(s->config->probe_max_busy_ratio * (double)DAY_MS);
    int64_t next_ms = m->probe_seconds > 0 ? (int64_t)(m->probe_seconds * 1000) : 0;
    return tokens > 0 && o3_token_budget_allows(&s->haste_tokens, o3_sc_probe_cost(s, m, kind), tokens, wall_ms) &&
           (s->config->probe_max_busy_ratio >= 1 ||
            o3_token_budget_allows(&s->haste_busy_ms, next_ms, busy_ms > 0 ? busy_ms : 1, wall_ms));
}

static bool may_prefill(struct o3_sidecar *s, const struct model *m, struct o3_now now) {
    return o3_sc_usual_kind(m) == O3_PROBE_DECODE && o3_sc_is_suspect(s, m, O3_SIGNAL_PREFILL_RATE) &&
           o3_sc_may_prefill(m) && may_cost(s, m, O3_PROBE_PREFILL, PREFILL_PART, now.wall_ms);
}

static bool may_be_usual(struct o3_sidecar *s, const struct model *m, struct o3_now now) {
    return is_usual_suspect(s, m) && may_cost(s, m, o3_sc_usual_kind(m), 1, now.wall_ms);
}

bool o3_sc_is_extra(const struct model *m, int64_t now_ns) {
    return now_ns < m->base_due_ns;
}

bool o3_sc_extra_kind(struct o3_sidecar *s, const struct model *m, struct o3_now now, enum o3_probe_kind *ret) {
    *ret = o3_sc_usual_kind(m);
    if (now.mono_ns >= m->haste_prefill_ns && may_prefill(s, m, now)) {
        *ret = O3_PROBE_PREFILL;
        return true;
    }
    return may_be_usual(s, m, now);
}

/* A probe that is due soon anyway needs no other before it. */
void o3_sc_hasten(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    if (!m->is_loaded || !s->config->probe_enabled || !o3_sc_is_any_suspect(s, m)) return;
    int64_t step_ns = o3_sc_quick_interval_ms(s, m) * O3_NS_PER_MS;
    int64_t at = INT64_MAX;
    if (may_be_usual(s, m, now)) at = now.mono_ns + step_ns;
    if (at == INT64_MAX && may_prefill(s, m, now))
        at = m->haste_prefill_ns > now.mono_ns + step_ns ? m->haste_prefill_ns : now.mono_ns + step_ns;
    if (at == INT64_MAX) return;
    at += (int64_t)((0.1 * o3_rand_uniform(&s->rand) - 0.05) * (double)step_ns);
    if (at < m->due_ns && at < m->base_due_ns - step_ns / 2) m->due_ns = m->slot_ns = at;
}

static void save(struct o3_sidecar *s, const char *key, const struct o3_token_budget *b) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1024);
    if (o3_token_budget_encode(b, &text) == 0) s->ops.save_state(s->ops.ctx, key, o3_buf_str(&text), text.len);
}

void o3_sc_save_haste(struct o3_sidecar *s) {
    if (!s->n_haste_unsaved) return;
    save(s, TOKENS_KEY, &s->haste_tokens);
    save(s, BUSY_KEY, &s->haste_busy_ms);
    s->n_haste_unsaved = 0;
}

void o3_sc_spend_haste(struct o3_sidecar *s, struct model *m, enum o3_probe_kind kind, int64_t tokens, double busy_s,
                       struct o3_now now) {
    if (kind == O3_PROBE_PREFILL)
        m->haste_prefill_ns = now.mono_ns + PREFILL_EVERY * o3_sc_quick_interval_ms(s, m) * O3_NS_PER_MS;
    o3_token_budget_spend(&s->haste_tokens, tokens, now.wall_ms);
    o3_token_budget_spend(&s->haste_busy_ms, (int64_t)(busy_s * 1000), now.wall_ms);
    s->n_haste_unsaved += tokens > 0 ? tokens : 1;
    if (s->n_haste_unsaved >= SAVE_TOKENS) o3_sc_save_haste(s);
}

bool o3_sc_restore_haste(struct o3_sidecar *s, const char *key, const char *value) {
    if (!strcmp(key, TOKENS_KEY))
        (void)o3_token_budget_decode(value, &s->haste_tokens);
    else if (!strcmp(key, BUSY_KEY))
        (void)o3_token_budget_decode(value, &s->haste_busy_ms);
    else
        return false;
    return true;
}
