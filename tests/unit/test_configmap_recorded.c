/* SPDX-License-Identifier: Apache-2.0 */
/* Whole conversations with a real API server (tests/k8s/conversations, written by ./dev record): what the publisher
 * asks is what was recorded, each recorded answer leads to the next question, and all of it to the right end. */
#include <jansson.h>
#include <stdlib.h>
#include "o3/configmap.h"
#include "o3/text.h"
#include "o3_test.h"

#define STEPS_MAX 6
#define RECORDED_MS 1795262400000LL /* 2026-11-21T12:00:00Z, to which every recorded time was set */
#define END -1

/* `order`: the recorded exchanges in the order in which they come; what others said in between is left out. */
struct tale {
    const char *file;
    int order[STEPS_MAX + 1];
    enum o3_publish_outcome outcome;
    enum o3_publish_error first_error; /* of a failure on the way that is told; OK: none */
    const char *text;                  /* in the server's words, or the other writer */
};

static const struct tale TALES[] = {
    {"first-write", {0, 1, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"data-of-others", {0, 1, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"unchanged-write", {0, 1, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"conflict", {0, 1, 2, 3, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"two-writers", {0, 2, 3, END}, O3_PUBLISH_NOT_WRITER, O3_PUBLISH_OK, "pod-a"},
    {"expired-token", {0, 1, 0, 2, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"deleted-and-restored", {0, 2, 5, 6, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_NOT_FOUND, ""},
    {"deleted-and-restored", {0, 3, 5, 6, END}, O3_PUBLISH_WRITTEN, O3_PUBLISH_OK, ""},
    {"missing", {0, END}, O3_PUBLISH_FAILED, O3_PUBLISH_NOT_FOUND, "not found"},
    {"forbidden", {0, END}, O3_PUBLISH_FAILED, O3_PUBLISH_FORBIDDEN, "cannot get resource"},
    {"forbidden-to-write", {0, 1, END}, O3_PUBLISH_FAILED, O3_PUBLISH_FORBIDDEN, "cannot patch resource"},
    {"no-token", {0, END}, O3_PUBLISH_FAILED, O3_PUBLISH_FORBIDDEN, "system:anonymous"},
    {"garbage-token", {0, 0, END}, O3_PUBLISH_FAILED, O3_PUBLISH_UNAUTHORIZED, "Unauthorized"},
    {"token-of-a-deleted-pod", {0, 0, END}, O3_PUBLISH_FAILED, O3_PUBLISH_UNAUTHORIZED, "Unauthorized"},
    {"invalid-key", {0, 1, END}, O3_PUBLISH_FAILED, O3_PUBLISH_INVALID, "a valid config key"},
    {"too-large", {0, 1, END}, O3_PUBLISH_FAILED, O3_PUBLISH_INVALID, "1048576"},
    {"overloaded", {1, END}, O3_PUBLISH_FAILED, O3_PUBLISH_THROTTLED, "429"},
};

struct rig {
    const struct tale *tale;
    json_t *all;
    struct o3_configmap *c;
    struct o3_now now;
    struct o3_configmap_news last; /* that told something */
    enum o3_publish_error first_error;
    char version[32]; /* that the last recorded read showed */
};

static json_t *load(const char *name) {
    char path[300];
    json_error_t e;
    snprintf(path, sizeof path, "tests/k8s/conversations/%s.json", name);
    char *text = o3_test_read(path, NULL);
    json_t *all = json_loads(text, 0, &e);
    if (!all) fail_msg("%s: %s", path, e.text);
    free(text);
    return all;
}

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void begin(struct rig *r, const struct tale *t) {
    *r = (struct rig){.tale = t, .now = {.mono_ns = O3_NS_PER_S, .wall_ms = RECORDED_MS}};
    r->all = load(t->file);
    struct o3_configmap_params p = {.space = text_of(r->all, "namespace"),
                                    .name = text_of(r->all, "configmap"),
                                    .writer = "pod-b",
                                    .writes_per_hour = 6,
                                    .seed = 1};
    struct o3_keys keys = {.n = 0};
    struct o3_preset_doc d = {.model = "sim-small:latest"};
    d.presets[O3_PRESET_BALANCED] = (struct o3_preset){.is_set = true, .num_ctx = 8192};
    assert_int_equal(o3_configmap_new(&p, &r->c, NULL), 0);
    assert_int_equal(o3_keys_add_doc(&keys, &d, "sim-small_latest", false), 0);
    assert_true(o3_configmap_want(r->c, &keys, "drift_confirmed", r->now));
    o3_keys_free(&keys);
}

/* Every key of what we send stands in what the real server was sent, where a patch was recorded. */
static void check_shape(json_t *ours, const json_t *recorded) {
    const char *key;
    json_t *v;
    json_object_foreach(ours, key, v) {
        if (!json_object_get(recorded, key)) fail_msg("the recorded patch has no %s", key);
    }
}

static void check_patch(struct rig *r, const struct o3_configmap_request *asked, const json_t *recorded) {
    json_error_t e;
    json_t *ours = json_loadb(asked->body, asked->body_len, 0, &e);
    json_t *theirs = json_loads(text_of(recorded, "body"), 0, &e);
    assert_non_null(ours);
    json_t *meta = json_object_get(ours, "metadata");
    assert_string_equal(text_of(meta, "resourceVersion"), r->version);
    assert_string_equal(asked->content_type, text_of(json_object_get(recorded, "headers"), "content-type"));
    if (theirs) { /* of a long body only the beginning was kept */
        check_shape(ours, theirs);
        check_shape(meta, json_object_get(theirs, "metadata"));
    }
    json_decref(ours);
    json_decref(theirs);
}

static void note_version(struct rig *r, const char *body) {
    json_error_t e;
    json_t *o = json_loads(body, 0, &e);
    o3_str_copy(r->version, sizeof r->version, text_of(json_object_get(o, "metadata"), "resourceVersion"));
    json_decref(o);
}

static void answer(struct rig *r, const json_t *rs) {
    const char *after = text_of(json_object_get(rs, "headers"), "retry-after");
    struct o3_configmap_reply reply = {.status = (int)json_integer_value(json_object_get(rs, "status")),
                                       .body = text_of(rs, "body")};
    struct o3_configmap_news news;
    reply.n = strlen(reply.body);
    if (*after) assert_true(o3_int_parse(after, &reply.retry_after_s));
    if (reply.status == 200) note_version(r, reply.body);
    o3_configmap_reply(r->c, &reply, r->now, &news);
    if (news.outcome == O3_PUBLISH_GOES_ON) return;
    r->last = news;
    if (!r->first_error && news.outcome == O3_PUBLISH_FAILED) r->first_error = news.error;
}

static void step(struct rig *r, int which, bool is_after_refusal) {
    const json_t *x = json_array_get(json_object_get(r->all, "exchanges"), (size_t)which);
    const json_t *rq = json_object_get(x, "request");
    struct o3_configmap_request asked;
    assert_non_null(x);
    int64_t at_ns = o3_configmap_deadline_ns(r->c);
    assert_true(at_ns < INT64_MAX);
    if (at_ns > r->now.mono_ns) r->now.mono_ns = at_ns;
    assert_true(o3_configmap_request(r->c, r->now, &asked));
    assert_int_equal(asked.needs_new_token, is_after_refusal);
    assert_string_equal(asked.method, text_of(rq, "method"));
    assert_string_equal(asked.path, text_of(rq, "path"));
    if (asked.body) check_patch(r, &asked, rq);
    answer(r, json_object_get(x, "response"));
}

static bool is_refusal(const struct rig *r, int which) {
    const json_t *x = json_array_get(json_object_get(r->all, "exchanges"), (size_t)which);
    return json_integer_value(json_object_get(json_object_get(x, "response"), "status")) == 401;
}

static void play(const struct tale *t) {
    struct rig r;
    begin(&r, t);
    for (int i = 0; t->order[i] != END; i++)
        step(&r, t->order[i], i > 0 && is_refusal(&r, t->order[i - 1]));
    assert_int_equal(r.last.outcome, t->outcome);
    assert_int_equal(r.first_error, t->first_error);
    const char *told = t->outcome == O3_PUBLISH_NOT_WRITER ? r.last.other : r.last.text;
    if (!strstr(told, t->text)) fail_msg("\"%s\" is not in: %s", t->text, told);
    assert_int_equal(o3_configmap_is_writer(r.c), t->outcome == O3_PUBLISH_WRITTEN);
    o3_configmap_free(r.c);
    json_decref(r.all);
}

static void test_whole_conversations(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof TALES / sizeof *TALES; i++) {
        print_message("%s\n", TALES[i].file);
        play(&TALES[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole_conversations)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
