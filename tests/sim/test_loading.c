/* SPDX-License-Identifier: Apache-2.0 */
/* While a model loads, /api/ps lists it with a new end of its keep-alive at each look: no request has ended by that,
 * and the user who waits for the load is at work. */
#include "sim/rig.h"

#define MODEL "sim-small:latest"
#define FAST                                                                                                           \
    "probe: {interval: 5s, max_busy_ratio: 1, max_tokens_per_day: 0, linger: 30d, "                                    \
    "keep_conversation: 0s}\n"
#define LOADS 12

static double n_sent(const struct rig *r) {
    static const char *const RESULTS[] = {"ok", "timeout", "http_error", "cancelled", "stream_error", "broken"};
    double n = 0;
    for (size_t i = 0; i < sizeof RESULTS / sizeof *RESULTS; i++) {
        double of = rig_metric(r, O3_M_PROBES, O3_L(MODEL, "decode", RESULTS[i]));
        n += isfinite(of) ? of : 0;
    }
    return n;
}

static bool is_busy(const struct rig *r) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 8192);
    assert_int_equal(o3_sidecar_status_json(r->c->sidecar, rig_now(r), &text), 0);
    return strstr(o3_buf_str(&text), "\"users_busy\": true") != NULL;
}

/* Two groups of users with different contexts: after each load the first answer takes a while. */
static void no_probe_waits_for_a_load(struct rig *r) {
    rig_world_event(r, "at 10m decode -75 %");
    rig_preload(r, MODEL, 4096);
    int64_t t = 11 * RIG_MINUTE_MS, longest_ms = 0;
    for (int i = 0; i < LOADS; i++, t += 2 * RIG_MINUTE_MS + 700 * i) {
        rig_run_until(r, t);
        double before = n_sent(r);
        rig_user_generate(r, MODEL, 700, i % 2 ? "\"num_ctx\":4096" : "\"num_ctx\":8192");
        int64_t waited_ms = 0, idle_ms = 0;
        for (; r->n_users && waited_ms < RIG_MINUTE_MS; waited_ms += 100) {
            rig_run_until(r, t + waited_ms);
            if (waited_ms > 5500 && r->n_users && !is_busy(r)) idle_ms += 100;
        }
        if (!r->c->sockets_unreadable) assert_int_equal(idle_ms, 0);
        longest_ms = waited_ms > longest_ms ? waited_ms : longest_ms;
        assert_true(n_sent(r) - before <= 1); /* one may have been under way when the user came */
        assert_true(r->last_sample.queue_ns < 3 * O3_NS_PER_S);
    }
    assert_true(longest_ms > 30000);
    double sent = n_sent(r);
    rig_run_until(r, t + RIG_MINUTE_MS);
    assert_true(n_sent(r) > sent + 3); /* and afterwards it goes on */
    for (int i = 0; i < r->n_events; i++)
        assert_int_not_equal(r->events[i].id, O3_EV_INDUCED_RELOAD);
    rig_free(r);
}

static void a_server_that_loads_is_busy(void **state) {
    (void)state;
    no_probe_waits_for_a_load(rig_new(FAST, NULL));
}

static void without_sockets_too(void **state) {
    (void)state;
    struct rig *r = rig_new(FAST, NULL);
    r->c->sockets_unreadable = true;
    no_probe_waits_for_a_load(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_loads_is_busy),
        cmocka_unit_test(without_sockets_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
