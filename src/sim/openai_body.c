/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of the OpenAI endpoints, made into bodies of the native API. What is not named here is ignored, `options`
 * among it: such a request runs with the options of the model. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "sim/body.h"

static int wrong(struct o3_sim_body *b, const char *type, const char *name, const json_t *v, const char *go_type) {
    return o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", o3_sim_go_kind(v),
                         type, name, go_type);
}

static bool is_absent(const json_t *v) {
    return !v || json_is_null(v);
}

/* ---- options ---- */

static const struct {
    const char *name, *option;
    char type; /* i integer, f float */
} OPTIONS[] = {{"max_tokens", "num_predict", 'i'},
               {"seed", "seed", 'i'},
               {"temperature", "temperature", 'f'},
               {"top_p", "top_p", 'f'},
               {"frequency_penalty", "frequency_penalty", 'f'},
               {"presence_penalty", "presence_penalty", 'f'}};

static void add_stop(json_t *options, const json_t *stop) {
    json_t *list = json_array();
    size_t i;
    json_t *item;
    if (json_is_string(stop)) json_array_append_new(list, json_string(json_string_value(stop)));
    json_array_foreach(stop, i, item) if (json_is_string(item)) json_array_append(list, item);
    if (json_array_size(list) > 0)
        json_object_set_new(options, "stop", list);
    else
        json_decref(list);
}

static json_t *options_of(struct o3_sim_body *b, const char *type, const json_t *root) {
    json_t *options = json_pack("{s:f,s:f}", "temperature", 1.0, "top_p", 1.0);
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        json_t *v = json_object_get(root, OPTIONS[i].name);
        if (is_absent(v)) continue;
        bool fits = OPTIONS[i].type == 'i' ? json_is_integer(v) : json_is_number(v);
        if (!fits) wrong(b, type, OPTIONS[i].name, v, OPTIONS[i].type == 'i' ? "int" : "float64");
        json_object_set(options, OPTIONS[i].option, v);
    }
    add_stop(options, json_object_get(root, "stop"));
    return options;
}

/* ---- fields of both kinds of completion ---- */

static void add_text(struct o3_sim_body *b, json_t *native, const char *type, const json_t *root, const char *name) {
    json_t *v = json_object_get(root, name);
    if (is_absent(v)) return;
    if (!json_is_string(v)) wrong(b, type, name, v, "string");
    json_object_set(native, name, v);
}

static void add_stream(struct o3_sim_body *b, json_t *native, const char *type, const json_t *root) {
    const json_t *stream = json_object_get(root, "stream"), *options = json_object_get(root, "stream_options");
    if (!is_absent(stream) && !json_is_boolean(stream)) wrong(b, type, "stream", stream, "bool");
    json_object_set_new(native, "stream", json_boolean(json_is_true(stream)));
    b->has_usage = json_is_true(json_object_get(options, "include_usage"));
}

static void add_logprobs(json_t *native, const json_t *root) {
    json_t *top = json_object_get(root, "top_logprobs");
    if (json_is_true(json_object_get(root, "logprobs"))) json_object_set_new(native, "logprobs", json_true());
    if (json_is_integer(top)) json_object_set(native, "top_logprobs", top);
}

/* ---- messages ---- */

/* Calls carry their arguments as text here, as an object in the native API. */
static json_t *calls_of(struct o3_sim_body *b, const json_t *list) {
    json_t *out = json_array(), *item;
    size_t i;
    json_array_foreach(list, i, item) {
        const json_t *function = json_object_get(item, "function");
        const char *name = json_string_value(json_object_get(function, "name"));
        const json_t *text = json_object_get(function, "arguments");
        json_t *arguments = json_is_string(text) ? json_loads(json_string_value(text), 0, NULL) : NULL;
        if (!json_is_object(arguments)) o3_sim_refuse(b, 400, "invalid tool call arguments");
        json_array_append_new(out, json_pack("{s:{s:s,s:o}}", "function", "name", name ? name : "", "arguments",
                                             json_is_object(arguments) ? arguments : json_object()));
        if (!json_is_object(arguments)) json_decref(arguments);
    }
    return out;
}

static const char *image_data(const char *url) {
    static const char *const STARTS[] = {"data:;base64,", "data:image/jpeg;base64,", "data:image/jpg;base64,",
                                         "data:image/png;base64,", "data:image/webp;base64,"};
    for (size_t i = 0; url && i < sizeof STARTS / sizeof *STARTS; i++)
        if (!strncmp(url, STARTS[i], strlen(STARTS[i]))) return url + strlen(STARTS[i]);
    return NULL;
}

/* One part of a message of several becomes a message. */
static void add_part(struct o3_sim_body *b, json_t *list, const char *role, const json_t *part) {
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *text = json_object_get(part, "text"), *image = json_object_get(part, "image_url");
    if (type && !strcmp(type, "text") && json_is_string(text)) {
        json_array_append_new(
            list, json_pack("{s:s,s:O}", "role", role, "content", text)); /* O: the part keeps its reference */
        return;
    }
    const json_t *url = json_is_object(image) ? json_object_get(image, "url") : image;
    if (!type || strcmp(type, "image_url") != 0 || !json_is_string(url)) {
        o3_sim_refuse(b, 400, "invalid message format");
        return;
    }
    const char *data = image_data(json_string_value(url));
    if (data)
        json_array_append_new(list, json_pack("{s:s,s:[s]}", "role", role, "images", data));
    else
        o3_sim_refuse(b, 400, "invalid image input");
}

static void add_message(struct o3_sim_body *b, json_t *list, const json_t *message) {
    enum { MAX_PARTS = 256 };
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *content = json_object_get(message, "content"), *calls = json_object_get(message, "tool_calls");
    if (!role) role = "";
    if (json_is_array(content)) {
        size_t i;
        json_t *part;
        if (json_array_size(content) > MAX_PARTS) o3_sim_refuse(b, 400, "invalid message format");
        json_array_foreach(content, i, part) if (!b->status) add_part(b, list, role, part);
        return;
    }
    if (!json_is_string(content) && !(is_absent(content) && json_is_array(calls))) {
        o3_sim_refuse(b, 400, "invalid message content type: %s",
                      is_absent(content)         ? "<nil>"
                      : json_is_number(content)  ? "float64"
                      : json_is_boolean(content) ? "bool"
                                                 : "map[string]interface {}");
        return;
    }
    json_t *m = json_pack("{s:s}", "role", role);
    if (json_is_string(content)) json_object_set(m, "content", (json_t *)(uintptr_t)content);
    if (json_array_size(calls) > 0) json_object_set_new(m, "tool_calls", calls_of(b, calls));
    json_array_append_new(list, m);
}

static json_t *messages_of(struct o3_sim_body *b, const json_t *root) {
    json_t *list = json_array(), *item;
    const json_t *messages = json_object_get(root, "messages");
    size_t i;
    if (!is_absent(messages) && !json_is_array(messages))
        wrong(b, "ChatCompletionRequest", "messages", messages, "[]openai.Message");
    else if (json_array_size(messages) == 0)
        o3_sim_refuse(b, 400, "[] is too short - 'messages'");
    json_array_foreach(messages, i, item) {
        if (b->status) break;
        if (json_is_object(item))
            add_message(b, list, item);
        else
            wrong(b, "ChatCompletionRequest", "messages", item, "openai.Message");
    }
    return list;
}

/* ---- whole bodies ---- */

static void add_format(json_t *native, const json_t *root) {
    const json_t *format = json_object_get(root, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    json_t *schema = json_object_get(json_object_get(format, "json_schema"), "schema");
    if (type && !strcasecmp(type, "json_object")) json_object_set_new(native, "format", json_string("json"));
    if (type && !strcasecmp(type, "json_schema") && schema) json_object_set(native, "format", schema);
}

static void add_effort(struct o3_sim_body *b, json_t *native, const json_t *root) {
    const json_t *v = json_object_get(json_object_get(root, "reasoning"), "effort");
    if (!v) v = json_object_get(root, "reasoning_effort");
    const char *effort = json_string_value(v);
    if (!effort || !*effort) return;
    if (!strcmp(effort, "none"))
        json_object_set_new(native, "think", json_false());
    else if (!strcmp(effort, "high") || !strcmp(effort, "medium") || !strcmp(effort, "low"))
        json_object_set_new(native, "think", json_string(effort));
    else
        o3_sim_refuse(b, 400, "invalid reasoning value: '%.64s' (must be \"high\", \"medium\", \"low\", or \"none\")",
                      effort);
}

static json_t *chat(struct o3_sim_body *b, const json_t *root) {
    static const char type[] = "ChatCompletionRequest";
    json_t *native = json_object(), *tools = json_object_get(root, "tools");
    add_text(b, native, type, root, "model");
    json_object_set_new(native, "messages", messages_of(b, root));
    json_object_set_new(native, "options", options_of(b, type, root));
    add_stream(b, native, type, root);
    add_format(native, root);
    add_effort(b, native, root);
    add_logprobs(native, root);
    if (!is_absent(tools)) json_object_set(native, "tools", tools);
    return native;
}

static json_t *completion(struct o3_sim_body *b, const json_t *root) {
    static const char type[] = "CompletionRequest";
    json_t *native = json_object();
    add_text(b, native, type, root, "model");
    add_text(b, native, type, root, "prompt");
    add_text(b, native, type, root, "suffix");
    json_object_set_new(native, "options", options_of(b, type, root));
    add_stream(b, native, type, root);
    return native;
}

static json_t *embeddings(struct o3_sim_body *b, const json_t *root) {
    json_t *native = json_object(), *input = json_object_get(root, "input"), *n = json_object_get(root, "dimensions");
    const char *format = json_string_value(json_object_get(root, "encoding_format"));
    if (format && *format && strcasecmp(format, "float") != 0 && strcasecmp(format, "base64") != 0)
        o3_sim_refuse(b, 400, "Invalid value for 'encoding_format' = %.64s. Supported values: ['float', 'base64'].",
                      format);
    b->is_base64 = format && !strcasecmp(format, "base64");
    add_text(b, native, "EmbedRequest", root, "model");
    if (is_absent(input) || (json_is_array(input) && json_array_size(input) == 0))
        o3_sim_refuse(b, 400, "invalid input");
    else
        json_object_set(native, "input", input);
    if (json_is_integer(n)) json_object_set(native, "dimensions", n);
    return native;
}

int o3_sim_openai_translate(enum o3_sim_body_kind kind, json_t *root, struct o3_sim_body *b, json_t **ret) {
    *ret = kind == O3_SIM_BODY_V1_CHAT         ? chat(b, root)
           : kind == O3_SIM_BODY_V1_COMPLETION ? completion(b, root)
                                               : embeddings(b, root);
    if (!*ret) return O3_E_NOMEM;
    if (!b->status) return 0;
    json_decref(*ret);
    *ret = NULL;
    return 0;
}
