/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of the simulated world's events. */
#include "o3_test.h"
#include "o3/text.h"
#include "sim/events.h"

static struct o3_sim_event parsed(const char *text) {
    struct o3_sim_event ev;
    struct o3_err e = {0};
    if (o3_sim_event_parse(text, 1, &ev, &e) < 0) fail_msg("\"%s\": column %u: %s", text, e.col, e.text);
    return ev;
}

static void times(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"35s", 35 * O3_NS_PER_S},
        {"250ms", 250 * O3_NS_PER_MS},
        {"2m", 120 * O3_NS_PER_S},
        {"2m30", 150 * O3_NS_PER_S},
        {"18h20", (18 * 60 + 20) * 60 * O3_NS_PER_S},
        {"1h30m", 90 * 60 * O3_NS_PER_S},
        {"1h30m15", (90 * 60 + 15) * O3_NS_PER_S},
        {"2d", 2 * 86400 * O3_NS_PER_S},
    };
    static const char *const bad[] = {"",     "5",  "2d12", "10s5", "m", "-2m", "2x", "99999999999999999999h",
                                      "1e3s", "2m "};
    int64_t ns;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(o3_sim_time_parse(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (o3_sim_time_parse(bad[i], &ns)) fail_msg("\"%s\" is taken for a time", bad[i]);
}

static void every_example_of_the_manual(void **state) {
    (void)state;
    struct o3_sim_event ev = parsed("at 2m decode -40 %");
    assert_int_equal(ev.change, O3_SIM_CHANGE_DECODE);
    assert_int_equal(ev.at_ns, 120 * O3_NS_PER_S);
    assert_false(ev.is_absolute);
    O3_ASSERT_NEAR(ev.value, 0.6, 1e-12);
    assert_true(ev.until_ns == INT64_MAX);

    ev = parsed("at 18h decode 22 tok/s for 10m");
    assert_true(ev.is_absolute);
    O3_ASSERT_NEAR(ev.value, 22, 0);
    assert_int_equal(ev.until_ns - ev.at_ns, 600 * O3_NS_PER_S);

    ev = parsed("at 35s prefill -20% model=sim-small for 5m # slower");
    O3_ASSERT_NEAR(ev.value, 0.8, 1e-12);
    assert_string_equal(ev.model, "sim-small");

    ev = parsed("\tat 19h http 503 for 10m\n");
    assert_int_equal(ev.change, O3_SIM_CHANGE_HTTP);
    O3_ASSERT_NEAR(ev.value, 503, 0);

    assert_int_equal(parsed("at 5m hang for 1m").change, O3_SIM_CHANGE_HANG);
    assert_int_equal(parsed("at 5m freeze for 1m").change, O3_SIM_CHANGE_FREEZE);
    assert_string_equal(parsed("at 5m unload").model, "");
    assert_string_equal(parsed("at 5m unload sim-small").model, "sim-small");

    ev = parsed("at 1m load sim-small:latest ctx 8192 batch 256");
    assert_string_equal(ev.model, "sim-small:latest");
    assert_int_equal(ev.num_ctx, 8192);
    assert_int_equal(ev.num_batch, 256);
    assert_int_equal(parsed("at 1m load sim-small").num_ctx, -1);

    O3_ASSERT_NEAR(parsed("at 3m ttft +200ms").value, 200e6, 0);
    O3_ASSERT_NEAR(parsed("at 3m noise 8 %").value, 0.08, 1e-12);
    O3_ASSERT_NEAR(parsed("at 3m load-time +50 % for 1h").value, 1.5, 1e-12);
    assert_int_equal(parsed("at 10s runner killed").change, O3_SIM_CHANGE_RUNNER_KILLED);
    assert_int_equal(parsed("at 4m gpu lost for 2m").change, O3_SIM_CHANGE_GPU_LOST);
    assert_int_equal(parsed("at 1m truncate-stream for 30s").change, O3_SIM_CHANGE_TRUNCATE);
    assert_int_equal(parsed("at 1m malformed for 30s").change, O3_SIM_CHANGE_MALFORMED);
    assert_int_equal(parsed("at 1m refuse for 30s").change, O3_SIM_CHANGE_REFUSE);
    assert_string_equal(parsed("at 6m version 0.33.0").version, "0.33.0");
    assert_int_equal(parsed("at 6m restart").change, O3_SIM_CHANGE_RESTART);
    assert_int_equal(parsed("at 6m update sim-small").change, O3_SIM_CHANGE_UPDATE);
}

static void errors_name_place_and_expectation(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t col;
        const char *says;
    } rows[] = {
        {"", 1, "expected \"at\", found the end"},
        {"on 2m decode -40 %", 1, "expected \"at\", found \"on\""},
        {"at", 3, "expected a time"},
        {"at soon decode -40 %", 4, "found \"soon\""},
        {"at 2m", 6, "expected what changes"},
        {"at 2m decod -40 %", 7, "did you mean \"decode\"?"},
        {"at 2m decode", 13, "expected a change like"},
        {"at 2m decode 40 %", 14, "expected a change like"},
        {"at 2m decode -100 %", 14, "expected a change like"},
        {"at 2m decode -40", 14, "expected a change like"},
        {"at 2m decode nan %", 14, "expected a change like"},
        {"at 2m decode 0 tok/s", 14, "expected a change like"},
        {"at 2m decode -22 tok/s", 14, "expected a change like"},
        {"at 2m load-time 22 tok/s", 17, "expected a change like"},
        {"at 2m decode -40 % for", 23, "expected a duration"},
        {"at 2m decode -40 % for ever", 24, "expected a duration like \"10m\", found \"ever\""},
        {"at 2m decode -40 % until 3m", 20, "expected \"model=NAME\""},
        {"at 2m decode -40 % model=", 20, "expected \"model=NAME\""},
        {"at 2m http 200", 12, "expected a status"},
        {"at 2m ttft 200ms", 12, "expected a delay"},
        {"at 2m noise -8 %", 13, "expected a coefficient"},
        {"at 2m runner", 13, "expected \"killed\""},
        {"at 2m gpu found", 11, "expected \"lost\""},
        {"at 2m version", 14, "expected a version"},
        {"at 2m version newest", 15, "expected a version"},
        {"at 2m load", 11, "expected a model's name"},
        {"at 2m load m ctx many", 18, "expected a number of tokens"},
        {"at 2m load m ctx 0", 18, "expected a number of tokens"},
        {"at 2m unload m for 2m", 16, "expected the end"},
        {"at 2m hang on", 12, "expected \"for DURATION\" or the end"},
        {"a b c d e f g h i j k l m n o p q", 33, "too many words"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_sim_event ev = {.at_ns = -7};
        struct o3_err e = {0};
        int r = o3_sim_event_parse(rows[i].text, 12, &ev, &e);
        if (r != O3_E_PARSE || e.line != 12 || e.col != rows[i].col || !strstr(e.text, rows[i].says))
            fail_msg("\"%s\": %d, %u:%u %s", rows[i].text, r, e.line, e.col, e.text);
        assert_int_equal(ev.at_ns, -7); /* untouched */
    }
}

static void any_bytes_are_survived(void **state) {
    (void)state;
    static const char *const words[] = {"at",   "2m",  "decode",  "-40", "%",   "for", "\xff\xfe",
                                        "load", "ctx", "model=x", "#",   "18h", " "};
    uint64_t x = o3_test_seed(5);
    for (int i = 0; i < 20000; i++) {
        char line[256] = "";
        size_t n = 0;
        for (int k = 0; k < 9; k++) {
            x = x * 6364136223846793005u + 1442695040888963407u;
            const char *word = words[(x >> 33) % (sizeof words / sizeof *words)];
            n += (size_t)snprintf(line + n, sizeof line - n, "%s%s", word, (x >> 60) & 3 ? " " : "");
        }
        struct o3_sim_event ev;
        struct o3_err e = {0};
        if (o3_sim_event_parse(line, 1, &ev, &e) < 0) assert_true(e.col >= 1 && e.text[0]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(every_example_of_the_manual),
        cmocka_unit_test(errors_name_place_and_expectation),
        cmocka_unit_test(any_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
