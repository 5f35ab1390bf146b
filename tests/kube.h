/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEST_KUBE_H
#define O3_TEST_KUBE_H
/* An API server with one ConfigMap, in memory: what kubernetes answers to `get` and `patch` of a named object. */
#include "o3_test.h"
#include <jansson.h>
#include <stdbool.h>
#include "o3/configmap.h"

#define KUBE_PATH "/api/v1/namespaces/llm/configmaps/o3-ai-configs"

struct kube {
    json_t *object; /* NULL: there is none */
    int64_t version;
    int fail_status; /* answers every request with it; 0: works */
    int n_reads, n_data_writes, n_writer_writes;
    enum o3_publish_error trouble; /* no answer at all */
    bool is_answer_lost;           /* the next patch is done, and its answer is lost */
    char body[512 * 1024];
};

static inline void kube_stamp(struct kube *k) {
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)++k->version);
    json_object_set_new(json_object_get(k->object, "metadata"), "resourceVersion", json_string(text));
}

static inline void kube_init(struct kube *k) {
    json_decref(k->object);
    k->object = json_pack("{s:s,s:s,s:{s:s,s:s}}", "kind", "ConfigMap", "apiVersion", "v1", "metadata", "name",
                          "o3-ai-configs", "namespace", "llm");
    kube_stamp(k);
}

static inline const char *kube_annotation(const struct kube *k, const char *name) {
    char full[80];
    snprintf(full, sizeof full, "o3-sidecar/%s", name);
    const char *s = json_string_value(
        json_object_get(json_object_get(json_object_get(k->object, "metadata"), "annotations"), full));
    return s ? s : "";
}

static inline const char *kube_data(const struct kube *k, const char *name) {
    return json_string_value(json_object_get(json_object_get(k->object, "data"), name));
}

static inline void kube_put(struct kube *k, const char *name, const char *value) {
    json_t *data = json_object_get(k->object, "data");
    if (!data) json_object_set_new(k->object, "data", data = json_object());
    json_object_set_new(data, name, json_string(value));
    kube_stamp(k);
}

static inline int kube_status(struct kube *k, int status, const char *message) {
    snprintf(k->body, sizeof k->body,
             "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"%s\",\"code\":%d}",
             message, status);
    return status;
}

/* RFC 7396. */
static inline void kube_merge(json_t *to, json_t *patch) {
    const char *name;
    json_t *v;
    json_object_foreach(patch, name, v) {
        if (json_is_null(v)) {
            json_object_del(to, name);
        } else if (json_is_object(v)) {
            json_t *inner = json_object_get(to, name);
            if (!json_is_object(inner)) json_object_set_new(to, name, inner = json_object());
            kube_merge(inner, v);
        } else {
            json_object_set(to, name, v);
        }
    }
}

static inline int kube_patch(struct kube *k, const struct o3_configmap_request *rq) {
    json_error_t e;
    assert_string_equal(rq->content_type, "application/merge-patch+json");
    json_t *patch = json_loadb(rq->body, rq->body_len, 0, &e);
    if (!patch) fail_msg("%s: %.*s", e.text, (int)rq->body_len, rq->body);
    json_t *meta = json_object_get(k->object, "metadata"), *asked = json_object_get(patch, "metadata");
    const char *version = json_string_value(json_object_get(asked, "resourceVersion"));
    assert_non_null(version); /* never without it */
    if (strcmp(version, json_string_value(json_object_get(meta, "resourceVersion"))) != 0) {
        json_decref(patch);
        return kube_status(k, 409, "the object has been modified; please apply your changes to the latest version");
    }
    if (json_object_get(patch, "data"))
        k->n_data_writes++;
    else
        k->n_writer_writes++;
    kube_merge(k->object, patch);
    json_decref(patch);
    kube_stamp(k);
    return 200;
}

static inline int kube_answer(struct kube *k, const struct o3_configmap_request *rq) {
    if (k->fail_status) return kube_status(k, k->fail_status, "made to fail");
    assert_memory_equal(rq->path, KUBE_PATH, strlen(KUBE_PATH));
    if (!k->object) return kube_status(k, 404, "configmaps \\\"o3-ai-configs\\\" not found");
    int status = 200;
    if (!strcmp(rq->method, "PATCH")) {
        assert_string_equal(rq->path, KUBE_PATH "?fieldManager=o3-sidecar");
        status = kube_patch(k, rq);
    } else {
        assert_string_equal(rq->method, "GET");
        k->n_reads++;
    }
    if (status != 200) return status;
    char *text = json_dumps(k->object, JSON_COMPACT);
    assert_true(strlen(text) < sizeof k->body);
    strcpy(k->body, text);
    free(text);
    return 200;
}

/* One exchange, when one is due; true when there was one. */
static inline bool kube_serve(struct kube *k, struct o3_configmap *c, struct o3_now now,
                              struct o3_configmap_news *ret) {
    struct o3_configmap_request rq;
    struct o3_configmap_reply reply = {.trouble = k->trouble, .text = "made to fail"};
    *ret = (struct o3_configmap_news){.outcome = O3_PUBLISH_GOES_ON};
    if (!o3_configmap_request(c, now, &rq)) return false;
    bool is_patch = !strcmp(rq.method, "PATCH");
    if (!k->trouble) {
        reply.status = kube_answer(k, &rq);
        reply.body = k->body;
        reply.n = strlen(k->body);
        if (k->fail_status == 429) reply.retry_after_s = 30;
    }
    if (is_patch && k->is_answer_lost) {
        k->is_answer_lost = false;
        reply = (struct o3_configmap_reply){.trouble = O3_PUBLISH_TIMEOUT, .text = "no answer in time"};
    }
    o3_configmap_reply(c, &reply, now, ret);
    return true;
}

#endif
