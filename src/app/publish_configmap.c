/* SPDX-License-Identifier: Apache-2.0 */
/* publish.configmap: o3/configmap.h on real sockets, with the token of the pod's service account. The token is read
 * from its file, sent, and told to nobody else: no log, no error, no page holds it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "app/publisher.h"
#include "io/file.h"

#define TOKEN_LIFE_NS (60 * O3_NS_PER_S)
#define TOKEN_BYTES_MAX (16u * 1024)
#define CONNECT_MS_MAX 5000
#define STOP_MS 300 /* for each of the summary and the last patch */
#define SUMMARY_LIFE_NS (5 * O3_NS_PER_S)

struct configmap {
    struct o3_publisher base; /* first */
    struct o3_configmap *talk;
    char reason[320];
    /* of the configuration at the start: a reload changes none of them */
    char name[O3_CONFIGMAP_NAME_MAX + 1], token_file[1024], ca_file[1024];
    int64_t timeout_ms;
    char url[O3_CONFIGMAP_NAME_MAX + 32]; /* "" none is known */
    char space[O3_CONFIGMAP_NAME_MAX + 1];
    char *token; /* NULL: none was read */
    int64_t token_at_ns;
    struct o3_configmap_request rq; /* in flight */
    bool is_busy, is_stopped, is_other_told;
    struct o3_xfer *xfer;
    struct o3_buf body;
    bool keeps_state;
    struct o3_state_summary summary;
    int64_t summary_at_ns; /* INT64_MIN none yet; the step that waited for it is due from then on */
};

/* ---- token and namespace ---- */

struct token_job {
    struct configmap *owner;
    const char *token_file; /* the owner's: it outlives the job */
    bool wants_space;
    char *token;
    char space[O3_CONFIGMAP_NAME_MAX + 1];
    struct o3_err err;
};

static void forget(char *token) {
    if (token) explicit_bzero(token, strlen(token));
    free(token);
}

/* A file of one word. */
static int read_word(const char *path, struct o3_buf *out, struct o3_err *e) {
    int r = o3_file_read(path, TOKEN_BYTES_MAX, out, e);
    if (r < 0) return r;
    while (out->len && strchr(" \t\r\n", out->p[out->len - 1]))
        out->p[--out->len] = '\0';
    for (size_t i = 0; i < out->len; i++)
        if (out->p[i] <= ' ' || out->p[i] > '~') return o3_err_set(e, O3_E_PARSE, "%.150s is not one word", path);
    return out->len ? 0 : o3_err_set(e, O3_E_PARSE, "%.150s is empty", path);
}

static int read_token(struct token_job *j) {
    O3_AUTO_BUF word;
    o3_buf_init(&word, TOKEN_BYTES_MAX);
    int r = read_word(j->token_file, &word, &j->err);
    if (r == 0) j->token = strdup(o3_buf_str(&word));
    if (word.p) explicit_bzero(word.p, word.cap);
    return r == 0 && !j->token ? o3_err_set(&j->err, O3_E_NOMEM, "no memory for the token") : r;
}

static int read_space(struct token_job *j) {
    char path[1200];
    const char *slash = strrchr(j->token_file, '/');
    snprintf(path, sizeof path, "%.*snamespace", slash ? (int)(slash - j->token_file) + 1 : 0, j->token_file);
    O3_AUTO_BUF word;
    o3_buf_init(&word, TOKEN_BYTES_MAX);
    int r = read_word(path, &word, &j->err);
    if (r < 0) return r;
    bool is_name = word.len <= 63 && strspn(o3_buf_str(&word), "abcdefghijklmnopqrstuvwxyz0123456789-") == word.len;
    if (!is_name) return o3_err_set(&j->err, O3_E_PARSE, "%.150s does not hold the name of a namespace", path);
    o3_str_copy(j->space, sizeof j->space, o3_buf_str(&word));
    return 0;
}

static void run_token(void *job) {
    struct token_job *j = job;
    int r = read_token(j);
    if (r == 0 && j->wants_space) r = read_space(j);
    if (r == 0) j->err.code = 0;
}

/* ---- answers ---- */

static void tell_writer(struct configmap *m, const struct o3_configmap_news *news) {
    struct o3_daemon *d = m->base.daemon;
    bool is_writer = o3_configmap_is_writer(m->talk);
    o3_metric_set(d->metrics, O3_M_PRESET_WRITER, O3_NO_LABELS, is_writer);
    if (news->is_taken)
        O3_DAEMON_EVENT(d, O3_EV_WRITER_TAKEN, O3_F_STR("configmap", m->base.name), O3_F_STR("previous", news->other));
    if (news->outcome == O3_PUBLISH_NOT_WRITER && !m->is_other_told)
        O3_DAEMON_EVENT(d, O3_EV_NOT_WRITER, O3_F_STR("configmap", m->base.name), O3_F_STR("writer", news->other));
    if (is_writer || news->outcome == O3_PUBLISH_NOT_WRITER) m->is_other_told = !is_writer;
}

static void answer(struct configmap *m, const struct o3_configmap_reply *r) {
    struct o3_configmap_news news;
    m->is_busy = false;
    o3_configmap_reply(m->talk, r, o3_now_read(), &news);
    if (m->is_stopped) return;
    if (news.is_read && m->base.daemon->state_until_ns)
        o3_daemon_state_came(m->base.daemon, o3_configmap_state(m->talk));
    tell_writer(m, &news);
    o3_daemon_published(&m->base, &news, m->reason);
}

static void trouble(struct configmap *m, enum o3_publish_error error, const char *text) {
    struct o3_configmap_reply r = {.trouble = error, .text = text};
    answer(m, &r);
}

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    (void)status, (void)mono_ns;
    struct configmap *m = ctx;
    (void)o3_buf_add(&m->body, bytes, n);
}

static enum o3_publish_error error_of(int code) {
    switch (code) {
    case 0:
        return O3_PUBLISH_OK;
    case O3_E_TIMEOUT:
        return O3_PUBLISH_TIMEOUT;
    case O3_E_LIMIT:
        return O3_PUBLISH_BAD_REPLY;
    default:
        return O3_PUBLISH_UNREACHABLE;
    }
}

static void on_end(void *ctx, const struct o3_http_result *r, int64_t mono_ns) {
    (void)mono_ns;
    struct configmap *m = ctx;
    struct o3_configmap_reply reply = {.trouble = error_of(m->body.err ? O3_E_LIMIT : r->code),
                                       .text = r->text,
                                       .status = r->status,
                                       .retry_after_s = r->retry_after_s,
                                       .body = o3_buf_str(&m->body),
                                       .n = m->body.len};
    m->xfer = NULL;
    answer(m, &reply);
}

/* ---- requests ---- */

static int send_request(struct configmap *m) {
    char url[1200];
    int64_t timeout_ms = m->timeout_ms;
    snprintf(url, sizeof url, "%s%s", m->url, m->rq.path);
    struct o3_http_req rq = {.method = m->rq.method,
                             .url = url,
                             .body = m->rq.body,
                             .body_len = m->rq.body_len,
                             .content_type = m->rq.content_type,
                             .bearer = m->token,
                             .ca_file = m->ca_file,
                             .connect_timeout_ms = timeout_ms < CONNECT_MS_MAX ? timeout_ms : CONNECT_MS_MAX,
                             .total_timeout_ms = timeout_ms,
                             .max_bytes = O3_CONFIGMAP_REPLY_MAX};
    struct o3_http_cb cb = {.on_data = on_data, .on_end = on_end, .ctx = m};
    o3_buf_clear(&m->body);
    return o3_http_start(m->base.daemon->http, &rq, &cb, &m->xfer);
}

static void send_or_fail(struct configmap *m) {
    if (!*m->url) {
        trouble(m, O3_PUBLISH_UNREACHABLE,
                "no API server is known: KUBERNETES_SERVICE_HOST is not set, as in every pod, nor kubernetes.url");
        return;
    }
    if (send_request(m) < 0) trouble(m, O3_PUBLISH_UNREACHABLE, "the request could not be started");
}

static void learn_space(struct configmap *m, const char *space) {
    o3_str_copy(m->space, sizeof m->space, space);
    o3_configmap_set_space(m->talk, space);
    snprintf(m->base.name, sizeof m->base.name, "%.63s/%.230s", space, m->name);
}

static void done_token(void *job) {
    struct token_job *j = job;
    struct configmap *m = j->owner;
    if (m->is_stopped) {
        forget(j->token);
        m->is_busy = false;
    } else if (j->err.code) {
        forget(j->token);
        trouble(m, O3_PUBLISH_NO_TOKEN, j->err.text);
    } else {
        forget(m->token);
        m->token = j->token;
        m->token_at_ns = o3_now_read().mono_ns;
        if (j->wants_space) learn_space(m, j->space);
        send_or_fail(m);
    }
    free(j);
}

static void fetch_token(struct configmap *m) {
    struct token_job *j = calloc(1, sizeof *j);
    if (j) *j = (struct token_job){.owner = m, .token_file = m->token_file, .wants_space = !*m->space};
    if (j && o3_loop_submit(m->base.daemon->loop, run_token, done_token, j) == 0) return;
    free(j);
    trouble(m, O3_PUBLISH_NO_TOKEN, "too much work is waiting");
}

/* ---- the summary of states ---- */

static void done_summary(struct o3_state_summary *s) {
    struct configmap *m = s->ctx;
    m->is_busy = false;
    m->summary_at_ns = o3_now_read().mono_ns;
    if (s->text.len && !o3_configmap_keep(m->talk, o3_buf_str(&s->text), s->text.len))
        O3_DAEMON_EVENT(m->base.daemon, O3_EV_LIMIT_REACHED, O3_F_STR("what", "memory for the summary of states"));
    o3_buf_done(&s->text);
}

/* True: it is being made, and the next step waits for it. */
static bool summarize(struct configmap *m, int64_t now_ns) {
    bool is_new = m->summary_at_ns != INT64_MIN && now_ns - m->summary_at_ns < SUMMARY_LIFE_NS;
    if (!m->keeps_state || is_new || m->base.daemon->state_until_ns) return false;
    m->summary = (struct o3_state_summary){.daemon = m->base.daemon, .done = done_summary, .ctx = m};
    m->is_busy = o3_daemon_summarize(&m->summary);
    return m->is_busy;
}

/* ---- as a publisher ---- */

static void configmap_want(struct o3_publisher *p, const struct o3_publish_want *want, struct o3_now now) {
    struct configmap *m = (struct configmap *)p;
    if (!want->keys) return;
    o3_str_copy(m->reason, sizeof m->reason, want->reason);
    if (!o3_configmap_want(m->talk, want->keys, want->reason, now))
        O3_DAEMON_EVENT(p->daemon, O3_EV_LIMIT_REACHED, O3_F_STR("what", "memory for the presets to publish"));
}

static int64_t configmap_deadline_ns(const struct o3_publisher *p) {
    const struct configmap *m = (const struct configmap *)p;
    int64_t at_ns = o3_configmap_deadline_ns(m->talk);
    if (m->is_busy || m->is_stopped) return INT64_MAX;
    return at_ns > m->summary_at_ns ? at_ns : m->summary_at_ns; /* a time long past would look like a late loop */
}

static void configmap_turn(struct o3_publisher *p, struct o3_now now) {
    struct configmap *m = (struct configmap *)p;
    if (m->is_busy || m->is_stopped || now.mono_ns < o3_configmap_deadline_ns(m->talk)) return;
    if (summarize(m, now.mono_ns) || !o3_configmap_request(m->talk, now, &m->rq)) return;
    m->is_busy = true;
    bool is_token_good = m->token && !m->rq.needs_new_token && now.mono_ns - m->token_at_ns < TOKEN_LIFE_NS;
    if (is_token_good)
        send_or_fail(m);
    else
        fetch_token(m);
}

static void configmap_view(const struct o3_publisher *p, struct o3_publisher_view *ret) {
    const struct configmap *m = (const struct configmap *)p;
    struct o3_configmap_view v;
    o3_configmap_view(m->talk, &v);
    *ret = (struct o3_publisher_view){.is_configured = true,
                                      .has_want = v.has_want,
                                      .is_pending = v.is_pending,
                                      .next_ns = configmap_deadline_ns(p),
                                      .generation = v.generation};
}

/* The place is given back, if that takes no time: the next pod need not wait two hours for it. */
static void wait_a_moment(struct configmap *m) {
    int64_t end_ns = o3_now_read().mono_ns + STOP_MS * O3_NS_PER_MS;
    while (m->is_busy && o3_now_read().mono_ns < end_ns)
        o3_loop_once(m->base.daemon->loop, 20);
}

static void configmap_stop(struct o3_publisher *p) {
    struct configmap *m = (struct configmap *)p;
    bool is_summarizing = m->is_busy && !m->xfer && m->summary.daemon;
    o3_xfer_cancel(m->xfer);
    m->xfer = NULL;
    m->is_stopped = true;
    m->summary_at_ns = INT64_MIN; /* what the engine saved as it stopped belongs to it */
    if (o3_configmap_is_writer(m->talk) && (is_summarizing || summarize(m, o3_now_read().mono_ns))) wait_a_moment(m);
    m->is_busy = m->token && *m->url && o3_configmap_release(m->talk, &m->rq) && send_request(m) == 0;
    wait_a_moment(m);
    o3_xfer_cancel(m->xfer);
    m->xfer = NULL;
}

static void configmap_free(struct o3_publisher *p) {
    struct configmap *m = (struct configmap *)p;
    o3_configmap_free(m->talk);
    forget(m->token);
    o3_buf_done(&m->body);
    o3_buf_done(&m->summary.text);
    free(m);
}

static void find_server(struct configmap *m) {
    const char *given = m->base.daemon->values->kubernetes_url;
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (*given)
        o3_str_copy(m->url, sizeof m->url, given);
    else if (!host || !o3_kube_url(host, port ? port : "443", m->url, sizeof m->url))
        m->url[0] = '\0';
    size_t n = strlen(m->url);
    if (n && m->url[n - 1] == '/') m->url[n - 1] = '\0';
}

static void find_writer(const struct o3_config_values *v, char *out, size_t size) {
    if (*v->kubernetes_pod_uid) {
        o3_str_copy(out, size, v->kubernetes_pod_uid);
        return;
    }
    char host[256] = "";
    if (gethostname(host, sizeof host - 1) < 0 || !*host) o3_str_copy(host, sizeof host, "unknown");
    o3_str_copy(out, size, host);
}

struct o3_publisher *o3_publisher_configmap_new(struct o3_daemon *d, uint64_t seed) {
    static const struct o3_publisher_kind KIND = {.target = "configmap",
                                                  .want = configmap_want,
                                                  .deadline_ns = configmap_deadline_ns,
                                                  .turn = configmap_turn,
                                                  .view = configmap_view,
                                                  .stop = configmap_stop,
                                                  .free = configmap_free};
    const struct o3_config_values *v = d->values;
    char writer[O3_CONFIGMAP_WRITER_MAX];
    struct configmap *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->base = (struct o3_publisher){.kind = &KIND, .daemon = d};
    o3_buf_init(&m->body, O3_CONFIGMAP_REPLY_MAX);
    find_writer(v, writer, sizeof writer);
    struct o3_configmap_params p = {.space = v->kubernetes_namespace,
                                    .name = v->publish_configmap,
                                    .writer = writer,
                                    .writes_per_hour = (int)v->publish_writes_per_hour,
                                    .seed = seed ^ (uint64_t)o3_now_read().wall_ms};
    if (o3_configmap_new(&p, &m->talk, NULL) < 0) {
        free(m);
        return NULL;
    }
    o3_str_copy(m->name, sizeof m->name, v->publish_configmap);
    o3_str_copy(m->token_file, sizeof m->token_file, v->kubernetes_token_file);
    o3_str_copy(m->ca_file, sizeof m->ca_file, v->kubernetes_ca_file);
    m->timeout_ms = v->kubernetes_timeout_ms;
    o3_str_copy(m->base.name, sizeof m->base.name, v->publish_configmap);
    if (*v->kubernetes_namespace) learn_space(m, v->kubernetes_namespace);
    find_server(m);
    m->keeps_state = v->publish_state;
    m->summary_at_ns = INT64_MIN;
    if (m->keeps_state) o3_daemon_await_state(d);
    if (d->state_until_ns) o3_configmap_look(m->talk, o3_now_read());
    o3_metric_set(d->metrics, O3_M_PRESET_WRITER, O3_NO_LABELS, 0);
    return &m->base;
}
