/* SPDX-License-Identifier: Apache-2.0 */
/* Which request is what, and the answers that need no runner. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

/* ---- reading ---- */

static void show(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (!rq->body.model[0]) memcpy(rq->body.model, rq->body.name, sizeof rq->body.model);
    if (!rq->body.model[0]) {
        o3_sim_reply_error(w, rq, t, 400, "model is required");
        return;
    }
    const struct o3_sim_model *m = o3_sim_library_find(w, rq->body.model);
    if (!m) {
        char full[O3_SIM_NAME_SIZE], text[O3_SIM_NAME_SIZE + 32];
        bool is_name = o3_sim_full_name(rq->body.model, full);
        snprintf(text, sizeof text, "model '%s' not found", is_name ? full : rq->body.model);
        o3_sim_reply_error(w, rq, t, 404, text);
        return;
    }
    o3_sim_json_show(w, m, rq->body.is_verbose, &rq->reply);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

static void root(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_buf_adds(&rq->reply, "Ollama is running");
    o3_sim_reply(w, rq, t, 200, "text/plain; charset=utf-8");
}

static void version(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_sim_json_version(w, &rq->reply);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

static void tags(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (!w->tags_text.len) o3_sim_json_tags(w, &w->tags_text);
    o3_buf_add(&rq->reply, o3_buf_str(&w->tags_text), w->tags_text.len);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

/* A runner that no request has left yet shows another expiry at each look: serial 0. */
static struct o3_sim_listed listed_as(const struct o3_sim_runner *r) {
    if (!r->is_used || r->is_loading || !r->has_ended) return (struct o3_sim_listed){0};
    return (struct o3_sim_listed){r->serial, r->ended_ns, r->expires_ns, r->vram_bytes};
}

/* Forgets the texts that are no longer true, of those with another expiry that only; returns whether that is so of
 * any. */
static bool forget_listed(struct o3_world *w) {
    bool is_any = false;
    for (size_t i = 0; i < w->runners_end; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        struct o3_sim_listed now = listed_as(r);
        bool is_steady = now.serial || !r->is_used || r->is_loading;
        if (is_steady && !memcmp(&now, &w->listed[i], sizeof now)) continue;
        bool is_same_but_times = is_steady && now.serial == w->listed[i].serial &&
                                 now.vram_bytes == w->listed[i].vram_bytes;
        if (is_same_but_times)
            o3_buf_clear(&w->ps_entries[i].expiry);
        else
            o3_buf_clear(&w->ps_entries[i].head);
        w->listed[i] = now;
        is_any = true;
    }
    return is_any;
}

/* Asked every few seconds for months of simulated time, and mostly the same. */
static void ps(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (forget_listed(w) || !w->ps_text.len) {
        o3_buf_clear(&w->ps_text);
        o3_sim_json_ps(w, t, &w->ps_text);
    }
    o3_buf_add(&rq->reply, o3_buf_str(&w->ps_text), w->ps_text.len);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

static void status(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_buf_adds(&rq->reply, "{\"cloud\":{\"disabled\":true,\"source\":\"env\"}}");
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

/* ---- the library ---- */

static void not_found(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *name) {
    char text[O3_SIM_NAME_SIZE + 32];
    snprintf(text, sizeof text, "model '%s' not found", name);
    o3_sim_reply_error(w, rq, t, 404, text);
}

static void delete_model(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (!rq->body.model[0]) memcpy(rq->body.model, rq->body.name, sizeof rq->body.model);
    if (!o3_sim_library_remove(w, rq->body.model)) {
        not_found(w, rq, t, rq->body.model);
        return;
    }
    o3_sim_reply(w, rq, t, 200, NULL);
}

static void copy(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_model *from = o3_sim_library_find(w, rq->body.source);
    struct o3_sim_model m = {0};
    char text[2 * O3_SIM_NAME_SIZE];
    bool is_name = o3_sim_full_name(rq->body.destination, m.name);
    if (!is_name || !from) {
        snprintf(text, sizeof text, is_name ? "model \"%s\" not found" : "destination \"%s\" is invalid",
                 is_name ? rq->body.source : rq->body.destination);
        o3_sim_reply_error(w, rq, t, is_name ? 404 : 400, text);
        return;
    }
    char name[O3_SIM_NAME_SIZE];
    memcpy(name, m.name, sizeof name);
    m = *from;
    memcpy(m.name, name, sizeof name);
    if (o3_sim_library_put(w, &m) < 0)
        o3_sim_reply_error(w, rq, t, 500, "no space left on device");
    else
        o3_sim_reply(w, rq, t, 200, NULL);
}

static void report_creation(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const struct o3_sim_model *m) {
    char hex[65], text[128];
    const char *const parts[] = {rq->body.template_n ? m->template_text : "", rq->body.system_n ? m->system : "",
                                 m->parameters};
    o3_sim_blob(m, hex);
    snprintf(text, sizeof text, "using existing layer sha256:%s", hex);
    o3_sim_status_line(rq, text);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i][0]) continue;
        o3_sha256_hex(parts[i], strlen(parts[i]), hex);
        snprintf(text, sizeof text, "creating new layer sha256:%s", hex);
        o3_sim_status_line(rq, text);
    }
    o3_sim_status_line(rq, "writing manifest");
    o3_sim_progress_end(w, rq, t, NULL);
}

/* The model to begin with; NULL when the request was answered. */
static const struct o3_sim_model *base_of(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_body *b = &rq->body;
    const struct o3_sim_model *from = b->from[0] ? o3_sim_library_find(w, b->from)
                                                 : o3_sim_model_of_blob(w, b->file_digest);
    if (from) return from;
    if (b->from[0])
        o3_sim_create_by_pull(w, rq, t);
    else
        o3_sim_reply_error(w, rq, t, 400,
                           b->has_files ? "supplied file was not in GGUF format"
                                        : "neither 'from' or 'files' was specified");
    if (!b->from[0]) rq->content_type = O3_SIM_JSON_PLAIN;
    return NULL;
}

static bool take_texts(const struct o3_sim_body *b, struct o3_sim_model *m) {
    if (b->system_n > 0 && !o3_str_copy(m->system, sizeof m->system, b->system)) return false;
    return b->template_n == 0 || o3_str_copy(m->template_text, sizeof m->template_text, b->template_text);
}

static void create(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_body *b = &rq->body;
    struct o3_sim_model m;
    char name[O3_SIM_NAME_SIZE];
    if (!o3_sim_full_name(b->model[0] ? b->model : b->name, name)) {
        o3_sim_reply_error(w, rq, t, 400, "invalid model name");
        return;
    }
    const struct o3_sim_model *from = base_of(w, rq, t);
    if (!from) return;
    m = *from;
    memcpy(m.parent, from->name, sizeof m.parent);
    memcpy(m.name, name, sizeof m.name);
    m.modified_wall_ms = w->params.start_wall_ms + t / O3_NS_PER_MS;
    if (b->has_parameters) {
        o3_sim_options_merge(&m.options, &b->options);
        memcpy(m.parameters, b->parameters, sizeof m.parameters);
    }
    if (!take_texts(b, &m))
        o3_sim_reply_error(w, rq, t, 400, "the simulator keeps system texts and templates of 2047 bytes at most");
    else if (o3_sim_library_put(w, &m) < 0)
        o3_sim_reply_error(w, rq, t, 500, "no space left on device");
    else
        report_creation(w, rq, t, &m);
}

/* ---- work for a runner ---- */

static bool is_unload(const struct o3_sim_request *rq) {
    const struct o3_sim_body *b = &rq->body;
    return rq->is_load_only && b->has_keep_alive && b->keep_alive_ns == 0 &&
           (rq->kind == O3_SIM_GENERATE || rq->kind == O3_SIM_CHAT);
}

static void unload(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_piece p = {.model = rq->body.model, .is_chat = rq->kind == O3_SIM_CHAT, .text = "", .is_done = true};
    p.done_reason = "unload";
    o3_sim_wall(w, t, &p.wall_s, &p.wall_ns);
    o3_sim_json_piece(&p, &rq->reply);
    struct o3_sim_runner *r = o3_sim_sched_find(w, &rq->model);
    if (r) o3_sim_sched_expire(w, r, t);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON);
}

/* Why the model cannot do what is asked, or false. Capabilities that the scheduler looks for are refused with the
 * full name of the model, the others with the name asked for. */
static bool is_beyond(const struct o3_world *w, const struct o3_sim_request *rq, char *text, size_t size) {
    const struct o3_sim_weights *x = rq->model.weights;
    const struct o3_sim_body *b = &rq->body;
    const char *own = NULL, *full = NULL;
    if (rq->kind == O3_SIM_GENERATE && !x->can_complete) own = "generate";
    if (rq->kind == O3_SIM_CHAT && !x->can_complete) own = "chat";
    if (!own && w->profile.has_think && b->has_think && b->think && !x->can_think) own = "thinking";
    if (b->suffix_n > 0 && !x->can_insert) full = "insert";
    if (b->tools && !x->can_use_tools) full = "tools";
    if (own)
        snprintf(text, size, "\"%s\" does not support %s", b->model, own);
    else if (full)
        snprintf(text, size, "registry.ollama.ai/%s%s does not support %s",
                 strchr(rq->model.name, '/') ? "" : "library/", rq->model.name, full);
    return own || full;
}

static void no_such_model(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    char text[O3_SIM_NAME_SIZE + 48], full[O3_SIM_NAME_SIZE];
    bool is_embedding = rq->kind == O3_SIM_EMBED || rq->kind == O3_SIM_EMBEDDINGS;
    if (!rq->body.model[0] && (rq->kind == O3_SIM_CHAT || rq->kind == O3_SIM_EMBEDDINGS)) {
        o3_sim_reply_error(w, rq, t, 400, "model is required");
        return;
    }
    if (!is_embedding || !o3_sim_full_name(rq->body.model, full)) {
        not_found(w, rq, t, rq->body.model);
        return;
    }
    snprintf(text, sizeof text, "model \"%s\" not found, try pulling it first", rq->body.model);
    o3_sim_reply_error(w, rq, t, 404, text);
}

static void work(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_body *b = &rq->body;
    const struct o3_sim_model *m = o3_sim_library_find(w, b->model);
    char text[O3_SIM_NAME_SIZE + 64];
    if (!m) {
        no_such_model(w, rq, t);
        return;
    }
    rq->model = *m;
    if (m->weights->remote_host) {
        o3_sim_reply_error(w, rq, t, 401, "unauthorized");
        return;
    }
    if (is_unload(rq)) {
        unload(w, rq, t);
        return;
    }
    if (b->raw && (b->system_n || b->template_n || b->context_n)) {
        o3_sim_reply_error(w, rq, t, 400, "raw mode does not support template, system, or context");
        return;
    }
    if (is_beyond(w, rq, text, sizeof text)) {
        o3_sim_reply_error(w, rq, t, 400, text);
        return;
    }
    o3_sim_launch_for(w, m, b, &rq->options, &rq->launch);
    if (rq->options.error[0]) {
        o3_sim_reply_error(w, rq, t, 500, rq->options.error);
        return;
    }
    if (rq->dialect == O3_SIM_OPENAI) rq->openai_id = (int)(o3_sim_hash(rq->chance, "id", 2) % 999);
    rq->start_ns = t + o3_sim_between(w, rq, O3_SIM_DRAW_START, 0.3, 0.9);
    o3_sim_sched_request(w, rq, t);
}

static void generate(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    rq->kind = O3_SIM_GENERATE;
    rq->is_load_only = rq->body.prompt_n == 0;
    work(w, rq, t);
}

static void chat(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    rq->kind = O3_SIM_CHAT;
    rq->is_load_only = rq->body.n_messages == 0;
    work(w, rq, t);
}

static void embed(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    rq->kind = O3_SIM_EMBED;
    rq->is_load_only = rq->body.n_inputs == 0;
    work(w, rq, t);
}

/* The older endpoint: one prompt, one vector. */
static void embeddings(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_body *b = &rq->body;
    rq->kind = O3_SIM_EMBEDDINGS;
    rq->is_load_only = b->prompt_n == 0;
    if (b->prompt_n) {
        b->inputs = calloc(1, sizeof *b->inputs);
        if (b->inputs) {
            b->inputs[0] = b->prompt;
            b->n_inputs = 1;
            b->prompt = NULL;
        }
    }
    work(w, rq, t);
}

/* ---- the OpenAI endpoints ---- */

static void openai_models(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_sim_openai_models(w, &rq->reply);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON_PLAIN);
}

static void openai_model(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_model *m = o3_sim_library_find(w, rq->argument);
    if (!m) {
        not_found(w, rq, t, rq->argument);
        return;
    }
    o3_sim_openai_model(m, rq->argument, &rq->reply);
    o3_sim_reply(w, rq, t, 200, O3_SIM_JSON_PLAIN);
}

/* ---- dispatch ---- */

enum { NO_BODY = -1 };
static const struct route {
    const char *method, *path; /* a path that ends with / takes one more part, the argument */
    int body;                  /* enum o3_sim_body_kind, or NO_BODY */
    void (*handle)(struct o3_world *w, struct o3_sim_request *rq, int64_t t);
} ROUTES[] = {
    /* what the sidecar asks for, by the million */
    {"GET", "/api/ps", NO_BODY, ps},
    {"POST", "/api/generate", O3_SIM_BODY_GENERATE, generate},
    {"GET", "/api/version", NO_BODY, version},
    {"GET", "/api/tags", NO_BODY, tags},
    {"GET", "/", NO_BODY, root},
    {"HEAD", "/", NO_BODY, root},
    {"HEAD", "/api/version", NO_BODY, version},
    {"HEAD", "/api/tags", NO_BODY, tags},
    {"GET", "/api/status", NO_BODY, status},
    {"POST", "/api/show", O3_SIM_BODY_SHOW, show},
    {"POST", "/api/chat", O3_SIM_BODY_CHAT, chat},
    {"POST", "/api/embed", O3_SIM_BODY_EMBED, embed},
    {"POST", "/api/embeddings", O3_SIM_BODY_EMBEDDINGS, embeddings},
    {"POST", "/api/create", O3_SIM_BODY_CREATE, create},
    {"POST", "/api/copy", O3_SIM_BODY_COPY, copy},
    {"DELETE", "/api/delete", O3_SIM_BODY_DELETE, delete_model},
    {"POST", "/api/pull", O3_SIM_BODY_PULL, o3_sim_pull},
    {"POST", "/api/push", O3_SIM_BODY_PUSH, o3_sim_push},
    {"HEAD", "/api/blobs/", NO_BODY, o3_sim_head_blob},
    {"POST", "/api/blobs/", NO_BODY, o3_sim_post_blob},
    {"POST", "/v1/chat/completions", O3_SIM_BODY_V1_CHAT, chat},
    {"POST", "/v1/completions", O3_SIM_BODY_V1_COMPLETION, generate},
    {"POST", "/v1/embeddings", O3_SIM_BODY_V1_EMBEDDINGS, embed},
    {"GET", "/v1/models", NO_BODY, openai_models},
    {"GET", "/v1/models/", NO_BODY, openai_model},
};

static void plain(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int code, const char *text) {
    o3_buf_adds(&rq->reply, text);
    o3_sim_reply(w, rq, t, code, "text/plain");
}

static bool is_path(const struct route *r, const char *path) {
    size_t n = strlen(r->path);
    if (n == 1 || r->path[n - 1] != '/') return !strcmp(r->path, path);
    return !strncmp(r->path, path, n) && path[n];
}

static const struct route *find_route(const struct o3_sim_request *rq, bool *ret_has_path) {
    *ret_has_path = false;
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES; i++) {
        if (!is_path(&ROUTES[i], rq->path)) continue;
        *ret_has_path = true;
        if (!strcmp(ROUTES[i].method, rq->method)) return &ROUTES[i];
    }
    return NULL;
}

/* false: the request was answered. */
static bool take_body(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int kind) {
    rq->has_body = true;
    if (o3_sim_body_decode((enum o3_sim_body_kind)kind, rq->bytes, rq->n_bytes, &w->bodies, &rq->body) < 0) {
        o3_sim_reply_error(w, rq, t, 500, "out of memory");
        return false;
    }
    if (!rq->body.status) return true;
    o3_sim_reply_error(w, rq, t, rq->body.status, rq->body.error);
    rq->content_type = O3_SIM_JSON;
    return false;
}

void o3_sim_route(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (rq->user) { /* its body is decoded from the start */
        rq->kind = O3_SIM_CHAT;
        work(w, rq, t);
        return;
    }
    bool has_path;
    const struct route *found = find_route(rq, &has_path);
    if (!found) {
        if (has_path)
            plain(w, rq, t, 405, "405 method not allowed");
        else
            plain(w, rq, t, 404, "404 page not found");
        return;
    }
    rq->argument = rq->path + strlen(found->path);
    rq->dialect = strncmp(found->path, "/v1/", 4) != 0 ? O3_SIM_NATIVE : O3_SIM_OPENAI;
    if (found->body == NO_BODY || take_body(w, rq, t, found->body)) found->handle(w, rq, t);
}
