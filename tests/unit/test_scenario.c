/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios: every production of the grammar, every refusal with its place, and expectations against what is seen. */
#include "o3_test.h"
#include "o3/config.h"
#include "o3/scenario.h"
#include "o3/text.h"

#define MINUTE_NS (60 * O3_NS_PER_S)
#define HOUR_NS (60 * MINUTE_NS)

static struct o3_scenario *parsed(const char *text) {
    struct o3_scenario *s = NULL;
    struct o3_err e = {0};
    if (o3_scenario_parse("test", text, strlen(text), &s, &e) < 0) fail_msg("%u:%u: %s", e.line, e.col, e.text);
    return s;
}

/* ---- what is said ---- */

static void test_world(void **state) {
    (void)state;
    struct o3_scenario *s = parsed("# comment\n"
                                   "world seed 7\r\n"
                                   "world gpu 24GiB # a card\n"
                                   "world ram 64GiB\nworld version 0.24.0\nworld parallel 2\nworld max-queue 9\n"
                                   "world keep-alive 30m\nworld cores 16\nworld bandwidth 1008GB/s\n"
                                   "world library recorded\nworld start 2026-11-21T00:00:00Z\n"
                                   "world memory noise 28MiB overhead 400MiB bias +2 %\n");
    assert_true(s->has_seed && s->world.seed == 7);
    assert_true(s->world.has_gpu && s->world.vram_bytes == 24LL << 30 && s->world.ram_bytes == 64LL << 30);
    assert_string_equal(s->world.version, "0.24.0");
    assert_int_equal(s->world.parallel, 2);
    assert_int_equal(s->world.max_queue, 9);
    assert_int_equal(s->world.keep_alive_ms, 30 * 60 * 1000);
    assert_int_equal(s->world.cores, 16);
    O3_ASSERT_NEAR(s->world.bandwidth, 1008e9, 1);
    assert_true(s->world.has_recorded_models);
    assert_int_equal(s->world.start_wall_ms, 1795219200000LL);
    assert_int_equal(s->world.memory_noise_bytes, 28LL << 20);
    assert_int_equal(s->world.memory_overhead_bytes, 400LL << 20);
    O3_ASSERT_NEAR(s->world.memory_bias, 0.02, 1e-12);
    assert_int_equal(s->duration_ns, 15 * MINUTE_NS); /* nothing happens: a quarter of an hour */
    o3_scenario_free(s);
    s = parsed("world keep-alive -1\nworld memory bias -2%\n");
    assert_true(s->world.keep_alive_ms < 0 && !s->has_seed && !s->world.version && s->world.noise_cv < 0);
    O3_ASSERT_NEAR(s->world.memory_bias, -0.02, 1e-12);
    o3_scenario_free(s);
}

static void test_changes_from_the_start(void **state) {
    (void)state;
    struct o3_scenario *s = parsed("  world noise 5 % ar 0.3\nworld gpu lost unseen\nworld quota 4 cores for 1h # c\n"
                                   "world pool 5 connections\nworld disk slow 20x\n");
    assert_int_equal(s->n_events, 4);
    assert_string_equal(s->events[0].text, "  at 0s noise 5 % ar 0.3");
    assert_string_equal(s->events[1].text, "at 0s gpu lost unseen");
    assert_string_equal(s->events[2].text, "at 0s quota 4 cores for 1h");
    assert_int_equal(s->events[2].number, 3);
    assert_string_equal(s->events[3].text, "at 0s disk slow 20x");
    assert_int_equal(s->n_faults, 2);
    assert_int_equal(s->faults[0].kind, O3_FAULT_POOL);
    assert_int_equal(s->faults[0].at_ns, 0);
    o3_scenario_free(s);
}

static void test_loads_and_users(void **state) {
    (void)state;
    struct o3_scenario *s = parsed("load sim-small\nload sim-medium:latest ctx 8192\n"
                                   "users 12/h sim-small\n"
                                   "users 0.5 /h sim-medium burst 4 daily 50 % turns 5 prompt 300 answer 200 pause 40s "
                                   "ctx 8192\n");
    assert_int_equal(s->n_loads, 2);
    assert_string_equal(s->loads[0].model, "sim-small");
    assert_true(s->loads[0].num_ctx <= 0);
    assert_int_equal(s->loads[1].num_ctx, 8192);
    assert_int_equal(s->loads[1].line, 2);
    assert_int_equal(s->n_users, 2);
    struct o3_world_users d = o3_world_users_default();
    O3_ASSERT_NEAR(s->users[0].conversations_per_hour, 12, 0);
    assert_int_equal(s->users[0].turns, d.turns);
    O3_ASSERT_NEAR(s->users[1].conversations_per_hour, 0.5, 0);
    O3_ASSERT_NEAR(s->users[1].burst, 4, 0);
    O3_ASSERT_NEAR(s->users[1].daily, 0.5, 1e-12);
    assert_int_equal(s->users[1].turns, 5);
    assert_int_equal(s->users[1].prompt_tokens, 300);
    assert_int_equal(s->users[1].answer_tokens, 200);
    assert_int_equal(s->users[1].pause_ms, 40000);
    assert_int_equal(s->users[1].num_ctx, 8192);
    assert_int_equal(s->users_lines[1], 4);
    o3_scenario_free(s);
}

static void test_config(void **state) {
    (void)state;
    struct o3_scenario *s = parsed("config probe.interval 10s\nconfig drift.false_alarms 1 per 30d # no more\n"
                                   "config models.include sim-small, sim-medium\n");
    assert_int_equal(s->n_config, 3);
    assert_string_equal(s->config[0].name, "probe.interval");
    assert_string_equal(s->config[0].value, "10s");
    assert_string_equal(s->config[1].value, "1 per 30d");
    assert_string_equal(s->config[2].value, "sim-small, sim-medium");
    assert_int_equal(s->config[2].line, 3);
    o3_scenario_free(s);
}

static void test_faults_stand_in_order_of_time(void **state) {
    (void)state;
    static const char TEXT[] = "at 9h foreign write\n"
                               "at 1h sidecar killed\nat 2h sidecar killed at rename\nat 3h sidecar stopped for 10m\n"
                               "at 4h disk full for 20m\nat 5h disk read-only\nat 6h disk slow 20x for 1h\n"
                               "at 7h clock +2h\nat 7h30 clock -30m\nat 8h pool 5 connections for 1h\n"
                               "at 8h30 pool 1 connection\n";
    static const struct {
        enum o3_fault_kind kind;
        int64_t at_min, for_min; /* -1: for good */
        double value;
        const char *step;
    } ROWS[] = {
        {O3_FAULT_SIDECAR_KILLED, 60, -1, 0, ""},
        {O3_FAULT_SIDECAR_KILLED, 120, -1, 0, "rename"},
        {O3_FAULT_SIDECAR_STOPPED, 180, 10, 0, ""},
        {O3_FAULT_DISK_FULL, 240, 20, 0, ""},
        {O3_FAULT_DISK_READ_ONLY, 300, -1, 0, ""},
        {O3_FAULT_DISK_SLOW, 360, 60, 0.2, ""},
        {O3_FAULT_CLOCK_JUMP, 420, -1, 7200, ""},
        {O3_FAULT_CLOCK_JUMP, 450, -1, -1800, ""},
        {O3_FAULT_POOL, 480, 60, 5, ""},
        {O3_FAULT_POOL, 510, -1, 1, ""},
        {O3_FAULT_FOREIGN_FILE, 540, -1, 0, ""},
    };
    struct o3_scenario *s = parsed(TEXT);
    assert_int_equal(s->n_faults, sizeof ROWS / sizeof *ROWS);
    for (size_t i = 0; i < s->n_faults; i++) {
        const struct o3_scenario_fault *f = &s->faults[i];
        assert_int_equal(f->kind, ROWS[i].kind);
        assert_int_equal(f->at_ns, ROWS[i].at_min * MINUTE_NS);
        assert_true(ROWS[i].for_min < 0 ? f->until_ns == INT64_MAX
                                        : f->until_ns - f->at_ns == ROWS[i].for_min * MINUTE_NS);
        O3_ASSERT_NEAR(f->value, ROWS[i].value, 1e-9);
        assert_string_equal(f->step, ROWS[i].step);
    }
    assert_int_equal(s->n_events, 1); /* the slow disk is the server's, too */
    assert_int_equal(s->duration_ns, 9 * HOUR_NS + 15 * MINUTE_NS);
    o3_scenario_free(s);
}

static void test_expectations(void **state) {
    (void)state;
    struct o3_scenario *s = parsed(
        "at 18h decode -12 %\n"
        "by 18h20 expect confirmed slower signal=decode_rate model=sim-small\n"
        "at 19h http 503 for 10m\n"
        "by 19h1 expect ollama_down\n"
        "by 20h expect recovered\n"
        "never expect preset_written while unstable\n"
        "never expect drift_confirmed faster after 1h before 18h\n"
        "never expect model_reloaded reason~induced\n"
        "at 19h05 expect o3_ollama_up = 0\n"
        "at 21h expect o3_drift_detected{model=\"sim-small:latest\",signal=\"decode_rate\"} >= 1 # told\n"
        "at 21h expect o3_probe_decode_tokens_per_second absent\n"
        "at 21h expect o3_probe_duration_seconds_count > 3e1\n"
        "run for 1d\n");
    assert_int_equal(s->n_expects, 10);
    const struct o3_scenario_expect *x = s->expects;
    assert_true(x[0].kind == O3_EXPECT_BY && x[0].event == O3_EV_DRIFT_CONFIRMED && x[0].direction == -1);
    assert_true(x[0].from_ns == 18 * HOUR_NS && x[0].to_ns == 18 * HOUR_NS + 20 * MINUTE_NS);
    assert_string_equal(x[0].signal, "decode_rate");
    assert_string_equal(x[0].model, "sim-small");
    assert_int_equal(x[0].line, 2);
    assert_string_equal(x[0].text, "by 18h20 expect confirmed slower signal=decode_rate model=sim-small");
    assert_true(x[1].event == O3_EV_OLLAMA_DOWN && x[1].from_ns == 19 * HOUR_NS);
    assert_true(x[2].event == O3_EV_DRIFT_RECOVERED && x[2].from_ns == 19 * HOUR_NS);
    assert_true(x[3].kind == O3_EXPECT_NEVER && x[3].during == O3_WHILE_UNSTABLE && x[3].event == O3_EV_PRESET_WRITTEN);
    assert_true(x[3].from_ns == 0 && x[3].to_ns == INT64_MAX);
    assert_true(x[4].from_ns == HOUR_NS && x[4].to_ns == 18 * HOUR_NS && x[4].direction == 1);
    assert_string_equal(x[5].reason, "induced");
    assert_true(x[6].kind == O3_EXPECT_AT && x[6].to_ns == 19 * HOUR_NS + 5 * MINUTE_NS);
    assert_string_equal(x[6].metric, "o3_ollama_up");
    assert_string_equal(x[6].op, "=");
    assert_string_equal(x[7].op, ">=");
    O3_ASSERT_NEAR(x[7].number, 1, 0);
    assert_string_equal(x[7].metric, "o3_drift_detected{model=\"sim-small:latest\",signal=\"decode_rate\"}");
    assert_string_equal(x[8].op, "");
    O3_ASSERT_NEAR(x[9].number, 30, 0);
    assert_int_equal(s->duration_ns, 24 * HOUR_NS);
    assert_int_equal(s->run_line, 13);
    o3_scenario_free(s);
}

/* ---- what is refused ---- */

static void test_refusals_name_place_and_expectation(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t line, col;
        const char *says;
    } ROWS[] = {
        {"wrold seed 7", 1, 1, "did you mean \"world\"?"},
        {"\n\n  expect ollama_down", 3, 3,
         "expected world, load, users, config, at, by, never or run, found \"expect\""},
        {"a\x01", 1, 2, "expected text in UTF-8, found the control character 0x01"},
        {"run for 1h\nworld \xff", 2, 7, "expected text in UTF-8, found the byte 0xff"},
        /* world */
        {"world", 1, 6, "expected a setting or a change of the world, found the end"},
        {"world sede 7", 1, 7, "did you mean \"seed\"?"},
        {"world decod -4 %", 1, 7, "did you mean \"decode\"?"},
        {"world xyzzyplugh", 1, 7, "expected a setting or a change of the world, found \"xyzzyplugh\""},
        {"world seed -1", 1, 12, "expected a number from 0"},
        {"world seed 7 8", 1, 14, "expected the end of the line, found \"8\""},
        {"world gpu", 1, 10, "expected a size like \"24GiB\", found the end"},
        {"world gpu 24GB", 1, 11, "expected a size"},
        {"world ram lots", 1, 11, "expected a size"},
        {"world version latest", 1, 15, "expected a version"},
        {"world parallel 0", 1, 16, "expected a number of requests"},
        {"world parallel 65", 1, 16, "expected a number of requests from 1 to 64"},
        {"world max-queue x", 1, 17, "expected a number of requests"},
        {"world cores 0", 1, 13, "expected a number of cores"},
        {"world keep-alive 0s", 1, 18, "or -1 for ever"},
        {"world bandwidth 1008", 1, 17, "expected a rate"},
        {"world library all", 1, 15, "expected \"recorded\""},
        {"world start now", 1, 13, "expected a time like"},
        {"world memory", 1, 13, "expected noise, overhead or bias"},
        {"world memory nosie 1MiB", 1, 14, "did you mean \"noise\"?"},
        {"world memory noise 1MB", 1, 20, "expected a size"},
        {"world memory overhead", 1, 22, "expected a size"},
        {"world memory bias 80 %", 1, 19, "expected a share"},
        {"world noise 8", 1, 13, "expected a coefficient"},
        {"\tworld noise 8", 1, 14, "expected a coefficient"},
        {"world gpu lost for ever", 1, 20, "expected a duration"},
        {"world disk", 1, 11, "expected \"full\", \"read-only\" or \"slow\", found the end"},
        /* load, users */
        {"load", 1, 5, "expected a model's name"},
        {"load sim-small 8192", 1, 16, "expected \"ctx TOKENS\""},
        {"load sim-small ctx big", 1, 20, "expected a number of tokens"},
        {"load sim-small ctx 1 2", 1, 22, "expected the end"},
        {"load sim-small\nload sim-small:latest ctx 4096", 2, 6,
         "expected each model once, found \"sim-small:latest\" also in line 1"},
        {"users", 1, 6, "expected conversations per hour"},
        {"users 1000000000/h sim-small", 1, 7, "from 0.001/h to 100000/h"},
        {"users 12 sim-small", 1, 7, "expected conversations per hour"},
        {"users 0/h sim-small", 1, 7, "expected conversations per hour"},
        {"users 12/h", 1, 11, "expected a model's name"},
        {"users 12/h m brust 4", 1, 14, "did you mean \"burst\"?"},
        {"users 12/h m burst 0.5", 1, 20, "expected a number from 1"},
        {"users 12/h m daily 150 %", 1, 20, "expected a share"},
        {"users 12/h m turns 0", 1, 20, "expected a number"},
        {"users 12/h m prompt", 1, 20, "expected a number of tokens"},
        {"users 12/h m answer 0", 1, 21, "expected a number of tokens"},
        {"users 12/h m pause 40", 1, 20, "expected a duration"},
        {"users 12/h m prompt 65537", 1, 21, "expected a number of tokens from 1 to 65536"},
        {"users 12/h m answer 65537", 1, 21, "expected a number of tokens from 1 to 65536"},
        {"users 12/h m pause 8d", 1, 20, "expected a duration up to 7 days"},
        {"users 12/h m ctx 0", 1, 18, "expected a number of tokens"},
        /* config */
        {"config", 1, 7, "expected a configuration key"},
        {"config probe.intervall 10s", 1, 8, "did you mean \"probe.interval\"?"},
        {"config probe.interval", 1, 22, "expected the value"},
        {"config probe.interval soon", 1, 23, "probe.interval"},
        {"config probe.interval 10ms", 1, 23, "probe.interval"},
        {"config drift.min_effect 7", 1, 25, "drift.min_effect"},
        {"config probe.interval 10s\nconfig probe.interval 20s", 2, 8, "found \"probe.interval\" also in line 1"},
        /* at */
        {"at", 1, 3, "expected a time like"},
        {"at noon hang", 1, 4, "expected a time like"},
        {"at 4000d hang", 1, 4, "expected a time within ten years"},
        {"at 1h", 1, 6, "expected what changes"},
        {"at 1h decod -4 %", 1, 7, "did you mean \"decode\"?"},
        {"at 1h decode", 1, 13, "expected a change like"},
        {"\n at 1h hang now", 2, 13, "expected \"for DURATION\" or the end"},
        {"at 1h sidecra killed", 1, 7, "did you mean \"sidecar\"?"},
        {"at 1h sidecar", 1, 14, "expected \"killed\" or \"stopped\""},
        {"at 1h sidecar kiled", 1, 15, "did you mean \"killed\"?"},
        {"at 1h sidecar killed at", 1, 24, "expected a step of a write"},
        {"at 1h sidecar killed at renam", 1, 25, "did you mean \"rename\"?"},
        {"at 1h sidecar killed at discard", 1, 25, "expected a step of a write"},
        {"at 1h sidecar killed for 1h", 1, 22, "expected the end"},
        {"at 1h sidecar stopped", 1, 22, "expected \"for DURATION\""},
        {"at 1h sidecar stopped for ever", 1, 27, "expected a duration"},
        {"at 1h disk empty", 1, 12, "expected \"full\", \"read-only\" or \"slow\", found \"empty\""},
        {"at 1h disk full 20m", 1, 17, "expected the end"},
        {"at 1h disk slow 20", 1, 17, "expected a factor"},
        {"at 1h clock 2h", 1, 13, "expected a jump"},
        {"at 1h clock +250ms", 1, 13, "expected a jump of whole seconds"},
        {"at 1h clock +2h for 1h", 1, 17, "expected the end"},
        {"at 1h pool many", 1, 12, "expected a number from 0 to 1000"},
        {"at 1h pool 5", 1, 13, "expected \"connections\""},
        {"at 1h foreign read", 1, 15, "expected \"write\""},
        /* by */
        {"by", 1, 3, "expected a time like"},
        {"by 1h", 1, 6, "expected \"expect\""},
        {"at 2h hang\nby 1h expect ollama_down", 2, 4, "expected a time after that of the \"at\" line above"},
        {"by 1h expect", 1, 13, "expected confirmed, suspected"},
        {"by 1h expect confirmd", 1, 14, "did you mean \"confirmed\"?"},
        {"by 1h expect ollama_dwon", 1, 14, "did you mean \"ollama_down\"?"},
        {"by 1h expect confirmed lower", 1, 24, "expected slower, faster, signal=, model= or the end"},
        {"by 1h expect recovered slower", 1, 24, "expected signal=, model="},
        {"by 1h expect confirmed signal=decode", 1, 24, "expected a signal like"},
        {"by 1h expect confirmed signal=decode_rat", 1, 24, "did you mean \"signal=decode_rate\"?"},
        {"by 1h expect incident cause=heat", 1, 23, "expected a cause like \"cause=gpu_share_fell\""},
        {"by 1h expect incident cause=throtling", 1, 23, "did you mean \"cause=throttling\"?"},
        {"by 1h expect confirmed cause=throttling", 1, 24, "the event drift_confirmed has no cause"},
        {"by 1h expect incident slower", 1, 23, "expected cause=, model= or the end"},
        {"by 1h expect ollama_down signal=ttft", 1, 26, "the event ollama_down has no signal (its fields: error)"},
        {"by 1h expect ollama_down model=m", 1, 26, "has no model"},
        {"by 1h expect confirmed reason~x", 1, 24, "has no reason"},
        {"by 1h expect ollama_down while busy", 1, 26, "or the end"},
        /* never */
        {"never", 1, 6, "expected \"expect\""},
        {"never expect", 1, 13, "expected confirmed"},
        {"never expect preset_written while", 1, 34, "expected unstable, down, busy or stuck"},
        {"never expect preset_written while unstabel", 1, 35, "did you mean \"unstable\"?"},
        {"never expect preset_written after", 1, 34, "expected a time like"},
        {"never expect preset_written after 2h before 1h", 1, 45, "expected a later time"},
        {"never expect preset_written until 2h", 1, 29, "while, after, before or the end"},
        /* at ... expect */
        {"at 1h expect", 1, 13, "expected a metric"},
        {"at 1h expect o3_olama_up = 0", 1, 14, "did you mean \"o3_ollama_up\"?"},
        {"at 1h expect o3_ollama_up", 1, 26, "expected =, <, >, <=, >=, != or absent"},
        {"at 1h expect o3_ollama_up == 0", 1, 27, "expected =, <"},
        {"at 1h expect o3_ollama_up = up", 1, 29, "expected a number"},
        {"at 1h expect o3_ollama_up = 0 1", 1, 31, "expected the end"},
        {"at 1h expect o3_ollama_stuck{model=\"a b\"} = 0", 1, 14, "without blanks"},
        {"at 1h expect o3_ollama_up_count = 0", 1, 14, "expected a metric"},
        {"at 1h expect o3_drift_detected{modle=\"m:1\"} absent", 1, 14,
         "the metric o3_drift_detected has no label \"modle\" (its labels: model, signal)"},
        {"at 1h expect o3_ollama_up{model=\"m:1\"} = 1", 1, 14, "has no label \"model\" (its labels: none)"},
        {"at 1h expect o3_drift_detected{model=sim-small} = 1", 1, 14, "expected labels like"},
        {"at 1h expect o3_drift_detected{signal=\"ttft\",} = 1", 1, 14, "expected labels like"},
        {"at 1h expect o3_drift_detected{signal=\"ttft\"}x = 1", 1, 14, "expected labels like"},
        {"at 1h expect o3_drift_detected{signal=\"ttft = 1", 1, 14, "expected labels like"},
        {"at 1h expect o3_drift_detected{model=\"sim-small\"} absent", 1, 14, "expected a model with its tag"},
        /* run */
        {"run", 1, 4, "expected \"for\""},
        {"run for", 1, 8, "expected a time"},
        {"run for 0s", 1, 9, "expected a duration above 0"},
        {"run for 3h now", 1, 12, "expected the end"},
        {"run for 3h\nrun for 4h", 2, 1, "found another in line 1"},
        {"run for 3h\nat 4h hang", 2, 1, "expected a time before the end of the run in line 1"},
        {"by 4h expect ollama_down\nrun for 3h", 1, 1, "the end of the run in line 2"},
        {"at 4h expect o3_ollama_up = 1\nrun for 3h", 1, 1, "the end of the run in line 2"},
        {"at 4h pool 5 connections\nrun for 3h", 1, 1, "the end of the run in line 2"},
        {"never expect ollama_down after 4h\nrun for 3h", 1, 1, "the end of the run in line 2"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_scenario *s = NULL;
        struct o3_err e = {0};
        int r = o3_scenario_parse("test", ROWS[i].text, strlen(ROWS[i].text), &s, &e);
        if (r != O3_E_PARSE || e.line != ROWS[i].line || e.col != ROWS[i].col || !strstr(e.text, ROWS[i].says) || s)
            fail_msg("\"%s\": %d, %u:%u: %s", ROWS[i].text, r, e.line, e.col, e.text);
        assert_int_equal(o3_scenario_parse("test", ROWS[i].text, strlen(ROWS[i].text), &s, NULL), O3_E_PARSE);
    }
}

/* Keys that are right alone and wrong together, and the other way round. */
static void test_configuration_is_checked_as_a_whole(void **state) {
    (void)state;
    static const char WRONG[] = "config publish.file /a/b\nconfig store.path /a/b\n";
    struct o3_scenario *s = NULL;
    struct o3_err e = {0};
    assert_int_equal(o3_scenario_parse("test", WRONG, strlen(WRONG), &s, &e), O3_E_PARSE);
    assert_int_equal(e.line, 2);
    assert_string_equal(e.text, "publish.file: is the same file as store.path");
    s = parsed("config search_strategy.batch_adaptation.initial_batch_large 300\n"
               "config search_strategy.batch_adaptation.max_batch 512\n");
    assert_int_equal(s->n_config, 2);
    o3_scenario_free(s);
    static const char SECOND[] = "config probe.interval 10s\nconfig probe.linger x\nconfig probe.idle_for 1s\n";
    s = NULL;
    assert_int_equal(o3_scenario_parse("test", SECOND, strlen(SECOND), &s, &e), O3_E_PARSE);
    assert_true(e.line == 2 && e.col == 21);
}

/* As some editors save a text. */
static void test_mark_and_line_ends_of_other_systems(void **state) {
    (void)state;
    struct o3_scenario *s = parsed("\xef\xbb\xbfload sim-small\r\nrun for 1h\r\n");
    assert_int_equal(s->n_loads, 1);
    assert_string_equal(s->loads[0].model, "sim-small");
    assert_int_equal(s->duration_ns, HOUR_NS);
    o3_scenario_free(s);
}

static void test_limits(void **state) {
    (void)state;
    struct o3_scenario *s = NULL;
    struct o3_err e = {0};
    char *text = calloc(1, O3_SCENARIO_FILE_MAX + 2);
    memset(text, ' ', O3_SCENARIO_FILE_MAX + 1);
    assert_int_equal(o3_scenario_parse("test", text, O3_SCENARIO_FILE_MAX + 1, &s, &e), O3_E_LIMIT);
    memset(text, '\n', O3_SCENARIO_LINES_MAX + 1);
    assert_int_equal(o3_scenario_parse("test", text, O3_SCENARIO_LINES_MAX, &s, &e), 0);
    o3_scenario_free(s);
    assert_int_equal(o3_scenario_parse("test", text, O3_SCENARIO_LINES_MAX + 1, &s, &e), O3_E_LIMIT);
    assert_int_equal(e.line, O3_SCENARIO_LINES_MAX + 1);
    text[0] = '\0';
    for (int i = 0; i <= O3_SCENARIO_LOADS_MAX; i++)
        snprintf(text + strlen(text), 32, "load sim-%d\n", i);
    assert_int_equal(o3_scenario_parse("test", text, strlen(text), &s, &e), O3_E_LIMIT);
    assert_int_equal(e.line, O3_SCENARIO_LOADS_MAX + 1);
    text[0] = '\0';
    for (int i = 0; i <= O3_SCENARIO_USERS_MAX; i++)
        strcat(text, "users 1/h sim-small\n");
    assert_int_equal(o3_scenario_parse("test", text, strlen(text), &s, &e), O3_E_LIMIT);
    assert_int_equal(e.line, O3_SCENARIO_USERS_MAX + 1);
    free(text);
}

/* ---- a world from it ---- */

static void test_world_is_filled(void **state) {
    (void)state;
    struct o3_scenario *s = parsed(
        "world gpu 24GiB\nload sim-small ctx 8192\nusers 12/h sim-small\nat 1h decode -40 %\n");
    struct o3_world_params p = s->world;
    struct o3_world *w = o3_world_new(&p);
    struct o3_err e = {0};
    if (o3_scenario_fill_world(s, w, &e) < 0) fail_msg("%u:%u: %s", e.line, e.col, e.text);
    struct o3_world_truth t;
    o3_world_truth(w, 0, &t);
    assert_int_equal(t.n_loaded, 1);
    struct o3_world_output o;
    for (int m = 1; m <= 61; m++)
        while (o3_world_poll(w, m * MINUTE_NS, &o))
            continue;
    o3_world_truth(w, 61 * MINUTE_NS, &t);
    O3_ASSERT_NEAR(t.decode_factor, 0.6, 1e-12);
    assert_true(t.n_users_served > 0);
    o3_world_free(w);
    o3_scenario_free(s);
    static const struct {
        const char *text;
        uint32_t col;
    } WRONG[] = {
        {"\nload sim-smal", 6},
        {"\nusers 1/h sim-smal", 11},
        {"\nat 1h load sim-smal", 12},
        {"\nat 1h unload sim-smal", 14},
        {"\nat 1h update sim-smal", 14},
        {"\nat 1h decode -4 % model=sim-smal", 25},
        {"\nworld noise 4 % model=sim-smal", 23},
        {"\nnever expect confirmed model=sim-smal", 24},
        {"\nby 1h expect confirmed slower model=sim-smal", 31},
    };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        s = parsed(WRONG[i].text);
        w = o3_world_new(&s->world);
        e = (struct o3_err){0};
        assert_true(o3_scenario_fill_world(s, w, &e) < 0);
        assert_int_equal(e.line, 2);
        assert_int_equal(e.col, WRONG[i].col);
        assert_string_equal(e.text, "model \"sim-smal\" is not in the library; did you mean \"sim-small:latest\"?");
        o3_world_free(w);
        o3_scenario_free(s);
    }
}

static void test_the_month(void **state) {
    (void)state;
    struct o3_scenario *s = parsed(o3_scenario_month());
    assert_int_equal(s->duration_ns, 30 * 24 * HOUR_NS);
    assert_int_equal(s->n_loads, 3);
    assert_int_equal(s->n_users, 3);
    assert_true(s->world.has_gpu);
    for (size_t i = 0; i < s->n_events; i++)
        assert_int_equal(s->events[i].at_ns, 0); /* nothing happens */
    struct o3_world *w = o3_world_new(&s->world);
    struct o3_err e = {0};
    if (o3_scenario_fill_world(s, w, &e) < 0) fail_msg("%u:%u: %s", e.line, e.col, e.text);
    struct o3_world_truth t;
    o3_world_truth(w, 0, &t);
    assert_int_equal(t.n_loaded, 3);
    assert_int_equal(t.n_spilled_loads, 0);
    o3_world_free(w);
    o3_scenario_free(s);
}

/* ---- the manual ---- */

static void check_example(const char *text, size_t n) {
    struct o3_scenario *s = NULL;
    struct o3_err e = {0};
    if (o3_scenario_parse("README", text, n, &s, &e) < 0)
        fail_msg("\"%.*s\": %u:%u: %s", (int)n, text, e.line, e.col, e.text);
    o3_scenario_free(s);
}

/* A placeholder stands in capitals, a choice in brackets, what is a part of a line has dots. */
static bool is_example(const char *p, size_t n) {
    int n_capitals = 0;
    for (size_t i = 0; i < n; i++) {
        n_capitals = p[i] >= 'A' && p[i] <= 'Z' ? n_capitals + 1 : 0;
        bool is_unit = i + 1 < n && p[i + 1] == '/';
        if ((n_capitals > 1 && !is_unit) || p[i] == '[' || !strncmp(p + i, "...", 3)) return false;
    }
    return true;
}

static bool is_line(const char *p) {
    static const char *const WORDS[] = {"world ", "load sim", "users ", "config ", "at ", "run for "};
    for (size_t i = 0; i < sizeof WORDS / sizeof *WORDS; i++)
        if (!strncmp(p, WORDS[i], strlen(WORDS[i]))) return true;
    return false;
}

/* Every example in the first column of its tables, and the scenario at its top. */
static void test_the_manual_is_true(void **state) {
    (void)state;
    char *text = o3_test_read("src/rehearsal/README.md", NULL);
    const char *block = strstr(text, "```\n") + 4;
    check_example(block, (size_t)(strstr(block, "```") - block));
    int n = 0;
    for (const char *row = strstr(text, "\n| `"); row; row = strstr(row + 1, "\n| `")) {
        const char *end = strstr(row + 2, " | ");
        for (const char *p = strchr(row, '`'); p && p < end;) {
            const char *stop = strchr(p + 1, '`');
            char line[200];
            int len = (int)(stop - p - 1);
            snprintf(line, sizeof line, "%s%.*s", is_line(p + 1) ? "" : "at 1h ", len, p + 1);
            bool is_file = len > 2 && (!strncmp(stop - 2, ".c", 2) || p[len] == '_');
            if (is_example(p + 1, (size_t)len) && !is_file) {
                check_example(line, strlen(line));
                n++;
            }
            p = strchr(stop + 1, '`');
        }
    }
    if (n < 50) fail_msg("only %d examples were found", n);
    free(text);
}

/* ---- what is seen ---- */

static struct o3_expect_seen seen(int64_t at_ns, enum o3_event_id ev, const char *model, const char *signal,
                                  double ratio) {
    return (struct o3_expect_seen){
        .mono_ns = at_ns, .event = ev, .model = model, .signal = signal, .reason = "", .change_ratio = ratio};
}

static struct o3_expect_result outcome(const char *text, const struct o3_expect_seen *e, size_t n) {
    struct o3_scenario *s = parsed(text);
    struct o3_expectations *x = o3_expectations_new(s);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        o3_expectations_event(x, &e[i]);
    o3_expectations_finish(x, s->duration_ns);
    assert_int_equal(s->n_expects, 1);
    struct o3_expect_result r = *o3_expectations_result(x, 0);
    assert_true(r.is_decided);
    o3_expectations_free(x);
    o3_scenario_free(s);
    return r;
}

static void test_by(void **state) {
    (void)state;
    const char *want =
        "at 1h decode -12 %\nby 2h expect confirmed slower model=sim-small signal=decode_rate\nrun for 9h";
    struct o3_expect_seen e = seen(HOUR_NS, O3_EV_DRIFT_CONFIRMED, "sim-small:latest", "decode_rate", -0.12);
    struct o3_expect_result r = outcome(want, &e, 1);
    assert_true(r.is_met && r.at_ns == HOUR_NS);
    assert_string_equal(r.found, "drift_confirmed at 1h, model sim-small:latest, signal decode_rate, -12.0 %");
    r = outcome(want, NULL, 0);
    assert_false(r.is_met);
    assert_string_equal(r.found, "it was never seen");
    static const struct {
        int64_t at_ns;
        const char *model, *signal;
        double ratio;
    } NEAR[] = {
        {HOUR_NS - 1, "sim-small:latest", "decode_rate", -0.12},     /* before the change */
        {2 * HOUR_NS + 1, "sim-small:latest", "decode_rate", -0.12}, /* too late */
        {HOUR_NS, "sim-small2:latest", "decode_rate", -0.12},
        {HOUR_NS, "sim-small:8b", "decode_rate", -0.12},
        {HOUR_NS, "sim-small:latest", "ttft", 0.12},
        {HOUR_NS, "sim-small:latest", "decode_rate", 0.12},
    };
    for (size_t i = 0; i < sizeof NEAR / sizeof *NEAR; i++) {
        e = seen(NEAR[i].at_ns, O3_EV_DRIFT_CONFIRMED, NEAR[i].model, NEAR[i].signal, NEAR[i].ratio);
        r = outcome(want, &e, 1);
        if (r.is_met) fail_msg("row %zu counts", i);
        assert_non_null(strstr(r.found, "only drift_confirmed at"));
    }
    /* A latency that rises is slower; the word alone takes every signal. */
    e = seen(90 * MINUTE_NS, O3_EV_DRIFT_CONFIRMED, "m", "ttft", 0.5);
    assert_true(outcome("by 2h expect confirmed slower", &e, 1).is_met);
    assert_false(outcome("by 2h expect confirmed faster", &e, 1).is_met);
    assert_true(outcome("by 2h expect confirmed", &e, 1).is_met);
    /* Of two that are nearly it, the one within the time is told. */
    struct o3_expect_seen two[] = {seen(0, O3_EV_DRIFT_CONFIRMED, "m", "ttft", 0.5),
                                   seen(90 * MINUTE_NS, O3_EV_DRIFT_CONFIRMED, "m", "ttft", 0.6)};
    assert_non_null(strstr(outcome(want, two, 2).found, "at 1h30m"));
}

static void test_incident(void **state) {
    (void)state;
    const char *want = "by 2h expect incident cause=throttling model=sim-small";
    struct o3_expect_seen e[] = {seen(HOUR_NS, O3_EV_INCIDENT_OPENED, "sim-small:latest", "", NAN),
                                 seen(HOUR_NS + 1, O3_EV_INCIDENT_CHANGED, "sim-small:latest", "", NAN)};
    e[0].cause = "unknown";
    struct o3_expect_result r = outcome(want, e, 1);
    assert_false(r.is_met);
    assert_string_equal(r.found, "only incident_opened at 1h, model sim-small:latest, cause unknown");
    e[1].cause = "throttling"; /* the cause may come later */
    assert_true(outcome(want, e, 2).is_met);
    e[0].cause = "throttling";
    assert_true(outcome(want, e, 1).is_met);
    e[0].event = O3_EV_INCIDENT_CLOSED;
    assert_false(outcome(want, e, 1).is_met);
    assert_false(outcome("by 2h expect incident_opened", e + 1, 1).is_met); /* one event by its own name */
    assert_true(outcome("by 2h expect incident_changed", e + 1, 1).is_met);
}

static void test_never(void **state) {
    (void)state;
    struct o3_expect_seen e = seen(HOUR_NS, O3_EV_PRESET_WRITTEN, "m", "", NAN);
    assert_true(outcome("never expect preset_written\nrun for 9h", NULL, 0).is_met);
    struct o3_expect_result r = outcome("never expect preset_written\nrun for 9h", &e, 1);
    assert_false(r.is_met);
    assert_string_equal(r.found, "preset_written at 1h, model m");
    assert_true(outcome("never expect preset_written after 2h\nrun for 9h", &e, 1).is_met);
    assert_true(outcome("never expect preset_written before 59m\nrun for 9h", &e, 1).is_met);
    assert_false(outcome("never expect preset_written after 1h before 2h\nrun for 9h", &e, 1).is_met);
    static const char *const STATES[] = {"unstable", "down", "busy", "stuck"};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            char text[100];
            snprintf(text, sizeof text, "never expect preset_written while %s\nrun for 9h", STATES[i]);
            e.is_unstable = k == 0;
            e.is_down = k == 1;
            e.is_busy = k == 2;
            e.is_stuck = k == 3;
            assert_int_equal(outcome(text, &e, 1).is_met, i != k);
        }
    e = seen(HOUR_NS, O3_EV_MODEL_RELOADED, "m", "", NAN);
    e.reason = "foreign_load";
    assert_false(outcome("never expect model_reloaded reason~foreign\nrun for 9h", &e, 1).is_met);
    assert_true(outcome("never expect model_reloaded reason~induced\nrun for 9h", &e, 1).is_met);
}

static const char EXPOSITION[] = "# HELP o3_ollama_up Whether\n# TYPE o3_ollama_up gauge\no3_ollama_up 0\n"
                                 "o3_model_loaded{model=\"a:1\"} 1\no3_model_loaded{model=\"b:,}\\\"\"} 0\n"
                                 "o3_drift_change_ratio{model=\"a:1\",signal=\"ttft\"} -0.25\n"
                                 "o3_drift_change_ratio{model=\"a:1\",signal=\"decode_rate\"} 0.5\n"
                                 "o3_model_expires_timestamp_seconds{model=\"a:1\"} +Inf";

static struct o3_expect_result look(const char *what) {
    char text[300];
    snprintf(text, sizeof text, "at 1h expect %s\nrun for 2h", what);
    struct o3_scenario *s = parsed(text);
    struct o3_expectations *x = o3_expectations_new(s);
    assert_int_equal(o3_expectations_next_ns(x), HOUR_NS);
    o3_expectations_look(x, HOUR_NS - 1, EXPOSITION, sizeof EXPOSITION - 1);
    assert_false(o3_expectations_result(x, 0)->is_decided);
    o3_expectations_look(x, HOUR_NS, EXPOSITION, sizeof EXPOSITION - 1);
    assert_int_equal(o3_expectations_next_ns(x), INT64_MAX);
    o3_expectations_finish(x, 2 * HOUR_NS);
    struct o3_expect_result r = *o3_expectations_result(x, 0);
    o3_expectations_free(x);
    o3_scenario_free(s);
    return r;
}

static void test_metrics(void **state) {
    (void)state;
    static const struct {
        const char *what;
        bool is_met;
        const char *found;
    } ROWS[] = {
        {"o3_ollama_up = 0", true, "it is 0"},
        {"o3_ollama_up = 1", false, "it is 0"},
        {"o3_ollama_up != 1", true, "it is 0"},
        {"o3_ollama_up < 1", true, "it is 0"},
        {"o3_ollama_up <= 0", true, "it is 0"},
        {"o3_ollama_up > 0", false, "it is 0"},
        {"o3_ollama_up absent", false, "it is 0"},
        {"o3_ollama_models_loaded absent", true, "it is absent"},
        {"o3_ollama_models_loaded = 0", false, "it is absent"},
        {"o3_ollama_models_loaded != 0", false, "it is absent"},
        {"o3_model_loaded{model=\"a:1\"} >= 1", true, "it is 1"},
        {"o3_model_loaded{model=\"b:,}\\\"\"} = 0", true, "it is 0"},
        {"o3_model_loaded{model=\"c:1\"} absent", true, "it is absent"},
        {"o3_model_loaded = 1", false, "2 series fit"},
        {"o3_drift_change_ratio{signal=\"ttft\",model=\"a:1\"} < -0.2", true, "it is -0.25"},
        {"o3_drift_change_ratio{signal=\"decode_rate\"} = 0.5", true, "it is 0.5"},
        {"o3_model_expires_timestamp_seconds > 1e12", true, "it is +Inf"},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_expect_result r = look(ROWS[i].what);
        if (r.is_met != ROWS[i].is_met || !strstr(r.found, ROWS[i].found))
            fail_msg("%s: %d, %s", ROWS[i].what, r.is_met, r.found);
    }
    struct o3_scenario *s = parsed("at 1h expect o3_ollama_up = 1\n");
    struct o3_expectations *x = o3_expectations_new(s);
    o3_expectations_finish(x, MINUTE_NS);
    assert_false(o3_expectations_result(x, 0)->is_met);
    assert_string_equal(o3_expectations_result(x, 0)->found, "the run ended before");
    o3_expectations_free(x);
    o3_scenario_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_world),
        cmocka_unit_test(test_changes_from_the_start),
        cmocka_unit_test(test_loads_and_users),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_faults_stand_in_order_of_time),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_refusals_name_place_and_expectation),
        cmocka_unit_test(test_configuration_is_checked_as_a_whole),
        cmocka_unit_test(test_mark_and_line_ends_of_other_systems),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_world_is_filled),
        cmocka_unit_test(test_the_month),
        cmocka_unit_test(test_the_manual_is_true),
        cmocka_unit_test(test_by),
        cmocka_unit_test(test_incident),
        cmocka_unit_test(test_never),
        cmocka_unit_test(test_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
