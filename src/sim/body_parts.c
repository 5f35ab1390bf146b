/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a request body that are more than one value: durations, messages, images, tools, formats, inputs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/body.h"

/* ---- durations, as Go reads them ---- */

static double go_unit_ns(const char *unit, size_t n) {
    static const struct {
        const char *name;
        double ns;
    } UNITS[] = {{"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
                 {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (strlen(UNITS[i].name) == n && !strncmp(UNITS[i].name, unit, n)) return UNITS[i].ns;
    return 0;
}

static int go_duration(struct o3_sim_body *b, const char *text, double *ret_ns) {
    const char *s = text;
    double sign = *s == '-' ? -1 : 1, total = 0;
    if (*s == '-' || *s == '+') s++;
    if (!strcmp(s, "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (!*s) return o3_sim_refuse(b, 400, "time: invalid duration \"%.64s\"", text);
    while (*s) {
        size_t digits = strspn(s, "0123456789.");
        char number[32];
        double v;
        if (digits == 0 || digits >= sizeof number)
            return o3_sim_refuse(b, 400, "time: invalid duration \"%.64s\"", text);
        o3_str_copy_n(number, sizeof number, s, digits);
        if (!o3_double_parse(number, &v)) return o3_sim_refuse(b, 400, "time: invalid duration \"%.64s\"", text);
        s += digits;
        size_t len = strcspn(s, "0123456789.");
        if (len == 0) return o3_sim_refuse(b, 400, "time: missing unit in duration \"%.64s\"", text);
        double unit = go_unit_ns(s, len);
        if (unit <= 0)
            return o3_sim_refuse(b, 400, "time: unknown unit \"%.*s\" in duration \"%.64s\"", len < 64 ? (int)len : 64,
                                 s, text);
        total += v * unit;
        s += len;
    }
    *ret_ns = sign * total;
    return 0;
}

int o3_sim_read_keep_alive(struct o3_sim_body *b, const json_t *v) {
    double ns = 0;
    if (json_is_number(v))
        ns = json_number_value(v) * 1e9;
    else if (json_is_string(v))
        go_duration(b, json_string_value(v), &ns);
    else
        return o3_sim_refuse(b, 400, "Unsupported type: '%s'",
                             json_is_boolean(v) ? "bool"
                             : json_is_array(v) ? "[]interface {}"
                                                : "map[string]interface {}");
    b->has_keep_alive = true;
    b->keep_alive_ns = ns < 0 || ns >= 9.2e18 ? INT64_MAX : (int64_t)ns;
    return 0;
}

/* ---- messages, inputs ---- */

/* The text of a field of a message, or a refusal. */
static const json_t *message_text(struct o3_sim_body *b, const json_t *item, const char *name) {
    const json_t *v = json_object_get(item, name);
    if (!v || json_is_null(v)) return NULL;
    if (json_is_string(v)) return v;
    o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field Message.messages.%s of type string",
                  o3_sim_go_kind(v), name);
    return NULL;
}

static int add_message(struct o3_sim_body *b, const json_t *item) {
    const json_t *role = message_text(b, item, "role"), *content = message_text(b, item, "content");
    const json_t *calls = json_object_get(item, "tool_calls"), *images = json_object_get(item, "images");
    (void)message_text(b, item, "thinking");
    (void)message_text(b, item, "tool_name");
    if (calls && !json_is_array(calls) && !json_is_null(calls))
        o3_sim_refuse(b, 400,
                      "json: cannot unmarshal %s into Go struct field Message.messages.tool_calls of type "
                      "[]api.ToolCall",
                      o3_sim_go_kind(calls));
    if (b->status) return 0;
    struct o3_sim_message *m = &b->messages[b->n_messages++];
    if (role) o3_str_copy(m->role, sizeof m->role, json_string_value(role));
    int r = content ? o3_sim_copy_text(content, &m->content, &m->n) : 0;
    if (r == 0 && json_array_size(calls) > 0) r = o3_sim_copy_json(calls, &m->calls, &m->n_calls);
    return r == 0 && images ? o3_sim_read_images(b, images, &m->images) : r;
}

int o3_sim_read_messages(struct o3_sim_body *b, const json_t *v) {
    enum { MAX_MESSAGES = 4096 };
    size_t n = json_array_size(v);
    if (n > MAX_MESSAGES) return o3_sim_refuse(b, 400, "too many messages");
    if (n == 0 || b->messages) return 0;
    b->messages = calloc(n, sizeof *b->messages);
    if (!b->messages) return O3_E_NOMEM;
    int r = 0;
    for (size_t i = 0; r == 0 && !b->status && i < n; i++) {
        const json_t *item = json_array_get(v, i);
        if (json_is_object(item))
            r = add_message(b, item);
        else
            o3_sim_refuse(b, 400,
                          "json: cannot unmarshal %s into Go struct field ChatRequest.messages of type api.Message",
                          o3_sim_go_kind(item));
    }
    return r;
}

int o3_sim_read_input(struct o3_sim_body *b, const json_t *v) {
    enum { MAX_INPUTS = 4096 };
    bool is_list = json_is_array(v);
    if (!is_list && !json_is_string(v)) return o3_sim_refuse(b, 400, "invalid input type");
    size_t n = is_list ? json_array_size(v) : json_string_length(v) > 0;
    if (n > MAX_INPUTS) return o3_sim_refuse(b, 400, "too many inputs");
    if (n == 0 || b->inputs) return 0;
    b->inputs = calloc(n, sizeof *b->inputs);
    if (!b->inputs) return O3_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = is_list ? json_array_get(v, i) : v;
        size_t length;
        if (!json_is_string(item)) return o3_sim_refuse(b, 400, "invalid input type");
        if (o3_sim_copy_text(item, &b->inputs[b->n_inputs++], &length) < 0) return O3_E_NOMEM;
    }
    return 0;
}

int o3_sim_read_think(struct o3_sim_body *b, const json_t *v) {
    const char *level = json_string_value(v);
    bool is_level = level && (!strcmp(level, "high") || !strcmp(level, "medium") || !strcmp(level, "low"));
    if (!json_is_boolean(v) && !is_level) {
        if (level)
            return o3_sim_refuse(
                b, 400, "invalid think value: \"%.64s\" (must be \"high\", \"medium\", \"low\", true, or false)",
                level);
        return o3_sim_refuse(b, 400,
                             "think must be a boolean or string (\"high\", \"medium\", \"low\", true, or false)");
    }
    b->has_think = true;
    b->think = is_level || json_is_true(v);
    b->think_level = is_level ? *level : '\0';
    return 0;
}

/* ---- images, formats, tools, files ---- */

static bool is_base64(const char *s, size_t n, size_t *ret_at) {
    size_t padding = 0;
    for (*ret_at = 0; *ret_at < n; ++*ret_at) {
        char c = s[*ret_at];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
        if (c == '=' && ++padding <= 2 && *ret_at + 2 >= n) continue;
        if (!good || padding > 0) return false;
    }
    return n % 4 == 0;
}

int o3_sim_read_images(struct o3_sim_body *b, const json_t *v, struct o3_sim_images *ret) {
    enum { MAX_IMAGES = 64 };
    if (json_is_null(v)) return 0;
    if (!json_is_array(v))
        return o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field .images of type []api.ImageData",
                             o3_sim_go_kind(v));
    size_t i, at;
    json_t *item;
    json_array_foreach(v, i, item) {
        if (!json_is_string(item))
            return o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field .images of type api.ImageData",
                                 o3_sim_go_kind(item));
        if (!is_base64(json_string_value(item), json_string_length(item), &at))
            return o3_sim_refuse(b, 400, "illegal base64 data at input byte %zu", at);
        if (++b->n_images > MAX_IMAGES) return o3_sim_refuse(b, 400, "too many images");
        ret->n++;
        ret->hash = o3_sim_hash(ret->hash, json_string_value(item), json_string_length(item));
    }
    return 0;
}

/* Kept as JSON text; what it means is decided when the model has loaded, as the server does. */
int o3_sim_read_format(struct o3_sim_body *b, const json_t *v) {
    if (json_is_string(v) && json_string_length(v) == 0) return 0;
    return o3_sim_copy_json(v, &b->format, &b->format_n);
}

int o3_sim_read_tools(struct o3_sim_body *b, const json_t *v) {
    enum { MAX_TOOLS = 256 };
    size_t i;
    json_t *item;
    if (json_array_size(v) > MAX_TOOLS) return o3_sim_refuse(b, 400, "too many tools");
    json_array_foreach(v, i, item) {
        const json_t *function = json_object_get(item, "function");
        const json_t *wrong = !json_is_object(item) ? item : function && !json_is_object(function) ? function : NULL;
        if (wrong)
            return o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field ChatRequest.tools of type %s",
                                 o3_sim_go_kind(wrong), wrong == item ? "api.Tool" : "api.ToolFunction");
    }
    return json_array_size(v) > 0 ? o3_sim_copy_json(v, &b->tools, &b->tools_n) : 0;
}

/* Names of files with the digests of their blobs. The first one counts. */
void o3_sim_read_files(struct o3_sim_body *b, json_t *v) {
    const char *name;
    json_t *digest;
    b->has_files = true;
    json_object_foreach(v, name, digest) {
        if (!json_is_string(digest)) {
            o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field CreateRequest.files of type string",
                          o3_sim_go_kind(digest));
            return;
        }
        if (!b->file_digest[0]) o3_str_copy(b->file_digest, sizeof b->file_digest, json_string_value(digest));
    }
}
