/* SPDX-License-Identifier: Apache-2.0 */
/* The small requests: which server is there, what is loaded, who used it. One at a time. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/uninitialized.h"
#include "sidecar/internal.h"

#define VERSION_EVERY_NS (300LL * O3_NS_PER_S)  /* besides before each probe, and when a restart may have been */
#define VERSION_FRESH_NS (100LL * O3_NS_PER_MS) /* no server restarts and loads a model in so short a time */
#define SOCKETS_FRESH_NS (100LL * O3_NS_PER_MS) /* the list after a probe follows its end by a millisecond */
#define RUNNERS_EVERY_NS (60LL * O3_NS_PER_S)
#define BACKOFF_MAX_NS (30LL * O3_NS_PER_S)
#define CONTROL_BYTES_MAX (4u << 20) /* /api/show carries the whole tensor list */
#define BODY_BYTES_KEPT (16u << 10)  /* for the next answer */
#define PS_TEXT_MAX (64u << 10)      /* of /api/ps, kept to know the same list again */
#define OWN_MOVE_NS_MS 15000         /* our probe's move of expires_at shows at the next look, or it never does */
#define IN_USE_SLACK_MS 200          /* between a look and Ollama's clock in its answer */
#define LONG_LOAD_NS (600LL * O3_NS_PER_S)
#define SESSION_SLACK_MS 1500 /* between a reply's end and Ollama's own stamp */

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

/* Somebody else's request on this model ended. */
static void note_user(struct o3_sidecar *s, struct model *m, int64_t ended_wall_ms, struct o3_now now) {
    if (ended_wall_ms > now.wall_ms) ended_wall_ms = now.wall_ms;
    int64_t ended_ns = now.mono_ns - (now.wall_ms - ended_wall_ms) * O3_NS_PER_MS;
    if (ended_ns < s->ps_at_ns) ended_ns = s->ps_at_ns; /* it had not ended at the look before */
    /* With no socket at work since the last look it ended over a pooled connection: it was served, for a user who gives
     * up closes his own. */
    if (!s->gate.is_busy && s->gate.last_activity_ns + SOCKETS_FRESH_NS < s->ps_at_ns) m->n_silent = 0;
    m->last_user_ns = ended_ns;
    m->n_user_requests++;
    o3_sc_conversation_seen(m);
    m->last_user_wall_ms = now.wall_ms - (now.mono_ns - ended_ns) / O3_NS_PER_MS;
    o3_gate_request_finished(&s->gate, ended_ns, now.mono_ns);
    o3_metric_set(s->metrics, O3_M_MODEL_LAST_ACTIVITY_TIMESTAMP_SECONDS, O3_L(m->ps.name),
                  (double)m->last_user_wall_ms / 1000.0);
}

/* Until the first request to a runner has ended, its keep-alive is listed as if it began at that look. */
static bool is_in_use(const struct model *m, const struct o3_ollama_model *ps, struct o3_now now) {
    int64_t moved_ms, elapsed_ms = now.wall_ms - m->listed_wall_ms, off_ms;
    if (__builtin_sub_overflow(ps->expires_stamp_ms, m->ps.expires_stamp_ms, &moved_ms)) return false;
    return !__builtin_sub_overflow(moved_ms, elapsed_ms, &off_ms) && off_ms >= -IN_USE_SLACK_MS &&
           off_ms <= IN_USE_SLACK_MS;
}

/* It loads, or its first request is at work. */
static void note_in_use(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    if (!m->is_in_use) m->in_use_since_ns = now.mono_ns;
    m->is_in_use = true;
    m->last_user_ns = now.mono_ns;
    m->last_user_wall_ms = now.wall_ms;
    o3_gate_at_work(&s->gate, now.mono_ns - m->in_use_since_ns < LONG_LOAD_NS, now.mono_ns);
}

/* "For ever" is listed as the end of the last request + the longest duration that Ollama knows: it moves with each
 * request, and tells when that ended. */
static void note_endless_expiry(struct o3_sidecar *s, struct model *m, int64_t stamp_ms, struct o3_now now) {
    int64_t ended_ms = stamp_ms - INT64_MAX / O3_NS_PER_MS;
    bool is_own = m->own_finished_wall_ms && llabs(ended_ms - m->own_finished_wall_ms) <= SESSION_SLACK_MS;
    m->own_finished_wall_ms = 0;
    if (!is_own) note_user(s, m, ended_ms, now);
}

/* expires_at moves when a request ends, to that moment + the keep-alive in force. Our own probes move it too: the
 * session time learned from one of them tells later moves apart. */
static void note_expiry(struct o3_sidecar *s, struct model *m, const struct o3_ollama_model *ps, struct o3_now now) {
    int64_t expires_ms = ps->expires_at_ms;
    bool was_in_use = m->is_in_use;
    m->is_in_use = false;
    if (expires_ms < 0) return;
    if (ps->expires_stamp_ms == m->ps.expires_stamp_ms) {
        /* It was a request that ended just before the look. */
        if (was_in_use) note_user(s, m, m->listed_wall_ms, now);
        return;
    }
    if (!m->own_finished_wall_ms && is_in_use(m, ps, now)) {
        note_in_use(s, m, now);
        return;
    }
    if (expires_ms == O3_TIME_NEVER_MS && m->ps.expires_at_ms == O3_TIME_NEVER_MS) {
        note_endless_expiry(s, m, ps->expires_stamp_ms, now);
        return;
    }
    bool is_own_expected = m->own_finished_wall_ms && now.wall_ms - m->own_finished_wall_ms < OWN_MOVE_NS_MS;
    int64_t own_session_ms = expires_ms - m->own_finished_wall_ms;
    m->own_finished_wall_ms = 0;
    if (expires_ms == O3_TIME_NEVER_MS || m->ps.expires_at_ms == O3_TIME_NEVER_MS) {
        /* Somebody set keep_alive: that is a user's request. */
        m->session_ms = -1;
        note_user(s, m, now.wall_ms, now);
        return;
    }
    if (is_own_expected && m->session_ms < 0 && own_session_ms >= 0) {
        m->session_ms = own_session_ms;
        return;
    }
    if (is_own_expected && llabs(own_session_ms - m->session_ms) <= SESSION_SLACK_MS) return;
    int64_t ended_ms = m->session_ms >= 0 ? expires_ms - m->session_ms : now.wall_ms;
    bool is_other_keep_alive = ended_ms > now.wall_ms + SESSION_SLACK_MS ||
                               ended_ms < s->ps_at_wall_ms - SESSION_SLACK_MS;
    /* A move that is not ours just after a probe: a user's, or what we learned was wrong. The next probe of ours tells.
     */
    if (is_own_expected || is_other_keep_alive) m->session_ms = -1;
    note_user(s, m, ended_ms, now);
}

static void drop_sizes(struct o3_sidecar *s, const struct model *m) {
    static const enum o3_metric GONE[] = {O3_M_MODEL_SIZE_BYTES, O3_M_MODEL_VRAM_BYTES, O3_M_MODEL_GPU_RATIO,
                                          O3_M_MODEL_CONTEXT_TOKENS, O3_M_MODEL_EXPIRES_TIMESTAMP_SECONDS};
    for (size_t i = 0; i < sizeof GONE / sizeof *GONE; i++)
        o3_metric_drop(s->metrics, GONE[i], O3_L(m->ps.name));
}

void o3_sc_show_listed(struct o3_sidecar *s, struct model *m) {
    const struct o3_ollama_model *ps = &m->ps;
    const char *const *l = O3_L(ps->name);
    m->is_listing_due = false;
    o3_metric_set(s->metrics, O3_M_MODEL_LOADED, l, m->is_loaded);
    if (!m->is_loaded) {
        drop_sizes(s, m);
        return;
    }
    if (ps->size_bytes >= 0) o3_metric_set(s->metrics, O3_M_MODEL_SIZE_BYTES, l, (double)ps->size_bytes);
    if (ps->size_vram_bytes >= 0) o3_metric_set(s->metrics, O3_M_MODEL_VRAM_BYTES, l, (double)ps->size_vram_bytes);
    if (ps->size_bytes > 0 && ps->size_vram_bytes >= 0) {
        double ratio = (double)ps->size_vram_bytes / (double)ps->size_bytes;
        o3_metric_set(s->metrics, O3_M_MODEL_GPU_RATIO, l, ratio > 1 ? 1 : ratio);
    }
    if (ps->context_length >= 0) o3_metric_set(s->metrics, O3_M_MODEL_CONTEXT_TOKENS, l, (double)ps->context_length);
    if (ps->expires_at_ms >= 0) {
        double expires = ps->expires_at_ms == O3_TIME_NEVER_MS ? (double)INFINITY : (double)ps->expires_at_ms / 1000.0;
        o3_metric_set(s->metrics, O3_M_MODEL_EXPIRES_TIMESTAMP_SECONDS, l, expires);
    }
}

static void listing_changed(struct o3_sidecar *s, struct model *m) {
    m->is_listing_due = s->is_show_due = true;
}

static void set_model_info(struct o3_sidecar *s, const struct model *m) {
    o3_metric_drop_matching(s->metrics, O3_M_MODEL_INFO, O3_L(m->ps.name), 1);
    o3_metric_set(s->metrics, O3_M_MODEL_INFO,
                  O3_L(m->ps.name, m->ps.digest, m->ps.family, m->ps.parameter_size, m->ps.quantization), 1);
}

/* What was learned of it stays in the saved states. */
static void forget_model(struct o3_sidecar *s, int i) {
    struct model *m = s->models[i];
    if (s->pending == m) s->pending = NULL;
    o3_judge_forget(s->judge, m->ps.name);
    o3_sc_keep_presets(s, m);
    o3_metrics_drop_label(s->metrics, "model", m->ps.name);
    s->models[i] = s->models[--s->n_models];
    o3_sc_free_model(m);
    o3_sc_offer_soon(s, "a model was forgotten");
}

static void evict_oldest_unloaded(struct o3_sidecar *s) {
    int oldest = -1;
    for (int i = 0; i < s->n_models; i++) {
        const struct model *m = s->models[i];
        if (m->is_loaded || m->is_write_wanted || m->is_writing || m == s->pending || o3_sc_is_probed(s, m)) continue;
        if (oldest < 0 || m->unloaded_ns < s->models[oldest]->unloaded_ns) oldest = i;
    }
    if (oldest >= 0) forget_model(s, oldest);
}

struct model *o3_sc_add_model(struct o3_sidecar *s, const struct o3_ollama_model *ps, struct o3_now now) {
    if (s->n_models == s->max_models) evict_oldest_unloaded(s);
    if (s->n_models == s->max_models) return NULL;
    struct model *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->ps = *ps;
    m->session_ms = -1;
    m->probe_seconds = -1;
    m->last_sample_ns = INT64_MIN;
    for (int i = 0; i < O3_PROBE_KIND_COUNT; i++)
        m->kind_formed_ns[i] = INT64_MIN;
    m->formed_ns = now.mono_ns;
    m->library_bytes = -1;
    o3_host_state_init(&m->host);
    m->last_user_ns = m->unloaded_ns = now.mono_ns;
    m->write_at_ns = m->due_ns = m->base_due_ns = INT64_MAX;
    s->models[s->n_models++] = m;
    o3_sc_restore_presets(s, m);
    return m;
}

static void model_appeared(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    s->runners_due_ns = INT64_MIN;
    o3_sc_version_wanted(s, now.mono_ns);
    m->is_loaded = true;
    m->n_since_load = 0;
    m->session_ms = -1;
    m->runner_died = m->is_runner_gone = m->is_reload_told = false;
    o3_sc_forget_library(s, m);
    if (m->show_state == SHOW_FAILED) m->show_state = SHOW_WANTED;
    m->last_user_ns = now.mono_ns; /* a load is a user's doing: probes never load */
    m->last_user_wall_ms = now.wall_ms;
    o3_sc_conversation_none(m, now.mono_ns);
    if (s->has_ps) o3_sc_conversation_seen(m);
    o3_sc_note_load(m, now);
    if (!s->has_ps) m->n_loads = 0;                                             /* was there before us */
    m->formed_ns = now.mono_ns;                                                 /* a probe comes first */
    o3_metric_add(s->metrics, O3_M_PROBE_INDUCED_RELOADS, O3_L(m->ps.name), 0); /* 0 is the good news: show it */
    O3_SC_EVENT(s, O3_EV_MODEL_LOADED, O3_F_STR("model", m->ps.name), O3_F_INT("context", m->ps.context_length));
    o3_metric_set(s->metrics, O3_M_MODEL_LAST_ACTIVITY_TIMESTAMP_SECONDS, O3_L(m->ps.name),
                  (double)now.wall_ms / 1000.0);
    if (s->has_ps)
        o3_metric_add(s->metrics, O3_M_MODEL_LOADS, O3_L(m->ps.name), 1);
    else
        o3_metric_add(s->metrics, O3_M_MODEL_LOADS, O3_L(m->ps.name), 0); /* was there before us */
}

static void model_vanished(struct o3_sidecar *s, struct model *m, struct o3_now now) {
    o3_sc_version_wanted(s, now.mono_ns);
    m->is_loaded = m->is_in_use = false;
    m->unloaded_ns = now.mono_ns;
    /* A load that our request began is given up with it: the model that was loaded before is gone. */
    if (m->has_timed_out && !m->runner_died && !m->is_runner_gone) o3_sc_strike(s, m, 0);
    m->has_timed_out = m->has_runner = m->is_runner_gone = false;
    m->n_silent = 0;
    if (m->is_stuck) o3_sc_set_stuck(s, m, false);
    listing_changed(s, m);
    o3_metric_add(s->metrics, O3_M_MODEL_UNLOADS, O3_L(m->ps.name), 1);
    O3_SC_EVENT(s, O3_EV_MODEL_UNLOADED, O3_F_STR("model", m->ps.name));
}

/* Somebody's request loaded it again between two looks; unless a probe of ours did, which is told already. */
static void tell_reload(struct o3_sidecar *s, struct model *m, const char *reason, struct o3_now now) {
    s->runners_due_ns = INT64_MIN;
    o3_sc_version_wanted(s, now.mono_ns);
    m->n_since_load = 0;
    if (m->is_reload_told) return;
    m->is_reload_told = true;
    o3_sc_note_load(m, now);
    o3_metric_add(s->metrics, O3_M_MODEL_RELOADS, O3_L(m->ps.name, reason), 1);
    O3_SC_EVENT(s, O3_EV_MODEL_RELOADED, O3_F_STR("model", m->ps.name), O3_F_STR("reason", reason));
}

static void model_listed(struct o3_sidecar *s, const struct o3_ollama_model *ps, struct o3_now now) {
    struct model *m = o3_sc_find_model(s, ps->name);
    bool is_new = !m;
    if (is_new) m = o3_sc_add_model(s, ps, now);
    if (!m) {
        s->n_over_limit++;
        return;
    }
    if (o3_sc_is_probed(s, m)) { /* the list after its probe tells what the probe did and what others did */
        if (ps->context_length != m->ps.context_length) s->probe.saw_user = true;
        return;
    }
    bool was_loaded = m->is_loaded;
    bool is_other_digest = strcmp(m->ps.digest, ps->digest) != 0;
    bool is_other_setting = m->ps.context_length != ps->context_length || m->ps.size_bytes != ps->size_bytes;
    if (was_loaded && !is_other_digest) note_expiry(s, m, ps, now);
    bool is_same = was_loaded && !memcmp(&m->ps, ps, sizeof *ps); /* both from cleared memory, padding too */
    if (m->ps.expires_at_ms != ps->expires_at_ms) m->expires_shift_ms = 0;
    m->ps = *ps;
    m->listed_wall_ms = now.wall_ms;
    if (is_new || is_other_digest) {
        m->show_state = SHOW_WANTED;
        o3_sc_forget_library(s, m);
        set_model_info(s, m);
    }
    if (!was_loaded)
        model_appeared(s, m, now);
    else if (is_other_digest || is_other_setting) {
        tell_reload(s, m, "foreign_load", now);
    }
    if (!is_same) listing_changed(s, m);
    if (!was_loaded) o3_sc_schedule_first(s, m, now);
}

/* Reads the runners' command lines: the only place where num_batch and num_thread can be seen. */
static void match_runners(struct o3_sidecar *s, struct o3_now now) {
    bool has_loaded = false;
    for (int i = 0; i < s->n_models; i++)
        has_loaded |= s->models[i]->is_loaded;
    if (!has_loaded) return;
    O3_UNINITIALIZED struct o3_runner_cmdline found[O3_RUNNERS_MAX];
    bool is_thorough = now.mono_ns >= s->runners_due_ns; /* walking all processes costs milliseconds */
    if (is_thorough) s->runners_due_ns = now.mono_ns + RUNNERS_EVERY_NS;
    size_t n = s->ops.sense_runners(s->ops.ctx, is_thorough, found, O3_RUNNERS_MAX);
    for (int i = 0; i < s->n_models; i++) {
        struct model *m = s->models[i];
        if (!m->is_loaded || m->show_state != SHOW_KNOWN || !m->show.blob[0] || o3_sc_is_probed(s, m)) continue;
        const struct o3_runner_cmdline *its = NULL;
        for (size_t k = 0; k < n; k++)
            if (!strcmp(found[k].blob, m->show.blob)) its = &found[k];
        if (its && m->has_runner && its->port != m->runner.port)
            tell_reload(s, m, m->is_runner_gone ? "runner_lost" : "foreign_load", now);
        if (m->has_runner && !its && !m->is_runner_gone) o3_sc_version_wanted(s, now.mono_ns);
        m->is_runner_gone = m->has_runner && !its;
        if (!its) continue;
        m->runner = *its;
        m->has_runner = true;
    }
}

static void tell_if_none(struct o3_sidecar *s, int n_loaded) {
    if (s->probe.id) return; /* while a model loads, the list is empty */
    if (n_loaded == 0 && !s->is_none_told) o3_sc_event(s, O3_EV_NO_MODEL, NULL, 0);
    s->is_none_told = n_loaded == 0;
}

static bool is_alone(const struct o3_ollama_models *list, size_t i) {
    for (size_t k = 0; k < list->n; k++)
        if (k != i && !strcmp(list->v[k].name, list->v[i].name)) return false;
    return true;
}

static bool is_listed(const struct o3_ollama_models *list, const char *name) {
    for (size_t i = 0; i < list->n; i++)
        if (!strcmp(list->v[i].name, name)) return true;
    return false;
}

/* After an update the old blob and the new one are listed under one name until the old one expires, which may be never.
 * Requests go to the one that the list of all models names, as far as we know it. Else the one used last is it, and the
 * list begins with those. */
static bool is_shadowed(const struct o3_sidecar *s, const struct o3_ollama_models *list, size_t i) {
    if (!s->has_namesakes || is_alone(list, i)) return false;
    const struct model *m = o3_sc_find_model(s, list->v[i].name);
    const char *wanted = m && m->library_digest[0] ? m->library_digest : NULL;
    size_t first = i;
    for (size_t k = list->n; k-- > 0;) {
        if (strcmp(list->v[k].name, list->v[i].name) != 0) continue;
        if (wanted && !strcmp(list->v[k].digest, wanted)) return k != i;
        if (k < first) first = k;
    }
    return first != i;
}

static void apply_list(struct o3_sidecar *s, const struct o3_ollama_models *list, struct o3_now now) {
    int n_loaded = 0;
    int was_over = s->n_over_limit;
    s->n_over_limit = (int)list->n_left_out;
    for (size_t i = 0; i < list->n; i++) {
        const struct o3_ollama_model *ps = &list->v[i];
        if (ps->is_remote) continue;
        n_loaded++;
        if (o3_model_is_selected(ps->name, &s->config->models_include, &s->config->models_exclude) &&
            !is_shadowed(s, list, i))
            model_listed(s, ps, now);
    }
    for (int k = s->n_models; k-- > 0;) { /* backwards: forgetting one moves the last into its place */
        struct model *m = s->models[k];
        if (o3_sc_is_probed(s, m)) continue; /* not listed while it loads; see model_listed */
        bool is_wanted = o3_model_is_selected(m->ps.name, &s->config->models_include, &s->config->models_exclude);
        if (!m->is_loaded || (is_wanted && is_listed(list, m->ps.name))) continue;
        if (is_wanted)
            model_vanished(s, m, now);
        else if (!m->is_writing)
            forget_model(s, k);
    }
    if (n_loaded != s->n_listed) o3_metric_set(s->metrics, O3_M_OLLAMA_MODELS_LOADED, O3_NO_LABELS, n_loaded);
    if (s->n_over_limit != was_over) o3_metric_set(s->metrics, O3_M_MODELS_OVER_LIMIT, O3_NO_LABELS, s->n_over_limit);
    s->n_listed = n_loaded;
    if (s->n_over_limit && !was_over) O3_SC_EVENT(s, O3_EV_MODELS_OVER_LIMIT, O3_F_INT("count", s->n_over_limit));
    tell_if_none(s, n_loaded);
}

static bool has_namesakes(const struct o3_ollama_models *list) {
    for (size_t i = 0; i < list->n; i++)
        if (!is_alone(list, i)) return true;
    return false;
}

/* The list says the same for most of the day, or other times; the same bytes are not read twice. */
static bool is_list_known(struct o3_sidecar *s, const struct o3_buf *body) {
    if (!s->ps_list || s->ps_text.len != body->len) return false;
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
    s->has_namesakes = has_namesakes(s->ps_list);
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
    apply_list(s, list, now);
    s->has_ps = true;
    s->n_failures = 0;
    s->ps_at_ns = now.mono_ns;
    s->ps_at_wall_ms = now.wall_ms;
    s->ps_due_ns = now.mono_ns + s->config->ollama_poll_interval_ms * O3_NS_PER_MS;
    match_runners(s, now);
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
