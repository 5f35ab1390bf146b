/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies that o3 sends. None of them holds keep_alive: a value sent once stays in force for the user's later
 * requests. */
#include <string.h>
#include "o3/ollama.h"
#include "o3/text.h"

static bool is_valid(const char *s) {
    return o3_utf8_valid(s, strlen(s));
}

static void add_text(struct o3_buf *out, const char *before, const char *s) {
    o3_buf_adds(out, before);
    o3_buf_add_quoted(out, s);
}

/* name: with the quotes and the colon. */
static void add_count(struct o3_buf *out, const char *name, int64_t value, bool *has_any) {
    if (value < 0) return;
    o3_buf_adds(out, *has_any ? "," : "");
    o3_buf_adds(out, name);
    o3_buf_add_int(out, value);
    *has_any = true;
}

static void add_runner_options(struct o3_buf *out, const struct o3_runner_options *o, bool *has_any) {
    add_count(out, "\"num_ctx\":", o->num_ctx, has_any);
    add_count(out, "\"num_batch\":", o->num_batch, has_any);
    add_count(out, "\"num_thread\":", o->num_thread, has_any);
}

int o3_ollama_write_generate(const struct o3_ollama_generate *g, struct o3_buf *out) {
    O3_ASSERT(g->num_predict >= 2);
    if (!is_valid(g->model) || !is_valid(g->prompt)) return O3_E_PARSE;
    bool has_any = false;
    add_text(out, "{\"model\":", g->model);
    add_text(out, g->is_chat ? ",\"messages\":[{\"role\":\"user\",\"content\":" : ",\"prompt\":", g->prompt);
    if (g->is_chat) o3_buf_adds(out, "}]");
    if (g->is_raw && !g->is_chat) o3_buf_adds(out, ",\"raw\":true");
    if (g->send_think_false) o3_buf_adds(out, ",\"think\":false");
    o3_buf_adds(out, ",\"stream\":true,\"options\":{");
    add_runner_options(out, &g->options, &has_any);
    add_count(out, "\"num_predict\":", g->num_predict, &has_any);
    add_count(out, "\"temperature\":", 0, &has_any);
    add_count(out, "\"seed\":", g->seed, &has_any);
    return o3_buf_adds(out, "}}");
}

int o3_ollama_write_embed(const char *model, const char *input, const struct o3_runner_options *o, struct o3_buf *out) {
    if (!is_valid(model) || !is_valid(input)) return O3_E_PARSE;
    bool has_any = false;
    add_text(out, "{\"model\":", model);
    add_text(out, ",\"input\":", input);
    if (o && (o->num_ctx >= 0 || o->num_batch >= 0 || o->num_thread >= 0)) {
        o3_buf_adds(out, ",\"options\":{");
        add_runner_options(out, o, &has_any);
        o3_buf_adds(out, "}");
    }
    return o3_buf_adds(out, "}");
}

int o3_ollama_write_show(const char *model, struct o3_buf *out) {
    if (!is_valid(model)) return O3_E_PARSE;
    add_text(out, "{\"model\":", model);
    return o3_buf_adds(out, "}");
}
