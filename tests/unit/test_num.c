/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <stdbool.h>
#include "o3/num.h"
#include "o3/rand.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef double one_argument(double x);
typedef long double reference(long double x);

/* The distance of the next double, at the size of y. */
static double ulp_of(double y) {
    if (fabs(y) < 0x1p-1022) return 0x1p-1074;
    return ldexp(1, ilogb(y) - 52);
}

static double between(struct o3_rand *r, double lo, double hi) {
    return lo + (hi - lo) * o3_rand_uniform(r);
}

/* Any size from 2^lo to 2^hi, of both signs. */
static double any_size(struct o3_rand *r, int lo, int hi) {
    int e = lo + (int)o3_rand_below(r, (uint64_t)(hi - lo));
    double x = ldexp(1 + o3_rand_uniform(r), e);
    return o3_rand_below(r, 2) ? x : -x;
}

static void check(const char *name, one_argument *f, reference *expected, double x, double ulps, double absolute) {
    double y = f(x);
    long double error = fabsl((long double)y - expected((long double)x));
    double bound = fmax(absolute, ulps * ulp_of(y));
    if (!(error <= (long double)bound))
        fail_msg("%s(%a) = %a: off by %Lg, %Lg units of the last place", name, x, y, error,
                 error / (long double)ulp_of(y));
}

/* Evenly from lo to hi with both ends, then as many at random. */
static void check_range(struct o3_rand *r, const char *name, one_argument *f, reference *expected, double lo, double hi,
                        double ulps, double absolute) {
    const int n = 100000;
    for (int i = 0; i <= n; i++)
        check(name, f, expected, lo + (hi - lo) * ((double)i / n), ulps, absolute);
    for (int i = 0; i < n; i++)
        check(name, f, expected, between(r, lo, hi), ulps, absolute);
}

static void exponentials_are_within_two_units(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(11));
    check_range(&r, "exp", o3_exp, expl, -1, 1, 2, 0);
    check_range(&r, "exp", o3_exp, expl, -745, 709.78, 2, 0);
    check_range(&r, "exp", o3_exp, expl, -745, -707, 2, 0); /* to the smallest subnormal */
    check_range(&r, "expm1", o3_expm1, expm1l, -0.05, 0.05, 2, 0);
    check_range(&r, "expm1", o3_expm1, expm1l, -1, 1, 2, 0);
    check_range(&r, "expm1", o3_expm1, expm1l, -45, 709.78, 2, 0);
}

static void logarithms_are_within_two_units(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(12));
    check_range(&r, "log", o3_log, logl, 0.5, 2, 2, 0);
    check_range(&r, "log", o3_log, logl, 0.98, 1.02, 2, 0);
    check_range(&r, "log", o3_log, logl, 1e-3, 1e6, 2, 0);
    check_range(&r, "log1p", o3_log1p, log1pl, -0.9999, 1, 2, 0);
    check_range(&r, "log1p", o3_log1p, log1pl, -0.05, 0.05, 2, 0);
    check_range(&r, "log1p", o3_log1p, log1pl, 0, 1e6, 2, 0);
}

static void waves_and_erf_are_within_1e15(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(13));
    check_range(&r, "sin", o3_sin, sinl, -7, 7, 0, 1e-15);
    check_range(&r, "sin", o3_sin, sinl, -1e6, 1e6, 0, 1e-15);
    check_range(&r, "cos", o3_cos, cosl, -7, 7, 0, 1e-15);
    check_range(&r, "cos", o3_cos, cosl, -1e6, 1e6, 0, 1e-15);
    check_range(&r, "erf", o3_erf, erfl, -7, 7, 0, 1e-15);
}

static void every_size_of_argument(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(2));
    for (int i = 0; i < 200000; i++) {
        double x = any_size(&r, -1074, 1023), small = any_size(&r, -200, -1), near_1 = 1 + any_size(&r, -50, -2);
        check("log", o3_log, logl, fabs(x), 2, 0);
        check("log", o3_log, logl, near_1, 2, 0);
        check("log1p", o3_log1p, log1pl, fabs(x), 2, 0);
        check("log1p", o3_log1p, log1pl, small, 2, 0);
        check("exp", o3_exp, expl, small, 2, 0);
        check("expm1", o3_expm1, expm1l, small, 2, 0);
        check("sin", o3_sin, sinl, small, 2, 0); /* relative: a small sine is not lost */
        check("erf", o3_erf, erfl, small, 3, 0);
    }
}

/* Where the argument's reduction cancels most. */
static void waves_near_their_zeros(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(3));
    for (int i = 0; i < 200000; i++) {
        double quadrants = floor(between(&r, -636000, 636000));
        double x = quadrants * 1.5707963267948966 + any_size(&r, -60, -1);
        check("sin", o3_sin, sinl, x, 0, 1e-15);
        check("cos", o3_cos, cosl, x, 0, 1e-15);
    }
}

static void pow_is_within_1e14(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(4));
    int finite = 0;
    for (int i = 0; i < 300000; i++) {
        double x = i % 2 ? fabs(any_size(&r, -1074, 1023)) : 1 + any_size(&r, -40, -2);
        double y = between(&r, -745, 710) / log(x); /* from subnormal to the largest results */
        long double expected = powl((long double)x, (long double)y);
        if (expected < 0x1p-1022L || expected > 0x1.fffffffffffffp1023L) continue;
        finite++;
        long double error = fabsl((long double)o3_pow(x, y) - expected) / expected;
        if (!(error < 1e-14L)) fail_msg("pow(%a, %a): relative error %Lg", x, y, error);
    }
    assert_true(finite > 200000);
}

static void identities(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(5));
    for (int i = 0; i < 100000; i++) {
        double x = between(&r, -20, 20), s = o3_sin(x), c = o3_cos(x);
        O3_ASSERT_NEAR(s * s + c * c, 1, 1e-15);
        O3_ASSERT_NEAR(o3_sin(-x), -s, 0);
        O3_ASSERT_NEAR(o3_cos(-x), c, 0);
        O3_ASSERT_NEAR(o3_erf(-x), -o3_erf(x), 0);
        O3_ASSERT_NEAR(o3_log(o3_exp(x)), x, 1e-14);
        O3_ASSERT_NEAR(o3_log1p(o3_expm1(x / 8)), x / 8, 1e-14);
        O3_ASSERT_NEAR(o3_exp(x) * o3_exp(-x), 1, 1e-15);
        O3_ASSERT_NEAR(o3_pow(fabs(x), 2) / (x * x), 1, 1e-15);
        O3_ASSERT_NEAR(o3_pow(fabs(x), 1), fabs(x), 0);
    }
    for (int k = -1022; k <= 1023; k++) {
        O3_ASSERT_NEAR(o3_pow(2, k), ldexp(1, k), 0);
        O3_ASSERT_NEAR(o3_log(ldexp(1, k)), k * 0.69314718055994530942, 2.5e-13); /* both round */
    }
}

static bool same_bits(double a, double b) {
    return memcmp(&a, &b, sizeof a) == 0;
}

struct edge {
    const char *name;
    one_argument *f;
    double x, y;
};

static void check_edges(const struct edge *edges, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double y = edges[i].f(edges[i].x);
        if (!same_bits(y, edges[i].y)) fail_msg("%s(%a) = %a, expected %a", edges[i].name, edges[i].x, y, edges[i].y);
    }
}

#define INF ((double)INFINITY)
#define NO_NUMBER ((double)NAN)

/* C17 annex F.10; a NaN has one form, whatever came in. */
static void edges_of_one_argument(void **state) {
    (void)state;
    static const struct edge edges[] = {
        {"exp", o3_exp, 0, 1},
        {"exp", o3_exp, -0.0, 1},
        {"exp", o3_exp, INF, INF},
        {"exp", o3_exp, -INF, 0},
        {"exp", o3_exp, 709.79, INF},
        {"exp", o3_exp, -745.2, 0},
        {"exp", o3_exp, -1e300, 0},
        {"exp", o3_exp, 1e300, INF},
        {"exp", o3_exp, 0x1p-1074, 1},
        {"exp", o3_exp, -NO_NUMBER, NO_NUMBER},
        {"expm1", o3_expm1, 0, 0},
        {"expm1", o3_expm1, -0.0, -0.0},
        {"expm1", o3_expm1, 0x1p-1074, 0x1p-1074},
        {"expm1", o3_expm1, -0x1p-1074, -0x1p-1074},
        {"expm1", o3_expm1, INF, INF},
        {"expm1", o3_expm1, -INF, -1},
        {"expm1", o3_expm1, 710, INF},
        {"expm1", o3_expm1, -NO_NUMBER, NO_NUMBER},
        {"log", o3_log, 0, -INF},
        {"log", o3_log, -0.0, -INF},
        {"log", o3_log, 1, 0},
        {"log", o3_log, INF, INF},
        {"log", o3_log, -INF, NO_NUMBER},
        {"log", o3_log, -1, NO_NUMBER},
        {"log", o3_log, -0x1p-1074, NO_NUMBER},
        {"log", o3_log, -NO_NUMBER, NO_NUMBER},
        {"log1p", o3_log1p, 0, 0},
        {"log1p", o3_log1p, -0.0, -0.0},
        {"log1p", o3_log1p, 0x1p-1074, 0x1p-1074},
        {"log1p", o3_log1p, -1, -INF},
        {"log1p", o3_log1p, -1.5, NO_NUMBER},
        {"log1p", o3_log1p, -INF, NO_NUMBER},
        {"log1p", o3_log1p, INF, INF},
        {"log1p", o3_log1p, -NO_NUMBER, NO_NUMBER},
        {"sin", o3_sin, 0, 0},
        {"sin", o3_sin, -0.0, -0.0},
        {"sin", o3_sin, 0x1p-1074, 0x1p-1074},
        {"sin", o3_sin, 1.0001e6, NO_NUMBER}, /* beyond the promise */
        {"sin", o3_sin, INF, NO_NUMBER},
        {"sin", o3_sin, -NO_NUMBER, NO_NUMBER},
        {"cos", o3_cos, 0, 1},
        {"cos", o3_cos, -0.0, 1},
        {"cos", o3_cos, -1.0001e6, NO_NUMBER},
        {"cos", o3_cos, -INF, NO_NUMBER},
        {"cos", o3_cos, -NO_NUMBER, NO_NUMBER},
        {"erf", o3_erf, 0, 0},
        {"erf", o3_erf, -0.0, -0.0},
        {"erf", o3_erf, INF, 1},
        {"erf", o3_erf, -INF, -1},
        {"erf", o3_erf, 1e300, 1},
        {"erf", o3_erf, -NO_NUMBER, NO_NUMBER},
    };
    check_edges(edges, COUNT(edges));
}

static void edges_of_pow(void **state) {
    (void)state;
    static const double rows[][3] = {
        {1, NO_NUMBER, 1},
        {NO_NUMBER, 0, 1},
        {NO_NUMBER, 1, NO_NUMBER},
        {2, -NO_NUMBER, NO_NUMBER},
        {1, INF, 1},
        {-1, INF, 1},
        {-1, -INF, 1},
        {0, 0, 1},
        {INF, 0, 1},
        {0, 2.5, 0},
        {0, -2.5, INF},
        {0, INF, 0},
        {-0.0, 3, -0.0},
        {-0.0, 2, 0},
        {-0.0, -3, -INF},
        {-0.0, -2.5, INF},
        {0.5, INF, 0},
        {0.5, -INF, INF},
        {2, INF, INF},
        {2, -INF, 0},
        {INF, 0.5, INF},
        {INF, -0.5, 0},
        {-INF, 3, -INF},
        {-INF, 2, INF},
        {-INF, -3, -0.0},
        {-INF, 0.5, INF},
        {-8, 1.0 / 3, NO_NUMBER},
        {-2, 3, -8},
        {-2, 2, 4},
        {2, 1023, 0x1p1023},
        {2, 1024, INF},
        {2, -1074, 0x1p-1074},
        {2, -1080, 0},
        {0x1p-1074, -1, INF},
        {0x1.fffffffffffffp-1, 1e300, 0},
        {0x1.0000000000001p0, 1e300, INF},
        {3, 0x1p-1074, 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        double y = o3_pow(rows[i][0], rows[i][1]);
        if (!same_bits(y, rows[i][2])) fail_msg("pow(%a, %a) = %a, expected %a", rows[i][0], rows[i][1], y, rows[i][2]);
    }
}

/* What this code gave when it was written: a machine or compiler that differs in one bit is caught here. */
static void golden_bits(void **state) {
    (void)state;
    static const struct edge golden[] = {
        {"exp", o3_exp, -0x1.748cccccccccdp+9, 0x0.0000000000001p-1022},
        {"exp", o3_exp, -0x1.624p+9, 0x0.e6cf6d08897acp-1022},
        {"exp", o3_exp, -0x1.44p+4, 0x1.b93de1e27ca3bp-30},
        {"exp", o3_exp, -0x1.6666666666666p-1, 0x1.fc80db9dd5542p-2},
        {"exp", o3_exp, 0x1p-30, 0x1.00000004p+0},
        {"exp", o3_exp, 0x1.3333333333333p-2, 0x1.599058c8c1a96p+0},
        {"exp", o3_exp, 0x1p+0, 0x1.5bf0a8b145769p+1},
        {"exp", o3_exp, 0x1.62ccccccccccdp+6, 0x1.f4705bbffae5cp+127},
        {"exp", o3_exp, 0x1.62d999999999ap+9, 0x1.d75ae7a50ee14p+1023},
        {"expm1", o3_expm1, -0x1.24p+5, -0x1.fffffffffffffp-1},
        {"expm1", o3_expm1, -0x1p-1, -0x1.92e9a0720d3ecp-2},
        {"expm1", o3_expm1, -0x1.cac083126e979p-7, -0x1.c78e405ccfefap-7},
        {"expm1", o3_expm1, 0x1p-40, 0x1.00000000008p-40},
        {"expm1", o3_expm1, 0x1.cb1da023f7561p-7, 0x1.ce58df4d0e28cp-7},
        {"expm1", o3_expm1, 0x1p-2, 0x1.22d78f0fa061ap-2},
        {"expm1", o3_expm1, 0x1.38p+5, 0x1.33a43d282a519p+56},
        {"log", o3_log, 0x0.0000000000001p-1022, -0x1.74385446d71c3p+9},
        {"log", o3_log, 0x1.56e1fc2f8f359p-997, -0x1.5963447f87fb5p+9},
        {"log", o3_log, 0x1.999999999999ap-4, -0x1.26bb1bbb55515p+1},
        {"log", o3_log, 0x1.6666666666666p-1, -0x1.6d3c324e13f5p-2},
        {"log", o3_log, 0x1.fae147ae147aep-1, -0x1.495453e6fd4bcp-7},
        {"log", o3_log, 0x1.0390ea9e6eeb7p+0, 0x1.c54ee803c670bp-7},
        {"log", o3_log, 0x1.6a09e55c0fcb5p+0, 0x1.62e42cf9ee3ebp-2},
        {"log", o3_log, 0x1p+1, 0x1.62e42fefa39efp-1},
        {"log", o3_log, 0x1.4p+3, 0x1.26bb1bbb55516p+1},
        {"log", o3_log, 0x1.1ccf385ebc8ap+1023, 0x1.62991d5d62a5ep+9},
        {"log1p", o3_log1p, -0x1.ff7ced916872bp-1, -0x1.ba18a998fff9fp+2},
        {"log1p", o3_log1p, -0x1.f13dc55d6cc2ap-7, -0x1.f50d785a94bcdp-7},
        {"log1p", o3_log1p, 0x1p-60, 0x1p-60},
        {"log1p", o3_log1p, 0x1.cbfd99f4326c6p-7, 0x1.c8caba2464db8p-7},
        {"log1p", o3_log1p, 0x1.3333333333333p-2, 0x1.0ca937be1b9dcp-2},
        {"log1p", o3_log1p, 0x1.cp+2, 0x1.0a2b23f3bab73p+1},
        {"log1p", o3_log1p, 0x1.1c37937e08p+53, 0x1.26bb1bbb55516p+5},
        {"sin", o3_sin, -0x1.93c06p+19, 0x1.afc8597fc1859p-4},
        {"sin", o3_sin, -0x1.2eee631f8a09p+1, -0x1.663bd0b925bfp-1},
        {"sin", o3_sin, 0x1p-20, 0x1.ffffffffffaabp-21},
        {"sin", o3_sin, 0x1p-1, 0x1.eaee8744b05fp-2},
        {"sin", o3_sin, 0x1.91eb851eb851fp-1, 0x1.69e4fd79ac743p-1},
        {"sin", o3_sin, 0x1.921fb54442d18p+1, 0x1.1a62633145c07p-53},
        {"sin", o3_sin, 0x1.9p+6, -0x1.03425b78c4db8p-1},
        {"sin", o3_sin, 0x1.e848p+19, -0x1.6664b2568d867p-2},
        {"cos", o3_cos, -0x1.2fa5cp+18, 0x1.185fc2290f231p-1},
        {"cos", o3_cos, 0x1p-20, 0x1.ffffffffffp-1},
        {"cos", o3_cos, 0x1p-1, 0x1.c1528065b7d5p-1},
        {"cos", o3_cos, 0x1.9212d77318fc5p-1, 0x1.6a12ff5f42bd9p-1},
        {"cos", o3_cos, 0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54},
        {"cos", o3_cos, 0x1.2b2fec56d5cfbp+1, -0x1.632bb98f86075p-1},
        {"cos", o3_cos, 0x1.790bccccccccdp+15, 0x1.7558aeb6c8d52p-1},
        {"erf", o3_erf, -0x1.4p+1, -0x1.ffcaa8f4c9beap-1},
        {"erf", o3_erf, 0x1p-40, 0x1.20dd750429b6dp-40},
        {"erf", o3_erf, 0x1.23d4d68689f26p-4, 0x1.48bd7874a114cp-4},
        {"erf", o3_erf, 0x1p-1, 0x1.0a7ef5c18edd2p-1},
        {"erf", o3_erf, 0x1p+0, 0x1.af767a741088bp-1},
        {"erf", o3_erf, 0x1p+1, 0x1.fd9ae142795e3p-1},
        {"erf", o3_erf, 0x1.a666666666666p+1, 0x1.ffff9966790c8p-1},
        {"erf", o3_erf, 0x1.799999999999ap+2, 0x1.fffffffffffffp-1},
    };
    static const double golden_pow[][3] = {
        {0x1.999999999999ap-4, 0x1p-1, 0x1.43d136248490fp-2},
        {0x1p+1, 0x1p-1, 0x1.6a09e667f3bcdp+0},
        {0x1.0084e4d6aecdep+0, 0x1.44398cccccccdp+18, 0x1.3b1adeffb17e4p+970},
        {0x1.56e1fc2f8f359p-997, -0x1p+0, 0x1.7e43c8800759dp+996},
        {0x1.4p+3, 0x1.8p+1, 0x1.f4p+9},
        {0x1.ff7ced916872bp-1, 0x1.86ap+16, 0x1.940747bb85396p-145},
        {0x1.d99999999999ap+1, -0x1.9133333333333p+6, 0x1.9a7e51dc527f1p-190},
        {0x1.2a05f2p+33, -0x1.f8p+4, 0x0.000000c1069cdp-1022},
    };
    check_edges(golden, COUNT(golden));
    for (size_t i = 0; i < COUNT(golden_pow); i++) {
        double y = o3_pow(golden_pow[i][0], golden_pow[i][1]);
        if (!same_bits(y, golden_pow[i][2]))
            fail_msg("pow(%a, %a) = %a, expected %a", golden_pow[i][0], golden_pow[i][1], y, golden_pow[i][2]);
    }
}

static uint64_t fold(uint64_t hash, double y) {
    uint64_t bits;
    memcpy(&bits, &y, sizeof bits);
    for (int i = 0; i < 64; i += 8)
        hash = (hash ^ (bits >> i & 0xff)) * 0x100000001b3; /* FNV-1a */
    return hash;
}

/* The same for many results at once, those of every machine: also where a last bit changes once in a thousand. */
static void golden_digests(void **state) {
    (void)state;
    static const struct {
        const char *name;
        one_argument *f;
        double scale;
        uint64_t hash;
    } rows[] = {
        {"exp", o3_exp, 40, 0xf6dc30d95e404fb0},  {"expm1", o3_expm1, 4, 0x0c0118014c58b820},
        {"log", o3_log, 40, 0xa1982a3e47fd39b2},  {"log1p", o3_log1p, 3, 0x9e494c8205a87386},
        {"sin", o3_sin, 100, 0x46787c153baed774}, {"cos", o3_cos, 100, 0x59065098e38a13b0},
        {"erf", o3_erf, 6, 0xf7dee3962705795c},
    };
    struct o3_rand r;
    for (size_t row = 0; row < COUNT(rows); row++) {
        o3_rand_seed(&r, 1);
        uint64_t hash = 0xcbf29ce484222325;
        for (int i = 0; i < 200000; i++)
            hash = fold(hash, rows[row].f(rows[row].scale * (o3_rand_uniform(&r) - 0.25)));
        if (hash != rows[row].hash) fail_msg("%s: 0x%016llx", rows[row].name, (unsigned long long)hash);
    }
    uint64_t hash = 0xcbf29ce484222325;
    o3_rand_seed(&r, 1);
    for (int i = 0; i < 200000; i++) {
        double x = 50 * o3_rand_uniform(&r), y = 9 * o3_rand_normal(&r);
        hash = fold(fold(hash, y), o3_pow(x, y));
    }
    if (hash != 0x4cbdfcf8fa43047a) fail_msg("pow and the normal distribution: 0x%016llx", (unsigned long long)hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_are_within_two_units),
        cmocka_unit_test(logarithms_are_within_two_units),
        cmocka_unit_test(waves_and_erf_are_within_1e15),
        cmocka_unit_test(every_size_of_argument),
        cmocka_unit_test(waves_near_their_zeros),
        cmocka_unit_test(pow_is_within_1e14),
        cmocka_unit_test(identities),
        cmocka_unit_test(edges_of_one_argument),
        cmocka_unit_test(edges_of_pow),
        cmocka_unit_test(golden_bits),
        cmocka_unit_test(golden_digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
