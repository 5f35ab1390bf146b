/* SPDX-License-Identifier: Apache-2.0 */
/* Plays every scenario of tests/sim/scenarios: each states what the sidecar does in one trouble. With the names of
 * files as arguments, only those; O3_TEST_VERBOSE=1 shows what the sidecar says, O3_SEED another seed. */
#include <dirent.h>
#include "o3/rehearsal.h"
#include "o3_test.h"

#define FOLDER "tests/sim/scenarios"
#define OPEN FOLDER "/open"
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

/* Tells what is wrong; how many things are. */
static int judge(const char *path, const struct o3_run *run) {
    for (int i = 0; i < run->n_broken && i < O3_RUN_FAILURES_MAX; i++)
        print_error("%s:%u: %s\n  found: %s\n", path, run->failures[i].line, run->failures[i].text,
                    run->failures[i].found);
    if (run->n_torn_files) print_error("%s: %lld torn files\n", path, (long long)run->n_torn_files);
    if (!run->n_expects) print_error("%s: nothing is expected\n", path);
    if (run->n_induced_reloads) print_error("%s: %lld loads by probes\n", path, (long long)run->n_induced_reloads);
    return run->n_broken + (int)run->n_torn_files + (int)run->n_induced_reloads + !run->n_expects;
}

static int play_text(const char *path, const char *text, size_t n) {
    struct o3_scenario *s = NULL;
    struct o3_rehearsal *r = NULL;
    struct o3_err e = {0};
    struct o3_rehearsal_params p = {.seed = seed()};
    if (getenv("O3_TEST_VERBOSE")) p.on_event = show_event;
    int n_wrong = 1, code = o3_scenario_parse(path, text, n, &s, &e);
    p.scenario = s;
    if (code == 0) code = o3_rehearsal_new(&p, &r, &e);
    if (code == 0) {
        o3_rehearsal_run(r, s->duration_ns);
        n_wrong = judge(path, o3_rehearsal_finish(r));
    } else
        print_error("%s:%u:%u: %s\n", path, e.line, e.col, e.text);
    o3_rehearsal_free(r);
    o3_scenario_free(s);
    return n_wrong;
}

static int play_file(const char *path) {
    size_t n;
    char *text = o3_test_read(path, &n);
    int n_wrong = play_text(path, text, n);
    free(text);
    return n_wrong;
}

static void holds(void **state) {
    assert_int_equal(play_file(*state), 0);
}

static void is_still_open(void **state) {
    const char *path = *state;
    print_message("not true yet:\n");
    if (play_file(path) == 0) fail_msg("%s holds now: move it to " FOLDER, path);
}

static void the_library_is_large_enough(void **state) {
    const int *n = *state;
    assert_true(*n >= FILES_MIN);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find(const char *folder, char **paths, int n) {
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", O3_SOURCE_DIR, folder);
    DIR *d = opendir(full);
    int n_before = n;
    for (const struct dirent *f; d && (f = readdir(d));) {
        size_t len = strlen(f->d_name), size = strlen(folder) + 2 + len;
        if (len < 5 || strcmp(f->d_name + len - 4, ".o3s") != 0 || n == FILES_MAX) continue;
        paths[n] = malloc(size);
        snprintf(paths[n++], size, "%s/%s", folder, f->d_name);
    }
    if (d) closedir(d);
    qsort(paths + n_before, (size_t)(n - n_before), sizeof *paths, by_name);
    return n;
}

static bool is_asked(const char *path, int argc, char **argv) {
    for (int k = 1; k < argc; k++)
        if (strstr(path, argv[k])) return true;
    return argc < 2;
}

int main(int argc, char **argv) {
    static char *paths[FILES_MAX];
    static struct CMUnitTest tests[FILES_MAX + 1];
    int n_held = find(FOLDER, paths, 0), n = find(OPEN, paths, n_held), n_tests = 0;
    for (int i = 0; i < n; i++)
        if (is_asked(paths[i], argc, argv))
            tests[n_tests++] = (struct CMUnitTest){
                .name = paths[i], .test_func = i < n_held ? holds : is_still_open, .initial_state = paths[i]};
    if (argc < 2)
        tests[n_tests++] = (struct CMUnitTest){
            .name = "the_library_is_large_enough", .test_func = the_library_is_large_enough, .initial_state = &n_held};
    int failed = _cmocka_run_group_tests("scenarios", tests, (size_t)n_tests, NULL, NULL);
    for (int i = 0; i < n; i++)
        free(paths[i]);
    return failed;
}
