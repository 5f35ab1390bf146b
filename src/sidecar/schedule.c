/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn is it, and may we? A probe that is due first asks for a fresh list of loaded models (a probe must never
 * load one), then passes the gate. Every probe that is due and not sent is counted once, with its reason. */
#include "sidecar/internal.h"

#define BUSY_RETRY_NS O3_NS_PER_S
#define SHOW_WAIT_NS (200LL * O3_NS_PER_MS)
#define EXPIRY_GUARD_MS 30000 /* no probe this close to the unload of an idle model */
#define GAUGE_INTERVALS 3
#define CHANGED_LINGER_PART 10
#define SOCKETS_AHEAD_NS (10LL * O3_NS_PER_S)

int o3_sc_n_loaded(const struct o3_sidecar *s) {
    int n = 0;
    for (int i = 0; i < s->n_models; i++)
        n += s->models[i]->is_loaded;
    return n > 0 ? n : 1;
}

/* Before the baseline stands, probing is as quick as it may be; then the day's tokens are made to last the day. */
static int64_t paced_ms(const struct o3_sidecar *s, const struct model *m, enum o3_probe_kind kind) {
    if (o3_sc_is_learning(s, m)) return 0;
    const double share = kind == O3_PROBE_EMBED ? 1 : kind == O3_PROBE_PREFILL ? O3_PREFILL_SHARE : O3_DECODE_SHARE;
    double tokens = kind == O3_PROBE_DECODE ? o3_sc_decode_tokens_expected(s, m) : (double)o3_sc_probe_cost(s, m, kind);
    return o3_token_interval_ms(tokens, o3_sc_n_loaded(s), s->config->probe_max_tokens_per_day, share);
}

int64_t o3_sc_prefill_interval_ms(const struct o3_sidecar *s, const struct model *m) {
    int64_t paced = paced_ms(s, m, O3_PROBE_PREFILL);
    return paced > s->config->probe_prefill_interval_ms ? paced : s->config->probe_prefill_interval_ms;
}

void o3_sc_new_interval(struct o3_sidecar *s, struct model *m) {
    int64_t paced = paced_ms(s, m, o3_sc_usual_kind(m));
    m->interval_ms = o3_effective_interval_ms(s->config->probe_interval_ms, m->probe_seconds, o3_sc_n_loaded(s),
                                              s->config->probe_max_busy_ratio);
    if (paced > m->interval_ms) m->interval_ms = paced;
    o3_metric_set(s->metrics, O3_M_PROBE_INTERVAL_SECONDS, O3_L(m->ps.name), (double)m->interval_ms / 1000.0);
}

/* A little chance keeps the probes of several sidecars, and of several models, from falling into step. */
static void slot_after(struct o3_sidecar *s, struct model *m, int64_t interval_ms, int64_t from_ns) {
    double jitter = 0.95 + 0.1 * o3_rand_uniform(&s->rand);
    m->due_ns = from_ns + (int64_t)((double)(interval_ms * O3_NS_PER_MS) * jitter);
    m->base_due_ns = m->slot_ns = m->due_ns;
    m->is_skip_counted = false;
}

static void next_slot(struct o3_sidecar *s, struct model *m, int64_t from_ns) {
    o3_sc_new_interval(s, m);
    slot_after(s, m, m->interval_ms, from_ns);
}

void o3_sc_schedule_first(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    o3_sc_new_interval(s, m);
    m->due_ns = m->base_due_ns = m->slot_ns = now.mono_ns +
                                              (int64_t)(o3_rand_uniform(&s->rand) * 0.3 * (double)O3_NS_PER_S);
    m->is_skip_counted = false;
    m->prefill_due_ns = now.mono_ns + s->config->probe_prefill_interval_ms * O3_NS_PER_MS;
}

/* A model that has changed, because it lost its GPU for example, may be well again after the next load: it is held
 * hardly longer than users hold it. */
int64_t o3_sc_linger_ms(const struct o3_sidecar *s, const struct model *m) {
    if (m->ps.expires_at_ms == O3_TIME_NEVER_MS) return INT64_MAX;
    int64_t linger_ms = s->config->probe_linger_ms;
    return o3_judge_n_confirmed(s->judge, m->ps.name) > 0 ? linger_ms / CHANGED_LINGER_PART : linger_ms;
}

static bool is_lingering_over(const struct o3_sidecar *s, const struct model *m, int64_t now_ns) {
    int64_t linger_ms = o3_sc_linger_ms(s, m);
    return linger_ms != INT64_MAX && now_ns - m->last_user_ns > linger_ms * O3_NS_PER_MS;
}

static bool has_budget(struct o3_sidecar *s, const struct model *m, bool is_extra, struct o3_now now) {
    enum o3_probe_kind kind;
    if (is_extra) return o3_sc_extra_kind(s, m, now, &kind);
    return o3_token_budget_allows(&s->budget, o3_sc_probe_tokens(s, m, now), s->config->probe_max_tokens_per_day,
                                  now.wall_ms);
}

/* A model is being loaded, or serves the first request after that: what is asked of the server meanwhile waits. */
static bool is_any_in_use(const struct o3_sidecar *s) {
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->is_in_use) return true;
    return false;
}

static enum skip skip_reason(struct o3_sidecar *s, const struct model *m, bool is_extra, struct o3_now now) {
    if (!s->config->probe_enabled) return SKIP_PAUSED;
    if (!m->is_loaded || m->is_runner_gone) return SKIP_NOT_LOADED;
    if (!o3_sc_options_known(m)) return SKIP_OPTIONS_UNKNOWN;
    if (is_lingering_over(s, m, now.mono_ns)) return SKIP_IDLE;
    int64_t expires_ms = m->ps.expires_at_ms;
    if (expires_ms >= 0 && expires_ms != O3_TIME_NEVER_MS &&
        expires_ms + m->expires_shift_ms - now.wall_ms < EXPIRY_GUARD_MS)
        return SKIP_EXPIRING;
    if (!has_budget(s, m, is_extra, now)) return SKIP_BUDGET;
    if (is_any_in_use(s)) return SKIP_BUSY;
    if (!o3_gate_is_idle(&s->gate, now.mono_ns, s->config->probe_idle_for_ms * O3_NS_PER_MS)) return SKIP_BUSY;
    if (now.mono_ns < o3_sc_conversation_until_ns(s, m)) return SKIP_CONVERSATION;
    return SKIP_NONE;
}

void o3_sc_set_paused(struct o3_sidecar *s, struct model *m, enum skip reason) {
    if (m->paused_for == reason) return;
    if (m->paused_for != SKIP_NONE)
        o3_metric_drop(s->metrics, O3_M_PROBE_PAUSED, O3_L(m->ps.name, SKIP_NAMES[m->paused_for]));
    if (reason != SKIP_NONE) o3_metric_set(s->metrics, O3_M_PROBE_PAUSED, O3_L(m->ps.name, SKIP_NAMES[reason]), 1);
    if (reason == SKIP_OPTIONS_UNKNOWN)
        O3_SC_EVENT(s, O3_EV_MODEL_SKIPPED, O3_F_STR("model", m->ps.name), O3_F_STR("reason", SKIP_NAMES[reason]));
    m->paused_for = reason;
}

static void skip_extra(struct model *m, enum skip reason, struct o3_now now) {
    int64_t retry = now.mono_ns + BUSY_RETRY_NS;
    m->due_ns = reason == SKIP_BUSY && retry < m->base_due_ns ? retry : m->base_due_ns;
    m->slot_ns = m->base_due_ns;
}

/* Each of the slots that go by meanwhile is counted. */
static void wait_for_user(struct o3_sidecar *s, struct model *m, bool is_slot_over, struct o3_now now) {
    int64_t until_ns = o3_sc_conversation_until_ns(s, m), retry_ns = now.mono_ns + BUSY_RETRY_NS;
    m->due_ns = until_ns > retry_ns ? until_ns : retry_ns;
    m->has_waited = true;
    if (!is_slot_over) return;
    m->slot_ns = now.mono_ns;
    m->is_skip_counted = false;
}

static void skip(struct o3_sidecar *s, struct model *m, enum skip reason, struct o3_now now) {
    o3_sc_set_paused(s, m, reason);
    if (!m->is_skip_counted) o3_metric_add(s->metrics, O3_M_PROBES_SKIPPED, O3_L(m->ps.name, SKIP_NAMES[reason]), 1);
    m->is_skip_counted = true;
    bool is_slot_over = now.mono_ns - m->slot_ns >= m->interval_ms * O3_NS_PER_MS;
    if (reason == SKIP_CONVERSATION)
        wait_for_user(s, m, is_slot_over, now);
    else if (reason == SKIP_BUSY && !is_slot_over)
        m->due_ns = now.mono_ns + BUSY_RETRY_NS;
    else
        next_slot(s, m, now.mono_ns);
}

/* Reading the table of sockets costs milliseconds on a large machine: only when the answer is about to matter. */
bool o3_sc_sockets_matter(const struct o3_sidecar *s, int64_t now_ns) {
    if (s->gate.is_busy || s->gate.first_reading_ns == INT64_MIN || s->pending || s->probe.id) return true;
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->is_loaded && s->models[i]->due_ns - now_ns < SOCKETS_AHEAD_NS) return true;
    return false;
}

static struct model *most_overdue(const struct o3_sidecar *s, int64_t now_ns) {
    struct model *first = NULL;
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (m->due_ns > now_ns || (m->is_loaded && m->show_state == SHOW_WANTED)) continue;
        if (!first || m->due_ns < first->due_ns) first = m;
    }
    return first;
}

static void ask_for_list(struct o3_sidecar *s, struct model *m, bool is_test, struct o3_now now) {
    s->pending = m;
    s->is_pending_test = is_test;
    o3_sc_version_wanted(s, now.mono_ns);
    o3_sc_library_wanted(s, now);
    s->ps_due_ns = now.mono_ns;
}

/* A user who waits for a hung runner shows no other sign: the model that was not idle when the server became busy is
 * not idle now, however long ago its last answer was. */
static bool may_be_tested(struct o3_sidecar *s, const struct model *m, struct o3_now now) {
    enum skip reason = skip_reason(s, m, false, now);
    if (reason == SKIP_IDLE) return m->is_stuck || !is_lingering_over(s, m, s->gate.busy_since_ns);
    return reason == SKIP_NONE || reason == SKIP_BUSY || reason == SKIP_CONVERSATION || reason == SKIP_EXPIRING;
}

/* The model whose runner may hang: the one that users last asked, as far as can be told. */
static struct model *model_to_test(struct o3_sidecar *s, struct o3_now now) {
    struct model *last = NULL;
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (!may_be_tested(s, m, now)) continue;
        if (!last || m->last_user_ns > last->last_user_ns) last = m;
    }
    return last;
}

static int64_t max_busy_ns(const struct o3_sidecar *s) {
    return s->config->probe_max_busy_ms * O3_NS_PER_MS;
}

static void drop_old_gauges(struct o3_sidecar *s, int64_t now_ns) {
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (m->has_live_gauges && now_ns - m->last_sample_ns > GAUGE_INTERVALS * m->interval_ms * O3_NS_PER_MS)
            o3_sc_drop_live_gauges(s, m);
    }
}

void o3_sc_schedule_turn(struct o3_sidecar *s, struct o3_now now) {
    drop_old_gauges(s, now.mono_ns);
    if (s->probe.id || !s->is_up || !s->has_ps || s->pending) return;
    if (o3_gate_needs_test(&s->gate, now.mono_ns, max_busy_ns(s))) {
        struct model *m = model_to_test(s, now);
        if (m) {
            ask_for_list(s, m, true, now);
            return;
        }
        o3_gate_tested(&s->gate, now.mono_ns);
    }
    struct model *m = most_overdue(s, now.mono_ns);
    if (!m) return;
    if (m->is_loaded && s->gate.is_busy) o3_sc_read_sockets(s, now.mono_ns);
    bool is_extra = o3_sc_is_extra(m, now.mono_ns);
    enum skip reason = skip_reason(s, m, is_extra, now);
    if (reason != SKIP_NONE && is_extra)
        skip_extra(m, reason, now);
    else if (reason != SKIP_NONE)
        skip(s, m, reason, now);
    else
        ask_for_list(s, m, false, now);
}

void o3_sc_start_pending(struct o3_sidecar *s, struct o3_now now) {
    struct model *m = s->pending;
    if (!m || s->probe.id) return;
    if (s->is_library_due || o3_sc_is_version_wanted(s, now.mono_ns)) { /* this list was under way already */
        s->ps_due_ns = now.mono_ns;
        return;
    }
    s->pending = NULL;
    if (m->is_loaded && m->show_state == SHOW_WANTED) { /* another model under this name: its turn comes again */
        m->due_ns = now.mono_ns + SHOW_WAIT_NS;
        return;
    }
    if (s->is_pending_test) {
        bool is_fit = may_be_tested(s, m, now) && !o3_sc_is_updated(m);
        o3_gate_tested(&s->gate, now.mono_ns);
        if (is_fit) (void)o3_sc_probe_start(s, m, PROBE_TEST, now);
        return;
    }
    bool is_extra = o3_sc_is_extra(m, now.mono_ns);
    enum skip reason = skip_reason(s, m, is_extra, now);
    if (reason == SKIP_NONE && o3_sc_is_updated(m)) reason = SKIP_UPDATED; /* only after a look may this change */
    if (reason != SKIP_NONE) {
        if (is_extra)
            skip_extra(m, reason, now);
        else
            skip(s, m, reason, now);
        return;
    }
    o3_sc_set_paused(s, m, SKIP_NONE);
    if (is_extra) {
        m->due_ns = m->slot_ns = m->base_due_ns;
    } else {
        o3_sc_new_interval(s, m);
        slot_after(s, m, o3_sc_after_conversation_ms(s, m, now.mono_ns), now.mono_ns);
    }
    (void)o3_sc_probe_start(s, m, is_extra ? PROBE_EXTRA : PROBE_USUAL, now);
}

int64_t o3_sc_schedule_deadline(const struct o3_sidecar *s) {
    if (s->probe.id) return s->probe.give_up_ns;
    if (!s->is_up || !s->has_ps || s->pending) return INT64_MAX;
    int64_t t = s->gate.is_busy ? s->gate.busy_since_ns + max_busy_ns(s) : INT64_MAX;
    for (int i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        int64_t due = m->is_loaded && m->show_state == SHOW_WANTED ? m->due_ns + SHOW_WAIT_NS : m->due_ns;
        if (due < t) t = due;
    }
    return t;
}
