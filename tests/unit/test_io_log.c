/* SPDX-License-Identifier: Apache-2.0 */
/* The log: one line per event, repetitions folded, and no reader can hold it up. */
#include "o3_test.h"
#include "io/log_sink.h"
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

struct world {
    struct o3_log *log;
    int fds[2];
    char text[100000];
};

static void start(struct world *w, enum o3_log_format format, enum o3_log_level level) {
    assert_int_equal(pipe(w->fds), 0);
    fcntl(w->fds[0], F_SETFL, O_NONBLOCK);
    w->log = o3_log_new(w->fds[1], format, level);
    assert_non_null(w->log);
}

static void stop(struct world *w) {
    o3_log_free(w->log);
    close(w->fds[0]);
    close(w->fds[1]);
}

static const char *written(struct world *w) {
    ssize_t n = read(w->fds[0], w->text, sizeof w->text - 1);
    w->text[n > 0 ? n : 0] = '\0';
    return w->text;
}

static int count_lines(const char *s) {
    int n = 0;
    for (; (s = strchr(s, '\n')); s++)
        n++;
    return n;
}

static void skip_model(struct o3_log *l, int64_t wall_ms, const char *model) {
    const struct o3_field f[] = {O3_F_STR("model", model), O3_F_STR("reason", "remote")};
    o3_log_write(l, wall_ms, O3_EV_MODEL_SKIPPED, f, 2);
}

static void lines_are_written_and_filtered(void **state) {
    (void)state;
    static struct world w;
    start(&w, O3_LOGFMT, O3_LOG_INFO);
    skip_model(w.log, 1000, "a b");
    const char *s = written(&w);
    assert_int_equal(count_lines(s), 1);
    assert_non_null(strstr(s, "event=model_not_probed"));
    assert_non_null(strstr(s, "model=\"a b\""));
    o3_log_configure(w.log, O3_LOG_JSON, O3_LOG_WARN);
    skip_model(w.log, 1000, "c");
    assert_string_equal(written(&w), "");
    o3_log_configure(w.log, O3_LOG_JSON, O3_LOG_INFO);
    skip_model(w.log, 1000, "c\n\"");
    s = written(&w);
    assert_int_equal(count_lines(s), 1);
    assert_non_null(strstr(s, "\"model\":\"c\\n\\\"\""));
    stop(&w);
    o3_log_write(NULL, 0, O3_EV_NO_MODEL, NULL, 0);
    o3_log_flush(NULL);
    o3_log_free(NULL);
}

static void repetitions_are_folded(void **state) {
    (void)state;
    static struct world w;
    const enum o3_log_format formats[] = {O3_LOGFMT, O3_LOG_JSON};
    const char *marks[] = {" repeated=9\n", ",\"repeated\":9}\n"};
    for (int i = 0; i < 2; i++) {
        start(&w, formats[i], O3_LOG_INFO);
        for (int k = 0; k < 10; k++)
            skip_model(w.log, 1000 + k, "a");
        assert_int_equal(count_lines(written(&w)), 1);
        skip_model(w.log, 2000, "b");
        const char *s = written(&w);
        assert_int_equal(count_lines(s), 2);
        assert_non_null(strstr(s, marks[i]));
        assert_non_null(strstr(s, "00:00:01.009Z")); /* the time of the last one */
        o3_log_flush(w.log);
        assert_string_equal(written(&w), "");
        skip_model(w.log, 2001, "b");
        stop(&w);
    }
}

static void long_repetitions_are_told_each_minute(void **state) {
    (void)state;
    static struct world w;
    start(&w, O3_LOGFMT, O3_LOG_INFO);
    for (int s = 0; s <= 150; s++)
        skip_model(w.log, s * 1000, "a");
    const char *s = written(&w);
    assert_int_equal(count_lines(s), 3);
    assert_non_null(strstr(s, " repeated=60\n"));
    skip_model(w.log, 0, "a"); /* the clock was set back */
    assert_int_equal(count_lines(written(&w)), 1);
    stop(&w);
}

static void long_strings_are_cut(void **state) {
    (void)state;
    static struct world w;
    start(&w, O3_LOGFMT, O3_LOG_INFO);
    static char large[100000];
    memset(large, '\x01', sizeof large - 1);
    skip_model(w.log, 1, large);
    skip_model(w.log, 1, large);
    o3_log_flush(w.log);
    const char *s = written(&w);
    assert_true(strlen(s) > 100 && strlen(s) < 2 * PIPE_BUF);
    assert_int_equal(o3_log_lost(w.log), 0);
    stop(&w);
}

static void a_standing_reader_loses_lines_only(void **state) {
    (void)state;
    static struct world w;
    start(&w, O3_LOGFMT, O3_LOG_INFO);
    fcntl(w.fds[1], F_SETPIPE_SZ, 4096);
    for (int i = 0; i < 200 && !o3_log_lost(w.log); i++)
        skip_model(w.log, i, i % 2 ? "a" : "b");
    assert_int_equal(o3_log_lost(w.log), 1);
    written(&w);
    skip_model(w.log, 1, "c");
    assert_int_equal(count_lines(written(&w)), 1);
    stop(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_written_and_filtered),        cmocka_unit_test(repetitions_are_folded),
        cmocka_unit_test(long_repetitions_are_told_each_minute), cmocka_unit_test(long_strings_are_cut),
        cmocka_unit_test(a_standing_reader_loses_lines_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
