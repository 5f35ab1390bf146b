/* SPDX-License-Identifier: Apache-2.0 */
/* Every metric of the table, filled with awkward labels, as judged by Prometheus' own linter and by the strict
 * OpenMetrics parser of its Python client. A judge that is not installed is skipped. */
#include "o3_test.h"
#include <sys/wait.h>
#include <unistd.h>
#include "o3/metrics.h"

static void fill(struct o3_metrics *m, enum o3_metric id, size_t round) {
    const struct o3_metric_row *row = o3_metric_row(id);
    const char *labels[O3_METRIC_MAX_LABELS];
    for (int i = 0; i < row->n_labels; i++) {
        size_t n;
        const char *const *set = o3_label_values(id, row->labels[i], &n);
        labels[i] = set ? set[round / 2 % n] : round % 2 ? "hf.co/a/b:Q4 \"q\"" : "m\\\xc3\xa9\n:7b\xff";
    }
    double v = 0.3 * (double)round;
    if (row->kind == O3_HISTOGRAM)
        o3_metric_observe(m, id, labels, v);
    else if (row->kind == O3_COUNTER)
        o3_metric_add(m, id, labels, v);
    else
        o3_metric_set(m, id, labels, round == 3 ? (double)INFINITY : v);
}

/* Writes the exposition to a new file; its path is in `path`. */
static void write_exposition(enum o3_exposition f, char *path) {
    struct o3_metrics *m = o3_metrics_new(100000);
    for (int id = 0; id < O3_METRIC_COUNT; id++)
        for (size_t round = 0; round < 24 && id != O3_M_SERIES_DROPPED; round++)
            fill(m, (enum o3_metric)id, round);
    struct o3_buf b;
    o3_buf_init(&b, 1 << 24);
    assert_int_equal(o3_metrics_render(m, f, &b), 0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.p, b.len), (ssize_t)b.len);
    close(fd);
    o3_buf_done(&b);
    o3_metrics_free(m);
}

/* Runs `command FILE`; it must succeed and say nothing. Skips when `probe` fails. */
static void judge(const char *probe, const char *command, enum o3_exposition f) {
    if (system(probe) != 0) skip();
    char path[] = "/tmp/o3_exposition_XXXXXX", line[1024], said[512] = "";
    write_exposition(f, path);
    snprintf(line, sizeof line, "%s '%s' 2>&1", command, path);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    size_t n = fread(said, 1, sizeof said - 1, p);
    int status = pclose(p);
    unlink(path);
    if (n || status) fail_msg("status %d: %s", WEXITSTATUS(status), said);
}

static void test_promtool(void **state) {
    (void)state;
    judge("command -v promtool > /dev/null", "promtool check metrics <", O3_TEXT_0_0_4);
}

static void test_openmetrics_parser(void **state) {
    (void)state;
    judge("${PYTHON:-python3} -c 'import prometheus_client' 2> /dev/null",
          "${PYTHON:-python3} -c 'import sys; from prometheus_client.openmetrics import parser; "
          "list(parser.text_string_to_metric_families(open(sys.argv[1]).read()))'",
          O3_OPENMETRICS_1_0_0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_promtool), cmocka_unit_test(test_openmetrics_parser)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
