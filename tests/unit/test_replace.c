/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a file is replaced, and what follows each failure. */
#include "o3_test.h"
#include <stdbool.h>
#include "o3/replace.h"

struct script {
    enum o3_replace_step seen[16];
    size_t n;
    enum o3_replace_step fail_at;
    int r, of_discard;
};

static int perform(void *ctx, enum o3_replace_step step, struct o3_err *e) {
    struct script *s = ctx;
    assert_true(s->n < 16);
    s->seen[s->n++] = step;
    if (step == O3_REPLACE_DISCARD) {
        assert_null(e); /* what is told is the first failure */
        return s->of_discard;
    }
    return step == s->fail_at ? o3_err_set(e, s->r, "step %s", O3_REPLACE_STEP_NAMES[step]) : 0;
}

static const enum o3_replace_step WANTED[] = {O3_REPLACE_OPEN,   O3_REPLACE_WRITE,     O3_REPLACE_FSYNC,
                                              O3_REPLACE_RENAME, O3_REPLACE_FSYNC_DIR, O3_REPLACE_READ_BACK};
enum { N = sizeof WANTED / sizeof *WANTED };

static void the_bytes_are_synced_before_the_name(void **state) {
    (void)state;
    struct script s = {.fail_at = O3_REPLACE_STEP_COUNT};
    struct o3_err e = {0};
    assert_int_equal(o3_replace(perform, &s, &e), 0);
    assert_int_equal(s.n, N);
    assert_memory_equal(s.seen, WANTED, sizeof WANTED);
    assert_int_equal(e.code, 0);
}

static void a_failure_ends_it(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct script s = {.fail_at = WANTED[i], .r = O3_E_DISK_FULL, .of_discard = O3_E_IO};
        struct o3_err e = {0};
        assert_int_equal(o3_replace(perform, &s, &e), O3_E_DISK_FULL);
        assert_int_equal(e.code, O3_E_DISK_FULL);
        assert_non_null(strstr(e.text, O3_REPLACE_STEP_NAMES[WANTED[i]]));
        /* Only between open and rename a temporary file is left to be removed. */
        bool has_temp = i >= 1 && i <= 3;
        assert_int_equal(s.n, i + 1 + (size_t)has_temp);
        assert_memory_equal(s.seen, WANTED, (i + 1) * sizeof *WANTED);
        if (has_temp) assert_int_equal(s.seen[i + 1], O3_REPLACE_DISCARD);
    }
}

static void the_dead_do_not_tidy_up(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct script s = {.fail_at = WANTED[i], .r = 1};
        assert_int_equal(o3_replace(perform, &s, NULL), 1);
        assert_int_equal(s.n, i + 1);
        assert_int_equal(s.seen[i], WANTED[i]);
    }
}

static void every_step_has_a_name(void **state) {
    (void)state;
    for (int i = 0; i < O3_REPLACE_STEP_COUNT; i++) {
        assert_non_null(O3_REPLACE_STEP_NAMES[i]);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(O3_REPLACE_STEP_NAMES[i], O3_REPLACE_STEP_NAMES[j]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_synced_before_the_name),
        cmocka_unit_test(a_failure_ends_it),
        cmocka_unit_test(the_dead_do_not_tidy_up),
        cmocka_unit_test(every_step_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
