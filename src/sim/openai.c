/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of the OpenAI endpoints: fields and order as recorded (a chat stream) or as the server's source has them. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "sim/replies.h"

static const char FINGERPRINT[] = "fp_ollama";

static void set(json_t *object, const char *name, json_t *value) {
    json_object_set_new(object, name, value);
}

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *head(const struct o3_sim_request *rq, const struct o3_sim_piece *p, const char *object) {
    char id[32];
    snprintf(id, sizeof id, "%s-%d", p->is_chat ? "chatcmpl" : "cmpl", rq->openai_id);
    return json_pack("{s:s,s:s,s:I}", "id", id, "object", object, "created", (json_int_t)p->wall_s);
}

static json_t *usage(const struct o3_sim_piece *p) {
    return json_pack("{s:I,s:I,s:I}", "prompt_tokens", (json_int_t)p->prompt_count, "completion_tokens",
                     (json_int_t)p->eval_count, "total_tokens", (json_int_t)(p->prompt_count + p->eval_count));
}

static const char *finish_reason(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    return p->done_reason && o3_sim_script_calls(rq) ? "tool_calls" : p->done_reason;
}

/* The native calls with their arguments as text. */
static json_t *tool_calls(const char *text) {
    json_t *calls = json_loads(text, 0, NULL), *out = json_array(), *call;
    size_t i;
    json_array_foreach(calls, i, call) {
        json_t *function = json_object_get(call, "function");
        O3_AUTO_BUF arguments;
        o3_buf_init(&arguments, O3_SIM_MAX_REPLY);
        o3_sim_write_json(json_incref(json_object_get(function, "arguments")), &arguments);
        json_array_append_new(out, json_pack("{s:O,s:O,s:s,s:{s:O,s:s}}", "id", json_object_get(call, "id"), "index",
                                             json_object_get(function, "index"), "type", "function", "function", "name",
                                             json_object_get(function, "name"), "arguments", o3_buf_str(&arguments)));
    }
    json_decref(calls);
    return out;
}

static void add_logprobs(json_t *choice, const struct o3_sim_piece *p) {
    if (!p->logprobs || !*p->logprobs) return;
    O3_AUTO_BUF list;
    o3_buf_init(&list, O3_SIM_MAX_REPLY);
    o3_buf_addf(&list, "[%s]", p->logprobs);
    json_t *v = json_loads(o3_buf_str(&list), 0, NULL);
    if (v) set(choice, "logprobs", json_pack("{s:o}", "content", v));
}

/* ---- chat ---- */

/* The role comes with the first one; what is empty is left out. */
static json_t *delta(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    json_t *d = json_object();
    if (!rq->head_sent) set(d, "role", json_string("assistant"));
    if (*p->text) set(d, "content", json_string(p->text));
    if (p->thinking && *p->thinking) set(d, "reasoning", json_string(p->thinking));
    if (p->tool_calls) set(d, "tool_calls", tool_calls(p->tool_calls));
    return d;
}

static json_t *chat_chunk(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    json_t *o = head(rq, p, "chat.completion.chunk");
    set(o, "model", json_string(p->model));
    set(o, "system_fingerprint", json_string(FINGERPRINT));
    json_t *choice = json_pack("{s:i,s:o,s:o}", "index", 0, "delta", delta(rq, p), "finish_reason",
                               text_or_null(finish_reason(rq, p)));
    add_logprobs(choice, p);
    set(o, "choices", json_pack("[o]", choice));
    return o;
}

static json_t *chat_whole(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    json_t *o = head(rq, p, "chat.completion");
    json_t *message = json_pack("{s:s,s:s}", "role", "assistant", "content", p->text);
    if (p->thinking && *p->thinking) set(message, "reasoning", json_string(p->thinking));
    if (p->tool_calls) set(message, "tool_calls", tool_calls(p->tool_calls));
    set(o, "model", json_string(p->model));
    set(o, "system_fingerprint", json_string(FINGERPRINT));
    json_t *choice = json_pack("{s:i,s:o,s:o}", "index", 0, "message", message, "finish_reason",
                               text_or_null(finish_reason(rq, p)));
    add_logprobs(choice, p);
    set(o, "choices", json_pack("[o]", choice));
    set(o, "usage", usage(p));
    return o;
}

/* ---- completions ---- */

static json_t *completion_choices(const struct o3_sim_piece *p) {
    return json_pack("[{s:s,s:i,s:o}]", "text", p->text, "index", 0, "finish_reason", text_or_null(p->done_reason));
}

static json_t *completion_chunk(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    json_t *o = head(rq, p, "text_completion");
    set(o, "choices", completion_choices(p));
    set(o, "model", json_string(p->model));
    set(o, "system_fingerprint", json_string(FINGERPRINT));
    if (rq->body.has_usage)
        set(o, "usage", json_pack("{s:i,s:i,s:i}", "prompt_tokens", 0, "completion_tokens", 0, "total_tokens", 0));
    return o;
}

static json_t *completion_whole(const struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    json_t *o = head(rq, p, "text_completion");
    set(o, "model", json_string(p->model));
    set(o, "system_fingerprint", json_string(FINGERPRINT));
    set(o, "choices", completion_choices(p));
    set(o, "usage", usage(p));
    return o;
}

/* ---- both ---- */

static void add_event(json_t *o, struct o3_buf *out) {
    o3_buf_adds(out, "data: ");
    o3_sim_write_json(o, out);
    o3_buf_adds(out, "\n\n");
}

void o3_sim_openai_piece(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out) {
    json_t *o = p->is_chat ? chat_chunk(rq, p) : completion_chunk(rq, p);
    add_event(json_incref(o), out);
    if (p->is_done && rq->body.has_usage) {
        set(o, "choices", json_array());
        set(o, "usage", usage(p));
        add_event(json_incref(o), out);
    }
    json_decref(o);
    if (p->is_done) o3_buf_adds(out, "data: [DONE]\n\n");
}

void o3_sim_openai_whole(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out) {
    o3_sim_write_json(p->is_chat ? chat_whole(rq, p) : completion_whole(rq, p), out);
    o3_buf_adds(out, "\n");
}

/* ---- vectors ---- */

static json_t *base64(const double *v, size_t n) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_SIM_MAX_REPLY);
    uint32_t bits = 0;
    int held = 0;
    for (size_t i = 0; i < n * sizeof(float); i++) {
        float f = (float)v[i / sizeof f];
        uint32_t word;
        memcpy(&word, &f, sizeof word);
        bits = bits << 8 | (word >> i % sizeof f * 8 & 0xff); /* little endian on every machine */
        for (held += 8; held >= 6; held -= 6)
            o3_buf_add(&text, &DIGITS[bits >> (held - 6) & 63], 1);
    }
    if (held > 0) o3_buf_add(&text, &DIGITS[bits << (6 - held) & 63], 1);
    while (text.len % 4 != 0)
        o3_buf_adds(&text, "=");
    return json_string(o3_buf_str(&text));
}

static json_t *numbers(const double *v, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(v[i]));
    return list;
}

void o3_sim_openai_vectors(const struct o3_sim_request *rq, const struct o3_sim_vectors *v, struct o3_buf *out) {
    json_t *data = json_array();
    for (size_t i = 0; i < v->n; i++) {
        const double *one = v->v + i * v->dimensions;
        json_array_append_new(data,
                              json_pack("{s:s,s:o,s:i}", "object", "embedding", "embedding",
                                        rq->body.is_base64 ? base64(one, v->dimensions) : numbers(one, v->dimensions),
                                        "index", (int)i));
    }
    o3_sim_write_json(json_pack("{s:s,s:o,s:s,s:{s:I,s:I}}", "object", "list", "data", data, "model", v->model, "usage",
                                "prompt_tokens", (json_int_t)v->prompt_count, "total_tokens",
                                (json_int_t)v->prompt_count),
                      out);
    o3_buf_adds(out, "\n");
}

/* ---- models, errors ---- */

static json_t *model(const struct o3_sim_model *m, const char *name) {
    const char *slash = strchr(name, '/');
    char owner[O3_SIM_NAME_SIZE] = "library";
    if (slash) o3_str_copy_n(owner, sizeof owner, name, (size_t)(slash - name));
    return json_pack("{s:s,s:s,s:I,s:s}", "id", name, "object", "model", "created",
                     (json_int_t)(m->modified_wall_ms / O3_MS_PER_S), "owned_by", owner);
}

void o3_sim_openai_models(const struct o3_world *w, struct o3_buf *out) {
    const struct o3_sim_model *sorted[O3_SIM_MAX_MODELS];
    size_t n = o3_sim_models_sorted(w, sorted);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, model(sorted[i], sorted[i]->name));
    o3_sim_write_json(json_pack("{s:s,s:o}", "object", "list", "data", list), out);
    o3_buf_adds(out, "\n");
}

void o3_sim_openai_model(const struct o3_sim_model *m, const char *name, struct o3_buf *out) {
    o3_sim_write_json(model(m, name), out);
    o3_buf_adds(out, "\n");
}

void o3_sim_openai_error(int status, const char *text, struct o3_buf *out) {
    const char *type = status == 400 ? "invalid_request_error" : status == 404 ? "not_found_error" : "api_error";
    o3_sim_write_json(json_pack("{s:{s:s,s:s,s:n,s:n}}", "error", "message", text, "type", type, "param", "code"), out);
    o3_buf_adds(out, "\n");
}
