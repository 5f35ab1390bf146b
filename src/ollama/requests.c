/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies that o3 sends. None of them holds keep_alive: a value sent once stays in force for the user's later
 * requests. */
#include <jansson.h>
#include <string.h>
#include "o3/ollama.h"
#include "o3/text.h"
#include "base/json.h"

/* Adds a member and takes its value over; remembers the first failure in *r. */
static void put(json_t *o, const char *key, json_t *value, int *r) {
    if (json_object_set_new(o, key, value) < 0 && *r == 0) *r = O3_E_NOMEM;
}

static json_t *text_value(const char *s, int *r) {
    if (o3_utf8_valid(s, strlen(s))) return json_string(s);
    *r = O3_E_PARSE;
    return NULL;
}

static void put_count(json_t *o, const char *key, int64_t value, int *r) {
    if (value >= 0) put(o, key, json_integer(value), r);
}

static void put_runner_options(json_t *options, const struct o3_runner_options *o, int *r) {
    put_count(options, "num_ctx", o->num_ctx, r);
    put_count(options, "num_batch", o->num_batch, r);
    put_count(options, "num_thread", o->num_thread, r);
}

static void put_user_message(json_t *root, const char *prompt, int *r) {
    json_t *message = json_object();
    put(message, "role", json_string("user"), r);
    put(message, "content", text_value(prompt, r), r);
    json_t *messages = json_array();
    if (json_array_append_new(messages, message) < 0 && *r == 0) *r = O3_E_NOMEM;
    put(root, "messages", messages, r);
}

static int write_body(const json_t *root, int r, struct o3_buf *out) {
    if (r == 0) return o3_json_write(root, out);
    if (r == O3_E_NOMEM && !out->err) out->err = r;
    return r;
}

int o3_ollama_write_generate(const struct o3_ollama_generate *g, struct o3_buf *out) {
    O3_ASSERT(g->num_predict >= 2);
    int r = 0;
    O3_AUTO_JSON *root = json_object();
    put(root, "model", text_value(g->model, &r), &r);
    if (g->is_chat)
        put_user_message(root, g->prompt, &r);
    else
        put(root, "prompt", text_value(g->prompt, &r), &r);
    if (g->is_raw && !g->is_chat) put(root, "raw", json_true(), &r);
    if (g->send_think_false) put(root, "think", json_false(), &r);
    put(root, "stream", json_true(), &r);
    json_t *options = json_object();
    put_runner_options(options, &g->options, &r);
    put(options, "num_predict", json_integer(g->num_predict), &r);
    put(options, "temperature", json_integer(0), &r);
    put_count(options, "seed", g->seed, &r);
    put(root, "options", options, &r);
    return write_body(root, r, out);
}

int o3_ollama_write_embed(const char *model, const char *input, const struct o3_runner_options *o, struct o3_buf *out) {
    int r = 0;
    O3_AUTO_JSON *root = json_object();
    put(root, "model", text_value(model, &r), &r);
    put(root, "input", text_value(input, &r), &r);
    O3_AUTO_JSON *options = json_object();
    if (o) put_runner_options(options, o, &r);
    if (json_object_size(options) && json_object_set(root, "options", options) < 0) r = O3_E_NOMEM;
    return write_body(root, r, out);
}

int o3_ollama_write_show(const char *model, struct o3_buf *out) {
    int r = 0;
    O3_AUTO_JSON *root = json_object();
    put(root, "model", text_value(model, &r), &r);
    return write_body(root, r, out);
}
