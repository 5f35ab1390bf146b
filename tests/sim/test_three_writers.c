/* SPDX-License-Identifier: Apache-2.0 */
/* Three sidecars and one ConfigMap on a virtual clock: only one writes, another takes its place when it falls silent,
 * and what was decided while nobody could write is there in the end. */
#include "../kube.h"
#include "o3/rand.h"
#include "o3/text.h"

#define PODS 3
#define START_MS 1795233966161LL
#define HOUR_S 3600LL

struct pod {
    struct o3_configmap *c; /* NULL: it does not run */
    int64_t clock_ms;       /* by which its wall clock is ahead */
    int n[5];
};
struct rig {
    struct kube kube;
    struct pod pods[PODS];
    struct o3_rand rand;
    int64_t now_ns;
    int n_writer_changes;
    char writer[64];
};

static struct o3_now now_of(const struct rig *r, const struct pod *p) {
    return (struct o3_now){.mono_ns = r->now_ns, .wall_ms = START_MS + r->now_ns / O3_NS_PER_MS + p->clock_ms};
}

static void start(struct rig *r, int i) {
    char name[16];
    snprintf(name, sizeof name, "pod-%c", 'a' + i);
    struct o3_configmap_params p = {
        .space = "llm", .name = "o3-ai-configs", .writer = name, .writes_per_hour = 6, .seed = o3_rand_u64(&r->rand)};
    assert_int_equal(o3_configmap_new(&p, &r->pods[i].c, NULL), 0);
}

static void stop(struct rig *r, int i) {
    o3_configmap_free(r->pods[i].c);
    r->pods[i].c = NULL;
}

static void want(struct rig *r, int i, int64_t num_ctx) {
    struct o3_keys k = {.n = 0};
    struct o3_preset_doc d = {.model = "m:1b"};
    d.presets[O3_PRESET_BALANCED] = (struct o3_preset){.is_set = true, .num_ctx = num_ctx};
    assert_int_equal(o3_keys_add_doc(&k, &d, "m_1b", false), 0);
    assert_true(o3_configmap_want(r->pods[i].c, &k, "test", now_of(r, &r->pods[i])));
    o3_keys_free(&k);
}

static int set_up(void **state) {
    struct rig *r = calloc(1, sizeof *r);
    kube_init(&r->kube);
    r->now_ns = O3_NS_PER_S;
    o3_rand_seed(&r->rand, o3_test_seed(7));
    for (int i = 0; i < PODS; i++)
        start(r, i);
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    struct rig *r = *state;
    for (int i = 0; i < PODS; i++)
        stop(r, i);
    json_decref(r->kube.object);
    free(r);
    return 0;
}

static void note_writer(struct rig *r) {
    const char *w = kube_annotation(&r->kube, "writer");
    char name[64];
    o3_str_copy_n(name, sizeof name, w, strcspn(w, " "));
    if (!strcmp(name, r->writer)) return;
    r->n_writer_changes += *r->writer != '\0';
    o3_str_copy(r->writer, sizeof r->writer, name);
}

/* The pod whose step is due first; -1: none before the end. */
static int next_pod(const struct rig *r, int64_t end_ns) {
    int first = -1;
    for (int i = 0; i < PODS; i++) {
        const struct o3_configmap *c = r->pods[i].c;
        if (!c || o3_configmap_deadline_ns(c) > end_ns) continue;
        if (first < 0 || o3_configmap_deadline_ns(c) < o3_configmap_deadline_ns(r->pods[first].c)) first = i;
    }
    return first;
}

static void run_for(struct rig *r, int64_t seconds) {
    int64_t end_ns = r->now_ns + seconds * O3_NS_PER_S;
    for (int i; (i = next_pod(r, end_ns)) >= 0;) {
        struct pod *p = &r->pods[i];
        struct o3_configmap_news news;
        if (o3_configmap_deadline_ns(p->c) > r->now_ns) r->now_ns = o3_configmap_deadline_ns(p->c);
        r->now_ns += 1000; /* time passes with each exchange: another pod may come between a read and its patch */
        assert_true(kube_serve(&r->kube, p->c, now_of(r, p), &news));
        p->n[news.outcome]++;
        if (r->kube.object) note_writer(r);
    }
    r->now_ns = end_ns;
}

static int writer_of(const struct rig *r) {
    return r->writer[0] ? r->writer[4] - 'a' : -1;
}

static int n_writers(const struct rig *r) {
    int n = 0;
    for (int i = 0; i < PODS; i++)
        n += r->pods[i].c && o3_configmap_is_writer(r->pods[i].c);
    return n;
}

static void test_one_of_three_writes(void **state) {
    struct rig *r = *state;
    for (int i = 0; i < PODS; i++)
        want(r, i, 1000 + i);
    run_for(r, 24 * HOUR_S);
    assert_int_equal(n_writers(r), 1);
    assert_int_equal(r->n_writer_changes, 0);
    assert_int_equal(r->kube.n_data_writes, 1); /* the others do not put their own values there in turn */
    for (int i = 0; i < PODS; i++) {
        assert_int_equal(r->pods[i].n[O3_PUBLISH_FAILED], 0);
        if (i == writer_of(r)) continue;
        assert_true(r->pods[i].n[O3_PUBLISH_NOT_WRITER] > 200);
        assert_int_equal(r->pods[i].n[O3_PUBLISH_WRITTEN], 0);
    }
}

static void test_a_dead_writer_is_followed(void **state) {
    struct rig *r = *state;
    for (int i = 0; i < PODS; i++)
        want(r, i, 1000 + i);
    run_for(r, HOUR_S);
    int first = writer_of(r);
    stop(r, first); /* killed: it gives nothing back */
    run_for(r, HOUR_S);
    assert_int_equal(writer_of(r), first); /* its word stands for two hours */
    run_for(r, 90 * 60);
    int second = writer_of(r);
    assert_int_not_equal(second, first);
    char text[16];
    snprintf(text, sizeof text, "%d", 1000 + second);
    assert_string_equal(kube_data(&r->kube, "m_1b.balanced.num_ctx"), text);
    assert_int_equal(r->n_writer_changes, 1);
    start(r, first); /* back again: it finds the place taken */
    want(r, first, 9999);
    run_for(r, 12 * HOUR_S);
    assert_int_equal(writer_of(r), second);
    assert_int_equal(n_writers(r), 1);
    assert_string_equal(kube_data(&r->kube, "m_1b.balanced.num_ctx"), text);
}

static void test_a_place_given_back_is_taken_soon(void **state) {
    struct rig *r = *state;
    struct o3_configmap_request rq;
    for (int i = 0; i < PODS; i++)
        want(r, i, 1000 + i);
    run_for(r, HOUR_S);
    int first = writer_of(r);
    assert_true(o3_configmap_release(r->pods[first].c, &rq));
    assert_int_equal(kube_answer(&r->kube, &rq), 200);
    stop(r, first);
    run_for(r, 600);
    assert_int_not_equal(writer_of(r), first);
    assert_int_equal(n_writers(r), 1);
}

/* A writer that the server does not hear for three hours finds its place taken, and leaves it to the other. */
static void test_a_writer_cut_off_does_not_fight(void **state) {
    struct rig *r = *state;
    for (int i = 0; i < PODS; i++)
        want(r, i, 1000 + i);
    run_for(r, HOUR_S);
    int first = writer_of(r);
    struct o3_configmap *cut = r->pods[first].c;
    r->pods[first].c = NULL;
    run_for(r, 3 * HOUR_S);
    int second = writer_of(r);
    assert_int_not_equal(second, first);
    r->pods[first].c = cut;
    assert_int_equal(n_writers(r), 2); /* it still thinks so, until it reads */
    run_for(r, HOUR_S);
    assert_int_equal(n_writers(r), 1);
    assert_int_equal(writer_of(r), second);
    assert_int_equal(r->n_writer_changes, 1);
}

/* Nobody reaches the server for a day, in which each pod decides something else every hour and learns on. Then, without
 * a further word from them, one of them is the writer, and what it decided last is there, with what it knew last. */
static void test_a_day_without_a_server(void **state) {
    struct rig *r = *state;
    char text[32];
    for (int i = 0; i < PODS; i++)
        want(r, i, 1000 + i);
    run_for(r, HOUR_S);
    r->kube.trouble = O3_PUBLISH_UNREACHABLE;
    for (int hour = 1; hour <= 24; hour++) {
        for (int i = 0; i < PODS; i++) {
            want(r, i, 10000 * hour + i);
            snprintf(text, sizeof text, "{\"hour\":%d,\"pod\":%d}", hour, i);
            assert_true(o3_configmap_keep(r->pods[i].c, text, strlen(text)));
        }
        run_for(r, HOUR_S);
    }
    assert_string_equal(kube_data(&r->kube, "m_1b.balanced.num_ctx"), "1000"); /* as it was a day ago */
    int n_writes = r->kube.n_data_writes;
    r->kube.trouble = O3_PUBLISH_OK;
    run_for(r, HOUR_S);
    assert_int_equal(n_writers(r), 1);
    snprintf(text, sizeof text, "%d", 240000 + writer_of(r));
    assert_string_equal(kube_data(&r->kube, "m_1b.balanced.num_ctx"), text);
    snprintf(text, sizeof text, "{\"hour\":24,\"pod\":%d}", writer_of(r));
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), text);
    assert_int_equal(r->kube.n_data_writes, n_writes + 1); /* nothing of the hours between */
}

/* Wants change, pods die and come back, the server fails, answers are lost, clocks differ by minutes: there is never a
 * second writer that a read would not correct, the budget holds, and in the end it says what the writer wants. */
static void test_a_rough_month(void **state) {
    struct rig *r = *state;
    int64_t last[PODS] = {0};
    for (int i = 0; i < PODS; i++)
        r->pods[i].clock_ms = (int64_t)o3_rand_below(&r->rand, 600000) - 300000;
    for (int step = 0; step < 30 * 24; step++) {
        int i = (int)o3_rand_below(&r->rand, PODS);
        bool runs = r->pods[i].c != NULL;
        uint64_t what = o3_rand_below(&r->rand, 20);
        if (what == 0 && runs)
            stop(r, i);
        else if (!runs && what < 10) {
            start(r, i);
            want(r, i, last[i] = 4096);
        } else if (runs)
            want(r, i, last[i] = 1 + (int64_t)o3_rand_below(&r->rand, 100));
        static const int STATUS[] = {0, 0, 0, 0, 500, 403, 429};
        r->kube.fail_status = STATUS[o3_rand_below(&r->rand, 7)];
        r->kube.trouble = o3_rand_below(&r->rand, 12) ? O3_PUBLISH_OK : O3_PUBLISH_TIMEOUT;
        r->kube.is_answer_lost = o3_rand_below(&r->rand, 6) == 0;
        int before = r->kube.n_data_writes;
        run_for(r, HOUR_S);
        assert_true(r->kube.n_data_writes - before <= 6 * PODS);
    }
    r->kube.fail_status = 0;
    r->kube.trouble = O3_PUBLISH_OK;
    r->kube.is_answer_lost = false;
    for (int i = 0; i < PODS; i++)
        if (!r->pods[i].c) {
            start(r, i);
            want(r, i, last[i] = 4096);
        }
    run_for(r, 4 * HOUR_S);
    assert_int_equal(n_writers(r), 1);
    char text[16];
    snprintf(text, sizeof text, "%d", (int)last[writer_of(r)]);
    assert_string_equal(kube_data(&r->kube, "m_1b.balanced.num_ctx"), text);
    print_message("a month: %d reads, %d writes, %d renewals, %d times another writer\n", r->kube.n_reads,
                  r->kube.n_data_writes, r->kube.n_writer_writes, r->n_writer_changes);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {T(test_one_of_three_writes),
                                       T(test_a_dead_writer_is_followed),
                                       T(test_a_place_given_back_is_taken_soon),
                                       T(test_a_writer_cut_off_does_not_fight),
                                       T(test_a_day_without_a_server),
                                       T(test_a_rough_month)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
