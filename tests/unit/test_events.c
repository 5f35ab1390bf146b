/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of the simulated world's events. */
#include "o3_test.h"
#include "o3/text.h"
#include "o3/world.h"
#include "base/words.h"
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
        assert_true(o3_words_time(good[i].text, &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (o3_words_time(bad[i], &ns)) fail_msg("\"%s\" is taken for a time", bad[i]);
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
    ev = parsed("at 3m noise 8 % ar 0.5 for 1h");
    O3_ASSERT_NEAR(ev.value, 0.08, 1e-12);
    O3_ASSERT_NEAR(ev.ar, 0.5, 0);
    assert_int_equal(parsed("at 10s runner killed").change, O3_SIM_CHANGE_RUNNER_KILLED);
    assert_int_equal(parsed("at 4m gpu lost for 2m").change, O3_SIM_CHANGE_GPU_LOST);
    assert_int_equal(parsed("at 1m truncate-stream for 30s").change, O3_SIM_CHANGE_TRUNCATE);
    assert_int_equal(parsed("at 1m malformed for 30s").change, O3_SIM_CHANGE_MALFORMED);
    assert_int_equal(parsed("at 1m refuse for 30s").change, O3_SIM_CHANGE_REFUSE);
    assert_string_equal(parsed("at 6m version 0.33.0").version, "0.33.0");
    assert_int_equal(parsed("at 6m restart").change, O3_SIM_CHANGE_RESTART);
    assert_int_equal(parsed("at 6m update sim-small").change, O3_SIM_CHANGE_UPDATE);
}

static void physics(void **state) {
    (void)state;
    static const struct {
        const char *text;
        enum o3_sim_change change;
        double value;
    } rows[] = {
        {"at 0s load-effect 4 %", O3_SIM_CHANGE_LOAD_EFFECT, 0.04},
        {"at 0s load-effect 4% model=sim-small for 2h", O3_SIM_CHANGE_LOAD_EFFECT, 0.04},
        {"at 0s warm-up 3 requests", O3_SIM_CHANGE_WARM_UP, 3},
        {"at 0s warm-up 1 request", O3_SIM_CHANGE_WARM_UP, 1},
        {"at 0s daily 10 %", O3_SIM_CHANGE_DAILY, 0.10},
        {"at 0s decay 4 %/day", O3_SIM_CHANGE_DECAY, 0.04},
        {"at 0s decay 4%/day for 3d", O3_SIM_CHANGE_DECAY, 0.04},
        {"at 0s thermal 83C", O3_SIM_CHANGE_THERMAL, 83},
        {"at 0s ambient 35C for 6h", O3_SIM_CHANGE_AMBIENT, 35},
        {"at 0s quota 4 cores", O3_SIM_CHANGE_QUOTA, 4},
        {"at 0s quota 0.5 cores", O3_SIM_CHANGE_QUOTA, 0.5},
        {"at 0s quota 1 core", O3_SIM_CHANGE_QUOTA, 1},
        {"at 0s neighbour 50 % for 1h", O3_SIM_CHANGE_NEIGHBOUR, 0.5},
        {"at 0s memory-limit 2GiB", O3_SIM_CHANGE_MEMORY_LIMIT, 2.0 * 1024 * 1024 * 1024},
        {"at 0s tenant 6GiB for 1h", O3_SIM_CHANGE_TENANT, 6.0 * 1024 * 1024 * 1024},
        {"at 0s oom load for 10m", O3_SIM_CHANGE_OOM_LOAD, 0},
        {"at 0s oom fill model=sim-small", O3_SIM_CHANGE_OOM_FILL, 0},
        {"at 0s disk slow 20x for 1h", O3_SIM_CHANGE_SLOW_DISK, 20},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_sim_event ev = parsed(rows[i].text);
        assert_int_equal(ev.change, rows[i].change);
        O3_ASSERT_NEAR(ev.value, rows[i].value, 1e-9);
    }
    assert_true(parsed("at 4m gpu lost unseen for 2m").is_unseen);
    assert_false(parsed("at 4m gpu lost").is_unseen);
    int64_t at_ns = 0;
    assert_int_equal(o3_world_check_event("at 4m gpu lost", 3, &at_ns, NULL), 0);
    assert_int_equal(at_ns, 240 * O3_NS_PER_S);
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
        {"at 2m noise 8 % ar", 19, "expected a correlation from 0 to 0.95, found the end"},
        {"at 2m noise 8 % ar 1", 20, "expected a correlation"},
        {"at 2m load-effect 4", 19, "expected a coefficient"},
        {"at 2m load-effect -4 %", 19, "expected a coefficient"},
        {"at 2m warm-up 3", 15, "expected a number from 0 to 100 like \"3 requests\", found \"3\""},
        {"at 2m warm-up 2.5 requests", 15, "expected a number"},
        {"at 2m warm-up 300 requests", 15, "expected a number"},
        {"at 2m daily 100 %", 13, "expected a share from 0 to 95 %"},
        {"at 2m decay 4 %", 13, "expected a decay from 0 to 99 %/day"},
        {"at 2m decay -4 %/day", 13, "expected a decay"},
        {"at 2m thermal 83", 15, "expected a temperature from 30C"},
        {"at 2m thermal 20C", 15, "expected a temperature"},
        {"at 2m ambient 350C", 15, "expected a temperature from 0C"},
        {"at 2m quota 0 cores", 13, "expected a number from 0.01"},
        {"at 2m quota 4", 13, "expected a number from 0.01"},
        {"at 2m neighbour 99 %", 17, "expected a share"},
        {"at 2m tenant 6GB", 14, "expected a size like \"6GiB\", found \"6GB\""},
        {"at 2m tenant", 13, "expected a size"},
        {"at 2m oom", 10, "expected \"load\" or \"fill\", found the end"},
        {"at 2m oom lode", 11, "did you mean \"load\"?"},
        {"at 2m disk", 11, "expected \"slow\", found the end"},
        {"at 2m disk slwo 2x", 12, "did you mean \"slow\"?"},
        {"at 2m disk slow 0.5x", 17, "expected a factor from 1x to 1000x"},
        {"at 2m disk slow 20", 17, "expected a factor"},
        {"at 2m disk full for 20m", 7, "\"disk full\" befalls the sidecar"},
        {"at 2m disk read-only", 7, "\"disk read-only\" befalls the sidecar"},
        {"at 2m sidecar killed", 7, "\"sidecar\" befalls the sidecar"},
        {"at 2m clock +2h", 7, "befalls the sidecar"},
        {"at 2m expect o3_ollama_up = 0", 7, "belongs in a scenario"},
        {"at 2m gpu lost unsen", 16, "expected \"for DURATION\" or the end"},
        {"at 2m xyzzyplugh", 7, "expected what changes, found \"xyzzyplugh\""},
        {"a b c d e f g h i j k l m n o p q r s t u v w x y", 49, "too many words"},
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
        cmocka_unit_test(physics),
        cmocka_unit_test(errors_name_place_and_expectation),
        cmocka_unit_test(any_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
