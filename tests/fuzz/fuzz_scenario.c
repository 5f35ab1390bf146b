/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a scenario: refused with a place, or one that makes sense and whose expectations can be judged. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "o3/scenario.h"

static void judge(const struct o3_scenario *s) {
    static const char EXPOSITION[] = "o3_ollama_up 1\no3_model_loaded{model=\"a\"} 1\n";
    struct o3_expectations *x = o3_expectations_new(s);
    if (!x) return;
    for (int ev = 0; ev < O3_EVENT_COUNT; ev++) {
        struct o3_expect_seen seen = {.mono_ns = s->duration_ns / 2,
                                      .event = (enum o3_event_id)ev,
                                      .model = "sim-small:latest",
                                      .signal = "ttft",
                                      .reason = "digest",
                                      .change_ratio = 0.5};
        o3_expectations_event(x, &seen);
    }
    o3_expectations_look(x, s->duration_ns, EXPOSITION, sizeof EXPOSITION - 1);
    o3_expectations_finish(x, s->duration_ns);
    for (size_t i = 0; i < s->n_expects; i++)
        O3_ASSERT(o3_expectations_result(x, i)->is_decided);
    o3_expectations_free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct o3_scenario *s = NULL;
    struct o3_err e = {0};
    if (o3_scenario_parse("fuzz", (const char *)data, n, &s, &e) < 0) {
        O3_ASSERT(!s && e.text[0] && (e.code == O3_E_LIMIT || (e.code == O3_E_PARSE && e.line > 0 && e.col > 0)));
        return 0;
    }
    O3_ASSERT(s->duration_ns > 0);
    for (size_t i = 0; i < s->n_events; i++)
        O3_ASSERT(o3_world_check_event(s->events[i].text, 1, NULL, &e) == 0);
    for (size_t i = 0; i < s->n_faults; i++)
        O3_ASSERT(isfinite(s->faults[i].value) && s->faults[i].until_ns >= s->faults[i].at_ns &&
                  (i == 0 || s->faults[i - 1].at_ns <= s->faults[i].at_ns));
    judge(s);
    o3_scenario_free(s);
    return 0;
}
