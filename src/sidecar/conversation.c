/* SPDX-License-Identifier: Apache-2.0 */
/* A probe takes the slot of a user's conversation: the runner puts its state aside, and brings it back, or evaluates it
 * again, when he goes on. Once it is aside, further probes cost him nothing more. So the first probe after a user's
 * request waits until he has probably gone, the less, the longer there was no probe and the more requests were served
 * since; the probes that were missed meanwhile follow it closely. A suspicion waits for nobody. */
#include "sidecar/internal.h"

#define OVERDUE_NS (1800 * O3_NS_PER_S) /* after so long without a probe none waits, */
#define OVERDUE_REQUESTS 40             /* nor after so many requests of users without one */
#define CATCH_UP_MAX 5
#define EXPIRY_MARGIN_MS 60000 /* before a model unloads that nobody asks any more, there is time for a probe */

static bool is_free(const struct o3_sidecar *s, const struct model *m) {
    return m->is_displaced || o3_sc_usual_kind(m) == O3_PROBE_EMBED || o3_sc_is_any_suspect(s, m);
}

/* A model that is held, or probed, for a short time after its last user only gets a shorter pause. */
static double pause_ns(const struct o3_sidecar *s, const struct model *m) {
    int64_t ms = s->config->probe_keep_conversation_ms, linger_ms = o3_sc_linger_ms(s, m);
    if (linger_ms / 2 < ms) ms = linger_ms / 2;
    if (m->ps.expires_at_ms >= 0 && m->ps.expires_at_ms != O3_TIME_NEVER_MS) {
        int64_t held_ms = m->ps.expires_at_ms - m->last_user_wall_ms - EXPIRY_MARGIN_MS;
        if (held_ms < ms) ms = held_ms;
    }
    return (double)ms * (double)O3_NS_PER_MS;
}

int64_t o3_sc_conversation_until_ns(const struct o3_sidecar *s, const struct model *m) {
    double pause = pause_ns(s, m);
    if (is_free(s, m) || pause <= 0) return INT64_MIN;
    /* The pause shrinks while it is waited for: it ends where pause x (1 - share of what makes a probe overdue) is as
     * long as it has lasted. */
    double due = (double)m->n_unprobed / OVERDUE_REQUESTS +
                 (double)(m->last_user_ns - m->unprobed_from_ns) / (double)OVERDUE_NS;
    return due < 1 ? m->last_user_ns + (int64_t)(pause * (1 - due) / (1 + pause / (double)OVERDUE_NS))
                   : m->last_user_ns;
}

void o3_sc_conversation_seen(struct model *m) {
    m->is_displaced = false;
    m->n_unprobed++;
}

void o3_sc_conversation_none(struct model *m, int64_t now_ns) {
    m->is_displaced = true;
    m->unprobed_from_ns = now_ns;
    m->n_unprobed = 0;
}

int64_t o3_sc_after_conversation_ms(struct o3_sidecar *s, struct model *m, int64_t now_ns) {
    if (m->has_waited) {
        int64_t n = (now_ns - m->unprobed_from_ns) / (m->interval_ms * O3_NS_PER_MS) - 1;
        m->n_missed = n < 0 ? 0 : n < CATCH_UP_MAX ? (int)n : CATCH_UP_MAX;
    }
    m->has_waited = false;
    if (m->n_missed == 0) return m->interval_ms;
    m->n_missed--;
    int64_t quick_ms = o3_sc_quick_interval_ms(s, m);
    return quick_ms < m->interval_ms ? quick_ms : m->interval_ms;
}
