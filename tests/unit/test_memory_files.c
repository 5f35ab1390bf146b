/* SPDX-License-Identifier: Apache-2.0 */
/* Files in memory: killed at each step, out of power at each step, full, read-only, written by others; and the proof
 * that a step left out or out of order is found. */
#include "o3_test.h"
#include "rehearsal/memory_files.h"
#include "o3/text.h"

static const enum o3_replace_step NEVER = O3_REPLACE_STEP_COUNT;

static struct o3_memory_files *f;
static const char PATH[] = "o3_results/preset.yaml";

static int make(void **state) {
    (void)state;
    f = o3_memory_files_new();
    return f ? 0 : -1;
}

static int drop(void **state) {
    (void)state;
    o3_memory_files_free(f);
    f = NULL;
    return 0;
}

static int replace(const char *path, const char *text, enum o3_replace_step kill_at) {
    struct o3_err e = {0};
    int r = o3_memory_files_replace(f, path, text, strlen(text), kill_at, &e);
    if (r <= 0) assert_int_equal(e.code, r);
    if (r < 0) assert_non_null(strstr(e.text, path));
    return r;
}

static void expect(const char *path, const char *want) {
    size_t n;
    const char *got = o3_memory_files_read(f, path, &n);
    if (!want) {
        assert_null(got);
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, want);
    assert_int_equal(n, strlen(want));
}

static void replaces_and_reads(void **state) {
    (void)state;
    expect(PATH, NULL);
    assert_int_equal(replace(PATH, "one", NEVER), 0);
    assert_int_equal(replace("other", "x", NEVER), 0);
    assert_int_equal(replace(PATH, "two, longer", NEVER), 0);
    assert_int_equal(replace("empty", "", NEVER), 0);
    expect(PATH, "two, longer");
    expect("other", "x");
    expect("empty", "");
    assert_int_equal(o3_memory_files_power_loss(f), 0);
    expect(PATH, "two, longer");
    assert_int_equal(o3_memory_files_torn(f), 0);
    assert_int_equal(o3_memory_files_temps(f), 0);
}

/* In a new file and over an old one, with and without the power gone in the same moment. */
static void each_death_leaves_old_or_new(void **state) {
    (void)state;
    for (int power = 0; power < 5; power++)
        for (int is_new_file = 0; is_new_file < 2; is_new_file++) {
            int n_old = 0, n_new = 0;
            for (int at = O3_REPLACE_OPEN; at <= O3_REPLACE_READ_BACK; at++) {
                drop(NULL);
                assert_int_equal(make(NULL), 0);
                if (!is_new_file) assert_int_equal(replace(PATH, "the old", NEVER), 0);
                assert_int_equal(replace(PATH, "new", (enum o3_replace_step)at), O3_MEMORY_FILES_KILLED);
                assert_int_equal(o3_memory_files_temps(f), at > O3_REPLACE_OPEN && at <= O3_REPLACE_RENAME);
                if (power) assert_int_equal(o3_memory_files_power_loss_keeping(f, power & 1, power & 2), 0);
                const char *seen = o3_memory_files_read(f, PATH, NULL);
                bool is_new = seen && !strcmp(seen, "new");
                n_new += is_new;
                n_old += is_new_file ? !seen : seen && !strcmp(seen, "the old");
                /* And the next process does its work. */
                assert_int_equal(replace(PATH, "after", NEVER), 0);
                expect(PATH, "after");
            }
            assert_int_equal(n_old + n_new, 6);
            /* Renamed, but its folder not synced: alive that is the new one, without power it may be either. */
            bool is_rename_lost = power && !(power & 1);
            assert_int_equal(n_new, is_rename_lost ? 1 : 2);
            assert_int_equal(o3_memory_files_torn(f), 0);
        }
}

static void what_is_done_outlives_the_power(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof text, "version %d", i);
        assert_int_equal(replace(PATH, text, NEVER), 0);
        assert_int_equal(o3_memory_files_power_loss_keeping(f, i & 1, i & 2), 0);
        expect(PATH, text);
    }
}

static int temps_in_full;
static void count_temps(void *ctx, enum o3_replace_step step) {
    (void)ctx;
    if (step == O3_REPLACE_DISCARD) temps_in_full = o3_memory_files_temps(f);
}

static void a_full_disk_keeps_the_old(void **state) {
    (void)state;
    assert_int_equal(replace(PATH, "old", NEVER), 0);
    o3_memory_files_set_full(f, true);
    o3_memory_files_set_on_step(f, count_temps, NULL);
    assert_int_equal(replace(PATH, "a new content", NEVER), O3_E_DISK_FULL);
    assert_int_equal(temps_in_full, 1); /* a part was written, and then removed */
    assert_int_equal(o3_memory_files_temps(f), 0);
    expect(PATH, "old");
    /* Killed before the part is removed. */
    assert_int_equal(replace(PATH, "a new content", O3_REPLACE_DISCARD), O3_MEMORY_FILES_KILLED);
    assert_int_equal(o3_memory_files_temps(f), 1);
    expect("o3_results/.o3-tmp-2", "a new ");
    expect(PATH, "old");
    o3_memory_files_set_full(f, false);
    assert_int_equal(replace(PATH, "a new content", NEVER), 0);
    expect(PATH, "a new content");
    assert_int_equal(o3_memory_files_torn(f), 0);
}

static void set_read_only_at_rename(void *ctx, enum o3_replace_step step) {
    (void)ctx;
    if (step == O3_REPLACE_RENAME) o3_memory_files_set_read_only(f, true);
}

static void a_read_only_disk_keeps_the_old(void **state) {
    (void)state;
    assert_int_equal(replace(PATH, "old", NEVER), 0);
    o3_memory_files_set_read_only(f, true);
    assert_int_equal(replace(PATH, "new", NEVER), O3_E_READ_ONLY);
    assert_int_equal(o3_memory_files_temps(f), 0);
    expect(PATH, "old");
    o3_memory_files_set_read_only(f, false);
    /* In the middle: not even the temporary file can be removed then. */
    o3_memory_files_set_on_step(f, set_read_only_at_rename, NULL);
    assert_int_equal(replace(PATH, "new", NEVER), O3_E_READ_ONLY);
    assert_int_equal(o3_memory_files_temps(f), 1);
    expect(PATH, "old");
    o3_memory_files_set_on_step(f, NULL, NULL);
    o3_memory_files_set_read_only(f, false);
    assert_int_equal(replace(PATH, "new", NEVER), 0);
    expect(PATH, "new");
    assert_int_equal(o3_memory_files_torn(f), 0);
}

static void write_theirs(void *ctx, enum o3_replace_step step) {
    if (step == *(enum o3_replace_step *)ctx) assert_int_equal(o3_memory_files_overwrite(f, PATH, "theirs", 6), 0);
}

static void another_writer_is_noticed(void **state) {
    (void)state;
    for (int at = O3_REPLACE_OPEN; at <= O3_REPLACE_READ_BACK; at++) {
        enum o3_replace_step step = (enum o3_replace_step)at;
        o3_memory_files_set_on_step(f, write_theirs, &step);
        bool is_after = at > O3_REPLACE_RENAME; /* before it, ours is the later one */
        assert_int_equal(replace(PATH, "mine", NEVER), is_after ? O3_E_CHANGED : 0);
        expect(PATH, is_after ? "theirs" : "mine");
        assert_int_equal(o3_memory_files_power_loss(f), 0);
        expect(PATH, is_after ? "theirs" : "mine");
    }
    assert_int_equal(o3_memory_files_torn(f), 0);
}

static void a_foreign_file_stays(void **state) {
    (void)state;
    assert_int_equal(o3_memory_files_overwrite(f, PATH, "theirs", 6), 0);
    expect(PATH, "theirs");
    assert_int_equal(o3_memory_files_power_loss(f), 0);
    expect(PATH, "theirs");
    assert_int_equal(replace(PATH, "mine", NEVER), 0);
    expect(PATH, "mine");
}

static void what_the_dead_leave_is_swept_when_old(void **state) {
    (void)state;
    assert_int_equal(replace(PATH, "old", NEVER), 0);
    assert_int_equal(replace(PATH, "new", O3_REPLACE_RENAME), O3_MEMORY_FILES_KILLED);
    assert_int_equal(replace("elsewhere/f", "new", O3_REPLACE_WRITE), O3_MEMORY_FILES_KILLED);
    assert_int_equal(replace("f", "new", O3_REPLACE_WRITE), O3_MEMORY_FILES_KILLED);
    assert_int_equal(o3_memory_files_temps(f), 3);
    o3_memory_files_set_now(f, O3_REPLACE_TEMP_AGE_S * O3_NS_PER_S);
    assert_int_equal(o3_memory_files_sweep_temps(f, "o3_results"), 0);
    o3_memory_files_set_now(f, O3_REPLACE_TEMP_AGE_S * O3_NS_PER_S + 1);
    assert_int_equal(o3_memory_files_sweep_temps(f, "o3_result"), 0);
    assert_int_equal(o3_memory_files_sweep_temps(f, "o3_results"), 1);
    assert_int_equal(o3_memory_files_sweep_temps(f, "elsewhere/"), 1);
    assert_int_equal(o3_memory_files_sweep_temps(f, ""), 1);
    assert_int_equal(o3_memory_files_temps(f), 0);
    expect(PATH, "old");
}

static void sweep_everything(void *ctx, enum o3_replace_step step) {
    (void)ctx;
    if (step != O3_REPLACE_RENAME) return;
    o3_memory_files_set_now(f, 2 * O3_REPLACE_TEMP_AGE_S * O3_NS_PER_S);
    assert_int_equal(o3_memory_files_sweep_temps(f, "o3_results"), 1);
}

static void a_swept_temporary_file_is_an_error(void **state) {
    (void)state;
    assert_int_equal(replace(PATH, "old", NEVER), 0);
    o3_memory_files_set_on_step(f, sweep_everything, NULL);
    assert_int_equal(replace(PATH, "new", NEVER), O3_E_NOT_FOUND);
    expect(PATH, "old");
    assert_int_equal(o3_memory_files_torn(f), 0);
}

static void names_and_bytes_are_bounded(void **state) {
    (void)state;
    char name[32];
    int n = 0;
    for (;; n++) {
        snprintf(name, sizeof name, "f%d", n);
        int r = replace(name, "x", NEVER);
        if (r == 0) continue;
        assert_int_equal(r, O3_E_DISK_FULL);
        break;
    }
    assert_int_equal(n, O3_MEMORY_FILES_MAX - 1); /* the temporary file needs a name as well */
    expect("f0", "x");
    expect(name, NULL);
    /* Two thirds of the room fit once, but not beside themselves. */
    size_t size = O3_MEMORY_FILES_CAPACITY_BYTES / 3 * 2;
    char *large = calloc(1, size);
    assert_non_null(large);
    assert_int_equal(o3_memory_files_replace(f, "f0", large, size, NEVER, NULL), 0);
    assert_int_equal(o3_memory_files_replace(f, "f1", large, size, NEVER, NULL), O3_E_DISK_FULL);
    free(large);
    expect("f1", "x");
    assert_int_equal(replace("", "x", NEVER), O3_E_IO);
    assert_int_equal(o3_memory_files_torn(f), 0);
}

/* ---- orders that are wrong ---- */

static enum o3_replace_step wrong[8];
static int n_wrong;

static int wrong_order(o3_replace_step_fn *perform, void *ctx, struct o3_err *e) {
    int r = 0;
    for (int i = 0; i < n_wrong && r == 0; i++)
        r = perform(ctx, wrong[i], e);
    return r;
}

static void set_order_without(int left_out) {
    n_wrong = 0;
    for (int i = O3_REPLACE_OPEN; i <= O3_REPLACE_READ_BACK; i++)
        if (i != left_out) wrong[n_wrong++] = (enum o3_replace_step)i;
}

/* Every death, every power failure and another writer; how often the judge complains. */
static int64_t complaints(void) {
    int64_t n = 0;
    for (int at = O3_REPLACE_OPEN; at <= O3_REPLACE_STEP_COUNT; at++)
        for (int power = 0; power < 5; power++)
            for (int foreign = 0; foreign <= O3_REPLACE_STEP_COUNT; foreign++) {
                drop(NULL);
                assert_int_equal(make(NULL), 0);
                assert_int_equal(replace(PATH, "old", NEVER), 0);
                enum o3_replace_step step = (enum o3_replace_step)foreign;
                o3_memory_files_set_on_step(f, write_theirs, &step);
                o3_memory_files_replace_by(f, wrong_order, PATH, "new", 3, (enum o3_replace_step)at, NULL);
                if (power) o3_memory_files_power_loss_keeping(f, power & 1, power & 2);
                n += o3_memory_files_torn(f);
            }
    return n;
}

static void the_right_order_is_never_blamed(void **state) {
    (void)state;
    set_order_without(O3_REPLACE_STEP_COUNT);
    assert_int_equal(complaints(), 0);
}

static void a_step_left_out_is_found(void **state) {
    (void)state;
    const int needed[] = {O3_REPLACE_WRITE, O3_REPLACE_FSYNC, O3_REPLACE_RENAME, O3_REPLACE_FSYNC_DIR};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        set_order_without(needed[i]);
        n_wrong--; /* without reading back as well, which finds some of them by itself */
        if (complaints() == 0) fail_msg("without %s nothing is found", O3_REPLACE_STEP_NAMES[needed[i]]);
    }
    n_wrong = 0;
    set_order_without(O3_REPLACE_READ_BACK);
    /* What read_back is for: another writer between the rename and the end. */
    enum o3_replace_step step = O3_REPLACE_FSYNC_DIR;
    drop(NULL);
    assert_int_equal(make(NULL), 0);
    o3_memory_files_set_on_step(f, write_theirs, &step);
    assert_int_equal(o3_memory_files_replace_by(f, wrong_order, PATH, "new", 3, NEVER, NULL), 0);
    assert_true(o3_memory_files_torn(f) > 0);
}

static void steps_out_of_order_are_found(void **state) {
    (void)state;
    const struct {
        enum o3_replace_step first, second;
    } SWAPPED[] = {{O3_REPLACE_FSYNC, O3_REPLACE_RENAME}, /* the name before the bytes */
                   {O3_REPLACE_WRITE, O3_REPLACE_FSYNC},  /* synced before there was anything */
                   {O3_REPLACE_RENAME, O3_REPLACE_FSYNC_DIR}};
    for (size_t i = 0; i < sizeof SWAPPED / sizeof *SWAPPED; i++) {
        set_order_without(O3_REPLACE_STEP_COUNT);
        wrong[SWAPPED[i].first] = SWAPPED[i].second;
        wrong[SWAPPED[i].second] = SWAPPED[i].first;
        if (complaints() == 0)
            fail_msg("%s after %s is not found", O3_REPLACE_STEP_NAMES[SWAPPED[i].first],
                     O3_REPLACE_STEP_NAMES[SWAPPED[i].second]);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make, drop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(replaces_and_reads),
        TEST(each_death_leaves_old_or_new),
        TEST(what_is_done_outlives_the_power),
        TEST(a_full_disk_keeps_the_old),
        TEST(a_read_only_disk_keeps_the_old),
        TEST(another_writer_is_noticed),
        TEST(a_foreign_file_stays),
        TEST(what_the_dead_leave_is_swept_when_old),
        TEST(a_swept_temporary_file_is_an_error),
        TEST(names_and_bytes_are_bounded),
        TEST(the_right_order_is_never_blamed),
        TEST(a_step_left_out_is_found),
        TEST(steps_out_of_order_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
