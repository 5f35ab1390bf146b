/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/configmap.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "o3/pace.h"
#include "publish/object.h"

#define SETTLE_NS (500 * O3_NS_PER_MS)     /* several models become one patch */
#define CONFLICT_SPAN_NS (2 * O3_NS_PER_S) /* within which a lost race is run again */
#define LOOK_AGAIN_NS (300 * O3_NS_PER_S)  /* while another pod is the writer */
#define HOPELESS_NS (600 * O3_NS_PER_S)    /* what the server refused for its content */
#define STATE_AGE_NS (24 * 3600 * O3_NS_PER_S)
#define RETRY_AFTER_MAX_S 3600
#define CONFLICTS_MAX 5
#define PATCH_BYTES_MAX (3u * 1024 * 1024)
#define REASON_SIZE 256

enum step { IDLE, READING, PATCHING };

struct o3_configmap {
    char name[O3_CONFIGMAP_NAME_MAX + 1];
    char path[2 * O3_CONFIGMAP_NAME_MAX + 64], patch_path[2 * O3_CONFIGMAP_NAME_MAX + 96];
    char writer[O3_CONFIGMAP_WRITER_MAX];
    struct o3_pace pace;

    struct o3_keys want;
    char reason[REASON_SIZE];
    bool has_want, is_pending; /* pending: not known to be there */
    uint64_t n_wants, n_wants_sent;

    enum step step;
    int64_t at_ns; /* of the next step; INT64_MAX none */
    struct o3_buf body;
    int n_conflicts;
    bool needs_new_token, is_token_new, is_sent_unsure; /* unsure: a patch was sent and its answer never came */
    bool is_data_patch;
    size_t n_changed;
    enum o3_publish_error last_error;

    struct o3_buf state, state_there; /* to be kept; as it was read last */
    int64_t state_at_ns;              /* when it was written last; INT64_MIN never by this process */
    bool is_state_sent;

    bool is_writer;
    int64_t generation; /* of the last answer; -1 none yet */
    char version[64];   /* of the last answer; "" unknown */
    char other[O3_CONFIGMAP_WRITER_MAX];
};

void o3_configmap_set_space(struct o3_configmap *c, const char *space) {
    snprintf(c->path, sizeof c->path, "/api/v1/namespaces/%.253s/configmaps/%s", space, c->name);
    snprintf(c->patch_path, sizeof c->patch_path, "%s?fieldManager=o3-sidecar", c->path);
}

int o3_configmap_new(const struct o3_configmap_params *p, struct o3_configmap **ret, struct o3_err *e) {
    struct o3_configmap *c = calloc(1, sizeof *c);
    if (!c) return o3_err_set(e, O3_E_NOMEM, "no memory for the ConfigMap's publisher");
    o3_str_copy(c->name, sizeof c->name, p->name);
    o3_configmap_set_space(c, p->space);
    o3_str_copy(c->writer, sizeof c->writer, p->writer);
    o3_pace_init(&c->pace, p->writes_per_hour, p->seed);
    o3_buf_init(&c->body, PATCH_BYTES_MAX);
    o3_buf_init(&c->state, O3_CONFIGMAP_STATE_MAX);
    o3_buf_init(&c->state_there, O3_CONFIGMAP_STATE_MAX);
    c->state_at_ns = INT64_MIN;
    c->at_ns = INT64_MAX;
    c->generation = -1;
    *ret = c;
    return 0;
}

void o3_configmap_free(struct o3_configmap *c) {
    if (!c) return;
    o3_keys_free(&c->want);
    o3_buf_done(&c->body);
    o3_buf_done(&c->state);
    o3_buf_done(&c->state_there);
    free(c);
}

bool o3_configmap_is_writer(const struct o3_configmap *c) {
    return c->is_writer;
}

void o3_configmap_view(const struct o3_configmap *c, struct o3_configmap_view *ret) {
    *ret = (struct o3_configmap_view){
        .has_want = c->has_want, .is_pending = c->is_pending, .generation = c->generation};
}

bool o3_configmap_want(struct o3_configmap *c, const struct o3_keys *keys, const char *reason, struct o3_now now) {
    struct o3_keys copy;
    if (c->has_want && o3_keys_equal(&c->want, keys)) return true;
    if (o3_keys_copy(keys, &copy) < 0) return false;
    o3_keys_free(&c->want);
    c->want = copy;
    o3_str_copy(c->reason, sizeof c->reason, reason);
    c->has_want = c->is_pending = true;
    c->n_wants++;
    if (c->step != IDLE) return true;
    /* A server that fails is not asked sooner because there is more to say, but for content that it refused. */
    bool may_help = !c->pace.n_failures || c->last_error == O3_PUBLISH_INVALID || c->last_error == O3_PUBLISH_TOO_LARGE;
    int64_t soon_ns = now.mono_ns + SETTLE_NS;
    if (may_help && soon_ns < c->at_ns) c->at_ns = soon_ns;
    return true;
}

bool o3_configmap_keep(struct o3_configmap *c, const char *text, size_t n) {
    if (n > O3_CONFIGMAP_STATE_MAX) return false;
    o3_buf_clear(&c->state);
    return o3_buf_add(&c->state, text, n) == 0;
}

void o3_configmap_look(struct o3_configmap *c, struct o3_now now) {
    if (c->step == IDLE && now.mono_ns < c->at_ns) c->at_ns = now.mono_ns;
}

const char *o3_configmap_state(const struct o3_configmap *c) {
    return o3_buf_str(&c->state_there);
}

int64_t o3_configmap_deadline_ns(const struct o3_configmap *c) {
    return c->at_ns;
}

static void fill_request(struct o3_configmap *c, struct o3_configmap_request *ret) {
    bool is_patch = c->step == PATCHING;
    *ret = (struct o3_configmap_request){.method = is_patch ? "PATCH" : "GET",
                                         .path = is_patch ? c->patch_path : c->path,
                                         .content_type = is_patch ? "application/merge-patch+json" : NULL,
                                         .body = is_patch ? o3_buf_str(&c->body) : NULL,
                                         .body_len = is_patch ? c->body.len : 0,
                                         .needs_new_token = c->needs_new_token};
    c->needs_new_token = false;
}

bool o3_configmap_request(struct o3_configmap *c, struct o3_now now, struct o3_configmap_request *ret) {
    if (now.mono_ns < c->at_ns) return false;
    if (c->step == IDLE) c->step = READING;
    c->at_ns = INT64_MAX;
    fill_request(c, ret);
    return true;
}

/* ---- failures ---- */

static enum o3_publish_error error_of_status(int status) {
    static const struct {
        int status;
        enum o3_publish_error error;
    } KNOWN[] = {{400, O3_PUBLISH_INVALID},      {401, O3_PUBLISH_UNAUTHORIZED}, {403, O3_PUBLISH_FORBIDDEN},
                 {404, O3_PUBLISH_NOT_FOUND},    {409, O3_PUBLISH_CONFLICT},     {413, O3_PUBLISH_TOO_LARGE},
                 {415, O3_PUBLISH_INVALID},      {422, O3_PUBLISH_INVALID},      {429, O3_PUBLISH_THROTTLED},
                 {504, O3_PUBLISH_SERVER_ERROR}, {408, O3_PUBLISH_TIMEOUT}};
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (KNOWN[i].status == status) return KNOWN[i].error;
    if (status >= 200 && status < 300) return O3_PUBLISH_OK;
    return status >= 500 && status < 600 ? O3_PUBLISH_SERVER_ERROR : O3_PUBLISH_BAD_REPLY;
}

static int64_t wait_after(struct o3_configmap *c, enum o3_publish_error error, int64_t retry_after_s) {
    int64_t wait = o3_pace_failed_ns(&c->pace);
    if (error == O3_PUBLISH_INVALID || error == O3_PUBLISH_TOO_LARGE) wait = HOPELESS_NS;
    if (retry_after_s > RETRY_AFTER_MAX_S) retry_after_s = RETRY_AFTER_MAX_S;
    int64_t asked = retry_after_s * O3_NS_PER_S;
    if (retry_after_s > 0 && asked > wait) wait = asked + o3_pace_jitter_ns(&c->pace, asked / 5);
    return wait;
}

static void fail(struct o3_configmap *c, enum o3_publish_error error, int64_t retry_after_s, int64_t now_ns,
                 struct o3_configmap_news *ret) {
    c->step = IDLE;
    c->n_conflicts = 0;
    c->is_token_new = false;
    c->last_error = error;
    c->at_ns = now_ns + wait_after(c, error, retry_after_s);
    ret->outcome = O3_PUBLISH_FAILED;
    ret->error = error;
}

static void fail_with(struct o3_configmap *c, enum o3_publish_error error, const char *text, int64_t now_ns,
                      struct o3_configmap_news *ret) {
    o3_str_copy(ret->text, sizeof ret->text, text);
    fail(c, error, 0, now_ns, ret);
}

static void read_again(struct o3_configmap *c, int64_t at_ns) {
    c->step = IDLE;
    c->at_ns = at_ns;
}

static void refuse(struct o3_configmap *c, const struct o3_configmap_reply *r, int64_t now_ns,
                   struct o3_configmap_news *ret) {
    enum o3_publish_error error = error_of_status(r->status);
    if (error == O3_PUBLISH_UNAUTHORIZED && !c->is_token_new) {
        c->needs_new_token = c->is_token_new = true;
        read_again(c, now_ns);
        return;
    }
    if (error == O3_PUBLISH_CONFLICT && c->n_conflicts < CONFLICTS_MAX) {
        c->n_conflicts++;
        read_again(c, now_ns + o3_pace_jitter_ns(&c->pace, CONFLICT_SPAN_NS));
        return;
    }
    char message[200];
    status_message(r->body, r->n, message, sizeof message);
    snprintf(ret->text, sizeof ret->text, "status %d%s%s", r->status, *message ? ": " : "", message);
    if (error == O3_PUBLISH_UNAUTHORIZED) c->needs_new_token = true;
    fail(c, error, r->retry_after_s, now_ns, ret);
}

/* ---- the writer's place ---- */

static bool is_ours(const struct o3_configmap *c, const struct object *o) {
    return !strcmp(o->writer, c->writer);
}

/* Silent for so long, or of a clock that cannot be: then nobody holds the place. */
static bool is_held(const struct object *o, int64_t wall_ms) {
    int64_t age_ms = wall_ms - o->writer_ms;
    return *o->writer && o->writer_ms && age_ms < O3_CONFIGMAP_STALE_MS && age_ms > -O3_CONFIGMAP_STALE_MS;
}

static bool is_renewal_due(const struct object *o, int64_t wall_ms) {
    int64_t age_ms = wall_ms - o->writer_ms;
    return !o->writer_ms || age_ms >= O3_CONFIGMAP_RENEW_MS / 2 || age_ms < -O3_CONFIGMAP_RENEW_MS;
}

static void be_no_writer(struct o3_configmap *c, const struct object *o, struct o3_now now,
                         struct o3_configmap_news *ret) {
    c->is_writer = false;
    c->step = IDLE;
    c->n_conflicts = 0;
    int64_t free_ns = (o->writer_ms + O3_CONFIGMAP_STALE_MS - now.wall_ms) * O3_NS_PER_MS;
    int64_t wait_ns = free_ns < LOOK_AGAIN_NS ? free_ns : LOOK_AGAIN_NS;
    c->at_ns = now.mono_ns + wait_ns + o3_pace_jitter_ns(&c->pace, LOOK_AGAIN_NS / 5);
    ret->outcome = O3_PUBLISH_NOT_WRITER;
    o3_str_copy(ret->other, sizeof ret->other, o->writer);
}

/* A little earlier than asked for, each time another bit: pods that started together drift apart. */
static int64_t renew_at_ns(struct o3_configmap *c, int64_t now_ns) {
    int64_t span = O3_CONFIGMAP_RENEW_MS * O3_NS_PER_MS;
    return now_ns + span - o3_pace_jitter_ns(&c->pace, span / 20);
}

/* ---- what was read ---- */

static void settle(struct o3_configmap *c, int64_t now_ns) {
    c->step = IDLE;
    c->n_conflicts = 0;
    c->pace.n_failures = 0;
    c->last_error = O3_PUBLISH_OK;
    c->is_token_new = c->is_sent_unsure = false;
    c->at_ns = c->is_pending ? now_ns + SETTLE_NS : c->has_want ? renew_at_ns(c, now_ns) : INT64_MAX;
}

static bool is_state_old(const struct o3_configmap *c, int64_t now_ns) {
    return c->state_at_ns == INT64_MIN || now_ns - c->state_at_ns >= STATE_AGE_NS;
}

/* The text to send with a patch. Readers see every change of an object: one for its sake alone comes once a day. */
static const char *state_to_send(const struct o3_configmap *c, bool is_data_patch, int64_t now_ns) {
    if (!c->state.len || !strcmp(o3_buf_str(&c->state), o3_buf_str(&c->state_there))) return NULL;
    return is_data_patch || is_state_old(c, now_ns) ? o3_buf_str(&c->state) : NULL;
}

static void begin_patch(struct o3_configmap *c, const struct object *o, struct o3_now now,
                        struct o3_configmap_news *ret) {
    struct patch p = {.version = o->version,
                      .writer = c->writer,
                      .wall_ms = now.wall_ms,
                      .have = c->n_changed ? o : NULL,
                      .want = &c->want,
                      .reason = c->reason,
                      .state = state_to_send(c, c->n_changed > 0, now.mono_ns)};
    c->is_state_sent = p.state != NULL;
    o3_buf_clear(&c->body);
    int r = patch_encode(&p, &c->body);
    if (r < 0) {
        o3_buf_clear(&c->body);
        fail_with(c, r == O3_E_LIMIT ? O3_PUBLISH_TOO_LARGE : O3_PUBLISH_BAD_REPLY,
                  r == O3_E_LIMIT ? "the presets and what else is in the ConfigMap are over its limit of 1 MiB"
                                  : "no memory for the patch",
                  now.mono_ns, ret);
        return;
    }
    c->is_data_patch = c->n_changed > 0;
    c->n_wants_sent = c->n_wants;
    o3_str_copy(c->other, sizeof c->other, is_ours(c, o) ? "" : o->writer);
    c->step = PATCHING;
    c->at_ns = now.mono_ns;
}

static void nothing_to_change(struct o3_configmap *c, const struct object *o, struct o3_now now,
                              struct o3_configmap_news *ret) {
    if (c->is_pending) {
        /* Whose answer was lost did arrive. */
        ret->outcome = c->is_sent_unsure && is_ours(c, o) ? O3_PUBLISH_WRITTEN : O3_PUBLISH_UNCHANGED;
        c->is_pending = false;
    }
    if (!is_ours(c, o) || is_renewal_due(o, now.wall_ms)) {
        begin_patch(c, o, now, ret);
        return;
    }
    ret->is_taken = !c->is_writer;
    c->is_writer = true;
    settle(c, now.mono_ns);
}

static void decide(struct o3_configmap *c, const struct object *o, struct o3_now now, struct o3_configmap_news *ret) {
    o3_str_copy(c->version, sizeof c->version, o->version);
    if (!c->has_want) { /* somebody looks, and does not write yet */
        settle(c, now.mono_ns);
        return;
    }
    if (!is_ours(c, o) && is_held(o, now.wall_ms)) {
        be_no_writer(c, o, now, ret);
        return;
    }
    c->n_changed = o3_keys_count_changes(&o->data, &c->want);
    if (!c->n_changed) {
        nothing_to_change(c, o, now, ret);
        return;
    }
    c->is_pending = true; /* also what somebody else has changed or lost */
    int64_t free_ns = o3_pace_free_at_ns(&c->pace, now.mono_ns);
    bool may_write = free_ns <= now.mono_ns;
    if (!may_write && is_ours(c, o) && !is_renewal_due(o, now.wall_ms)) {
        read_again(c, free_ns);
        return;
    }
    if (!may_write) c->n_changed = 0; /* the place alone */
    begin_patch(c, o, now, ret);
}

static void read_done(struct o3_configmap *c, const struct o3_configmap_reply *r, struct o3_now now,
                      struct o3_configmap_news *ret) {
    struct object o;
    struct o3_err e;
    int code = object_parse(r->body, r->n, &o, &e);
    if (code < 0) {
        fail_with(c, code == O3_E_LIMIT ? O3_PUBLISH_TOO_LARGE : O3_PUBLISH_BAD_REPLY, e.text, now.mono_ns, ret);
        return;
    }
    const struct o3_key *state = o3_keys_find(&o.data, O3_KEY_STATE);
    o3_buf_clear(&c->state_there);
    if (state && o3_buf_add(&c->state_there, state->value, state->n) < 0) o3_buf_clear(&c->state_there);
    ret->is_read = true;
    c->generation = o.generation;
    decide(c, &o, now, ret);
    object_free(&o);
}

static void patch_done(struct o3_configmap *c, const struct o3_configmap_reply *r, struct o3_now now,
                       struct o3_configmap_news *ret) {
    struct object o;
    c->version[0] = '\0';
    if (object_parse(r->body, r->n, &o, NULL) == 0) {
        o3_str_copy(c->version, sizeof c->version, o.version);
        c->generation = o.generation;
        object_free(&o);
    }
    ret->is_taken = !c->is_writer;
    if (ret->is_taken) o3_str_copy(ret->other, sizeof ret->other, c->other);
    c->is_writer = true;
    if (c->is_state_sent) c->state_at_ns = now.mono_ns;
    if (c->is_data_patch) {
        o3_pace_wrote(&c->pace, now.mono_ns);
        ret->outcome = O3_PUBLISH_WRITTEN;
        ret->n_changed = c->n_changed;
        c->is_pending = c->n_wants != c->n_wants_sent;
    }
    settle(c, now.mono_ns);
}

void o3_configmap_reply(struct o3_configmap *c, const struct o3_configmap_reply *r, struct o3_now now,
                        struct o3_configmap_news *ret) {
    *ret = (struct o3_configmap_news){.outcome = O3_PUBLISH_GOES_ON};
    bool was_patch = c->step == PATCHING;
    o3_buf_clear(&c->body);
    if (c->step == IDLE) return;
    if (r->trouble != O3_PUBLISH_OK) {
        c->is_sent_unsure |= was_patch && c->is_data_patch;
        fail_with(c, r->trouble, r->text ? r->text : "", now.mono_ns, ret);
    } else if (error_of_status(r->status) != O3_PUBLISH_OK) {
        refuse(c, r, now.mono_ns, ret);
    } else if (was_patch) {
        patch_done(c, r, now, ret);
    } else {
        read_done(c, r, now, ret);
    }
}

bool o3_configmap_release(struct o3_configmap *c, struct o3_configmap_request *ret) {
    bool is_new = c->state.len && strcmp(o3_buf_str(&c->state), o3_buf_str(&c->state_there)) != 0;
    struct patch p = {.version = c->version, .writer = "", .state = is_new ? o3_buf_str(&c->state) : NULL};
    if (!c->is_writer || !*c->version) return false;
    o3_buf_clear(&c->body);
    if (patch_encode(&p, &c->body) < 0) return false;
    c->is_writer = false;
    c->step = PATCHING;
    c->at_ns = INT64_MAX;
    fill_request(c, ret);
    return true;
}

/* ---- where the server is ---- */

bool o3_kube_url(const char *host, const char *port, char *out, size_t size) {
    int64_t number;
    size_t n = strlen(host);
    bool is_v6 = strchr(host, ':') != NULL;
    const char *v6 = "0123456789abcdefABCDEF:.";
    const char *v4_or_name = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.";
    if (!n || n > O3_CONFIGMAP_NAME_MAX || strspn(host, is_v6 ? v6 : v4_or_name) != n) return false;
    if (!o3_int_parse(port, &number) || number < 1 || number > 65535) return false;
    int len = snprintf(out, size, "https://%s%s%s:%d", is_v6 ? "[" : "", host, is_v6 ? "]" : "", (int)number);
    return len > 0 && (size_t)len < size;
}
