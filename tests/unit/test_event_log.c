/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <jansson.h>
#include "o3/events.h"
#include "o3/rand.h"
#include "o3/text.h"

static const int64_t WALL_MS = 1795233966161; /* 2026-11-21T04:06:06.161Z */

typedef int encode_fn(int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n, struct o3_buf *out);

static void check(encode_fn *encode, enum o3_event_id ev, const struct o3_field *f, size_t n, const char *expected) {
    struct o3_buf b;
    o3_buf_init(&b, 4096);
    assert_int_equal(encode(WALL_MS, ev, f, n, &b), 0);
    assert_string_equal(o3_buf_str(&b), expected);
    o3_buf_done(&b);
}

static void test_table(void **state) {
    (void)state;
    for (int i = 0; i < O3_EVENT_COUNT; i++) {
        const struct o3_event_row *row = o3_event_row((enum o3_event_id)i);
        assert_true(*row->name && *row->text);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(row->name, o3_event_row((enum o3_event_id)j)->name);
    }
    assert_string_equal(o3_log_level_name(o3_event_row(O3_EV_PROBE_DONE)->level), "debug");
}

static void test_plain(void **state) {
    (void)state;
    struct o3_field f[] = {O3_F_STR("model", "qwen3-coder:30b"), O3_F_INT("context", 32768), O3_F_DBL("gain", 0.5)};
    check(
        o3_event_encode_logfmt, O3_EV_MODEL_LOADED, f, 3,
        "time=2026-11-21T04:06:06.161Z level=info event=model_loaded msg=\"a model appeared in Ollama's list of loaded "
        "models\" model=qwen3-coder:30b context=32768 gain=0.5");
    check(o3_event_encode_json, O3_EV_MODEL_LOADED, f, 3,
          "{\"time\":\"2026-11-21T04:06:06.161Z\",\"level\":\"info\",\"event\":\"model_loaded\",\"msg\":\"a model "
          "appeared in "
          "Ollama's list of loaded models\",\"model\":\"qwen3-coder:30b\",\"context\":32768,\"gain\":0.5}");
}

static void check_value(const char *value, const char *logfmt, const char *json) {
    char expected[256];
    struct o3_field f[] = {O3_F_STR("model", value)};
    snprintf(
        expected, sizeof expected,
        "time=2026-11-21T04:06:06.161Z level=info event=runner_recovered msg=\"a runner that was stuck answers again\" "
        "model=%s",
        logfmt);
    check(o3_event_encode_logfmt, O3_EV_RUNNER_FREE, f, 1, expected);
    snprintf(expected, sizeof expected,
             "{\"time\":\"2026-11-21T04:06:06.161Z\",\"level\":\"info\",\"event\":\"runner_recovered\",\"msg\":\"a "
             "runner that "
             "was stuck answers again\",\"model\":%s}",
             json);
    check(o3_event_encode_json, O3_EV_RUNNER_FREE, f, 1, expected);
}

static void test_quoting(void **state) {
    (void)state;
    check_value("", "\"\"", "\"\"");
    check_value(NULL, "\"\"", "null");
    check_value("a b", "\"a b\"", "\"a b\"");
    check_value("a=b", "\"a=b\"", "\"a=b\"");
    check_value("say \"no\" \\", "\"say \\\"no\\\" \\\\\"", "\"say \\\"no\\\" \\\\\"");
    check_value("\xc3\xa9t\xc3\xa9", "\xc3\xa9t\xc3\xa9", "\"\xc3\xa9t\xc3\xa9\"");
    /* No line of ours can be forged, and no terminal be steered: line feeds, escapes, DEL and C1 do not get through. */
    check_value("x\nlevel=error", "\"x\\nlevel=error\"", "\"x\\nlevel=error\"");
    check_value("\x1b[31m\x7f\r\t\b", "\"\\u001b[31m\\u007f\\r\\t\\u0008\"", "\"\\u001b[31m\\u007f\\r\\t\\u0008\"");
    check_value("\xc2\x9b", "\"\\u009b\"", "\"\\u009b\"");
    check_value("a\xff\xe2\x82z", "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"",
                "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
}

static void test_numbers(void **state) {
    (void)state;
    struct o3_field f[] = {O3_F_STR("model", "m"), O3_F_DBL("load_seconds", NAN), O3_F_INT("x", INT64_MIN)};
    struct o3_buf b;
    o3_buf_init(&b, 4096);
    assert_int_equal(o3_event_encode_logfmt(WALL_MS, O3_EV_INDUCED_RELOAD, f, 3, &b), 0);
    assert_non_null(strstr(o3_buf_str(&b), "load_seconds=NaN x=-9223372036854775808"));
    o3_buf_clear(&b);
    assert_int_equal(o3_event_encode_json(WALL_MS, O3_EV_INDUCED_RELOAD, f, 3, &b), 0);
    assert_non_null(strstr(o3_buf_str(&b), "\"load_seconds\":null,\"x\":-9223372036854775808}"));
    o3_buf_done(&b);
}

/* Whatever bytes come in: one line, valid UTF-8, valid JSON, and the buffer's limit is an error, not a crash. */
static void test_random_bytes(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(11));
    for (int round = 0; round < 2000; round++) {
        char value[40];
        size_t n = o3_rand_below(&r, sizeof value);
        for (size_t i = 0; i < n; i++)
            value[i] = (char)(1 + o3_rand_below(&r, 255));
        value[n] = '\0';
        struct o3_field f[] = {O3_F_STR("model", value)};
        struct o3_buf b;
        o3_buf_init(&b, round % 2 ? 4096 : 100);
        int code = o3_event_encode_json(WALL_MS, O3_EV_RUNNER_STUCK, f, 1, &b);
        assert_int_equal(code, round % 2 ? 0 : O3_E_LIMIT);
        if (code == 0) {
            json_t *j = json_loadb(b.p, b.len, 0, NULL);
            assert_non_null(j);
            json_decref(j);
            o3_buf_clear(&b);
            assert_int_equal(o3_event_encode_logfmt(WALL_MS, O3_EV_RUNNER_STUCK, f, 1, &b), 0);
            assert_true(o3_utf8_valid(b.p, b.len) && !strpbrk(b.p, "\n\r\x1b"));
        }
        o3_buf_done(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_plain),        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
