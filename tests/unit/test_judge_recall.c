/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge knows survives the death of its process, and states that do not fit: from the stored samples. */
#include "judge_rig.h"

enum { LIFE = 420 };
struct told {
    struct judge_states states;
    struct o3_buf log;
    int n_lost;
};

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    struct told *t = ctx;
    judge_states_save(&t->states, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    const struct told *t = ctx;
    return judge_states_take(&t->states, key, ret);
}

enum damage { NONE, OTHER_VERSION, CUT, NOTHING_LEFT };

/* "o3drift 2 ..." becomes "o3drift 99 ..."; what: the beginning of a key. */
static void damage(struct told *t, enum damage how, const char *what) {
    for (size_t i = 0; i < t->states.n; i++) {
        if (strncmp(t->states.v[i].key, what, strlen(what)) != 0 || !t->states.v[i].n) continue;
        char *space = strchr(t->states.v[i].value + 1, ' ');
        assert_non_null(space);
        if (how == OTHER_VERSION) memcpy(space + 1, "99", 2);
        if (how == CUT) t->states.v[i].n /= 2;
        if (how == NOTHING_LEFT) t->states.v[i].n = 0;
    }
}

/* ---- what is told ---- */

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    judge_log_verdict(&((struct told *)ctx)->log, v);
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    judge_log_incident(&((struct told *)ctx)->log, i, change);
}

static void on_release(void *ctx, const struct o3_release *r) {
    judge_log_release(&((struct told *)ctx)->log, r);
}

static void on_epoch(void *ctx, const char *model, const char *reason) {
    judge_log_epoch(&((struct told *)ctx)->log, model, reason);
}

static void on_acknowledged(void *ctx, const char *model, enum o3_signal signal, double level) {
    judge_log_acknowledged(&((struct told *)ctx)->log, model, signal, level);
}

static void on_lost(void *ctx, const char *model, const char *reason) {
    struct told *t = ctx;
    assert_true(*model && *reason);
    t->n_lost++;
}

static struct told *told_new(void) {
    struct told *t = calloc(1, sizeof *t);
    o3_buf_init(&t->log, 16 * 1024 * 1024);
    return t;
}

static void told_free(struct told *t) {
    judge_states_free(&t->states);
    o3_buf_done(&t->log);
    free(t);
}

static struct o3_judge *judge_new(struct told *t) {
    return judge_with(judge_params(), (struct o3_judge_ops){.ctx = t,
                                                            .verdict = on_verdict,
                                                            .incident = on_incident,
                                                            .release = on_release,
                                                            .epoch = on_epoch,
                                                            .acknowledged = on_acknowledged,
                                                            .save = on_save,
                                                            .take = on_take,
                                                            .keep = on_save,
                                                            .lost = on_lost});
}

/* ---- the samples: slow at 100 and fast again at 170, slow for good at 230, accepted at 290; another context at 330,
 * slow in it at 385 ---- */

static double speed_at(int i) {
    bool is_slow = (i >= 100 && i < 170) || i >= 230;
    return (is_slow ? 0.6 : 1) * (i >= 385 ? 0.6 : 1);
}

static struct o3_sample sample_at(int i, const char *model) {
    struct o3_rand r;
    o3_rand_seed(&r, (uint64_t)i + 77);
    double speed = speed_at(i);
    struct o3_sample s = judge_sample(i);
    s.mono_ns = (int64_t)(i + 600) * STEP_MS * O3_NS_PER_MS;
    s.num_ctx = i < 330 ? 4096 : 16384;
    s.decode_tps = 45 * speed * (1 + 0.03 * o3_rand_normal(&r));
    s.ttft_ns = (int64_t)(0.3 / speed * (1 + 0.03 * o3_rand_normal(&r)) * 1e9);
    s.prompt_eval_ns = s.eval_ns = -1;
    o3_str_copy(s.model, sizeof s.model, model);
    if (i == 290) s.acknowledged = 1u << O3_SIGNAL_DECODE_RATE | 1u << O3_SIGNAL_TTFT;
    return s;
}

/* As the daemon does: all samples of from..to - 1 are stored. Returns how many were judged again. */
static int take_up(struct o3_judge *j, int from, int to, struct o3_judge_recall *r) {
    int n = 0;
    assert_true(o3_judge_recall(j, MODEL, r));
    for (int i = from; i < to; i++) {
        struct o3_sample s = sample_at(i, MODEL);
        if (r->has_state && s.wall_ms <= r->wall_ms) continue;
        o3_judge_relive(j, &s);
        n++;
    }
    o3_judge_recalled(j, T0 + (int64_t)to * STEP_MS);
    return n;
}

static void add_kept(struct told *t, const struct o3_judge *j) {
    const struct o3_incident *list[O3_INCIDENTS_MAX];
    size_t n = o3_judge_incidents(j, list, O3_INCIDENTS_MAX);
    for (size_t i = 0; i < n; i++)
        o3_buf_addf(&t->log, "kept %lld %d since %lld %s\n", (long long)list[i]->id, list[i]->is_open,
                    (long long)list[i]->since_ms, list[i]->text);
}

/* Killed before this sample (-1: never): nothing is saved on purpose. */
static char *life(int killed_at, enum damage how, const char *what) {
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    for (int i = 0; i < LIFE; i++) {
        if (i == killed_at) {
            struct o3_judge_recall r;
            o3_judge_free(j);
            damage(t, how, what);
            j = judge_new(t);
            int n = take_up(j, 0, i, &r);
            bool is_used = i > 0 && how == NONE;
            assert_int_equal(r.has_state, is_used);
            assert_int_equal(r.lost[0] != '\0', i > 0 && (how == OTHER_VERSION || how == CUT));
            assert_in_range(n, 0, is_used ? 240 : i);
            if (!is_used) assert_int_equal(n, i);
        }
        struct o3_sample s = sample_at(i, MODEL);
        o3_judge_add(j, &s);
    }
    add_kept(t, j);
    o3_judge_free(j);
    assert_int_equal(t->n_lost, 0);
    char *log = o3_buf_take(&t->log);
    told_free(t);
    return log;
}

static void same(const char *whole, const char *other, int killed_at) {
    size_t at = 0;
    while (whole[at] && whole[at] == other[at])
        at++;
    if (!whole[at] && !other[at]) return;
    while (at > 0 && whole[at - 1] != '\n')
        at--;
    fail_msg("killed before sample %d tells\n%.600s\nnot\n%.600s", killed_at, other + at, whole + at);
}

static void test_killed_at_every_sample(void **state) {
    (void)state;
    char *whole = life(-1, NONE, "");
    for (int id = 1; id <= 3; id++) {
        char opened[40];
        snprintf(opened, sizeof opened, "incident %d opened", id);
        assert_non_null(strstr(whole, opened));
    }
    assert_non_null(strstr(whole, "incident 1 closed"));
    assert_non_null(strstr(whole, "acknowledged qwen3:8b decode_rate"));
    assert_non_null(strstr(whole, "release decode_rate"));
    for (int i = 0; i < LIFE; i++) {
        char *other = life(i, NONE, "");
        same(whole, other, i);
        free(other);
    }
    free(whole);
}

static void test_states_that_do_not_fit(void **state) {
    (void)state;
    static const char *const WHAT[] = {"judge/series/", "judge/model/", "judge/trail/"};
    char *whole = life(-1, NONE, "");
    for (int i = 1; i < LIFE; i += 13)
        for (int how = OTHER_VERSION; how <= CUT; how++) {
            char *other = life(i, (enum damage)how, WHAT[i / 13 % 3]);
            same(whole, other, i);
            free(other);
        }
    free(whole);
}

/* Also those of the incidents; the events that told of them are there. */
static void test_no_state_at_all(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    for (int i = 0; i < 130; i++) {
        struct o3_sample s = sample_at(i, MODEL);
        o3_judge_add(j, &s);
    }
    const struct o3_incident *list[4];
    assert_int_equal(o3_judge_incidents(j, list, 4), 1);
    struct o3_incident before = *list[0];
    assert_true(before.is_open);
    o3_judge_free(j);
    damage(t, OTHER_VERSION, "judge/");
    size_t told = t->log.len;
    j = judge_new(t);
    struct o3_judge_recall r;
    assert_true(o3_judge_recall(j, MODEL, &r));
    assert_non_null(strstr(r.lost, "99"));
    o3_judge_told_before(j, &(struct o3_judge_told){.id = before.id,
                                                    .opened_wall_ms = before.opened_wall_ms,
                                                    .since_ms = before.since_ms,
                                                    .since_lo_ms = before.since_lo_ms,
                                                    .since_hi_ms = before.since_hi_ms,
                                                    .is_open = true,
                                                    .model = MODEL,
                                                    .text = before.text,
                                                    .signals = 1u << O3_SIGNAL_DECODE_RATE | 1u << O3_SIGNAL_TTFT});
    (void)take_up(j, 0, 130, &r);
    assert_int_equal(t->log.len, told); /* nothing is news */
    assert_int_equal(o3_judge_incidents(j, list, 4), 1);
    assert_true(list[0]->is_open);
    assert_int_equal(list[0]->id, before.id);
    assert_int_equal(list[0]->since_ms, before.since_ms);
    assert_int_equal(list[0]->opened_wall_ms, before.opened_wall_ms);
    for (int i = 130; i < LIFE; i++) {
        struct o3_sample s = sample_at(i, MODEL);
        o3_judge_add(j, &s);
    }
    assert_non_null(strstr(o3_buf_str(&t->log), "incident 1 closed"));
    assert_non_null(strstr(o3_buf_str(&t->log), "incident 2 opened"));
    o3_judge_free(j);
    told_free(t);
}

/* Nobody was told: the old version did not see it, or died before. */
static void test_a_change_that_was_not_told(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    struct o3_judge_recall r;
    assert_int_equal(take_up(j, 0, 260, &r), 260);
    const char *log = o3_buf_str(&t->log);
    const char *opened = strstr(log, "incident 1 opened");
    assert_non_null(opened);
    assert_null(strstr(opened + 1, "incident"));
    assert_null(strstr(log, "baseline"));
    assert_non_null(strstr(log, "verdict confirmed idle decode_rate"));
    const struct o3_incident *list[4];
    assert_int_equal(o3_judge_incidents(j, list, 4), 1); /* the first one, which is over, is no news */
    O3_ASSERT_NEAR((double)list[0]->since_ms, (double)(T0 + 230 * STEP_MS), 3 * STEP_MS);
    o3_judge_free(j);
    /* It is saved. */
    size_t told = t->log.len;
    j = judge_new(t);
    assert_int_equal(take_up(j, 0, 260, &r), 0);
    assert_int_equal(o3_judge_incidents(j, list, 4), 1);
    assert_int_equal(o3_judge_n_confirmed(j, MODEL), 2);
    assert_int_equal(t->log.len, told);
    o3_judge_free(j);
    told_free(t);
}

/* The stored samples begin after the change: nobody can see the old level any more, and yet it is not healed. */
static void test_samples_that_do_not_reach_back(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    for (int i = 0; i < 280; i++) {
        struct o3_sample s = sample_at(i, MODEL);
        o3_judge_add(j, &s);
    }
    o3_judge_free(j);
    damage(t, CUT, "judge/series/");
    for (int round = 0; round < 2; round++) { /* and it stays so when that is saved */
        j = judge_new(t);
        struct o3_judge_recall r;
        (void)take_up(j, 240, 280 + round, &r);
        const struct o3_incident *list[4];
        assert_int_equal(o3_judge_incidents(j, list, 4), 2);
        assert_true(list[0]->is_open);
        O3_ASSERT_NEAR((double)list[0]->since_ms, (double)(T0 + 230 * STEP_MS), 3 * STEP_MS);
        assert_non_null(strstr(list[0]->text, "do not reach back"));
        struct o3_sample s = sample_at(280 + round, MODEL);
        o3_judge_add(j, &s);
        assert_true(list[0]->is_open);
        O3_ASSERT_NEAR(o3_judge_acceptable(j, MODEL, O3_SIGNAL_DECODE_RATE), 27, 1);
        if (round == 0) o3_judge_free(j);
    }
    struct o3_sample s = sample_at(290, MODEL);
    o3_judge_add(j, &s);
    const struct o3_incident *list[4];
    assert_int_equal(o3_judge_incidents(j, list, 4), 2);
    assert_false(list[0]->is_open);
    assert_true(isnan(o3_judge_acceptable(j, MODEL, O3_SIGNAL_DECODE_RATE)));
    o3_judge_free(j);
    told_free(t);
}

/* A state that is found to be broken long after the start. */
static void test_a_setting_whose_state_is_lost(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    for (int i = 300; i < 340; i++) { /* two settings */
        struct o3_sample s = sample_at(i, MODEL);
        o3_judge_add(j, &s);
    }
    o3_judge_save(j);
    o3_judge_free(j);
    for (size_t i = 0; i < t->states.n; i++)
        if (strstr(t->states.v[i].key, "/2/decode_rate/"))
            t->states.v[i].n /= 2; /* of the first epoch; 1 is the digest */
    j = judge_new(t);
    struct o3_sample s = sample_at(341, MODEL);
    o3_judge_add(j, &s);
    assert_int_equal(t->n_lost, 0);
    s = sample_at(329, MODEL);
    o3_judge_add(j, &s);
    assert_int_equal(t->n_lost, 1);
    o3_judge_free(j);
    told_free(t);
}

static void test_no_room(void **state) {
    (void)state;
    struct told *t = told_new();
    struct o3_judge *j = judge_new(t);
    struct o3_judge_recall r;
    char name[16];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(o3_judge_recall(j, name, &r), i < 4);
        assert_false(r.has_state);
    }
    o3_judge_recalled(j, T0);
    o3_judge_free(j);
    told_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_every_sample),
        cmocka_unit_test(test_states_that_do_not_fit),
        cmocka_unit_test(test_no_state_at_all),
        cmocka_unit_test(test_a_change_that_was_not_told),
        cmocka_unit_test(test_samples_that_do_not_reach_back),
        cmocka_unit_test(test_a_setting_whose_state_is_lost),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
