/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONFIGMAP_H
#define O3_CONFIGMAP_H
/* The conversation with a Kubernetes API server about one ConfigMap, with a Role of `get` and `patch` on that name:
 * read it, compare, patch it where it differs. Never list, never create. Pure: requests out, replies in.
 *
 *     o3_configmap_want(c, &keys, "why", now);
 *     at o3_configmap_deadline_ns(c): if (o3_configmap_request(c, now, &rq)) send it; when it ended:
 *     o3_configmap_reply(c, &reply, now, &news);
 *
 * One writer at a time: the annotation o3-sidecar/writer holds a pod and a time. It is taken with the resourceVersion
 * that was read, so that of several only one gets it; renewed every 30 minutes, which does not count as a write; and
 * taken over from a pod that was silent for 2 hours. What is wanted is kept until it is there, however long the server
 * is away. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"
#include "o3/keys.h"
#include "o3/publish.h"
#include "o3/text.h"

#define O3_CONFIGMAP_REPLY_MAX (4u * 1024 * 1024) /* a larger object is refused */
#define O3_CONFIGMAP_NAME_MAX 253
#define O3_CONFIGMAP_WRITER_MAX 128
#define O3_CONFIGMAP_RENEW_MS (30LL * 60 * O3_MS_PER_S)
#define O3_CONFIGMAP_STALE_MS (120LL * 60 * O3_MS_PER_S)

struct o3_configmap_news {
    enum o3_publish_outcome outcome;
    enum o3_publish_error error;
    size_t n_changed;                    /* keys, when written */
    bool is_taken;                       /* this pod has become the writer */
    char other[O3_CONFIGMAP_WRITER_MAX]; /* the writer: of NOT_WRITER, or whom it was taken from; "" nobody */
    bool is_read;                        /* an answer told what is there: o3_configmap_state is of it */
    char text[256];                      /* of a failure, for people */
};

struct o3_configmap_params {
    const char *space, *name; /* namespace, "" when it is told later, and name */
    const char *writer;       /* who we are: the pod's UID */
    int writes_per_hour;
    uint64_t seed;
};
struct o3_configmap_request {
    const char *method, *path, *content_type; /* borrowed until the reply; content_type NULL: no body */
    const char *body;
    size_t body_len;
    bool needs_new_token; /* the last one was refused: read the file again */
};
struct o3_configmap_reply {
    enum o3_publish_error trouble; /* NO_TOKEN, UNREACHABLE, TIMEOUT, BAD_REPLY: there is no answer */
    const char *text;              /* about it */
    int status;
    int64_t retry_after_s; /* 0: not said */
    const char *body;
    size_t n;
};

struct o3_configmap;
O3_MUST_CHECK int o3_configmap_new(const struct o3_configmap_params *p, struct o3_configmap **ret, struct o3_err *e);
void o3_configmap_free(struct o3_configmap *c);
/* The namespace, before a request is sent: the path of the present one becomes right. */
void o3_configmap_set_space(struct o3_configmap *c, const char *space);
/* What is to be there from now on; keys it does not name are left alone. False: no memory, the older want stays. */
bool o3_configmap_want(struct o3_configmap *c, const struct o3_keys *keys, const char *reason, struct o3_now now);
/* A text that is kept under O3_KEY_STATE. It is no preset: it goes with the next patch that there is, and by itself
 * only when what is there is a day old; it costs nothing of the budget and changes neither generation nor checksum. */
#define O3_CONFIGMAP_STATE_MAX (32u * 1024)
bool o3_configmap_keep(struct o3_configmap *c, const char *text, size_t n);
/* Read the object although nothing is wanted of it yet. */
void o3_configmap_look(struct o3_configmap *c, struct o3_now now);
/* What stood under O3_KEY_STATE when the object was read last; "" nothing. */
const char *o3_configmap_state(const struct o3_configmap *c);
int64_t o3_configmap_deadline_ns(const struct o3_configmap *c); /* INT64_MAX: nothing to do, or an answer is awaited */
bool o3_configmap_request(struct o3_configmap *c, struct o3_now now, struct o3_configmap_request *ret);
void o3_configmap_reply(struct o3_configmap *c, const struct o3_configmap_reply *r, struct o3_now now,
                        struct o3_configmap_news *ret);
bool o3_configmap_is_writer(const struct o3_configmap *c);

struct o3_configmap_view {
    bool has_want, is_pending; /* pending: not known to be there */
    int64_t generation;        /* of the object as it was seen last; -1 never */
};
void o3_configmap_view(const struct o3_configmap *c, struct o3_configmap_view *ret);
/* This process ends: gives the writer's place back, so that the next pod need not wait. False: it is not ours, or not
 * known. What was in flight is forgotten; no reply is due. */
bool o3_configmap_release(struct o3_configmap *c, struct o3_configmap_request *ret);

/* "https://10.0.0.1:443", "https://[fd00::1]:443" of what Kubernetes puts into the environment; false: not usable. */
bool o3_kube_url(const char *host, const char *port, char *out, size_t size);

#endif
