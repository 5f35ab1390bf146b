/* SPDX-License-Identifier: Apache-2.0 */
/* What a model says where words of its own will not do: JSON that fits a format, a call of a tool; and the
 * probabilities of what it says. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/num.h"
#include "sim/schema.h"

/* ---- formats ---- */

bool o3_sim_format_is_known(const struct o3_sim_body *b) {
    return !b->format || *b->format == '{' || !strcmp(b->format, "\"json\"");
}

static int take_text(struct o3_sim_script *s, json_t *value) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    json_decref(value);
    if (!text) return O3_E_NOMEM;
    free(s->text);
    s->text = text;
    s->n = strlen(text);
    return 0;
}

static int write_json(struct o3_sim_request *rq) {
    static const char ANY[] = "{\"type\":\"object\",\"properties\":{\"answer\":{\"type\":\"string\"}}}";
    json_t *schema = json_loads(*rq->body.format == '{' ? rq->body.format : ANY, JSON_ALLOW_NUL, NULL);
    if (!schema) return O3_E_NOMEM;
    json_t *value = o3_sim_schema_value(schema, &rq->text);
    json_decref(schema);
    return take_text(&rq->script, value);
}

/* ---- calls of tools ---- */

/* The tool that the last message names, else the first. */
static const json_t *choose(const struct o3_sim_body *b, const json_t *tools) {
    const struct o3_sim_message *last = &b->messages[b->n_messages - 1];
    size_t i;
    json_t *tool;
    json_array_foreach(tools, i, tool) {
        const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));
        if (name && *name && last->content && strstr(last->content, name)) return tool;
    }
    return json_array_get(tools, 0);
}

static void call_id(struct o3_rand *r, char out[16]) {
    static const char LETTERS[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = o3_str_copy(out, 16, "call_") ? strlen(out) : 0;
    for (int i = 0; i < 8; i++)
        out[n++] = LETTERS[o3_rand_below(r, sizeof LETTERS - 1)];
    out[n] = '\0';
}

static int write_call(struct o3_sim_request *rq, const json_t *function) {
    const char *name = json_string_value(json_object_get(function, "name"));
    json_t *parameters = json_object_get(function, "parameters");
    json_t *arguments = json_is_object(parameters) ? o3_sim_schema_value(parameters, &rq->text) : NULL;
    if (!json_is_object(arguments)) {
        json_decref(arguments);
        arguments = json_object();
    }
    char id[16];
    call_id(&rq->text, id);
    if (!name) name = "";
    json_t *calls = json_pack("[{s:s,s:{s:i,s:s,s:O}}]", "id", id, "function", "index", 0, "name", name, "arguments",
                              arguments);
    free(rq->script.calls);
    rq->script.calls = json_dumps(calls, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(calls);
    int r = take_text(&rq->script, json_pack("{s:s,s:o}", "name", name, "parameters", arguments));
    return rq->script.calls ? r : O3_E_NOMEM;
}

/* A model calls a tool where it has some and has not just been told the result of one. */
static bool will_call(const struct o3_sim_request *rq) {
    const struct o3_sim_body *b = &rq->body;
    return rq->kind == O3_SIM_CHAT && b->tools && strcmp(b->messages[b->n_messages - 1].role, "tool") != 0;
}

static int call_a_tool(struct o3_sim_request *rq) {
    json_t *tools = json_loads(rq->body.tools, JSON_ALLOW_NUL, NULL);
    if (!tools) return O3_E_NOMEM;
    int r = write_call(rq, json_object_get(choose(&rq->body, tools), "function"));
    json_decref(tools);
    return r;
}

/* ---- what is said piece by piece ---- */

/* About three bytes, characters whole. */
static size_t piece_length(const struct o3_sim_script *s, size_t at) {
    size_t n = s->n - at < 3 ? s->n - at : 3;
    while (at + n < s->n && n + 1 < O3_SIM_WORD_SIZE && ((unsigned char)s->text[at + n] & 0xc0) == 0x80)
        n++;
    return n;
}

int o3_sim_script_write(struct o3_sim_request *rq) {
    struct o3_sim_script *s = &rq->script;
    int r = 0;
    if (will_call(rq))
        r = call_a_tool(rq);
    else if (rq->body.format)
        r = write_json(rq);
    if (r < 0 || !s->text) return r;
    rq->n_natural = rq->n_thinking;
    for (size_t at = 0; at < s->n; at += piece_length(s, at))
        rq->n_natural++;
    return 0;
}

bool o3_sim_script_next(struct o3_sim_request *rq, char out[O3_SIM_WORD_SIZE]) {
    struct o3_sim_script *s = &rq->script;
    if (rq->n_out < rq->n_thinking || s->at >= s->n) return false;
    size_t n = piece_length(s, s->at);
    o3_str_copy_n(out, O3_SIM_WORD_SIZE, s->text + s->at, n);
    s->at += n;
    return true;
}

bool o3_sim_script_is_held(const struct o3_sim_request *rq) {
    return rq->script.calls && rq->script.at > 0;
}

const char *o3_sim_script_calls(const struct o3_sim_request *rq) {
    return rq->script.at == rq->script.n ? rq->script.calls : NULL;
}

const char *o3_sim_script_rest(struct o3_sim_request *rq) {
    struct o3_sim_script *s = &rq->script;
    if (!s->calls || s->at == s->n) return "";
    s->text[s->at] = '\0'; /* nothing is read after it any more */
    return s->text;
}

void o3_sim_script_done(struct o3_sim_script *s) {
    free(s->text);
    free(s->calls);
    o3_buf_done(&s->logprobs);
}

/* ---- probabilities ---- */

static json_t *token_logprob(const char *token, double logprob) {
    json_t *bytes = json_array(), *text = json_string(token);
    for (const char *p = token; *p; p++)
        json_array_append_new(bytes, json_integer((unsigned char)*p));
    return json_pack("{s:o,s:f,s:o}", "token", text ? text : json_string(""), "logprob", logprob, "bytes", bytes);
}

/* Drawn from what was said so far, so that asking for them changes nothing of the text. */
void o3_sim_script_logprobs(const struct o3_sim_request *rq, const char *word, struct o3_buf *out) {
    struct o3_rand r;
    const size_t n = rq->tokens.n < 8 ? rq->tokens.n : 8;
    uint64_t said = o3_sim_hash((uint64_t)rq->n_out, rq->tokens.v + rq->tokens.n - n, n * sizeof *rq->tokens.v);
    o3_rand_seed(&r, o3_sim_hash(said, word, strlen(word)));
    double p = 0.4 + 0.55 * o3_rand_uniform(&r), rest = 1 - p;
    json_t *o = token_logprob(word, o3_log(p)), *top = json_array();
    for (int64_t i = 0; i < rq->body.top_logprobs; i++) {
        char other[O3_SIM_WORD_SIZE];
        o3_sim_word(&r, other);
        json_array_append_new(top, i == 0 ? token_logprob(word, o3_log(p)) : token_logprob(other, o3_log(rest * 0.5)));
        if (i > 0) rest *= 0.5;
    }
    if (json_array_size(top) > 0)
        json_object_set_new(o, "top_logprobs", top);
    else
        json_decref(top);
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(o);
    o3_buf_adds(out, text ? text : "null");
    free(text);
}
