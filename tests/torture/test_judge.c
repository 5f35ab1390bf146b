/* SPDX-License-Identifier: Apache-2.0 */
/* The judge loses no more than the sample when memory runs out, wherever that is. */
#include "o3/judge.h"
#include "o3/text.h"
#include "o3_test.h"
#include "torture/fail_nth.h"

enum { STATES = 256, VALUE_MAX = 48 * 1024 };
struct states {
    struct {
        char key[160], value[VALUE_MAX];
        size_t n;
    } v[STATES];
    size_t n;
};

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    struct states *t = ctx;
    size_t i = 0;
    while (i < t->n && strcmp(t->v[i].key, key) != 0)
        i++;
    if (i == STATES || n > VALUE_MAX || strlen(key) >= sizeof t->v[i].key) return;
    if (i == t->n) t->n++;
    o3_str_copy(t->v[i].key, sizeof t->v[i].key, key);
    if (n) memcpy(t->v[i].value, value, n);
    t->v[i].n = n;
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    const struct states *t = ctx;
    for (size_t i = 0; i < t->n; i++)
        if (t->v[i].n && !strcmp(t->v[i].key, key)) return o3_buf_add(ret, t->v[i].value, t->v[i].n) == 0;
    return false;
}

/* A change of level, one of version, one of context; two models with room for one. */
static struct o3_sample sample_at(int i) {
    struct o3_sample s = {.wall_ms = 1790000000000 + i * 60000LL,
                          .kind = O3_PROBE_DECODE,
                          .num_ctx = i < 90 ? 4096 : 8192,
                          .num_batch = 512,
                          .decode_tps = (i < 40 ? 45 : 27) + 0.1 * (i % 7),
                          .ttft_ns = 200 * O3_NS_PER_MS + i % 5 * O3_NS_PER_MS,
                          .wall_ns = O3_NS_PER_S,
                          .size_bytes = 1 << 30,
                          .vram_bytes = i < 40 ? 1 << 30 : 1 << 29};
    o3_surroundings_init(&s.around);
    o3_str_copy(s.model, sizeof s.model, i % 25 == 24 ? "other" : "model");
    o3_str_copy(s.digest, sizeof s.digest, "digest");
    o3_str_copy(s.around.version, sizeof s.around.version, i < 70 ? "0.30.1" : "0.31.0");
    s.around.interval_ms = 60000;
    return s;
}

static void life(struct states *t) {
    struct o3_judge_params p = {
        .min_effect = 0.05, .budget_ms = 86400e3, .confirm_samples = 5, .n0 = 15, .max_models = 1};
    struct o3_judge_ops ops = {.ctx = t, .save = on_save, .take = on_take};
    struct o3_judge *j = NULL;
    struct o3_err e;
    if (o3_judge_new(&p, &ops, &j, &e) < 0) {
        assert_int_equal(e.code, O3_E_NOMEM);
        return;
    }
    for (int i = 0; i < 120; i++) {
        struct o3_sample s = sample_at(i);
        o3_judge_add(j, &s);
    }
    o3_judge_save(j);
    struct o3_series_view v;
    o3_judge_view(j, "model", O3_SIGNAL_DECODE_RATE, O3_STRATUM_IDLE, &v);
    o3_judge_free(j);
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    struct states *t = calloc(1, sizeof *t);
    /* All of the beginning; then every few, because a life allocates often for the same things. */
    for (long n = 1;; n += n < 200 ? 1 : n / 15) {
        t->n = 0;
        o3_fail_arm(O3_FAIL_ALLOC, n);
        life(t);
        if (!o3_fail_disarm()) break;
        life(t); /* what was saved then is readable */
    }
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_may_fail)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
