/* SPDX-License-Identifier: Apache-2.0 */
/* Saved states whose words were exchanged for others: refused, or a detector that works, with finite figures, and whose
 * own state is read again. The clock jumps meanwhile. */
#include <float.h>
#include "o3_test.h"
#include "drift/parts.h"
#include "o3/buf.h"
#include "o3/drift.h"
#include "o3/rand.h"
#include "o3/success.h"

#define START_MS INT64_C(1700000000000)
#define MINUTE_MS INT64_C(60000)
#define STATES 600
#define SAMPLES 700

static const char *const WORDS[] = {"0",
                                    "1",
                                    "-1",
                                    "2",
                                    "3",
                                    "29",
                                    "30",
                                    "500",
                                    "-32768",
                                    "32767",
                                    "2147483647",
                                    "-2147483648",
                                    "576460752303423488",
                                    "-576460752303423488",
                                    "9223372036854775806",
                                    "9223372036854775807",
                                    "-9223372036854775808",
                                    "0x0p+0",
                                    "-0x0p+0",
                                    "0x1p-1074",
                                    "0x1p-40",
                                    "0x1p-20",
                                    "0x1p+0",
                                    "-0x1p+0",
                                    "0x1.8p+1",
                                    "0x1p+9",
                                    "-0x1p+9",
                                    "0x1p+20",
                                    "0x1p+1000",
                                    "inf",
                                    "nan"};
#define N_WORDS (sizeof WORDS / sizeof *WORDS)

/* The state with one to three of its words exchanged; mostly of the first 400, which the ring follows. */
static void damage(const char *text, struct o3_rand *r, struct o3_buf *out) {
    uint64_t at[3], n = 1 + o3_rand_below(r, 3);
    for (uint64_t i = 0; i < 3; i++)
        at[i] = 2 + o3_rand_below(r, o3_rand_below(r, 4) ? 130 : 2500);
    o3_buf_clear(out);
    for (uint64_t word = 0; *text; word++) {
        size_t len = strcspn(text, " \n"), blank = text[len] != '\0';
        bool is_bad = false;
        for (uint64_t i = 0; i < n; i++)
            is_bad |= at[i] == word;
        if (is_bad)
            o3_buf_adds(out, WORDS[o3_rand_below(r, N_WORDS)]);
        else
            o3_buf_add(out, text, len);
        o3_buf_add(out, text + len, blank);
        text += len + blank;
    }
    assert_int_equal(out->err, 0);
}

/* Forward by minutes, now and then by hours or days, and back. */
static int64_t next_time(int64_t wall_ms, struct o3_rand *r) {
    static const int64_t JUMPS[] = {-86400000, -3600000, -1,           0,
                                    3600000,   86400000, 7 * 86400000, INT64_C(40) * 86400000};
    uint64_t kind = o3_rand_below(r, 200);
    if (wall_ms == INT64_MAX || wall_ms == INT64_MIN) return START_MS;
    if (kind < 8) return wall_ms + JUMPS[kind];
    if (kind == 8) return INT64_MAX;
    if (kind == 9) return INT64_MIN;
    if (kind == 10) return 0;
    return wall_ms + (kind % 3 ? MINUTE_MS : 10 * MINUTE_MS);
}

static void assert_finite_report(const struct o3_drift_report *r) {
    if (!r->event) return;
    assert_true(isfinite(r->statistic) && isfinite(r->baseline_sd_ratio));
    assert_false(isnan(r->reference) || isnan(r->level) || isnan(r->change_ratio));
    assert_false(isnan(r->change_lo) || isnan(r->change_hi));
    assert_true(r->change_lo <= r->change_hi);
}

static void assert_finite_view(const struct o3_drift_view *v) {
    assert_true(isfinite(v->statistic) && v->statistic >= 0 && v->statistic <= 1.5);
    assert_true(!isnan(v->change_ratio));
    if (v->state != O3_DRIFT_LEARNING) assert_true(!isnan(v->baseline) && !isnan(v->baseline_sd));
}

static void encode(const struct o3_drift *d, struct o3_buf *out) {
    o3_buf_init(out, 1 << 16);
    assert_int_equal(o3_drift_encode(d, out), 0);
}

static void assert_read_again(const struct o3_drift *d) {
    O3_AUTO_BUF a;
    O3_AUTO_BUF b;
    struct o3_drift *copy;
    struct o3_err e = {0};
    encode(d, &a);
    if (o3_drift_decode(a.p, a.len, &copy, &e) < 0) fail_msg("%s", e.text);
    encode(copy, &b);
    assert_string_equal(a.p, b.p);
    o3_drift_free(copy);
}

static void work(struct o3_drift *d, struct o3_rand *r, double level) {
    int64_t wall_ms = START_MS + 6 * 86400000;
    for (int i = 0; i < SAMPLES; i++) {
        struct o3_drift_report report;
        struct o3_drift_view v;
        double low = i % 250 > 180 ? 0.8 : 1;
        wall_ms = next_time(wall_ms, r);
        o3_drift_add(d, low * level * (1 + 0.03 * o3_rand_normal(r)), wall_ms, &report);
        assert_finite_report(&report);
        o3_drift_glance(d, &v);
        assert_finite_view(&v);
        if (i % 97 == 0) assert_read_again(d);
        if (i == 500) o3_drift_acknowledge(d);
    }
    assert_read_again(d);
}

/* A state with a season, modes, and a change in sight. */
static struct o3_drift *rich(enum o3_drift_detector detector, struct o3_rand *r, int end) {
    struct o3_drift_params p = o3_drift_params_default();
    p.detector = detector;
    p.interval_ms = 10 * MINUTE_MS;
    struct o3_drift *d = o3_drift_new(&p);
    assert_non_null(d);
    for (int i = 0; i < 800 + end; i++) {
        double level = i >= 800 || (i > 300 && i % 60 < 6) ? 0.85 : 1, cycle = i / 72 % 2 ? 1.05 : 1;
        o3_drift_add(d, 40 * level * cycle * (1 + 0.02 * o3_rand_normal(r)), START_MS + 10 * MINUTE_MS * i, NULL);
    }
    return d;
}

static void exchanged_words_are_refused_or_harmless(void **state) {
    (void)state;
    int accepted = 0;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(1));
    for (int kind = 0; kind < 6; kind++) {
        O3_AUTO_BUF text;
        O3_AUTO_BUF bad;
        struct o3_drift *d = rich(kind % 2 ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM, &r, 12 * (kind / 2));
        encode(d, &text);
        o3_drift_free(d);
        o3_buf_init(&bad, 1 << 17);
        for (int i = 0; i < STATES / 6; i++) {
            damage(text.p, &r, &bad);
            if (o3_drift_decode(bad.p, bad.len, &d, NULL) < 0) continue;
            accepted++;
            work(d, &r, i % 5 ? 40 : DBL_MAX / 2);
            o3_drift_free(d);
        }
    }
    assert_true(accepted > STATES / 20);
}

static void sound_states_survive_any_clock(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(2));
    for (int i = 0; i < 40; i++) {
        struct o3_drift_params p = o3_drift_params_default();
        p.detector = i % 2 ? O3_DRIFT_BY_RANK : O3_DRIFT_BY_CUSUM;
        struct o3_drift *d = o3_drift_new(&p);
        if (i % 4 == 0) o3_drift_add(d, i % 8 ? 1e-300 : 1e300, 0, NULL);
        work(d, &r, 40);
        work(d, &r, 50);
        o3_drift_free(d);
    }
}

static void assert_success_read_again(const struct o3_success *s) {
    O3_AUTO_BUF a;
    O3_AUTO_BUF b;
    struct o3_success *copy;
    struct o3_err e = {0};
    o3_buf_init(&a, 1 << 16);
    o3_buf_init(&b, 1 << 16);
    assert_int_equal(o3_success_encode(s, &a), 0);
    if (o3_success_decode(a.p, a.len, &copy, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(o3_success_encode(copy, &b), 0);
    assert_string_equal(a.p, b.p);
    o3_success_free(copy);
}

static void work_success(struct o3_success *s, struct o3_rand *r) {
    int64_t wall_ms = START_MS;
    for (int i = 0; i < SAMPLES; i++) {
        struct o3_drift_report report;
        struct o3_drift_view v;
        double share = i % 200 > 150 ? 0.9 : 0.02;
        wall_ms = next_time(wall_ms, r);
        o3_success_add(s, o3_rand_uniform(r) >= share, wall_ms, &report);
        assert_finite_report(&report);
        o3_success_view(s, &v);
        assert_finite_view(&v);
        if (i % 97 == 0) assert_success_read_again(s);
        if (i == 500) o3_success_acknowledge(s);
    }
    assert_success_read_again(s);
}

static void exchanged_words_of_successes(void **state) {
    (void)state;
    int accepted = 0;
    struct o3_rand r;
    struct o3_success_params p = o3_success_params_default();
    O3_AUTO_BUF text;
    O3_AUTO_BUF bad;
    o3_rand_seed(&r, o3_test_seed(3));
    struct o3_success *s = o3_success_new(&p);
    work_success(s, &r);
    for (int i = 0; i < 4; i++)
        o3_success_add(s, false, START_MS, NULL);
    o3_buf_init(&text, 1 << 16);
    o3_buf_init(&bad, 1 << 16);
    assert_int_equal(o3_success_encode(s, &text), 0);
    o3_success_free(s);
    for (int i = 0; i < STATES; i++) {
        damage(text.p, &r, &bad);
        if (o3_success_decode(bad.p, bad.len, &s, NULL) < 0) continue;
        accepted++;
        work_success(s, &r);
        o3_success_free(s);
    }
    assert_true(accepted > STATES / 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchanged_words_are_refused_or_harmless),
        cmocka_unit_test(sound_states_survive_any_clock),
        cmocka_unit_test(exchanged_words_of_successes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
