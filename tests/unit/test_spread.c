/* SPDX-License-Identifier: Apache-2.0 */
/* Spreads of signed values, and the exact interval of a Poisson count. */
#include "o3_test.h"
#include "o3/rand.h"
#include "o3/spread.h"
#include "o3/stat.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void empty_is_not_zero(void **state) {
    (void)state;
    struct o3_spread s;
    o3_spread_init(&s);
    assert_true(isnan(o3_spread_mean(&s)) && isnan(o3_spread_quantile(&s, 0.5)) && isnan(s.min) && isnan(s.max));
    o3_spread_add(&s, (double)NAN);
    assert_int_equal(s.n, 0);
    assert_true(isnan(o3_spread_quantile(&s, 0.5)));
}

static void one_value_is_told_exactly(void **state) {
    (void)state;
    static const double VALUES[] = {0, 1.7, -0.33, 1e-9, -1e-9, 1e9, -1e9, 1e-6, 1e6, 123456.789};
    for (size_t i = 0; i < COUNT(VALUES); i++) {
        struct o3_spread s;
        o3_spread_init(&s);
        o3_spread_add(&s, VALUES[i]);
        O3_ASSERT_NEAR(o3_spread_mean(&s), VALUES[i], 0);
        for (double q = 0; q <= 1; q += 0.25)
            O3_ASSERT_NEAR(o3_spread_quantile(&s, q), VALUES[i], 0);
    }
}

static void signs_are_kept_in_order(void **state) {
    (void)state;
    struct o3_spread s;
    o3_spread_init(&s);
    static const double VALUES[] = {5, -5, 0, 0.5, -0.5};
    for (size_t i = 0; i < COUNT(VALUES); i++)
        o3_spread_add(&s, VALUES[i]);
    O3_ASSERT_NEAR(o3_spread_quantile(&s, 0), -5, 0);
    O3_ASSERT_NEAR(o3_spread_quantile(&s, 0.25), -0.5, 0.0125);
    O3_ASSERT_NEAR(o3_spread_quantile(&s, 0.5), 0, 0);
    O3_ASSERT_NEAR(o3_spread_quantile(&s, 0.75), 0.5, 0.0125);
    O3_ASSERT_NEAR(o3_spread_quantile(&s, 1), 5, 0);
    assert_int_equal(s.n_zero, 1);
}

static double random_value(struct o3_rand *r) {
    double v = pow(10, 3 * o3_rand_normal(r) / 2);
    return o3_rand_uniform(r) < 0.3 ? -v : v;
}

/* Of random data over many decades, each quantile lies within the width of a bucket of the exact one. */
static void quantiles_lie_within_a_bucket(void **state) {
    (void)state;
    enum { N = 5001 };
    static double v[N];
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(11));
    for (int round = 0; round < 20; round++) {
        struct o3_spread s;
        o3_spread_init(&s);
        double sum = 0;
        for (int i = 0; i < N; i++) {
            v[i] = random_value(&r);
            sum += v[i];
            o3_spread_add(&s, v[i]);
        }
        const double mean = sum / (double)N;
        O3_ASSERT_NEAR(o3_spread_mean(&s), mean, fabs(mean) * 1e-9);
        for (int i = 0; i <= 20; i++) {
            double exact = o3_quantile(v, N, i / 20.0);
            O3_ASSERT_NEAR(o3_spread_quantile(&s, i / 20.0), exact, 0.05 * fabs(exact));
        }
    }
}

static void merging_is_adding(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(12));
    for (int round = 0; round < 50; round++) {
        static struct o3_spread parts[3], all, merged;
        o3_spread_init(&all);
        o3_spread_init(&merged);
        for (int p = 0; p < 3; p++)
            o3_spread_init(&parts[p]);
        int n = (int)o3_rand_below(&r, 300);
        for (int i = 0; i < n; i++) {
            double v = o3_rand_below(&r, 10) ? random_value(&r) : 0;
            o3_spread_add(&all, v);
            o3_spread_add(&parts[o3_rand_below(&r, 3)], v);
        }
        for (int p = 0; p < 3; p++)
            o3_spread_merge(&merged, &parts[p]);
        assert_int_equal(merged.n, all.n);
        assert_int_equal(merged.n_zero, all.n_zero);
        assert_memory_equal(merged.negative, all.negative, sizeof all.negative);
        assert_memory_equal(merged.positive, all.positive, sizeof all.positive);
        if (!n) continue;
        O3_ASSERT_NEAR(merged.min, all.min, 0);
        O3_ASSERT_NEAR(merged.max, all.max, 0);
        O3_ASSERT_NEAR(merged.sum, all.sum, 1e-12 * (fabs(all.max) + fabs(all.min)) * n);
    }
}

static void poisson_known_values(void **state) {
    (void)state;
    static const struct {
        int64_t count;
        double level, lo, hi, tolerance;
    } rows[] = {
        /* Garwood 1936; the usual table of exact 95 % limits */
        {0, 0.95, 0, 3.6889, 5e-5},       {1, 0.95, 0.02532, 5.5716, 5e-5},  {2, 0.95, 0.2422, 7.2247, 5e-5},
        {5, 0.95, 1.6235, 11.6683, 5e-5}, {10, 0.95, 4.7954, 18.3904, 5e-5}, {100, 0.95, 81.3640, 121.6268, 5e-5},
        {0, 0.9, 0, 2.9957, 5e-5},        {0, 0.99, 0, 5.2983, 5e-5},        {5, 0.9, 1.9701, 10.5130, 5e-5},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct o3_interval ci = o3_poisson(rows[i].count, rows[i].level);
        O3_ASSERT_NEAR(ci.lo, rows[i].lo, rows[i].tolerance);
        O3_ASSERT_NEAR(ci.hi, rows[i].hi, rows[i].tolerance);
        O3_ASSERT_NEAR(ci.level, rows[i].level, 0);
    }
}

/* The two formulas meet: no step where the approximation takes over, and the ends grow with the count. */
static void poisson_is_smooth_where_the_formula_changes(void **state) {
    (void)state;
    struct o3_interval below = o3_poisson(999999, 0.95), above = o3_poisson(1000000, 0.95);
    O3_ASSERT_NEAR(above.lo - below.lo, 1, 0.01);
    O3_ASSERT_NEAR(above.hi - below.hi, 1, 0.01);
    struct o3_interval before = o3_poisson(0, 0.95);
    for (int64_t k = 1; k < 400; k++) {
        struct o3_interval ci = o3_poisson(k, 0.95);
        assert_true(ci.lo > before.lo && ci.hi > before.hi && ci.lo < (double)k && ci.hi > (double)k);
        before = ci;
    }
    struct o3_interval huge = o3_poisson(INT64_MAX, 0.95);
    assert_true(isfinite(huge.lo) && huge.lo < huge.hi);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_is_not_zero),
        cmocka_unit_test(one_value_is_told_exactly),
        cmocka_unit_test(signs_are_kept_in_order),
        cmocka_unit_test(quantiles_lie_within_a_bucket),
        cmocka_unit_test(merging_is_adding),
        cmocka_unit_test(poisson_known_values),
        cmocka_unit_test(poisson_is_smooth_where_the_formula_changes),
    };
    return cmocka_run_group_tests_name("spread", tests, NULL, NULL);
}
