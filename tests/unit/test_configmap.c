/* SPDX-License-Identifier: Apache-2.0 */
/* One sidecar and one ConfigMap: what is asked, and what follows from each answer. */
#include "kube.h"
#include <dirent.h>
#include "o3/text.h"

#define START_MS 1795233966161LL

struct rig {
    struct kube kube;
    struct o3_configmap *c;
    struct o3_now now;
    struct o3_configmap_news news;
    int n_outcomes[5];
    int n_requests;
};

static struct o3_configmap *make(const char *writer, uint64_t seed) {
    struct o3_configmap_params p = {
        .space = "llm", .name = "o3-ai-configs", .writer = writer, .writes_per_hour = 6, .seed = seed};
    struct o3_configmap *c = NULL;
    assert_int_equal(o3_configmap_new(&p, &c, NULL), 0);
    return c;
}

static int set_up(void **state) {
    struct rig *r = calloc(1, sizeof *r);
    kube_init(&r->kube);
    r->c = make("pod-a", 1);
    r->now = (struct o3_now){.mono_ns = O3_NS_PER_S, .wall_ms = START_MS};
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    struct rig *r = *state;
    json_decref(r->kube.object);
    o3_configmap_free(r->c);
    free(r);
    return 0;
}

static void pass(struct rig *r, int64_t ns) {
    r->now.mono_ns += ns;
    r->now.wall_ms = START_MS + r->now.mono_ns / O3_NS_PER_MS;
}

/* Time goes to the next step, as long as there is one before the end; the news of each are counted, the last that says
 * something is kept. */
static void run_for(struct rig *r, int64_t seconds) {
    int64_t end_ns = r->now.mono_ns + seconds * O3_NS_PER_S;
    for (int i = 0; i < 100000; i++) {
        struct o3_configmap_news news;
        int64_t at_ns = o3_configmap_deadline_ns(r->c);
        if (at_ns > end_ns) {
            pass(r, end_ns - r->now.mono_ns);
            return;
        }
        if (at_ns > r->now.mono_ns) pass(r, at_ns - r->now.mono_ns);
        assert_true(kube_serve(&r->kube, r->c, r->now, &news));
        r->n_requests++;
        r->n_outcomes[news.outcome]++;
        if (news.outcome != O3_PUBLISH_GOES_ON) r->news = news;
    }
    fail_msg("it never rests");
}

static struct o3_keys keys_of(int num_ctx) {
    struct o3_keys k = {.n = 0};
    struct o3_preset_doc d = {.model = "m:1b"};
    d.presets[O3_PRESET_MAX_CONTEXT] = (struct o3_preset){.is_set = true, .num_ctx = num_ctx, .batch = 512};
    assert_int_equal(o3_keys_add_doc(&k, &d, "m_1b", true), 0);
    return k;
}

static void want(struct rig *r, int num_ctx) {
    struct o3_keys k = keys_of(num_ctx);
    assert_true(o3_configmap_want(r->c, &k, "baseline_set", r->now));
    o3_keys_free(&k);
}

static void test_written_with_its_keys_and_annotations(void **state) {
    struct rig *r = *state;
    kube_put(&r->kube, "of-somebody-else", "stays");
    kube_put(&r->kube, "m_1b.balanced.batch", "9"); /* of a preset that is not there any more */
    want(r, 4096);
    run_for(r, 10);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    assert_true(r->news.is_taken);
    assert_int_equal(r->n_requests, 2);
    assert_string_equal(kube_data(&r->kube, "m_1b.max_context.num_ctx"), "4096");
    assert_string_equal(kube_data(&r->kube, "m_1b.max_context.batch"), "512");
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "4096");
    assert_non_null(strstr(kube_data(&r->kube, "m_1b.yaml"), "num_ctx: 4096\n"));
    assert_string_equal(kube_data(&r->kube, "of-somebody-else"), "stays");
    assert_null(kube_data(&r->kube, "m_1b.balanced.batch"));
    assert_string_equal(kube_annotation(&r->kube, "reason"), "baseline_set");
    assert_string_equal(kube_annotation(&r->kube, "generation"), "1");
    assert_memory_equal(kube_annotation(&r->kube, "writer"), "pod-a 2026-11-21T04:06:0", 24);
    assert_true(o3_configmap_is_writer(r->c));
}

/* Anyone can reckon it from what `kubectl get -o json` shows. */
static void test_checksum_is_of_the_whole_data(void **state) {
    struct rig *r = *state;
    struct o3_keys all = {.n = 0};
    char hex[65], expected[80];
    kube_put(&r->kube, "a", "1");
    want(r, 4096);
    run_for(r, 10);
    const char *name;
    json_t *v;
    json_object_foreach(json_object_get(r->kube.object, "data"), name, v) {
        assert_int_equal(o3_keys_set(&all, name, json_string_value(v), json_string_length(v)), 0);
    }
    assert_int_equal(o3_keys_checksum(&all, hex), 0);
    snprintf(expected, sizeof expected, "sha256:%s", hex);
    assert_string_equal(kube_annotation(&r->kube, "checksum"), expected);
    o3_keys_free(&all);
    struct o3_keys known = {.n = 0};
    assert_int_equal(o3_keys_set(&known, "b", "2", 1), 0);
    assert_int_equal(o3_keys_set(&known, "a", "1", 1), 0);
    assert_int_equal(o3_keys_set(&known, O3_KEY_STATE, "{}", 2), 0);
    assert_int_equal(o3_keys_set(&known, "c", NULL, 0), 0);
    o3_sha256_hex("a=1\nb=2\n", 8, expected);
    assert_int_equal(o3_keys_checksum(&known, hex), 0);
    assert_string_equal(hex, expected);
    o3_keys_free(&known);
}

static void test_what_is_there_is_not_written(void **state) {
    struct rig *r = *state;
    want(r, 4096);
    run_for(r, 10);
    o3_configmap_free(r->c); /* the process starts again, in the same pod */
    r->c = make("pod-a", 2);
    want(r, 4096);
    run_for(r, 10);
    assert_int_equal(r->news.outcome, O3_PUBLISH_UNCHANGED);
    assert_int_equal(r->kube.n_data_writes, 1);
    assert_true(o3_configmap_is_writer(r->c));
    int n = r->n_requests;
    want(r, 4096); /* the same again costs nothing */
    run_for(r, 60);
    assert_int_equal(r->n_requests, n);
}

static void test_several_offers_are_one_patch(void **state) {
    struct rig *r = *state;
    want(r, 1024);
    pass(r, 100 * O3_NS_PER_MS);
    want(r, 2048);
    pass(r, 100 * O3_NS_PER_MS);
    want(r, 4096);
    run_for(r, 10);
    assert_int_equal(r->kube.n_data_writes, 1);
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "4096");
}

/* Answers what is in flight with what the server says. */
static void give_answer(struct rig *r, const struct o3_configmap_request *rq) {
    struct o3_configmap_reply reply = {.status = kube_answer(&r->kube, rq)};
    reply.body = r->kube.body;
    reply.n = strlen(r->kube.body);
    o3_configmap_reply(r->c, &reply, r->now, &r->news);
}

static void test_what_is_wanted_meanwhile_follows(void **state) {
    struct rig *r = *state;
    struct o3_configmap_request rq;
    want(r, 4096);
    pass(r, O3_NS_PER_S);
    for (int i = 0; i < 2; i++) { /* the read, then the patch */
        assert_true(o3_configmap_request(r->c, r->now, &rq));
        if (i == 1) want(r, 8192);
        assert_true(o3_configmap_deadline_ns(r->c) == INT64_MAX); /* one at a time */
        give_answer(r, &rq);
    }
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "4096");
    run_for(r, 5);
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "8192");
    assert_string_equal(kube_annotation(&r->kube, "generation"), "2");
}

static void test_only_what_differs_is_sent(void **state) {
    struct rig *r = *state;
    struct o3_configmap_request rq;
    want(r, 4096);
    run_for(r, 10);
    want(r, 8192);
    pass(r, O3_NS_PER_S);
    assert_true(o3_configmap_request(r->c, r->now, &rq));
    give_answer(r, &rq);
    assert_true(o3_configmap_request(r->c, r->now, &rq));
    assert_string_equal(rq.method, "PATCH");
    assert_non_null(strstr(rq.body, "\"max_context.num_ctx\":\"8192\""));
    assert_null(strstr(rq.body, "max_context.batch"));
}

static void test_budget_holds_and_the_newest_gets_through(void **state) {
    struct rig *r = *state;
    for (int i = 1; i <= 40; i++) {
        want(r, i * 1024);
        run_for(r, 60);
    }
    assert_int_equal(r->kube.n_data_writes, 6);
    run_for(r, 3600);
    assert_int_equal(r->kube.n_data_writes, 7); /* one more when the hour of the first is over, with what is newest */
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "40960");
}

static void test_place_is_renewed_outside_the_budget(void **state) {
    struct rig *r = *state;
    want(r, 4096);
    run_for(r, 24 * 3600);
    assert_int_equal(r->kube.n_data_writes, 1);
    assert_in_range(r->kube.n_writer_writes, 47, 51);
    assert_string_equal(kube_annotation(&r->kube, "generation"), "1");
    assert_int_equal(r->n_outcomes[O3_PUBLISH_FAILED], 0);
}

static void test_what_somebody_changed_is_put_right(void **state) {
    struct rig *r = *state;
    want(r, 4096);
    run_for(r, 10);
    kube_put(&r->kube, "max_context.num_ctx", "7");
    run_for(r, 3600);
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "4096");
    assert_int_equal(r->n_outcomes[O3_PUBLISH_WRITTEN], 2);
}

static void test_deleted_and_restored(void **state) {
    struct rig *r = *state;
    want(r, 4096);
    run_for(r, 10);
    json_decref(r->kube.object);
    r->kube.object = NULL;
    want(r, 8192);
    run_for(r, 1200);
    assert_int_equal(r->news.error, O3_PUBLISH_NOT_FOUND);
    assert_string_equal(r->news.text, "status 404: configmaps \"o3-ai-configs\" not found");
    kube_init(&r->kube);
    run_for(r, 1200);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "8192");
}

/* Ten minutes between two attempts at most, a day's silence, and all that was decided meanwhile is there. */
static void test_nothing_is_lost_in_a_day_without_a_server(void **state) {
    struct rig *r = *state;
    r->kube.trouble = O3_PUBLISH_UNREACHABLE;
    for (int hour = 1; hour <= 24; hour++) {
        want(r, 1024 * hour);
        run_for(r, 3600);
    }
    assert_int_equal(r->n_outcomes[O3_PUBLISH_FAILED], r->n_requests);
    assert_in_range(r->n_requests, 144, 310);
    r->kube.trouble = O3_PUBLISH_OK;
    run_for(r, 600);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "24576");
}

static void test_lost_answer_is_found_out(void **state) {
    struct rig *r = *state;
    r->kube.is_answer_lost = true;
    want(r, 4096);
    run_for(r, 60);
    assert_int_equal(r->n_outcomes[O3_PUBLISH_FAILED], 1);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    assert_int_equal(r->kube.n_data_writes, 1);
}

static void test_each_refusal_has_its_name(void **state) {
    struct rig *r = *state;
    static const struct {
        int status;
        enum o3_publish_error error;
        const char *name;
    } CASES[] = {{400, O3_PUBLISH_INVALID, "invalid"},           {401, O3_PUBLISH_UNAUTHORIZED, "unauthorized"},
                 {403, O3_PUBLISH_FORBIDDEN, "forbidden"},       {404, O3_PUBLISH_NOT_FOUND, "not_found"},
                 {409, O3_PUBLISH_CONFLICT, "conflict"},         {413, O3_PUBLISH_TOO_LARGE, "too_large"},
                 {422, O3_PUBLISH_INVALID, "invalid"},           {429, O3_PUBLISH_THROTTLED, "throttled"},
                 {500, O3_PUBLISH_SERVER_ERROR, "server_error"}, {503, O3_PUBLISH_SERVER_ERROR, "server_error"},
                 {504, O3_PUBLISH_SERVER_ERROR, "server_error"}, {302, O3_PUBLISH_BAD_REPLY, "bad_reply"},
                 {418, O3_PUBLISH_BAD_REPLY, "bad_reply"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        r->kube.fail_status = CASES[i].status;
        want(r, 1024 * (int)(i + 1));
        r->news = (struct o3_configmap_news){.outcome = O3_PUBLISH_GOES_ON};
        run_for(r, 700);
        assert_int_equal(r->news.outcome, O3_PUBLISH_FAILED);
        assert_int_equal(r->news.error, CASES[i].error);
        assert_string_equal(o3_publish_error_name(r->news.error), CASES[i].name);
        r->kube.fail_status = 0;
        run_for(r, 1300); /* within the longest wait it is well again */
        assert_true(r->news.outcome == O3_PUBLISH_WRITTEN);
        run_for(r, 3600);
    }
}

static void test_token_is_read_again_at_once(void **state) {
    struct rig *r = *state;
    struct o3_configmap_request rq;
    struct o3_configmap_news news;
    want(r, 4096);
    pass(r, O3_NS_PER_S);
    assert_true(o3_configmap_request(r->c, r->now, &rq));
    assert_false(rq.needs_new_token);
    const struct o3_configmap_reply refused = {.status = 401, .body = "{}", .n = 2};
    o3_configmap_reply(r->c, &refused, r->now, &news);
    assert_int_equal(news.outcome, O3_PUBLISH_GOES_ON);
    assert_true(o3_configmap_request(r->c, r->now, &rq));
    assert_true(rq.needs_new_token);
    o3_configmap_reply(r->c, &refused, r->now, &news);
    assert_int_equal(news.error, O3_PUBLISH_UNAUTHORIZED);
    assert_true(o3_configmap_deadline_ns(r->c) > r->now.mono_ns + O3_NS_PER_S);
    run_for(r, 60);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
}

static void test_server_says_when_to_come_back(void **state) {
    struct rig *r = *state;
    r->kube.fail_status = 429;
    want(r, 4096);
    run_for(r, 1);
    int64_t wait_ns = o3_configmap_deadline_ns(r->c) - r->now.mono_ns;
    assert_in_range(wait_ns, 29 * O3_NS_PER_S, 37 * O3_NS_PER_S);
}

static void test_refused_content_waits_for_other_content(void **state) {
    struct rig *r = *state;
    r->kube.fail_status = 422;
    want(r, 4096);
    run_for(r, 3600);
    assert_in_range(r->n_requests, 6, 8);
    r->kube.fail_status = 0;
    want(r, 8192);
    run_for(r, 1);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
}

static void test_too_much_is_known_before_it_is_sent(void **state) {
    struct rig *r = *state;
    static char big[300000];
    memset(big, 'x', sizeof big - 1);
    kube_put(&r->kube, "of-somebody-else", big);
    struct o3_keys k = {.n = 0};
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d.yaml", i);
        assert_int_equal(o3_keys_set(&k, name, big, sizeof big - 1), 0);
    }
    assert_int_equal(o3_keys_set(&k, "m3.yaml", big, sizeof big - 1), O3_E_LIMIT);
    assert_true(o3_configmap_want(r->c, &k, "why", r->now));
    o3_keys_free(&k);
    run_for(r, 60);
    assert_int_equal(r->news.error, O3_PUBLISH_TOO_LARGE);
    assert_int_equal(r->kube.n_data_writes, 0);
}

static void test_nonsense_is_refused(void **state) {
    struct rig *r = *state;
    static const char *const BODIES[] = {"",
                                         "no JSON",
                                         "[]",
                                         "{}",
                                         "{\"kind\":\"Pod\",\"metadata\":{\"resourceVersion\":\"1\"}}",
                                         "{\"kind\":\"ConfigMap\",\"metadata\":{}}",
                                         "{\"kind\":\"ConfigMap\",\"metadata\":\"x\"}",
                                         "{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":7}}",
                                         ("{\"kind\":\"ConfigMap\",\"metadata\":{\"resourceVersion\":\"1\"},"
                                          "\"data\":{\"a\":1}}")};
    want(r, 4096);
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++) {
        struct o3_configmap_request rq;
        pass(r, 1200 * O3_NS_PER_S);
        assert_true(o3_configmap_request(r->c, r->now, &rq));
        assert_string_equal(rq.method, "GET");
        struct o3_configmap_reply reply = {.status = 200, .body = BODIES[i], .n = strlen(BODIES[i])};
        o3_configmap_reply(r->c, &reply, r->now, &r->news);
        assert_int_equal(r->news.error, O3_PUBLISH_BAD_REPLY);
    }
    run_for(r, 1200);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
}

static void set_writer(struct rig *r, const char *who, int64_t wall_ms) {
    char time[32], text[160];
    o3_rfc3339_format(wall_ms, time, sizeof time);
    snprintf(text, sizeof text, "%s %s", who, time);
    json_t *meta = json_object_get(r->kube.object, "metadata");
    json_object_set_new(meta, "annotations", json_pack("{s:s}", "o3-sidecar/writer", text));
    kube_stamp(&r->kube);
}

static void test_another_writer_is_left_alone_until_it_is_silent(void **state) {
    struct rig *r = *state;
    set_writer(r, "pod-b", r->now.wall_ms);
    want(r, 4096);
    run_for(r, 7000);
    assert_int_equal(r->news.outcome, O3_PUBLISH_NOT_WRITER);
    assert_string_equal(r->news.other, "pod-b");
    assert_int_equal(r->kube.n_data_writes, 0);
    run_for(r, 400);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    assert_true(r->news.is_taken);
    assert_string_equal(r->news.other, "pod-b");
}

static void test_a_place_with_an_impossible_time_is_free(void **state) {
    struct rig *r = *state;
    set_writer(r, "pod-b", r->now.wall_ms + 3 * 3600 * 1000LL);
    want(r, 4096);
    run_for(r, 10);
    assert_int_equal(r->news.outcome, O3_PUBLISH_WRITTEN);
    json_object_set_new(json_object_get(r->kube.object, "metadata"), "annotations",
                        json_pack("{s:s}", "o3-sidecar/writer", "nonsense"));
    kube_stamp(&r->kube);
    want(r, 8192);
    run_for(r, 10);
    assert_int_equal(r->n_outcomes[O3_PUBLISH_WRITTEN], 2);
}

static void test_the_place_is_given_back(void **state) {
    struct rig *r = *state;
    struct o3_configmap_request rq;
    assert_false(o3_configmap_release(r->c, &rq));
    want(r, 4096);
    run_for(r, 10);
    assert_true(o3_configmap_release(r->c, &rq));
    assert_int_equal(kube_answer(&r->kube, &rq), 200);
    assert_string_equal(kube_annotation(&r->kube, "writer"), "");
    assert_string_equal(kube_annotation(&r->kube, "generation"), "1");
    assert_string_equal(kube_data(&r->kube, "max_context.num_ctx"), "4096");
}

static void keep(struct rig *r, const char *text) {
    assert_true(o3_configmap_keep(r->c, text, strlen(text)));
}

/* What is known of baselines rides with patches that there are anyway, and readers do not see it come every hour. */
static void test_state_rides_along(void **state) {
    struct rig *r = *state;
    keep(r, "{\"n\":1}");
    run_for(r, 3600);
    assert_int_equal(r->n_requests, 0); /* nothing is wanted yet */
    want(r, 4096);
    run_for(r, 10);
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), "{\"n\":1}");
    char checksum[80];
    snprintf(checksum, sizeof checksum, "%s", kube_annotation(&r->kube, "checksum"));
    keep(r, "{\"n\":2}");
    run_for(r, 12 * 3600);
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), "{\"n\":1}");
    run_for(r, 13 * 3600);
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), "{\"n\":2}");
    assert_string_equal(kube_annotation(&r->kube, "checksum"), checksum);
    assert_string_equal(kube_annotation(&r->kube, "generation"), "1");
    assert_int_equal(r->n_outcomes[O3_PUBLISH_WRITTEN], 1);
    keep(r, "{\"n\":3}");
    struct o3_configmap_request rq;
    assert_true(o3_configmap_release(r->c, &rq));
    assert_int_equal(kube_answer(&r->kube, &rq), 200);
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), "{\"n\":3}");
    assert_string_equal(kube_annotation(&r->kube, "writer"), "");
    static char big[O3_CONFIGMAP_STATE_MAX + 2];
    memset(big, 'x', sizeof big - 1);
    assert_false(o3_configmap_keep(r->c, big, sizeof big - 1));
}

static void test_a_look_reads_the_state_and_writes_nothing(void **state) {
    struct rig *r = *state;
    kube_put(&r->kube, O3_KEY_STATE, "{\"n\":7}");
    r->kube.fail_status = 503;
    o3_configmap_look(r->c, r->now);
    run_for(r, 1);
    assert_int_equal(r->news.outcome, O3_PUBLISH_FAILED);
    assert_false(r->news.is_read);
    r->kube.fail_status = 0;
    run_for(r, 7200); /* tried again by itself, and then it rests */
    assert_string_equal(o3_configmap_state(r->c), "{\"n\":7}");
    assert_int_equal(r->kube.n_reads, 1);
    assert_int_equal(r->kube.n_data_writes + r->kube.n_writer_writes, 0);
    assert_false(o3_configmap_is_writer(r->c));
    want(r, 4096);
    run_for(r, 10);
    assert_string_equal(kube_data(&r->kube, O3_KEY_STATE), "{\"n\":7}"); /* without one of our own it stays */
}

static void test_url_of_the_environment(void **state) {
    (void)state;
    char url[300];
    assert_true(o3_kube_url("10.96.0.1", "443", url, sizeof url));
    assert_string_equal(url, "https://10.96.0.1:443");
    assert_true(o3_kube_url("fd00:10:96::1", "6443", url, sizeof url));
    assert_string_equal(url, "https://[fd00:10:96::1]:6443");
    assert_true(o3_kube_url("kubernetes.default.svc", "443", url, sizeof url));
    assert_false(o3_kube_url("", "443", url, sizeof url));
    assert_false(o3_kube_url("a b", "443", url, sizeof url));
    assert_false(o3_kube_url("evil/path@x", "443", url, sizeof url));
    assert_false(o3_kube_url("10.96.0.1", "0", url, sizeof url));
    assert_false(o3_kube_url("10.96.0.1", "65536", url, sizeof url));
    assert_false(o3_kube_url("10.96.0.1", "443x", url, sizeof url));
}

/* ---- recorded conversations ---- */

/* Of what is recorded, only what this publisher would ask: the object read or patched by its name. */
static bool is_of_ours(const json_t *rq, const char *object) {
    const char *method = json_string_value(json_object_get(rq, "method"));
    const char *path = json_string_value(json_object_get(rq, "path"));
    const char *type = json_string_value(json_object_get(json_object_get(rq, "headers"), "content-type"));
    char patched[640];
    snprintf(patched, sizeof patched, "%s?fieldManager=o3-sidecar", object);
    if (!strcmp(method, "GET")) return !strcmp(path, object);
    return !strcmp(method, "PATCH") && !strcmp(path, patched) && type && !strcmp(type, "application/merge-patch+json");
}

static struct o3_configmap_reply reply_of(const json_t *rs) {
    const char *after = json_string_value(json_object_get(json_object_get(rs, "headers"), "retry-after"));
    const char *body = json_string_value(json_object_get(rs, "body"));
    struct o3_configmap_reply r = {.status = (int)json_integer_value(json_object_get(rs, "status")), .body = body};
    if (after) assert_true(o3_int_parse(after, &r.retry_after_s));
    if (body) r.n = strlen(body);
    return r;
}

/* The request that the recorded answer belongs to; before a patch comes a read that works. */
static void ask(struct rig *r, const char *method, struct o3_configmap_request *ret) {
    want(r, 4096);
    pass(r, O3_NS_PER_S);
    assert_true(o3_configmap_request(r->c, r->now, ret));
    if (!strcmp(method, "PATCH")) {
        struct o3_configmap_reply read = {.status = kube_answer(&r->kube, ret)};
        read.body = r->kube.body;
        read.n = strlen(r->kube.body);
        o3_configmap_reply(r->c, &read, r->now, &r->news);
        assert_true(o3_configmap_request(r->c, r->now, ret));
    }
    assert_string_equal(ret->method, method);
}

/* What a real server answers is understood as the hand-written answers above are. */
static void play(const json_t *rq, const json_t *rs) {
    struct o3_configmap_reply reply = reply_of(rs);
    struct o3_configmap_request asked;
    void *state = NULL;
    set_up(&state);
    struct rig *r = state;
    ask(r, json_string_value(json_object_get(rq, "method")), &asked);
    bool is_tried_again = reply.status == 401 || reply.status == 409;
    for (int i = 0; i < (is_tried_again ? 8 : 1); i++) {
        o3_configmap_reply(r->c, &reply, r->now, &r->news);
        if (!is_tried_again || r->news.outcome != O3_PUBLISH_GOES_ON) break;
        pass(r, 3 * O3_NS_PER_S);
        assert_true(o3_configmap_request(r->c, r->now, &asked));
    }
    assert_int_equal(r->news.outcome == O3_PUBLISH_FAILED, reply.status != 200);
    if (reply.status != 200) {
        assert_int_not_equal(r->news.error, O3_PUBLISH_BAD_REPLY);
        /* The server's own words are told; too many requests are refused in plain text, before anything knows of
         * Status. */
        if (reply.body && *reply.body == '{') assert_non_null(strchr(r->news.text, ':'));
    }
    tear_down(&state);
}

static int play_file(const char *name) {
    char path[400], object[600];
    snprintf(path, sizeof path, "tests/k8s/conversations/%s", name);
    char *text = o3_test_read(path, NULL);
    json_error_t e;
    json_t *all = json_loads(text, 0, &e), *x;
    if (!all) fail_msg("%s: %s", path, e.text);
    snprintf(object, sizeof object, "/api/v1/namespaces/%s/configmaps/%s",
             json_string_value(json_object_get(all, "namespace")),
             json_string_value(json_object_get(all, "configmap")));
    size_t i;
    int n = 0;
    json_array_foreach(json_object_get(all, "exchanges"), i, x) {
        const json_t *rq = json_object_get(x, "request"), *rs = json_object_get(x, "response");
        if (!is_of_ours(rq, object) || !json_object_get(rs, "body")) continue;
        print_message("%s %zu\n", name, i);
        play(rq, rs);
        n++;
    }
    free(text);
    json_decref(all);
    return n;
}

static void test_recorded_conversations(void **state) {
    (void)state;
    DIR *dir = opendir(O3_SOURCE_DIR "/tests/k8s/conversations");
    assert_non_null(dir);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        if (len > 5 && !strcmp(entry->d_name + len - 5, ".json")) n += play_file(entry->d_name);
    }
    closedir(dir);
    assert_true(n >= 8);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void) {
    const struct CMUnitTest tests[] = {T(test_written_with_its_keys_and_annotations),
                                       T(test_checksum_is_of_the_whole_data),
                                       T(test_what_is_there_is_not_written),
                                       T(test_several_offers_are_one_patch),
                                       T(test_what_is_wanted_meanwhile_follows),
                                       T(test_only_what_differs_is_sent),
                                       T(test_budget_holds_and_the_newest_gets_through),
                                       T(test_place_is_renewed_outside_the_budget),
                                       T(test_what_somebody_changed_is_put_right),
                                       T(test_deleted_and_restored),
                                       T(test_nothing_is_lost_in_a_day_without_a_server),
                                       T(test_lost_answer_is_found_out),
                                       T(test_each_refusal_has_its_name),
                                       T(test_token_is_read_again_at_once),
                                       T(test_server_says_when_to_come_back),
                                       T(test_refused_content_waits_for_other_content),
                                       T(test_too_much_is_known_before_it_is_sent),
                                       T(test_nonsense_is_refused),
                                       T(test_another_writer_is_left_alone_until_it_is_silent),
                                       T(test_a_place_with_an_impossible_time_is_free),
                                       T(test_the_place_is_given_back),
                                       T(test_state_rides_along),
                                       T(test_a_look_reads_the_state_and_writes_nothing),
                                       cmocka_unit_test(test_url_of_the_environment),
                                       cmocka_unit_test(test_recorded_conversations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
