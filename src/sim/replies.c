/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of the answers: fields, types and order as recorded from a server. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/replies.h"

/* Go's encoder writes <, > and & inside strings as \u003c and so on; JSON has them nowhere else. */
static void add_escaped(struct o3_buf *out, const char *text) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "<>&");
        o3_buf_add(out, p, n);
        p += n;
        if (*p) o3_buf_addf(out, "\\u%04x", (unsigned)*p++);
    }
}

void o3_sim_write_json(json_t *root, struct o3_buf *out) {
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        add_escaped(out, text);
    else
        out->err = O3_E_NOMEM;
    free(text);
    json_decref(root);
}

void o3_sim_format_wall_ms(int64_t wall_ms, char out[40]) {
    int64_t s = wall_ms / O3_MS_PER_S;
    o3_rfc3339_format_ns(s, (wall_ms - s * O3_MS_PER_S) * O3_NS_PER_MS, out, 40);
}

static void set(json_t *object, const char *name, json_t *value) {
    json_object_set_new(object, name, value);
}

void o3_sim_json_error(const char *text, struct o3_buf *out) {
    o3_sim_write_json(json_pack("{s:s}", "error", text), out);
}

void o3_sim_json_status(const char *text, struct o3_buf *out) {
    o3_sim_write_json(json_pack("{s:s}", "status", text), out);
}

void o3_sim_json_progress(const struct o3_sim_progress *p, struct o3_buf *out) {
    char digest[80];
    json_t *o = json_pack("{s:s}", "status", p->status);
    if (p->digest) {
        snprintf(digest, sizeof digest, "sha256:%s", p->digest);
        set(o, "digest", json_string(digest));
    }
    if (p->total > 0) set(o, "total", json_integer(p->total));
    if (p->completed > 0) set(o, "completed", json_integer(p->completed));
    o3_sim_write_json(o, out);
}

void o3_sim_json_version(const struct o3_world *w, struct o3_buf *out) {
    o3_buf_adds(out, "{\"version\":");
    o3_buf_add_quoted(out, w->profile.text);
    o3_buf_adds(out, "}");
}

json_t *o3_sim_model_details(const struct o3_sim_model *m) {
    const struct o3_sim_weights *x = m->weights;
    return json_pack("{s:s,s:s,s:s,s:[s],s:s,s:s}", "parent_model", m->parent, "format", "gguf", "family",
                     x->architecture, "families", x->architecture, "parameter_size", x->parameter_size,
                     "quantization_level", x->quantization);
}

json_t *o3_sim_model_capabilities(const struct o3_sim_weights *x) {
    json_t *list = json_array();
    if (x->can_complete) json_array_append_new(list, json_string("completion"));
    if (x->can_embed) json_array_append_new(list, json_string("embedding"));
    if (x->can_see) json_array_append_new(list, json_string("vision"));
    if (x->can_use_tools) json_array_append_new(list, json_string("tools"));
    if (x->can_insert) json_array_append_new(list, json_string("insert"));
    if (x->can_think) json_array_append_new(list, json_string("thinking"));
    return list;
}

static json_t *tag(const struct o3_world *w, const struct o3_sim_model *m) {
    const struct o3_sim_weights *x = m->weights;
    char time[40];
    o3_sim_format_wall_ms(m->modified_wall_ms, time);
    json_t *o = json_pack("{s:s,s:s}", "name", m->name, "model", m->name);
    if (x->remote_host) {
        set(o, "remote_model", json_string(x->remote_model));
        set(o, "remote_host", json_string(x->remote_host));
    }
    set(o, "modified_at", json_string(time));
    set(o, "size", json_integer(x->size_bytes));
    set(o, "digest", json_string(m->digest));
    json_t *d = o3_sim_model_details(m);
    if (w->profile.has_child_server) {
        set(d, "context_length", json_integer(x->context_length));
        set(d, "embedding_length", json_integer(x->embedding));
    }
    set(o, "details", d);
    if (w->profile.has_child_server) set(o, "capabilities", o3_sim_model_capabilities(x));
    return o;
}

static int newest_first(const void *a, const void *b) {
    const struct o3_sim_model *x = *(const struct o3_sim_model *const *)a, *y = *(const struct o3_sim_model *const *)b;
    if (x->modified_wall_ms != y->modified_wall_ms) return x->modified_wall_ms < y->modified_wall_ms ? 1 : -1;
    return strcmp(x->name, y->name);
}

size_t o3_sim_models_sorted(const struct o3_world *w, const struct o3_sim_model *out[O3_SIM_MAX_MODELS]) {
    for (size_t i = 0; i < w->n_models; i++)
        out[i] = &w->models[i];
    qsort(out, w->n_models, sizeof *out, newest_first);
    return w->n_models;
}

void o3_sim_json_tags(const struct o3_world *w, struct o3_buf *out) {
    const struct o3_sim_model *sorted[O3_SIM_MAX_MODELS];
    size_t n = o3_sim_models_sorted(w, sorted);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, tag(w, sorted[i]));
    o3_sim_write_json(json_pack("{s:o}", "models", list), out);
}

/* "For ever" is the longest duration that Go knows, 292 years from now. */
static void format_expiry(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t, char out[40]) {
    const int64_t longest_s = INT64_MAX / O3_NS_PER_S;
    int64_t s, ns;
    int64_t set_ns = r->has_ended ? r->ended_ns : t;
    int64_t at = r->has_ended ? r->expires_ns : r->session_ns == INT64_MAX ? INT64_MAX : t + r->session_ns;
    bool is_for_ever = at == INT64_MAX;
    o3_sim_wall(w, is_for_ever ? set_ns : at, &s, &ns);
    if (r->has_ended)
        s -= (w->clock_shift_ms - r->expires_shift_ms) / O3_MS_PER_S; /* told once, by the clock of then */
    o3_rfc3339_format_ns(is_for_ever ? s + longest_s : s, ns, out, 40);
}

static json_t *loaded(const struct o3_world *w, const struct o3_sim_runner *r, const char *time) {
    json_t *o = json_pack("{s:s,s:s,s:I,s:s,s:o,s:s,s:I}", "name", r->model.name, "model", r->model.name, "size",
                          (json_int_t)r->size_bytes, "digest", r->model.digest, "details",
                          o3_sim_model_details(&r->model), "expires_at", time, "size_vram", (json_int_t)r->vram_bytes);
    if (w->profile.has_ps_context) set(o, "context_length", json_integer(r->launch.num_ctx));
    return o;
}

static void write_entry(const struct o3_world *w, const struct o3_sim_runner *r, struct o3_sim_ps_entry *x) {
    static const char KEY[] = "\"expires_at\":\"";
    O3_AUTO_BUF all;
    o3_buf_init(&all, O3_SIM_MAX_REPLY);
    o3_sim_write_json(loaded(w, r, ""), &all);
    const char *text = o3_buf_str(&all), *key = strstr(text, KEY); /* quotes inside of strings have a backslash */
    size_t n = key ? (size_t)(key - text) + sizeof KEY - 1 : all.len;
    o3_buf_clear(&x->expiry);
    o3_buf_clear(&x->tail);
    o3_buf_add(&x->head, text, n);
    o3_buf_add(&x->tail, text + n, all.len - n);
    if (all.err) x->head.err = all.err;
}

static void add_entry(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t, struct o3_sim_ps_entry *x,
                      struct o3_buf *out) {
    if (!x->head.len) write_entry(w, r, x);
    if (!x->expiry.len) {
        char time[40];
        format_expiry(w, r, t, time);
        o3_buf_adds(&x->expiry, time);
    }
    const struct o3_buf *parts[] = {&x->head, &x->expiry, &x->tail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i]->err) out->err = parts[i]->err;
        o3_buf_add(out, o3_buf_str(parts[i]), parts[i]->len);
    }
}

/* Latest expiry first by whole seconds, then in order of loading. */
static bool comes_before(const struct o3_sim_runner *a, const struct o3_sim_runner *b) {
    int64_t x = a->has_ended ? a->expires_ns / O3_NS_PER_S : INT64_MAX;
    int64_t y = b->has_ended ? b->expires_ns / O3_NS_PER_S : INT64_MAX;
    return x != y ? x > y : a->serial < b->serial;
}

void o3_sim_json_ps(struct o3_world *w, int64_t t, struct o3_buf *out) {
    const struct o3_sim_runner *sorted[O3_SIM_MAX_RUNNERS];
    size_t n = 0;
    for (size_t i = 0; i < w->runners_end; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used || r->is_loading) continue;
        size_t j = n++;
        for (; j > 0 && comes_before(r, sorted[j - 1]); j--)
            sorted[j] = sorted[j - 1];
        sorted[j] = r;
    }
    o3_buf_adds(out, "{\"models\":[");
    for (size_t i = 0; i < n; i++) {
        if (i) o3_buf_adds(out, ",");
        add_entry(w, sorted[i], t, &w->ps_entries[sorted[i] - w->runners], out);
    }
    o3_buf_adds(out, "]}");
}

/* ---- pieces of an answer ---- */

static json_t *message(const struct o3_sim_piece *p) {
    json_t *m = json_pack("{s:s,s:s}", "role", "assistant", "content", p->text);
    if (p->thinking && *p->thinking) set(m, "thinking", json_string(p->thinking));
    if (p->tool_calls) set(m, "tool_calls", json_loads(p->tool_calls, 0, NULL));
    return m;
}

static void add_logprobs(json_t *o, const struct o3_sim_piece *p) {
    if (!p->logprobs || !*p->logprobs) return;
    O3_AUTO_BUF list;
    o3_buf_init(&list, O3_SIM_MAX_REPLY);
    o3_buf_addf(&list, "[%s]", p->logprobs);
    json_t *v = json_loads(o3_buf_str(&list), 0, NULL);
    if (v) set(o, "logprobs", v);
}

static json_t *context(const struct o3_sim_tokens *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(list, json_integer((json_int_t)t->v[i]));
    return list;
}

static bool is_plain(const char *s) {
    for (; *s; s++) {
        bool is_word = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9');
        if (!is_word && *s != ' ' && *s != '-' && *s != '.' && *s != ':' && *s != '_' && *s != '/') return false;
    }
    return true;
}

static void add_context(const struct o3_sim_tokens *t, struct o3_buf *out) {
    o3_buf_adds(out, ",\"context\":[");
    for (size_t i = 0; i < t->n; i++) {
        if (i) o3_buf_add(out, ",", 1);
        o3_buf_add_int(out, (int64_t)t->v[i]);
    }
    o3_buf_add(out, "]", 1);
}

static void add_counts(const struct o3_sim_piece *p, struct o3_buf *out) {
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {{",\"total_duration\":", p->total_ns},        {",\"load_duration\":", p->load_ns},
                  {",\"prompt_eval_count\":", p->prompt_count}, {",\"prompt_eval_duration\":", p->prompt_ns},
                  {",\"eval_count\":", p->eval_count},          {",\"eval_duration\":", p->eval_ns}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        o3_buf_adds(out, counts[i].name);
        o3_buf_add_int(out, counts[i].value);
    }
}

static void add_pair(struct o3_buf *out, const char *name, const char *value) {
    o3_buf_adds(out, name);
    o3_buf_adds(out, value);
}

/* Most pieces need no escaping: they are written as they are. */
static bool write_plain(const struct o3_sim_piece *p, const char *time, struct o3_buf *out) {
    bool has_thinking = p->thinking && *p->thinking;
    if (p->tool_calls || p->logprobs || !is_plain(p->model) || !is_plain(p->text) ||
        (p->done_reason && !is_plain(p->done_reason)) || (has_thinking && !is_plain(p->thinking)))
        return false;
    o3_buf_adds(out, "{\"model\":\"");
    o3_buf_adds(out, p->model);
    o3_buf_adds(out, "\",\"created_at\":\"");
    o3_buf_adds(out, time);
    o3_buf_adds(out, p->is_chat ? "\",\"message\":{\"role\":\"assistant\",\"content\":\"" : "\",\"response\":\"");
    o3_buf_adds(out, p->text);
    if (has_thinking) add_pair(out, "\",\"thinking\":\"", p->thinking);
    o3_buf_adds(out, p->is_chat ? "\"}" : "\"");
    o3_buf_adds(out, p->is_done ? ",\"done\":true" : ",\"done\":false");
    if (p->done_reason) {
        add_pair(out, ",\"done_reason\":\"", p->done_reason);
        o3_buf_adds(out, "\"");
    }
    if (p->context) add_context(p->context, out);
    if (p->has_counts) add_counts(p, out);
    o3_buf_add(out, "}", 1);
    return true;
}

void o3_sim_json_piece(const struct o3_sim_piece *p, struct o3_buf *out) {
    char time[40];
    o3_rfc3339_format_ns(p->wall_s, p->wall_ns, time, sizeof time);
    if (write_plain(p, time, out)) return;
    json_t *o = json_pack("{s:s,s:s}", "model", p->model, "created_at", time);
    if (p->is_chat) {
        set(o, "message", message(p));
    } else {
        set(o, "response", json_string(p->text));
        if (p->thinking && *p->thinking) set(o, "thinking", json_string(p->thinking));
    }
    set(o, "done", json_boolean(p->is_done));
    if (p->done_reason) set(o, "done_reason", json_string(p->done_reason));
    if (p->context) set(o, "context", context(p->context));
    if (p->is_chat) add_logprobs(o, p);
    if (p->has_counts) {
        set(o, "total_duration", json_integer(p->total_ns));
        set(o, "load_duration", json_integer(p->load_ns));
        set(o, "prompt_eval_count", json_integer(p->prompt_count));
        set(o, "prompt_eval_duration", json_integer(p->prompt_ns));
        set(o, "eval_count", json_integer(p->eval_count));
        set(o, "eval_duration", json_integer(p->eval_ns));
    }
    if (!p->is_chat) add_logprobs(o, p);
    o3_sim_write_json(o, out);
}

void o3_sim_json_vectors(const struct o3_sim_vectors *v, struct o3_buf *out) {
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < v->n; i++) {
        json_t *one = json_array();
        for (size_t k = 0; k < v->dimensions; k++)
            json_array_append_new(one, json_real(v->v[i * v->dimensions + k]));
        json_array_append_new(list, one);
    }
    if (v->is_legacy) {
        json_t *first = v->n ? json_incref(json_array_get(list, 0)) : json_array();
        json_decref(list);
        set(o, "embedding", first);
        o3_sim_write_json(o, out);
        return;
    }
    set(o, "model", json_string(v->model));
    set(o, "embeddings", list);
    if (v->has_counts) {
        set(o, "total_duration", json_integer(v->total_ns));
        set(o, "load_duration", json_integer(v->load_ns));
        set(o, "prompt_eval_count", json_integer(v->prompt_count));
    }
    o3_sim_write_json(o, out);
}
