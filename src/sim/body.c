/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies: JSON in, a bounded struct out, with the refusals of a Go server: an unexpected end, a wrong type, a
 * duration without unit. Fields are looked at in the order of the body, and the first wrong one decides. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

enum field_type {
    F_NAME,
    F_TEXT,
    F_BOOL,
    F_NOT_BOOL,
    F_INT,
    F_INTS,
    F_ANY,
    F_KEEP_ALIVE,
    F_THINK,
    F_OPTIONS,
    F_PARAMETERS,
    F_MESSAGES,
    F_INPUT,
    F_FILES
};

#define BIT(kind) (1u << (O3_SIM_BODY_##kind))
#define RUN (BIT(GENERATE) | BIT(CHAT) | BIT(EMBED) | BIT(EMBEDDINGS))
#define AT(member) offsetof(struct o3_sim_body, member)

static const struct field {
    unsigned kinds;
    const char *name, *go_type;
    enum field_type type;
    size_t offset, size_offset;
} FIELDS[] = {
    {RUN | BIT(SHOW) | BIT(CREATE) | BIT(DELETE), "model", "string", F_NAME, AT(model), 0},
    {BIT(SHOW) | BIT(CREATE) | BIT(DELETE), "name", "string", F_NAME, AT(name), 0},
    {BIT(CREATE), "from", "string", F_NAME, AT(from), 0},
    {BIT(CREATE), "parameters", "map[string]interface {}", F_PARAMETERS, 0, 0},
    {BIT(CREATE), "files", "map[string]string", F_FILES, 0, 0},
    {BIT(COPY), "source", "string", F_NAME, AT(source), 0},
    {BIT(COPY), "destination", "string", F_NAME, AT(destination), 0},
    {BIT(GENERATE) | BIT(EMBEDDINGS), "prompt", "string", F_TEXT, AT(prompt), AT(prompt_n)},
    {BIT(GENERATE) | BIT(CREATE), "system", "string", F_TEXT, AT(system), AT(system_n)},
    {BIT(GENERATE) | BIT(CREATE), "template", "string", F_TEXT, AT(template_text), AT(template_n)},
    {BIT(GENERATE), "context", "[]int", F_INTS, AT(context_n), 0},
    {BIT(GENERATE) | BIT(CHAT) | BIT(CREATE), "stream", "bool", F_NOT_BOOL, AT(no_stream), 0},
    {BIT(GENERATE), "raw", "bool", F_BOOL, AT(raw), 0},
    {BIT(GENERATE) | BIT(CHAT) | BIT(EMBED), "truncate", "bool", F_NOT_BOOL, AT(no_truncate), 0},
    {BIT(GENERATE) | BIT(CHAT), "shift", "bool", F_NOT_BOOL, AT(no_shift), 0},
    {BIT(GENERATE) | BIT(CHAT), "think", "", F_THINK, 0, 0},
    {RUN, "keep_alive", "", F_KEEP_ALIVE, 0, 0},
    {RUN, "options", "map[string]interface {}", F_OPTIONS, 0, 0},
    {BIT(CHAT), "messages", "[]api.Message", F_MESSAGES, 0, 0},
    {BIT(EMBED), "input", "", F_INPUT, 0, 0},
    {BIT(EMBED), "dimensions", "int", F_INT, AT(dimensions), 0},
};
static const char *const GO_NAMES[] = {"GenerateRequest", "ChatRequest",   "EmbedRequest",  "EmbeddingRequest",
                                       "ShowRequest",     "CreateRequest", "DeleteRequest", "CopyRequest"};

static const struct {
    const char *name;
    enum o3_sim_option which;
    char type; /* i integer, f float, b boolean, s list of strings */
} OPTIONS[] = {
    {"num_ctx", O3_SIM_NUM_CTX, 'i'},
    {"num_batch", O3_SIM_NUM_BATCH, 'i'},
    {"num_gpu", O3_SIM_NUM_GPU, 'i'},
    {"main_gpu", O3_SIM_MAIN_GPU, 'i'},
    {"num_thread", O3_SIM_NUM_THREAD, 'i'},
    {"use_mmap", O3_SIM_USE_MMAP, 'b'},
    {"draft_num_predict", O3_SIM_DRAFT_NUM_PREDICT, 'i'},
    {"num_keep", O3_SIM_NUM_KEEP, 'i'},
    {"seed", O3_SIM_SEED, 'i'},
    {"num_predict", O3_SIM_NUM_PREDICT, 'i'},
    {"top_k", O3_SIM_TOP_K, 'i'},
    {"repeat_last_n", O3_SIM_REPEAT_LAST_N, 'i'},
    {"temperature", O3_SIM_TEMPERATURE, 'f'},
    {"top_p", O3_SIM_TOP_P, 'f'},
    {"min_p", O3_SIM_MIN_P, 'f'},
    {"typical_p", O3_SIM_TYPICAL_P, 'f'},
    {"repeat_penalty", O3_SIM_REPEAT_PENALTY, 'f'},
    {"presence_penalty", O3_SIM_PRESENCE_PENALTY, 'f'},
    {"frequency_penalty", O3_SIM_FREQUENCY_PENALTY, 'f'},
    {"stop", O3_SIM_STOP, 's'},
};

static int refuse(struct o3_sim_body *b, int status, const char *fmt, ...) O3_PRINTF(3, 4);
static int refuse(struct o3_sim_body *b, int status, const char *fmt, ...) {
    if (b->status) return 0; /* the first one counts */
    b->status = status;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->error, sizeof b->error, fmt, ap);
    va_end(ap);
    return 0;
}

static const char *go_kind(const json_t *v) {
    return json_is_string(v)    ? "string"
           : json_is_number(v)  ? "number"
           : json_is_boolean(v) ? "bool"
           : json_is_array(v)   ? "array"
                                : "object";
}

static int wrong_type(struct o3_sim_body *b, enum o3_sim_body_kind kind, const struct field *f, const json_t *v) {
    return refuse(b, 400, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", go_kind(v), GO_NAMES[kind],
                  f->name, f->go_type);
}

static int copy_text(const json_t *v, char **ret, size_t *ret_n) {
    size_t n = json_string_length(v);
    char *p = malloc(n + 1);
    if (!p) return O3_E_NOMEM;
    memcpy(p, json_string_value(v), n + 1);
    free(*ret);
    *ret = p;
    *ret_n = n;
    return 0;
}

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
    if (!*s) return refuse(b, 400, "time: invalid duration \"%.64s\"", text);
    while (*s) {
        size_t digits = strspn(s, "0123456789.");
        char number[32];
        double v;
        if (digits == 0 || digits >= sizeof number) return refuse(b, 400, "time: invalid duration \"%.64s\"", text);
        o3_str_copy_n(number, sizeof number, s, digits);
        if (!o3_double_parse(number, &v)) return refuse(b, 400, "time: invalid duration \"%.64s\"", text);
        s += digits;
        size_t len = strcspn(s, "0123456789.");
        if (len == 0) return refuse(b, 400, "time: missing unit in duration \"%.64s\"", text);
        double unit = go_unit_ns(s, len);
        if (unit <= 0)
            return refuse(b, 400, "time: unknown unit \"%.*s\" in duration \"%.64s\"", len < 64 ? (int)len : 64, s,
                          text);
        total += v * unit;
        s += len;
    }
    *ret_ns = sign * total;
    return 0;
}

static int keep_alive(struct o3_sim_body *b, const json_t *v) {
    double ns = 0;
    if (json_is_number(v))
        ns = json_number_value(v) * 1e9;
    else if (json_is_string(v))
        go_duration(b, json_string_value(v), &ns);
    else
        return refuse(b, 400, "Unsupported type: '%s'",
                      json_is_boolean(v) ? "bool"
                      : json_is_array(v) ? "[]interface {}"
                                         : "map[string]interface {}");
    b->has_keep_alive = true;
    b->keep_alive_ns = ns < 0 || ns >= 9.2e18 ? INT64_MAX : (int64_t)ns;
    return 0;
}

/* ---- options ---- */

static const char *option_type_name(char type) {
    return type == 'i' ? "integer" : type == 'f' ? "float32" : type == 'b' ? "boolean" : "array";
}

static void option_wrong(struct o3_sim_options *o, const char *name, char type) {
    if (o->error[0]) return;
    snprintf(o->error, sizeof o->error, "option \"%s\" must be of type %s", name, option_type_name(type));
}

static void stops(struct o3_sim_options *o, const json_t *v) {
    size_t i;
    json_t *item;
    o->n_stop = 0;
    json_array_foreach(v, i, item) {
        if (!json_is_string(item)) {
            snprintf(o->error, sizeof o->error, "option \"stop\" must be of an array of strings");
            return;
        }
        if (o->n_stop == O3_SIM_MAX_STOPS) return;
        o3_str_copy(o->stop[o->n_stop++], sizeof o->stop[0], json_string_value(item));
    }
}

static void option(struct o3_sim_options *o, const char *name, const json_t *v) {
    for (size_t i = 0; i < sizeof OPTIONS / sizeof *OPTIONS; i++) {
        if (strcmp(OPTIONS[i].name, name) != 0) continue;
        char type = OPTIONS[i].type;
        bool fits = type == 'b' ? json_is_boolean(v) : type == 's' ? json_is_array(v) : json_is_number(v);
        if (!fits) {
            option_wrong(o, name, type);
            return;
        }
        double number = json_is_boolean(v) ? json_is_true(v) : json_is_number(v) ? json_number_value(v) : 0;
        if (type == 'i') number = trunc(fmax(-9e15, fmin(9e15, number)));
        if (type == 's') stops(o, v);
        o->has[OPTIONS[i].which] = true;
        o->number[OPTIONS[i].which] = number;
        return;
    }
}

static void options(struct o3_sim_options *o, json_t *object) {
    const char *name;
    json_t *v;
    json_object_foreach(object, name, v) if (!json_is_null(v)) option(o, name, v);
}

/* The lines "name value" of /api/show, sorted by name as there. */
static int parameters(struct o3_sim_body *b, json_t *object) {
    O3_AUTO_BUF lines;
    o3_buf_init(&lines, sizeof b->parameters - 1);
    char *text = json_dumps(object, JSON_SORT_KEYS | JSON_COMPACT);
    json_t *sorted = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;
    free(text);
    if (!sorted) return O3_E_NOMEM;
    const char *name;
    json_t *v;
    json_object_foreach(sorted, name, v) {
        char *value = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        o3_buf_addf(&lines, "%s%-30s %s", lines.len ? "\n" : "", name, value ? value : json_string_value(v));
        free(value);
    }
    json_decref(sorted);
    if (lines.err) return refuse(b, 400, "parameters too large");
    o3_str_copy(b->parameters, sizeof b->parameters, o3_buf_str(&lines));
    b->has_parameters = true;
    options(&b->options, object);
    return 0;
}

/* ---- the other composite fields ---- */

static int messages(struct o3_sim_body *b, const json_t *v) {
    enum { MAX_MESSAGES = 4096 };
    size_t n = json_array_size(v), i;
    if (n > MAX_MESSAGES) return refuse(b, 400, "too many messages");
    if (n == 0 || b->messages) return 0;
    b->messages = calloc(n, sizeof *b->messages);
    if (!b->messages) return O3_E_NOMEM;
    json_t *item;
    json_array_foreach(v, i, item) {
        if (!json_is_object(item))
            return refuse(b, 400,
                          "json: cannot unmarshal %s into Go struct field ChatRequest.messages of type api.Message",
                          go_kind(item));
        const json_t *role = json_object_get(item, "role"), *content = json_object_get(item, "content");
        const json_t *wrong = role && !json_is_string(role)                                   ? role
                              : content && !json_is_string(content) && !json_is_null(content) ? content
                                                                                              : NULL;
        if (wrong)
            return refuse(b, 400, "json: cannot unmarshal %s into Go struct field Message.messages.%s of type string",
                          go_kind(wrong), wrong == role ? "role" : "content");
        struct o3_sim_message *m = &b->messages[b->n_messages++];
        if (role) o3_str_copy(m->role, sizeof m->role, json_string_value(role));
        if (json_is_string(content) && copy_text(content, &m->content, &m->n) < 0) return O3_E_NOMEM;
    }
    return 0;
}

static int input(struct o3_sim_body *b, const json_t *v) {
    enum { MAX_INPUTS = 4096 };
    bool is_list = json_is_array(v);
    if (!is_list && !json_is_string(v)) return refuse(b, 400, "invalid input type");
    size_t n = is_list ? json_array_size(v) : json_string_length(v) > 0;
    if (n > MAX_INPUTS) return refuse(b, 400, "too many inputs");
    if (n == 0 || b->inputs) return 0;
    b->inputs = calloc(n, sizeof *b->inputs);
    if (!b->inputs) return O3_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *item = is_list ? json_array_get(v, i) : v;
        size_t length;
        if (!json_is_string(item)) return refuse(b, 400, "invalid input type");
        if (copy_text(item, &b->inputs[b->n_inputs++], &length) < 0) return O3_E_NOMEM;
    }
    return 0;
}

static int think(struct o3_sim_body *b, const json_t *v) {
    const char *level = json_string_value(v);
    bool is_level = level && (!strcmp(level, "high") || !strcmp(level, "medium") || !strcmp(level, "low"));
    if (!json_is_boolean(v) && !is_level) {
        if (level)
            return refuse(b, 400,
                          "invalid think value: \"%.64s\" (must be \"high\", \"medium\", \"low\", true, or false)",
                          level);
        return refuse(b, 400, "think must be a boolean or string (\"high\", \"medium\", \"low\", true, or false)");
    }
    b->has_think = true;
    b->think = is_level || json_is_true(v);
    return 0;
}

static int field(struct o3_sim_body *b, enum o3_sim_body_kind kind, const struct field *f, json_t *v) {
    char *at = (char *)b + f->offset;
    bool fits = true;
    switch (f->type) {
    case F_NAME:
        fits = json_is_string(v);
        /* A name too long to be one keeps its start: it is not in the library anyway. */
        if (fits) o3_str_copy(at, O3_SIM_NAME_SIZE, json_string_value(v));
        break;
    case F_TEXT:
        fits = json_is_string(v);
        if (fits) return copy_text(v, (char **)(void *)at, (size_t *)(void *)((char *)b + f->size_offset));
        break;
    case F_BOOL:
    case F_NOT_BOOL:
        fits = json_is_boolean(v);
        *(bool *)at = fits && (json_is_true(v) == (f->type == F_BOOL));
        break;
    case F_INT:
        fits = json_is_integer(v);
        if (fits) *(int64_t *)(void *)at = json_integer_value(v);
        break;
    case F_INTS:
        fits = json_is_array(v);
        if (fits) *(int64_t *)(void *)at = (int64_t)json_array_size(v);
        break;
    case F_OPTIONS:
        fits = json_is_object(v);
        if (fits) options(&b->options, v);
        break;
    case F_PARAMETERS:
        fits = json_is_object(v);
        if (fits) return parameters(b, v);
        break;
    case F_MESSAGES:
        fits = json_is_array(v);
        if (fits) return messages(b, v);
        break;
    case F_KEEP_ALIVE:
        return keep_alive(b, v);
    case F_THINK:
        return think(b, v);
    case F_INPUT:
        return input(b, v);
    case F_FILES:
        b->has_files = true;
        break;
    case F_ANY:
        break;
    }
    return fits ? 0 : wrong_type(b, kind, f, v);
}

static const struct field *find_field(enum o3_sim_body_kind kind, const char *name) {
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        if ((FIELDS[i].kinds & (1u << kind)) && !strcmp(FIELDS[i].name, name)) return &FIELDS[i];
    return NULL;
}

static int not_json(struct o3_sim_body *b, const char *bytes, size_t n, const json_error_t *e) {
    if (json_error_code(e) == json_error_premature_end_of_input) return refuse(b, 400, "unexpected EOF");
    size_t at = e->position > 0 ? (size_t)e->position - 1 : 0;
    char c = at < n ? bytes[at] : '?';
    if (c < ' ' || c > '~') c = '?';
    return refuse(b, 400, "invalid character '%c' looking for beginning of value", c);
}

static bool is_blank(const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", bytes[i]) || !bytes[i]) return false;
    return true;
}

int o3_sim_body_decode(enum o3_sim_body_kind kind, const char *bytes, size_t n, struct o3_sim_body *ret) {
    *ret = (struct o3_sim_body){0};
    if (is_blank(bytes, n)) return refuse(ret, 400, "missing request body");
    json_error_t e;
    json_t *root = json_loadb(bytes, n, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, &e);
    if (!root) return not_json(ret, bytes, n, &e);
    int r = 0;
    if (!json_is_object(root))
        refuse(ret, 400, "json: cannot unmarshal %s into Go value of type api.%s", go_kind(root), GO_NAMES[kind]);
    const char *name;
    json_t *v;
    json_object_foreach(root, name, v) {
        const struct field *f = find_field(kind, name);
        if (f && !json_is_null(v)) r = field(ret, kind, f, v);
        if (r < 0 || ret->status) break;
    }
    json_decref(root);
    if (r < 0) o3_sim_body_done(ret);
    return r;
}

void o3_sim_body_done(struct o3_sim_body *b) {
    free(b->prompt);
    free(b->system);
    free(b->template_text);
    for (size_t i = 0; i < b->n_messages; i++)
        free(b->messages[i].content);
    free(b->messages);
    for (size_t i = 0; i < b->n_inputs; i++)
        free(b->inputs[i]);
    free(b->inputs);
    *b = (struct o3_sim_body){0};
}
