/* SPDX-License-Identifier: Apache-2.0 */
/* One fault is one incident, with the cause that it began with: while it ends, when it gets worse in a further step,
 * when a signal is back for a moment only, and when it is one of several models. */
#include <stdio.h>
#include "judge_rig.h"

struct told {
    int n_opened, n_changed, n_closed, n_recovered;
    struct o3_incident incident; /* the newest news */
    unsigned causes;             /* bits of all first ones that were told */
};

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct told *t = ctx;
    t->n_recovered += v->report.event == O3_DRIFT_EV_RECOVERED;
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct told *t = ctx;
    t->n_opened += change == O3_INCIDENT_OPENED;
    t->n_changed += change == O3_INCIDENT_CHANGED;
    t->n_closed += change == O3_INCIDENT_CLOSED;
    t->incident = *i;
    if (i->n_causes) t->causes |= 1U << i->cause[0].cause;
}

struct source {
    const char *model, *digest; /* NULL: those of any sample */
    struct o3_rand rand;
    int64_t n, n_loads, num_ctx, ttft_every; /* 0: with every sample */
    double tps, ttft_s, throttled;
};

static struct source source(uint64_t seed) {
    struct source w = {.tps = 300, .ttft_s = 0.02};
    o3_rand_seed(&w.rand, o3_test_seed(seed));
    return w;
}

static struct o3_judge *judge_new(struct told *t) {
    return judge_with(judge_params(), (struct o3_judge_ops){.ctx = t, .verdict = on_verdict, .incident = on_incident});
}

static void feed(struct o3_judge *j, struct source *w, int n) {
    for (int i = 0; i < n; i++) {
        struct o3_sample s = judge_sample(w->n++);
        s.size_bytes = s.vram_bytes = 3 * GIB;
        s.decode_tps = w->tps * judge_noise(&w->rand, 0.02);
        s.ttft_ns = (int64_t)(w->ttft_s * judge_noise(&w->rand, 0.02) * 1e9);
        if (w->ttft_every && w->n % w->ttft_every) s.ttft_ns = -1;
        s.around.weight_bytes = 2 * GIB;
        s.around.bandwidth_bytes_per_s = 1e12;
        s.around.n_loads = w->n_loads;
        s.around.n_throttled = (int64_t)w->throttled;
        s.around.n_quota = 0;
        if (w->model) o3_str_copy(s.model, sizeof s.model, w->model);
        if (w->digest) o3_str_copy(s.digest, sizeof s.digest, w->digest);
        if (w->num_ctx) s.num_ctx = w->num_ctx;
        w->n_loads = 0;
        o3_judge_add(j, &s);
    }
}

/* Reloads bring the GPU back; until the return is sure there are many loads and no slow samples any more. */
static void the_end_of_a_change_is_no_evidence_of_its_cause(void **state) {
    (void)state;
    for (int n_slow = 25; n_slow <= 65; n_slow += 4) {
        struct told t = {0};
        struct source w = source(20);
        struct o3_judge *j = judge_new(&t);
        feed(j, &w, 200);
        w.tps /= 6;
        w.ttft_s *= 1.8;
        feed(j, &w, n_slow);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_CPU_FALLBACK);
        w.tps *= 6;
        for (int i = 0; i < 60; i++) {
            w.n_loads = i < 4;
            feed(j, &w, 1);
        }
        w.ttft_s /= 1.8;
        feed(j, &w, 60);
        assert_int_equal(t.causes, 1U << O3_CAUSE_CPU_FALLBACK);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.n_closed, 1);
        o3_judge_free(j);
    }
}

/* Throttled a little, and hours later on the processor: the first token tells it first. */
static void a_second_step_is_the_same_incident(void **state) {
    (void)state;
    static const int HOURS[] = {1, 2, 5, 10};
    for (size_t i = 0; i < sizeof HOURS / sizeof *HOURS; i++) {
        struct told t = {0};
        struct source w = source(21 + i);
        struct o3_judge *j = judge_new(&t);
        feed(j, &w, 300);
        int64_t began_ms = INT64_C(1790000000000) + w.n * 60000;
        w.tps *= 0.85;
        w.throttled = 3;
        feed(j, &w, 60 * HOURS[i]);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
        assert_int_equal(t.incident.grown_ms, 0);
        int64_t grew_ms = INT64_C(1790000000000) + w.n * 60000;
        w.tps *= 0.2;
        w.ttft_s *= 2;
        feed(j, &w, 60);
        assert_int_equal(t.n_opened, 1);
        assert_true(t.n_changed >= 1 && t.n_changed <= 4);
        assert_int_equal(t.incident.n_members, 2);
        assert_int_equal(t.incident.since_ms, began_ms);
        assert_int_equal(t.incident.grown_ms, grew_ms);
        assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_CPU_FALLBACK);
        assert_true(t.incident.member[0].verdict.report.change_ratio < -0.75);
        assert_non_null(strstr(t.incident.text, ", further since "));
        o3_judge_free(j);
    }
}

/* Without another signal, the growth is told with the cause of the growth. */
static void the_cause_of_a_growth_is_told(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = source(25);
    struct o3_judge *j = judge_new(&t);
    feed(j, &w, 300);
    w.tps *= 0.85;
    feed(j, &w, 120);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_UNKNOWN);
    w.tps *= 0.6;
    w.throttled = 3;
    feed(j, &w, 60);
    assert_int_equal(t.n_opened, 1);
    assert_int_equal(t.incident.cause[0].cause, O3_CAUSE_THROTTLING);
    o3_judge_free(j);
}

/* What has nothing to do with it stays another incident: nothing grew then. */
static void another_change_is_another_incident(void **state) {
    (void)state;
    struct told t = {0};
    struct source w = source(26);
    struct o3_judge *j = judge_new(&t);
    feed(j, &w, 300);
    w.tps *= 0.85;
    feed(j, &w, 120);
    w.ttft_s *= 2;
    feed(j, &w, 60);
    assert_int_equal(t.n_opened, 2);
    o3_judge_free(j);
}

/* Back for the time that a return takes to be sure, and changed again. */
static void back_for_a_moment(struct told *t, bool others_stand, int n_back) {
    struct source w = source(27);
    struct o3_judge *j = judge_new(t);
    feed(j, &w, 300);
    w.tps *= 0.7;
    if (others_stand) w.ttft_s *= 1.5;
    feed(j, &w, 60);
    assert_int_equal(t->n_opened, 1);
    w.tps /= 0.7;
    feed(j, &w, n_back);
    assert_int_equal(t->n_recovered, 1);
    assert_int_equal(t->n_closed, !others_stand);
    w.tps *= 0.7;
    feed(j, &w, 60);
    o3_judge_free(j);
}

static void a_short_return_ends_no_incident(void **state) {
    (void)state;
    for (int others_stand = 0; others_stand < 2; others_stand++) {
        struct told t = {0};
        back_for_a_moment(&t, others_stand, others_stand ? 40 : 18);
        assert_int_equal(t.n_opened, 1);
        assert_int_equal(t.incident.n_members, 1 + others_stand);
        assert_true(t.incident.is_open);
        for (int i = 0; i < t.incident.n_members; i++)
            assert_false(t.incident.member[i].is_over);
        assert_int_equal(t.incident.since_ms, INT64_C(1790000000000) + 300 * 60000);
    }
}

static void after_a_long_return_it_is_another(void **state) {
    (void)state;
    for (int others_stand = 0; others_stand < 2; others_stand++) {
        struct told t = {0};
        back_for_a_moment(&t, others_stand, 120);
        assert_int_equal(t.n_opened, 2);
    }
}

/* ---- two models ---- */

/* The GPU is lost at CHANGED, and the list goes on claiming it. The model that is measured more often, and was there
 * before the other one, tells its decode rate first, the other one two signals then, and the first one its time to
 * first token last: it leads the incident, then the other does, then it does again. */
enum { CHANGED = 300, TWO_LIFE = CHANGED + 100 };
#define OTHER "gemma3:12b"
#define ITS_STATE "judge/incident/01"

struct two {
    struct told told; /* on_incident() takes it */
    struct judge_states states;
    struct source often, other;
    int often_from, other_from; /* their first samples */
    struct o3_buf log;
    char leads[16]; /* 'o' and 'x' (the other): of whom most members were, without repetition */
};

static void note_lead(struct two *t, const struct o3_incident *i) {
    int n_often = 0;
    size_t len = strlen(t->leads);
    for (int n = 0; n < i->n_members; n++)
        n_often += !strcmp(i->member[n].verdict.model, MODEL);
    char lead = 2 * n_often >= i->n_members ? 'o' : 'x';
    if ((len == 0 || t->leads[len - 1] != lead) && len + 1 < sizeof t->leads) t->leads[len] = lead;
}

static void on_incident_of_two(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct two *t = ctx;
    on_incident(&t->told, i, change);
    judge_log_incident(&t->log, i, change);
    note_lead(t, i);
}

static void on_save(void *ctx, const char *key, const char *value, size_t n) {
    judge_states_save(&((struct two *)ctx)->states, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    return judge_states_take(&((const struct two *)ctx)->states, key, ret);
}

static struct two *two_new(uint64_t seed) {
    struct two *t = calloc(1, sizeof *t);
    assert_non_null(t);
    o3_buf_init(&t->log, 1024 * 1024);
    t->often = source(seed);
    t->often.ttft_every = 3;
    t->other = source(seed + 1000);
    t->other.model = OTHER;
    t->other.digest = "bbbb";
    t->other.num_ctx = 8192;
    t->other_from = CHANGED / 2;
    return t;
}

static void two_free(struct two *t) {
    judge_states_free(&t->states);
    o3_buf_done(&t->log);
    free(t);
}

static struct o3_judge *judge_of_two(struct two *t) {
    return judge_with(judge_params(), (struct o3_judge_ops){
                                          .ctx = t, .incident = on_incident_of_two, .save = on_save, .take = on_take});
}

static void feed_two(struct o3_judge *j, struct two *t, int at) {
    if (at == CHANGED) t->often.tps /= 6, t->often.ttft_s *= 2, t->other.tps /= 6, t->other.ttft_s *= 2;
    t->often.n = t->other.n = at;
    if (at >= t->often_from) feed(j, &t->often, 1);
    if (at >= t->other_from && at % 2) feed(j, &t->other, 1);
}

/* Runs from..to - 1. */
static void run_two(struct o3_judge *j, struct two *t, int from, int to) {
    for (int at = from; at < to; at++)
        feed_two(j, t, at);
}

/* The surroundings of each model are compared with its own, whichever has the most members. */
static void the_surroundings_of_one_model_are_not_those_of_another(void **state) {
    (void)state;
    for (uint64_t seed = 40; seed < 48; seed++) {
        struct two *t = two_new(seed);
        struct o3_judge *j = judge_of_two(t);
        run_two(j, t, 0, TWO_LIFE);
        assert_string_equal(t->leads, "oxo");
        assert_int_equal(t->told.n_opened, 1);
        assert_int_equal(t->told.incident.n_members, 4);
        assert_int_equal(t->told.causes, 1U << O3_CAUSE_CPU_FALLBACK);
        o3_judge_free(j);
        two_free(t);
    }
}

static const char *its_state(const struct two *t) {
    for (size_t i = 0; i < t->states.n; i++)
        if (!strcmp(t->states.v[i].key, ITS_STATE)) return t->states.v[i].value;
    return NULL;
}

static char *last_of(char *text, const char *what) {
    char *last = NULL;
    for (char *p = text; (p = strstr(p, what)); p++)
        last = p;
    return last;
}

/* As version 3 wrote it: what was before of one model alone, of two the other one's, and not of which. */
static void make_older(struct two *t, bool has_other) {
    static const char WORD[] = "o3judge_incident 4";
    char *text = strdup(its_state(t)), of_first[40], of_other[40];
    snprintf(of_first, sizeof of_first, " %d %zu:" MODEL, has_other ? 2 : 1, strlen(MODEL));
    snprintf(of_other, sizeof of_other, " %zu:" OTHER, strlen(OTHER));
    char *version = strstr(text, WORD), *from = last_of(text, of_first), *to = from + strlen(of_first);
    assert_non_null(version);
    assert_non_null(from);
    version[sizeof WORD - 2] = '3';
    if (has_other) {
        to = last_of(from, of_other);
        assert_non_null(to);
        to += strlen(of_other);
    }
    memmove(from, to, strlen(to) + 1);
    judge_states_save(&t->states, ITS_STATE, text, strlen(text));
    free(text);
}

/* With a restart before that sample (-1: none); is_older: by an older version until then. */
static struct two *life_of_two(int often_from, int other_from, int restart_at, bool is_older) {
    struct two *t = two_new(40);
    bool has_other = other_from < CHANGED;
    t->often_from = often_from;
    t->other_from = other_from;
    struct o3_judge *j = judge_of_two(t);
    run_two(j, t, 0, restart_at < 0 ? TWO_LIFE : restart_at);
    o3_judge_save(j);
    o3_judge_free(j);
    if (restart_at < 0) return t;
    if (is_older) make_older(t, has_other);
    j = judge_of_two(t);
    o3_judge_expect(j, MODEL);
    if (has_other) o3_judge_expect(j, OTHER);
    run_two(j, t, restart_at, TWO_LIFE);
    o3_judge_save(j);
    o3_judge_free(j);
    return t;
}

static void assert_same_life(struct two *t, const struct two *whole) {
    assert_string_equal(o3_buf_str(&t->log), o3_buf_str(&whole->log));
    assert_string_equal(its_state(t), its_state(whole));
    two_free(t);
}

static void a_restart_keeps_the_surroundings_of_each_model(void **state) {
    (void)state;
    struct two *whole = life_of_two(0, CHANGED / 2, -1, false);
    for (int at = CHANGED - 1; at < TWO_LIFE; at++)
        assert_same_life(life_of_two(0, CHANGED / 2, at, false), whole);
    two_free(whole);
}

static void an_older_state_of_one_model_is_taken_up(void **state) {
    (void)state;
    struct two *whole = life_of_two(0, TWO_LIFE, -1, false);
    for (int at = CHANGED + 20; at < TWO_LIFE; at += 15)
        assert_same_life(life_of_two(0, TWO_LIFE, at, true), whole);
    two_free(whole);
}

/* Of which it was cannot be told, and it is taken from the samples again. */
static void an_older_state_of_two_models_gives_no_false_cause(void **state) {
    (void)state;
    for (int at = CHANGED + 20; at < TWO_LIFE; at += 2) {
        struct two *t = life_of_two(CHANGED * 2 / 3, 0, at, true);
        assert_int_equal(t->told.n_opened, 1);
        assert_int_equal(t->told.incident.n_members, 4);
        assert_int_equal(t->told.causes, 1U << O3_CAUSE_CPU_FALLBACK);
        two_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_change_is_no_evidence_of_its_cause),
        cmocka_unit_test(a_second_step_is_the_same_incident),
        cmocka_unit_test(the_cause_of_a_growth_is_told),
        cmocka_unit_test(another_change_is_another_incident),
        cmocka_unit_test(a_short_return_ends_no_incident),
        cmocka_unit_test(after_a_long_return_it_is_another),
        cmocka_unit_test(the_surroundings_of_one_model_are_not_those_of_another),
        cmocka_unit_test(a_restart_keeps_the_surroundings_of_each_model),
        cmocka_unit_test(an_older_state_of_one_model_is_taken_up),
        cmocka_unit_test(an_older_state_of_two_models_gives_no_false_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
