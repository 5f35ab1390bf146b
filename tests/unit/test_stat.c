/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "o3/rand.h"
#include "o3/stat.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void median_of_few(void **state) {
    (void)state;
    double one[] = {7}, odd[] = {9, 1, 5}, even[] = {4, 1, 3, 2}, huge[] = {1.7e308, 1.7e308};
    assert_true(isnan(o3_median(NULL, 0)));
    O3_ASSERT_NEAR(o3_median(one, 1), 7, 0);
    O3_ASSERT_NEAR(o3_median(odd, 3), 5, 0);
    O3_ASSERT_NEAR(o3_median(even, 4), 2.5, 0);
    O3_ASSERT_NEAR(o3_median(huge, 2), 1.7e308, 0);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void median_sorts(void **state) {
    (void)state;
    struct o3_rand r;
    double v[300], expected[300];
    o3_rand_seed(&r, o3_test_seed(1));
    for (size_t n = 1; n <= COUNT(v); n++) {
        for (size_t i = 0; i < n; i++)
            v[i] = expected[i] = floor(10 * o3_rand_normal(&r)); /* with ties */
        qsort(expected, n, sizeof *expected, compare);
        o3_median(v, n);
        assert_memory_equal(v, expected, n * sizeof *v);
    }
}

static void mad_of_few(void **state) {
    (void)state;
    double v[] = {1, 1, 2, 2, 4, 6, 9}, equal[] = {3, 3, 3, 50};
    O3_ASSERT_NEAR(o3_mad_sd(v, 7, 2), 1.4826, 1e-12);
    O3_ASSERT_NEAR(o3_mad_sd(equal, 4, 3), 0, 0);
    assert_true(isnan(o3_mad_sd(NULL, 0, 0)));
}

static void mad_estimates_a_gaussian_sd(void **state) {
    (void)state;
    struct o3_rand r;
    static double v[200000];
    o3_rand_seed(&r, o3_test_seed(2));
    for (size_t i = 0; i < COUNT(v); i++)
        v[i] = 5 + 3 * o3_rand_normal(&r);
    double median = o3_median(v, COUNT(v));
    O3_ASSERT_NEAR(median, 5, 0.05);
    O3_ASSERT_NEAR(o3_mad_sd(v, COUNT(v), median), 3, 0.05);
}

static void quantile_interpolates(void **state) {
    (void)state;
    double v[] = {40, 10, 30, 20};
    O3_ASSERT_NEAR(o3_quantile(v, 4, 0), 10, 0);
    O3_ASSERT_NEAR(o3_quantile(v, 4, 0.5), 25, 1e-12);
    O3_ASSERT_NEAR(o3_quantile(v, 4, 0.9), 37, 1e-12);
    O3_ASSERT_NEAR(o3_quantile(v, 4, 1), 40, 0);
    O3_ASSERT_NEAR(o3_quantile(v, 1, 0.3), 10, 0);
    assert_true(isnan(o3_quantile(v, 0, 0.5)));
}

static void median_interval_ranks(void **state) {
    (void)state;
    static const struct {
        size_t n;
        double lo, hi, level;
    } rows[] = {{6, 1, 6, 0.969},   {7, 1, 7, 0.984},   {9, 2, 8, 0.961},   {10, 2, 9, 0.979},
                {15, 4, 12, 0.965}, {20, 6, 15, 0.959}, {30, 10, 21, 0.957}};
    double v[30];
    for (size_t row = 0; row < COUNT(rows); row++) {
        for (size_t i = 0; i < rows[row].n; i++)
            v[i] = (double)(rows[row].n - i);
        struct o3_interval ci = o3_median_interval(v, rows[row].n, 0.95);
        O3_ASSERT_NEAR(ci.lo, rows[row].lo, 0);
        O3_ASSERT_NEAR(ci.hi, rows[row].hi, 0);
        O3_ASSERT_NEAR(ci.level, rows[row].level, 0.0005);
    }
}

static void five_samples_have_no_median_interval(void **state) {
    (void)state;
    double v[] = {5, 4, 3, 2, 1};
    for (size_t n = 0; n <= 5; n++) {
        struct o3_interval ci = o3_median_interval(v, n, 0.95);
        assert_true(isnan(ci.lo) && isnan(ci.hi));
        O3_ASSERT_NEAR(ci.level, 0, 0);
    }
    struct o3_interval ci = o3_median_interval(v, 5, 0.9);
    O3_ASSERT_NEAR(ci.lo, 1, 0);
    O3_ASSERT_NEAR(ci.hi, 5, 0);
    O3_ASSERT_NEAR(ci.level, 0.9375, 1e-12);
}

static void median_interval_of_many(void **state) {
    (void)state;
    static double v[5000]; /* 2^-5000 is no double */
    for (size_t i = 0; i < COUNT(v); i++)
        v[i] = (double)(i + 1);
    struct o3_interval ci = o3_median_interval(v, COUNT(v), 0.95);
    O3_ASSERT_NEAR(ci.level, 0.95, 0.002);
    O3_ASSERT_NEAR(ci.lo, 2500.5 - 1.96 * sqrt(5000) / 2, 1);
    O3_ASSERT_NEAR(ci.lo + ci.hi, 5001, 0);
}

static void wilson_known_values(void **state) {
    (void)state;
    struct o3_interval none = o3_wilson(0, 0, 1.96), zero = o3_wilson(0, 10, 1.96), all = o3_wilson(10, 10, 1.96);
    struct o3_interval some = o3_wilson(81, 263, 1.96); /* Newcombe 1998, table I: 0.2553 to 0.3662 */
    O3_ASSERT_NEAR(none.lo, 0, 0);
    O3_ASSERT_NEAR(none.hi, 1, 0);
    O3_ASSERT_NEAR(zero.lo, 0, 0);
    O3_ASSERT_NEAR(zero.hi, 0.2775, 5e-5);
    O3_ASSERT_NEAR(all.lo, 0.7225, 5e-5);
    O3_ASSERT_NEAR(all.hi, 1, 0);
    O3_ASSERT_NEAR(some.lo, 0.2553, 5e-5);
    O3_ASSERT_NEAR(some.hi, 0.3662, 5e-5);
    O3_ASSERT_NEAR(some.level, 0.95, 1e-4);
}

static void stability_counts_failures_and_strays(void **state) {
    (void)state;
    double v[] = {100, 101, 99, 100, 104, 96, 100, 80}; /* median 100; 80 is beyond 10 % */
    struct o3_stability s = o3_stability_of(v, 8, 10, 0.10);
    assert_int_equal(s.n, 10);
    assert_int_equal(s.n_within, 7);
    O3_ASSERT_NEAR(s.ratio, 0.7, 1e-12);
    O3_ASSERT_NEAR(s.median, 100, 0);
    O3_ASSERT_NEAR(s.robust_cv, 1.4826 * 0.01, 1e-12);
    O3_ASSERT_NEAR(s.wilson95.lo, 0.3968, 5e-5);
    O3_ASSERT_NEAR(s.wilson95.hi, 0.8922, 5e-5);
    O3_ASSERT_NEAR(v[7], 80, 0);
}

static void stability_of_nothing(void **state) {
    (void)state;
    struct o3_stability none = o3_stability_of(NULL, 0, 0, 0.1), failed = o3_stability_of(NULL, 0, 4, 0.1);
    assert_true(isnan(none.ratio) && isnan(none.median) && isnan(none.robust_cv));
    O3_ASSERT_NEAR(none.wilson95.hi, 1, 0);
    O3_ASSERT_NEAR(failed.ratio, 0, 0);
    assert_true(isnan(failed.median));
}

static void stability_of_many(void **state) {
    (void)state;
    static double v[1000];
    for (size_t i = 0; i < COUNT(v); i++)
        v[i] = i % 2 ? 10 : 11;
    struct o3_stability s = o3_stability_of(v, 1000, 1000, 0.05);
    O3_ASSERT_NEAR(s.median, 10.5, 0);
    O3_ASSERT_NEAR(s.ratio, 1, 0);
}

static void student_scores(void **state) {
    (void)state;
    /* two-sided 5 % and 1 % points of t become those of the normal */
    O3_ASSERT_NEAR(o3_student_to_normal(2.228139, 10), 1.959964, 0.01);
    O3_ASSERT_NEAR(o3_student_to_normal(-3.169273, 10), -2.575829, 0.01);
    O3_ASSERT_NEAR(o3_student_to_normal(2.045230, 29), 1.959964, 0.002);
    O3_ASSERT_NEAR(o3_student_to_normal(0, 5), 0, 0);
    assert_true(o3_student_to_normal(1e300, 5) > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(median_of_few),
        cmocka_unit_test(median_sorts),
        cmocka_unit_test(mad_of_few),
        cmocka_unit_test(mad_estimates_a_gaussian_sd),
        cmocka_unit_test(quantile_interpolates),
        cmocka_unit_test(median_interval_ranks),
        cmocka_unit_test(five_samples_have_no_median_interval),
        cmocka_unit_test(median_interval_of_many),
        cmocka_unit_test(wilson_known_values),
        cmocka_unit_test(stability_counts_failures_and_strays),
        cmocka_unit_test(stability_of_nothing),
        cmocka_unit_test(stability_of_many),
        cmocka_unit_test(student_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
