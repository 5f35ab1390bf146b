/* SPDX-License-Identifier: Apache-2.0 */
#include "rehearsal/coupling.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METRICS_MAX 10000
#define PRESET_FILE_BYTES_MAX (1024u * 1024)
#define LOCAL_IDS (UINT64_MAX / 2) /* above them are ids of calls that never reached the world */

struct o3_now o3_coupling_now(const struct o3_coupling *c) {
    return (struct o3_now){.mono_ns = c->now_ns,
                           .wall_ms = c->start_wall_ms + c->now_ns / O3_NS_PER_MS + c->wall_shift_ms};
}

/* ---- calls ---- */

static int64_t after_ms(int64_t t, int64_t ms) {
    return ms > (INT64_MAX - t) / O3_NS_PER_MS ? INT64_MAX : t + ms * O3_NS_PER_MS;
}

static uint64_t call_start(void *ctx, const struct o3_sidecar_call *call, int64_t *ret_sent_mono_ns) {
    struct o3_coupling *c = ctx;
    *ret_sent_mono_ns = c->now_ns;
    if (c->is_killed || c->n_calls == O3_COUPLING_CALLS_MAX) return 0;
    struct o3_coupling_call *k = &c->calls[c->n_calls++];
    *k = (struct o3_coupling_call){.deadline_ns = after_ms(c->now_ns, call->total_timeout_ms)};
    if (c->is_server_gone)
        k->failure = O3_E_UNREACHABLE;
    else if (c->too_long_path && !strcmp(call->path, c->too_long_path))
        k->failure = O3_E_LIMIT;
    k->id = k->failure ? LOCAL_IDS + ++c->last_local_id
                       : o3_world_request(c->world, c->now_ns, call->method, call->path, call->body, call->body_len);
    return k->id;
}

static struct o3_coupling_call *find_call(struct o3_coupling *c, uint64_t id) {
    for (int i = 0; i < c->n_calls; i++)
        if (c->calls[i].id == id) return &c->calls[i];
    return NULL;
}

static void forget_call(struct o3_coupling *c, uint64_t id) {
    struct o3_coupling_call *k = find_call(c, id);
    if (k) *k = c->calls[--c->n_calls];
}

static void call_cancel(void *ctx, uint64_t id) {
    struct o3_coupling *c = ctx;
    if (id <= LOCAL_IDS) o3_world_disconnect(c->world, c->now_ns, id);
    forget_call(c, id);
}

static void take_output(struct o3_coupling *c, const struct o3_world_output *o) {
    struct o3_coupling_call *k = find_call(c, o->id);
    if (!k) {
        if (c->hooks.output) c->hooks.output(c->hooks.ctx, o);
        return;
    }
    int status = k->status;
    switch (o->kind) {
    case O3_WORLD_HEAD:
        k->status = o->status;
        break;
    case O3_WORLD_DATA:
        o3_sidecar_data(c->sidecar, o->id, status, o->bytes, o->n, o->mono_ns);
        break;
    case O3_WORLD_END:
    case O3_WORLD_ABORT:
        forget_call(c, o->id);
        o3_sidecar_end(c->sidecar, o->id, status, o->kind == O3_WORLD_ABORT ? O3_E_HTTP : 0, "", o3_coupling_now(c));
        break;
    }
}

static void end_late_calls(struct o3_coupling *c) {
    for (int i = 0; i < c->n_calls; i++) {
        struct o3_coupling_call k = c->calls[i];
        if (k.failure) {
            forget_call(c, k.id);
            o3_sidecar_end(c->sidecar, k.id, 0, k.failure, "failed", o3_coupling_now(c));
        } else if (k.deadline_ns <= c->now_ns) {
            call_cancel(c, k.id);
            o3_sidecar_end(c->sidecar, k.id, k.status, O3_E_TIMEOUT, "timeout", o3_coupling_now(c));
        } else {
            continue;
        }
        i = -1; /* the end of one may have started others */
    }
}

/* ---- senses ---- */

static void sense_sockets(void *ctx, struct o3_sidecar_sockets *ret) {
    const struct o3_coupling *c = ctx;
    struct o3_world_truth t;
    o3_world_truth(c->world, c->now_ns, &t);
    *ret = (struct o3_sidecar_sockets){.is_readable = !c->sockets_unreadable,
                                       .n_established = c->n_pooled_sockets + c->n_foreign_sockets +
                                                        (int)t.n_users_active};
    if (!c->sockets_unreadable)
        ret->n_loopback_ports = (int)o3_world_runner_ports(c->world, ret->loopback_ports, O3_LOOPBACK_PORTS_MAX);
}

static size_t sense_runners(void *ctx, bool is_thorough, struct o3_runner_cmdline *out, size_t max) {
    (void)is_thorough;
    const struct o3_coupling *c = ctx;
    size_t n = c->n_runners < max ? c->n_runners : max;
    memcpy(out, c->runners, n * sizeof *out);
    return n;
}

static void sense_host(void *ctx, struct o3_host_state *ret) {
    const struct o3_coupling *c = ctx;
    if (c->host_unreadable)
        o3_host_state_init(ret);
    else
        o3_world_host(c->world, c->now_ns, ret);
}

/* ---- what comes out ---- */

static void on_event(void *ctx, enum o3_event_id ev, const struct o3_field *f, size_t n) {
    struct o3_coupling *c = ctx;
    if (c->hooks.event && !c->is_killed) c->hooks.event(c->hooks.ctx, o3_coupling_now(c), ev, f, n);
}

static void on_sample(void *ctx, const struct o3_sample *s) {
    struct o3_coupling *c = ctx;
    if (c->hooks.sample && !c->is_killed) c->hooks.sample(c->hooks.ctx, s);
}

static int write_file(struct o3_coupling *c, const char *path, const char *bytes, size_t n, struct o3_err *e) {
    o3_memory_files_set_now(c->files, c->now_ns);
    int r = o3_memory_files_replace(c->files, path, bytes, n, c->kill_at, e);
    if (r == O3_MEMORY_FILES_KILLED) {
        c->kill_at = O3_REPLACE_STEP_COUNT;
        c->is_killed = true;
    }
    return r;
}

/* ---- the preset file of all models ---- */

static bool is_file_equal(const struct o3_coupling *c) {
    size_t n;
    const char *have = o3_memory_files_read(c->files, O3_COUPLING_PRESET_FILE, &n);
    return have && n == c->all.len && !memcmp(have, o3_buf_str(&c->all), n);
}

static void on_offer(void *ctx, const struct o3_sidecar_offer *o) {
    struct o3_coupling *c = ctx;
    if (c->is_killed) return;
    if (c->hooks.offer) c->hooks.offer(c->hooks.ctx, o);
    o3_buf_clear(&c->all);
    if (o3_preset_docs_encode_yaml(o->docs, o->n, o->primary, &c->all) == 0 && !is_file_equal(c))
        o3_paced_want(&c->paced, c->now_ns);
}

static void write_preset_file(struct o3_coupling *c) {
    if (!o3_paced_begin(&c->paced, c->now_ns)) return;
    int r = write_file(c, O3_COUPLING_PRESET_FILE, o3_buf_str(&c->all), c->all.len, NULL);
    c->n_file_writes += r == 0;
    if (!c->is_killed) o3_paced_end(&c->paced, r < 0 ? O3_PUBLISH_FAILED : O3_PUBLISH_WRITTEN, c->now_ns);
}

/* ---- the presets of one model ---- */

static bool write_presets(void *ctx, const struct o3_sidecar_presets *w) {
    struct o3_coupling *c = ctx;
    if (c->is_killed) return true; /* nobody is left to hear an answer */
    if (c->writes_refused || c->n_tickets == O3_COUPLING_TICKETS_MAX) return false;
    char path[160];
    snprintf(path, sizeof path, "defaults/%.128s.yaml", w->model);
    struct o3_coupling_ticket t = {.ticket = w->ticket, .at_ns = c->now_ns};
    struct o3_err e = {0};
    t.code = write_file(c, path, w->doc, w->doc_len, &e);
    if (c->is_killed) return true;
    t.at_ns += 2 * (O3_REPLACE_READ_BACK + 1) * c->write_step_ns;
    if (t.code < 0) o3_str_copy(t.error, sizeof t.error, e.text);
    c->n_writes += t.code == 0;
    c->n_failed_writes += t.code < 0;
    c->tickets[c->n_tickets++] = t;
    return true;
}

static void answer_tickets(struct o3_coupling *c) {
    for (int i = 0; i < c->n_tickets; i++) {
        struct o3_coupling_ticket t = c->tickets[i];
        if (t.at_ns > c->now_ns) continue;
        c->tickets[i--] = c->tickets[--c->n_tickets];
        o3_sidecar_preset_written(c->sidecar, t.ticket, t.code == 0 ? NULL : t.error, o3_coupling_now(c));
    }
}

static struct o3_coupling_state *find_state(struct o3_coupling *c, const char *key) {
    for (int i = 0; i < c->n_states; i++)
        if (!strcmp(c->states[i].key, key)) return &c->states[i];
    return NULL;
}

static void drop_state(struct o3_coupling *c, struct o3_coupling_state *s) {
    free(s->value);
    *s = c->states[--c->n_states];
}

/* As the store has it: whole old or whole new. The oldest goes when there is no room. */
static void save_state(void *ctx, const char *key, const char *value, size_t n) {
    struct o3_coupling *c = ctx;
    if (c->is_killed) return;
    struct o3_coupling_state *s = find_state(c, key);
    if (s) drop_state(c, s);
    char *copy = n && n <= O3_COUPLING_STATE_BYTES_MAX ? malloc(n + 1) : NULL;
    if (!copy) return;
    if (c->n_states == O3_COUPLING_STATES_MAX) drop_state(c, &c->states[0]);
    s = &c->states[c->n_states++];
    o3_str_copy(s->key, sizeof s->key, key);
    memcpy(copy, value, n);
    copy[n] = '\0';
    s->value = copy;
    s->n = n;
}

/* ---- life ---- */

int o3_coupling_start(struct o3_coupling *c, struct o3_err *e) {
    (void)o3_memory_files_sweep_temps(c->files, "");
    (void)o3_memory_files_sweep_temps(c->files, "defaults/");
    struct o3_sidecar_params p = {.config = o3_config_values(c->config), .seed = c->seed + (uint64_t)c->n_starts++};
    o3_paced_init(&c->paced, (int)p.config->publish_writes_per_hour, p.seed);
    p.metrics = c->metrics = o3_metrics_new(METRICS_MAX);
    if (!c->metrics) return o3_err_set(e, O3_E_NOMEM, "no memory for the metrics");
    p.ops = (struct o3_sidecar_ops){.ctx = c,
                                    .call_start = call_start,
                                    .call_cancel = call_cancel,
                                    .sense_sockets = sense_sockets,
                                    .sense_runners = sense_runners,
                                    .sense_host = sense_host,
                                    .event = on_event,
                                    .sample = on_sample,
                                    .write_presets = write_presets,
                                    .offer = on_offer,
                                    .save_state = save_state};
    int r = o3_sidecar_new(&p, o3_coupling_now(c), &c->sidecar, e);
    for (int i = 0; r == 0 && i < c->n_states; i++)
        o3_sidecar_restore(c->sidecar, c->states[i].key, c->states[i].value, c->states[i].n, o3_coupling_now(c));
    return r;
}

void o3_coupling_stop(struct o3_coupling *c, bool is_killed) {
    if (!c->sidecar) return;
    if (!is_killed) o3_sidecar_stop(c->sidecar, o3_coupling_now(c));
    if (c->hooks.before_restart) c->hooks.before_restart(c->hooks.ctx);
    while (c->n_calls > 0)
        call_cancel(c, c->calls[0].id);
    c->n_tickets = 0;
    o3_sidecar_free(c->sidecar);
    c->sidecar = NULL;
    o3_metrics_free(c->metrics);
    c->metrics = NULL;
}

int o3_coupling_new(struct o3_config *config, struct o3_world *world, uint64_t seed, int64_t start_wall_ms,
                    const struct o3_coupling_hooks *hooks, struct o3_coupling **ret, struct o3_err *e) {
    struct o3_coupling *c = calloc(1, sizeof *c);
    if (!c) {
        o3_config_free(config);
        o3_world_free(world);
        return o3_err_set(e, O3_E_NOMEM, "no memory for the rehearsal");
    }
    c->config = config;
    c->world = world;
    c->seed = seed;
    c->start_wall_ms = start_wall_ms;
    c->kill_at = O3_REPLACE_STEP_COUNT;
    o3_buf_init(&c->all, PRESET_FILE_BYTES_MAX);
    if (hooks) c->hooks = *hooks;
    c->files = o3_memory_files_new();
    int r = !world || !c->files ? o3_err_set(e, O3_E_NOMEM, "no memory for the rehearsal") : o3_coupling_start(c, e);
    if (r < 0)
        o3_coupling_free(c);
    else
        *ret = c;
    return r;
}

void o3_coupling_free(struct o3_coupling *c) {
    if (!c) return;
    c->hooks = (struct o3_coupling_hooks){0};
    o3_coupling_stop(c, false);
    o3_metrics_free(c->metrics);
    o3_memory_files_free(c->files);
    o3_world_free(c->world);
    o3_config_free(c->config);
    o3_buf_done(&c->all);
    for (int i = 0; i < c->n_states; i++)
        free(c->states[i].value);
    free(c);
}

/* ---- time ---- */

static void drain_world(struct o3_coupling *c) {
    struct o3_world_output o;
    while (o3_world_poll(c->world, c->now_ns, &o))
        take_output(c, &o);
}

/* A sidecar that died in a write starts again at once; without memory it stays away. */
static void restart_killed(struct o3_coupling *c) {
    struct o3_err e;
    c->is_killed = false;
    c->n_killed_in_write++;
    o3_coupling_stop(c, true);
    if (o3_coupling_start(c, &e) < 0) c->sidecar = NULL;
}

static void step(struct o3_coupling *c) {
    drain_world(c);
    if (!c->sidecar) return;
    end_late_calls(c);
    answer_tickets(c);
    o3_sidecar_turn(c->sidecar, o3_coupling_now(c));
    write_preset_file(c);
    if (c->is_killed) restart_killed(c);
}

/* On the sidecar's side, if nothing comes from the world. */
static int64_t next_own_ns(const struct o3_coupling *c) {
    if (!c->sidecar) return INT64_MAX;
    int64_t t = o3_sidecar_deadline_ns(c->sidecar), due = o3_paced_deadline_ns(&c->paced);
    if (due < t) t = due;
    for (int i = 0; i < c->n_calls; i++) {
        int64_t end_ns = c->calls[i].failure ? c->now_ns + O3_NS_PER_MS : c->calls[i].deadline_ns;
        if (end_ns < t) t = end_ns;
    }
    for (int i = 0; i < c->n_tickets; i++)
        if (c->tickets[i].at_ns < t) t = c->tickets[i].at_ns;
    return t;
}

/* Moves the clock on to where the sidecar hears something or is due; what users do goes by without it. */
static bool find_next(struct o3_coupling *c, int64_t until_ns) {
    int64_t own = next_own_ns(c);
    do {
        int64_t world = o3_world_next_ns(c->world), next = world < own ? world : own;
        if (next > until_ns) return false;
        c->now_ns = next > c->now_ns ? next : c->now_ns + 1000; /* two things at the same moment are two steps */
    } while (c->now_ns < own && !o3_world_advance(c->world, c->now_ns));
    return true;
}

void o3_coupling_run(struct o3_coupling *c, int64_t until_ns) {
    do
        step(c);
    while (find_next(c, until_ns));
    if (until_ns <= c->now_ns) return;
    c->now_ns = until_ns;
    step(c);
}
