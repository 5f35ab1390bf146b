/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/gate.h"

#define SECOND_NS 1000000000LL

void o3_gate_init(struct o3_gate *g) {
    *g = (struct o3_gate){.idle_count = -1,
                          .last_activity_ns = INT64_MIN,
                          .first_reading_ns = INT64_MIN,
                          .finished_ns = INT64_MIN,
                          .left_ns = INT64_MIN};
}

static void become_idle(struct o3_gate *g) {
    g->idle_count = g->count;
    g->is_busy = false;
    g->finished_ns = INT64_MIN;
}

static void become_busy(struct o3_gate *g, int64_t now_ns) {
    if (!g->is_busy) g->busy_since_ns = now_ns;
    g->is_busy = true;
    g->last_activity_ns = now_ns;
}

/* Sockets older than we are: nobody can say whether they are pooled or at work, so they get time to show it. */
static bool has_settled(const struct o3_gate *g, int64_t now_ns) {
    return now_ns - g->first_reading_ns >= O3_GATE_SETTLE_NS;
}

void o3_gate_sockets(struct o3_gate *g, bool is_readable, int n_established, int n_with_bytes, int64_t now_ns) {
    g->has_sockets = is_readable;
    if (!is_readable) {
        g->is_busy = false;
        return;
    }
    int before = g->count;
    if (g->is_finish_counted && n_established > before) g->finished_ns = INT64_MIN;
    if (n_established < before) g->left_ns = now_ns;
    g->is_finish_counted = true;
    g->count = n_established;
    g->with_bytes = n_with_bytes;
    if (g->first_reading_ns == INT64_MIN) g->first_reading_ns = now_ns;
    if (n_with_bytes > 0) {
        become_busy(g, now_ns);
        return;
    }
    bool has_finished = g->finished_ns != INT64_MIN && n_established <= before && now_ns - g->finished_ns >= SECOND_NS;
    if (n_established == 0 || has_finished)
        become_idle(g);
    else if (g->idle_count < 0 && has_settled(g, now_ns) && n_established <= before)
        become_idle(g);
    else if (g->idle_count >= 0 && n_established <= g->idle_count)
        become_idle(g);
    else
        become_busy(g, now_ns);
}

void o3_gate_request_finished(struct o3_gate *g, int64_t ended_ns, int64_t now_ns) {
    if (ended_ns > g->last_activity_ns) g->last_activity_ns = ended_ns;
    g->finished_ns = now_ns;
    g->is_finish_counted = false;
    g->busy_since_ns = now_ns;
}

void o3_gate_at_work(struct o3_gate *g, bool is_progress, int64_t now_ns) {
    g->last_activity_ns = now_ns;
    g->finished_ns = INT64_MIN;
    if (is_progress) g->busy_since_ns = now_ns;
}

void o3_gate_own_finished(struct o3_gate *g, int64_t queue_ns, bool is_alone, int64_t now_ns) {
    g->busy_since_ns = now_ns;
    if (queue_ns > O3_GATE_QUEUE_WAIT_NS)
        g->last_activity_ns = now_ns;
    else if (queue_ns >= 0 && is_alone && g->with_bytes == 0)
        become_idle(g);
}

bool o3_gate_is_idle(const struct o3_gate *g, int64_t now_ns, int64_t idle_for_ns) {
    if (g->is_busy) return false;
    return g->last_activity_ns == INT64_MIN || now_ns - g->last_activity_ns >= idle_for_ns;
}

bool o3_gate_needs_test(const struct o3_gate *g, int64_t now_ns, int64_t max_busy_ns) {
    return g->is_busy && now_ns - g->busy_since_ns >= max_busy_ns;
}

void o3_gate_tested(struct o3_gate *g, int64_t now_ns) {
    g->busy_since_ns = now_ns;
}
