/* SPDX-License-Identifier: Apache-2.0 */
/* Plays every scenario of tests/sim/scenarios: each states what the sidecar does in one trouble. With the names of
 * files as arguments, only those; O3_TEST_VERBOSE=1 shows what the sidecar says, O3_SEED another seed. */
#include <dirent.h>
#include "o3/rehearsal.h"
#include "o3_test.h"

#define FOLDER "tests/sim/scenarios"
enum { FILES_MAX = 200, FILES_MIN = 25 };

static void show_event(void *ctx, struct o3_now now, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    (void)ctx;
    O3_AUTO_BUF line;
    o3_buf_init(&line, 16384);
    if (o3_event_encode_logfmt(now.wall_ms, ev, f, n, &line) == 0)
        print_message("%10.1f s  %s\n", (double)now.mono_ns / 1e9, o3_buf_str(&line));
}

static uint64_t seed(void) {
    const char *s = getenv("O3_SEED");
    return s ? strtoull(s, NULL, 10) : 1;
}

static void judge(const char *path, const struct o3_run *run) {
    for (int i = 0; i < run->n_broken && i < O3_RUN_FAILURES_MAX; i++)
        print_error("%s:%u: %s\n  found: %s\n", path, run->failures[i].line, run->failures[i].text,
                    run->failures[i].found);
    if (run->n_broken) fail_msg("%s: %d of %d expectations are broken", path, run->n_broken, run->n_expects);
    if (run->n_torn_files) fail_msg("%s: %lld torn files", path, (long long)run->n_torn_files);
    if (!run->n_expects) fail_msg("%s: nothing is expected", path);
}

static void play(void **state) {
    const char *path = *state;
    size_t n;
    char *text = o3_test_read(path, &n);
    struct o3_scenario *s;
    struct o3_rehearsal *r;
    struct o3_err e = {0};
    if (o3_scenario_parse(path, text, n, &s, &e) < 0) fail_msg("%s:%u:%u: %s", path, e.line, e.col, e.text);
    struct o3_rehearsal_params p = {.scenario = s, .seed = seed()};
    if (getenv("O3_TEST_VERBOSE")) p.on_event = show_event;
    if (o3_rehearsal_new(&p, &r, &e) < 0) fail_msg("%s:%u:%u: %s", path, e.line, e.col, e.text);
    o3_rehearsal_run(r, s->duration_ns);
    judge(path, o3_rehearsal_finish(r));
    o3_rehearsal_free(r);
    o3_scenario_free(s);
    free(text);
}

static void the_library_is_large_enough(void **state) {
    const int *n = *state;
    assert_true(*n >= FILES_MIN);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find(char **paths) {
    DIR *d = opendir(O3_SOURCE_DIR "/" FOLDER);
    if (!d) fail_msg("cannot open " FOLDER);
    int n = 0;
    for (const struct dirent *f; (f = readdir(d));) {
        size_t len = strlen(f->d_name);
        if (len < 5 || strcmp(f->d_name + len - 4, ".o3s") != 0 || n == FILES_MAX) continue;
        paths[n] = malloc(sizeof FOLDER + 1 + len);
        sprintf(paths[n++], FOLDER "/%s", f->d_name);
    }
    closedir(d);
    qsort(paths, (size_t)n, sizeof *paths, by_name);
    return n;
}

int main(int argc, char **argv) {
    static char *paths[FILES_MAX];
    static struct CMUnitTest tests[FILES_MAX + 1];
    int n = find(paths), n_tests = 0;
    for (int i = 0; i < n; i++) {
        bool is_asked = argc < 2;
        for (int k = 1; k < argc; k++)
            is_asked |= strstr(paths[i], argv[k]) != NULL;
        if (is_asked)
            tests[n_tests++] = (struct CMUnitTest){.name = paths[i], .test_func = play, .initial_state = paths[i]};
    }
    if (argc < 2)
        tests[n_tests++] = (struct CMUnitTest){
            .name = "the_library_is_large_enough", .test_func = the_library_is_large_enough, .initial_state = &n};
    int failed = _cmocka_run_group_tests("scenarios", tests, (size_t)n_tests, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(paths[i]);
    return failed;
}
