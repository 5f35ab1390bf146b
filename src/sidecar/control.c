/* SPDX-License-Identifier: Apache-2.0 */
/* The small requests: which server is there, what is loaded. One at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

#define VERSION_EVERY_NS (300LL * O3_NS_PER_S)  /* besides before each probe, and when a restart may have been */
#define VERSION_FRESH_NS (100LL * O3_NS_PER_MS) /* no server restarts and loads a model in so short a time */
#define BACKOFF_MAX_NS (30LL * O3_NS_PER_S)
#define CONTROL_BYTES_MAX (4u << 20) /* /api/show carries the whole tensor list */
#define BODY_BYTES_KEPT (16u << 10)  /* for the next answer */
#define PS_TEXT_MAX (64u << 10)      /* of /api/ps, kept to know the same list again */

static void set_error(struct o3_sidecar *s, const char *text) {
    o3_str_copy(s->last_error, sizeof s->last_error, text);
}

static void go_down(struct o3_sidecar *s, const char *error, struct o3_now now) {
    if (s->is_up || s->n_failures == 0) O3_SC_EVENT(s, O3_EV_OLLAMA_DOWN, O3_F_STR("error", error));
    set_error(s, error);
    s->is_up = false;
    s->has_version = false;
    s->pending = NULL;
    if (s->n_failures < 30) s->n_failures++;
    int64_t wait = s->config->ollama_poll_interval_ms * O3_NS_PER_MS * s->n_failures / 2 + O3_NS_PER_S / 2;
    if (wait > BACKOFF_MAX_NS) wait = BACKOFF_MAX_NS;
    s->version_due_ns = now.mono_ns + wait;
    s->ps_due_ns = INT64_MAX;
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (m->is_loaded) o3_sc_set_paused(s, m, SKIP_OLLAMA_DOWN);
        m->has_timed_out = false;
        m->n_silent = 0;
    }
    o3_metric_set(s->metrics, O3_M_OLLAMA_UP, O3_NO_LABELS, 0);
}

static void start_call(struct o3_sidecar *s, enum control kind, const char *method, const char *path,
                       const struct o3_buf *body, struct o3_now now) {
    struct o3_sidecar_call c = {.method = method,
                                .path = path,
                                .body = body ? o3_buf_str(body) : NULL,
                                .body_len = body ? body->len : 0,
                                .connect_timeout_ms = s->config->timeouts_connect_ms,
                                .total_timeout_ms = s->config->timeouts_control_ms,
                                .max_bytes = CONTROL_BYTES_MAX};
    o3_buf_clear(&s->control.body);
    s->control.body.max = CONTROL_BYTES_MAX;
    s->control.kind = kind;
    int64_t sent_ns;
    s->control.id = s->ops.call_start(s->ops.ctx, &c, &sent_ns);
    if (!s->control.id) go_down(s, "the request could not be started", now);
}

static struct model *model_to_show(const struct o3_sidecar *s) {
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->is_loaded &&
            (s->models[i]->show_state == SHOW_WANTED || s->models[i]->update == UPDATE_SUSPECTED))
            return s->models[i];
    return NULL;
}

static void start_show(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    O3_AUTO_BUF body;
    if (m->update == UPDATE_SUSPECTED) m->update = UPDATE_ASKED;
    o3_buf_init(&body, 4096);
    if (o3_ollama_write_show(m->ps.name, &body) < 0) return;
    o3_str_copy(s->control.show_name, sizeof s->control.show_name, m->ps.name);
    start_call(s, CONTROL_SHOW, "POST", "/api/show", &body, now);
}

void o3_sc_control_turn(struct o3_sidecar *s, struct o3_now now) {
    if (s->control.id) return;
    struct model *m = s->is_up ? model_to_show(s) : NULL;
    if (now.mono_ns >= s->version_due_ns)
        start_call(s, CONTROL_VERSION, "GET", "/api/version", NULL, now);
    else if (m && !s->probe.id)
        start_show(s, m, now);
    else if (s->pending && s->is_library_due) {
        s->is_library_due = false;
        start_call(s, CONTROL_TAGS, "GET", "/api/tags", NULL, now);
    } else if (s->has_version && now.mono_ns >= s->ps_due_ns)
        start_call(s, CONTROL_PS, "GET", "/api/ps", NULL, now);
}

static bool has_port(const uint16_t *ports, int n, uint16_t port) {
    for (int i = 0; i < n; i++)
        if (ports[i] == port) return true;
    return false;
}

static int n_missing(const uint16_t *ports, int n, const uint16_t *among, int n_among) {
    int missing = 0;
    for (int i = 0; i < n; i++)
        missing += !has_port(among, n_among, ports[i]);
    return missing;
}

static bool was_used_since(const struct o3_sidecar *s, int64_t since_ns) {
    for (int i = 0; i < s->n_models; i++)
        if (s->models[i]->last_user_ns >= since_ns) return true;
    return false;
}

/* Where no process can be seen, a runner still shows by the port that it listens on. When one is gone, and none came in
 * its place or nobody has used the server meanwhile, a runner may have died: the next request finds it so, and loads it
 * again. What goes during a probe may go because of it. */
static void watch_runner_ports(struct o3_sidecar *s, const struct o3_sidecar_sockets *r, int64_t now_ns) {
    int n_gone = n_missing(s->loopback_ports, s->n_loopback_ports, r->loopback_ports, r->n_loopback_ports);
    int n_new = n_missing(r->loopback_ports, r->n_loopback_ports, s->loopback_ports, s->n_loopback_ports);
    bool is_unused = r->n_established == 0 && !was_used_since(s, s->ports_at_ns);
    bool has_died = n_gone > 0 && (n_new == 0 || is_unused) && !s->has_probed_since_ports;
    for (int i = 0; has_died && i < s->n_models; i++)
        s->models[i]->runner_died |= s->models[i]->is_loaded;
    if (has_died) o3_sc_version_wanted(s, now_ns);
    s->has_probed_since_ports = s->probe.id != 0;
    s->ports_at_ns = now_ns;
    memcpy(s->loopback_ports, r->loopback_ports, sizeof s->loopback_ports);
    s->n_loopback_ports = r->n_loopback_ports;
}

void o3_sc_read_sockets(struct o3_sidecar *s, int64_t now_ns) {
    /* A probe is about to be sent: in the milliseconds since the last look a user may have come. */
    if (!s->pending && now_ns - s->sockets_at_ns < SOCKETS_FRESH_NS) return;
    s->sockets_at_ns = now_ns;
    struct o3_sidecar_sockets r = {0};
    s->ops.sense_sockets(s->ops.ctx, &r);
    watch_runner_ports(s, &r, now_ns);
    o3_gate_sockets(&s->gate, r.is_readable, r.n_established, r.n_with_bytes, now_ns);
}

/* ---- version ---- */

void o3_sc_version_wanted(struct o3_sidecar *s, int64_t now_ns) {
    if (s->has_version && now_ns - s->version_at_ns >= VERSION_FRESH_NS) s->version_due_ns = now_ns;
}

bool o3_sc_is_version_wanted(const struct o3_sidecar *s, int64_t now_ns) {
    return s->version_due_ns <= now_ns;
}

/* The same bytes are not read twice. */
static int read_version(struct o3_sidecar *s, struct o3_ollama_version *ret, struct o3_err *e) {
    const char *body = o3_buf_str(&s->control.body);
    size_t n = s->control.body.len;
    *ret = s->version;
    if (n && n == strlen(s->version_body) && !memcmp(body, s->version_body, n)) return 0;
    int r = o3_ollama_parse_version(body, n, ret, e);
    bool is_kept = r == 0 && n < sizeof s->version_body;
    o3_str_copy_n(s->version_body, sizeof s->version_body, body, is_kept ? n : 0);
    return r;
}

static void version_answered(struct o3_sidecar *s, struct o3_now now) {
    struct o3_err e;
    struct o3_ollama_version v;
    if (read_version(s, &v, &e) < 0) {
        O3_SC_EVENT(s, O3_EV_OLLAMA_BAD_REPLY, O3_F_STR("path", "/api/version"), O3_F_STR("error", e.text));
        go_down(s, "the answer is not Ollama's", now);
        return;
    }
    bool is_new = !s->is_up || strcmp(v.text, s->version.text);
    if (is_new) {
        o3_metric_drop_matching(s->metrics, O3_M_OLLAMA_INFO, NULL, 0);
        o3_metric_set(s->metrics, O3_M_OLLAMA_INFO, O3_L(v.text), 1);
        O3_SC_EVENT(s, O3_EV_OLLAMA_UP, O3_F_STR("version", v.text));
    }
    s->version = v;
    s->is_up = s->has_version = true;
    s->last_error[0] = '\0';
    s->version_at_ns = now.mono_ns;
    s->version_due_ns = now.mono_ns + VERSION_EVERY_NS;
    if (is_new) s->ps_due_ns = now.mono_ns;
    o3_metric_set(s->metrics, O3_M_OLLAMA_UP, O3_NO_LABELS, 1);
}

/* ---- show ---- */

/* Without it the runner's command line stays unknown, no more: it is asked for again at the next load. */
static void show_answered(struct o3_sidecar *s, int status, int transport) {
    struct model *m = o3_sc_find_model(s, s->control.show_name);
    if (m && m->update == UPDATE_ASKED) o3_sc_update_shown(s, m, !transport && status == 200);
    if (!m || m->show_state != SHOW_WANTED) return;
    struct o3_err e;
    m->show_state = SHOW_FAILED;
    if (transport || status != 200) return;
    if (o3_ollama_parse_show(o3_buf_str(&s->control.body), s->control.body.len, &m->show, &e) < 0) {
        O3_SC_EVENT(s, O3_EV_OLLAMA_BAD_REPLY, O3_F_STR("path", "/api/show"), O3_F_STR("error", e.text));
        return;
    }
    m->show_state = SHOW_KNOWN;
    s->runners_due_ns = INT64_MIN; /* now its runner can be told by its blob */
}

/* ---- ps ---- */

/* The list says the same for most of the day, or other times; the same bytes are not read twice. */
static bool is_list_known(struct o3_sidecar *s, const struct o3_buf *body) {
    if (!s->ps_list || !body->len || s->ps_text.len != body->len) return false;
    const char *was = o3_buf_str(&s->ps_text), *now = o3_buf_str(body);
    if (!memcmp(was, now, body->len)) return true;
    if (!o3_ollama_models_retime(s->ps_list, was, now, body->len)) return false;
    o3_buf_clear(&s->ps_text);
    return o3_buf_add(&s->ps_text, now, body->len) == 0;
}

/* NULL: an event tells why. */
static const struct o3_ollama_models *read_list(struct o3_sidecar *s) {
    const struct o3_buf *body = &s->control.body;
    if (is_list_known(s, body)) return s->ps_list;
    o3_ollama_models_free(s->ps_list);
    s->ps_list = NULL;
    struct o3_err e;
    if (o3_ollama_parse_models(o3_buf_str(body), body->len, &s->ps_list, &e) < 0) {
        O3_SC_EVENT(s, O3_EV_OLLAMA_BAD_REPLY, O3_F_STR("path", "/api/ps"), O3_F_STR("error", e.text));
        return NULL;
    }
    s->has_namesakes = o3_sc_has_namesakes(s->ps_list);
    o3_buf_done(&s->ps_text);
    if (body->len > PS_TEXT_MAX) return s->ps_list;
    s->ps_text = *body;
    o3_buf_init(&s->control.body, CONTROL_BYTES_MAX);
    return s->ps_list;
}

static void ps_answered(struct o3_sidecar *s, struct o3_now now) {
    const struct o3_ollama_models *list = read_list(s);
    if (!list) {
        go_down(s, "the list of loaded models could not be understood", now);
        return;
    }
    o3_sc_apply_list(s, list, now);
    s->has_ps = true;
    s->n_failures = 0;
    s->ps_at_ns = now.mono_ns;
    s->ps_at_wall_ms = now.wall_ms;
    s->ps_due_ns = now.mono_ns + s->config->ollama_poll_interval_ms * O3_NS_PER_MS;
    o3_sc_match_runners(s, now);
    if (o3_sc_sockets_matter(s, now.mono_ns)) o3_sc_read_sockets(s, now.mono_ns);
    o3_sc_probe_watch(s);
    for (int i = 0; i < s->n_models; i++)
        if (!o3_sc_is_probed(s, s->models[i])) {
            o3_sc_enter_epoch(s, s->models[i], now);
            s->models[i]->is_reload_told = s->models[i]->has_timed_out = false;
        }
    o3_sc_start_pending(s, now);
    for (int i = 0; i < s->n_models && !o3_sc_is_version_wanted(s, now.mono_ns); i++)
        o3_sc_look(s, s->models[i], now);
}

static void call_failed(struct o3_sidecar *s, int transport, const char *text, struct o3_now now) {
    char error[160];
    if (transport)
        o3_str_copy(error, sizeof error, text && *text ? text : o3_error_row(transport)->meaning);
    else if (!o3_ollama_parse_error(o3_buf_str(&s->control.body), s->control.body.len, error, sizeof error))
        o3_str_copy(error, sizeof error, "the server answered with an error status");
    go_down(s, error, now);
}

void o3_sc_control_end(struct o3_sidecar *s, int status, int transport, const char *text, struct o3_now now) {
    s->control.id = 0;
    enum control kind = s->control.kind;
    if (kind == CONTROL_SHOW && transport != O3_E_UNREACHABLE)
        show_answered(s, status, transport);
    else if (kind == CONTROL_TAGS && transport != O3_E_UNREACHABLE)
        o3_sc_library_answered(s, status, transport, now);
    else if (transport || status != 200)
        call_failed(s, transport, text, now);
    else if (kind == CONTROL_VERSION)
        version_answered(s, now);
    else
        ps_answered(s, now);
    if (s->control.body.cap > BODY_BYTES_KEPT) o3_buf_done(&s->control.body);
    o3_buf_clear(&s->control.body);
}
