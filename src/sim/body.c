/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies: JSON in, a bounded struct out, with the refusals of a Go server: an unexpected end, a wrong type, a
 * duration without unit. Fields are looked at in the order of the body, and the first wrong one decides. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/body.h"

enum field_type {
    F_NAME,
    F_TEXT,
    F_BOOL,
    F_NOT_BOOL,
    F_INT,
    F_INTS,
    F_KEEP_ALIVE,
    F_THINK,
    F_OPTIONS,
    F_PARAMETERS,
    F_MESSAGES,
    F_INPUT,
    F_FILES,
    F_FORMAT,
    F_TOOLS,
    F_IMAGES
};

#define BIT(kind) (1u << (O3_SIM_BODY_##kind))
#define NAMED (BIT(SHOW) | BIT(CREATE) | BIT(DELETE) | BIT(PULL) | BIT(PUSH))
#define TALK (BIT(GENERATE) | BIT(CHAT))
#define RUN (BIT(GENERATE) | BIT(CHAT) | BIT(EMBED) | BIT(EMBEDDINGS))
#define AT(member) offsetof(struct o3_sim_body, member)

static const struct field {
    unsigned kinds;
    const char *name, *go_type;
    enum field_type type;
    size_t offset, size_offset;
} FIELDS[] = {
    {RUN | NAMED, "model", "string", F_NAME, AT(model), 0},
    {NAMED, "name", "string", F_NAME, AT(name), 0},
    {BIT(CREATE), "from", "string", F_NAME, AT(from), 0},
    {BIT(CREATE), "parameters", "map[string]interface {}", F_PARAMETERS, 0, 0},
    {BIT(CREATE), "files", "map[string]string", F_FILES, 0, 0},
    {BIT(COPY), "source", "string", F_NAME, AT(source), 0},
    {BIT(COPY), "destination", "string", F_NAME, AT(destination), 0},
    {BIT(GENERATE) | BIT(EMBEDDINGS), "prompt", "string", F_TEXT, AT(prompt), AT(prompt_n)},
    {BIT(GENERATE) | BIT(CREATE), "system", "string", F_TEXT, AT(system), AT(system_n)},
    {BIT(GENERATE) | BIT(CREATE), "template", "string", F_TEXT, AT(template_text), AT(template_n)},
    {BIT(GENERATE), "suffix", "string", F_TEXT, AT(suffix), AT(suffix_n)},
    {BIT(GENERATE), "images", "", F_IMAGES, 0, 0},
    {BIT(GENERATE), "context", "[]int", F_INTS, AT(context_n), 0},
    {TALK, "format", "", F_FORMAT, 0, 0},
    {TALK, "logprobs", "bool", F_BOOL, AT(has_logprobs), 0},
    {TALK, "top_logprobs", "int", F_INT, AT(top_logprobs), 0},
    {BIT(CHAT), "tools", "api.Tools", F_TOOLS, 0, 0},
    {BIT(SHOW), "verbose", "bool", F_BOOL, AT(is_verbose), 0},
    {TALK | BIT(CREATE) | BIT(PULL) | BIT(PUSH), "stream", "bool", F_NOT_BOOL, AT(no_stream), 0},
    {BIT(GENERATE), "raw", "bool", F_BOOL, AT(raw), 0},
    {BIT(GENERATE) | BIT(CHAT) | BIT(EMBED), "truncate", "bool", F_NOT_BOOL, AT(no_truncate), 0},
    {TALK, "shift", "bool", F_NOT_BOOL, AT(no_shift), 0},
    {TALK, "think", "", F_THINK, 0, 0},
    {RUN, "keep_alive", "", F_KEEP_ALIVE, 0, 0},
    {RUN, "options", "map[string]interface {}", F_OPTIONS, 0, 0},
    {BIT(CHAT), "messages", "[]api.Message", F_MESSAGES, 0, 0},
    {BIT(EMBED), "input", "", F_INPUT, 0, 0},
    {BIT(EMBED), "dimensions", "int", F_INT, AT(dimensions), 0},
};
static const char *const GO_NAMES[] = {"GenerateRequest", "ChatRequest",   "EmbedRequest",          "EmbeddingRequest",
                                       "ShowRequest",     "CreateRequest", "DeleteRequest",         "CopyRequest",
                                       "PullRequest",     "PushRequest",   "ChatCompletionRequest", "CompletionRequest",
                                       "EmbedRequest"};

int o3_sim_refuse(struct o3_sim_body *b, int status, const char *fmt, ...) {
    if (b->status) return 0; /* the first one counts */
    b->status = status;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->error, sizeof b->error, fmt, ap);
    va_end(ap);
    return 0;
}

const char *o3_sim_go_kind(const json_t *v) {
    return json_is_string(v)    ? "string"
           : json_is_number(v)  ? "number"
           : json_is_boolean(v) ? "bool"
           : json_is_array(v)   ? "array"
                                : "object";
}

int o3_sim_copy_json(const json_t *v, char **ret, size_t *ret_n) {
    char *p = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    if (!p) return O3_E_NOMEM;
    free(*ret);
    *ret = p;
    *ret_n = strlen(p);
    return 0;
}

static int wrong_type(struct o3_sim_body *b, enum o3_sim_body_kind kind, const struct field *f, const json_t *v) {
    return o3_sim_refuse(b, 400, "json: cannot unmarshal %s into Go struct field %s.%s of type %s", o3_sim_go_kind(v),
                         GO_NAMES[kind], f->name, f->go_type);
}

int o3_sim_copy_text(const json_t *v, char **ret, size_t *ret_n) {
    size_t n = json_string_length(v);
    char *p = malloc(n + 1);
    if (!p) return O3_E_NOMEM;
    memcpy(p, json_string_value(v), n + 1);
    free(*ret);
    *ret = p;
    *ret_n = n;
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
        if (fits) return o3_sim_copy_text(v, (char **)(void *)at, (size_t *)(void *)((char *)b + f->size_offset));
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
        if (fits) o3_sim_read_options(&b->options, v);
        break;
    case F_PARAMETERS:
        fits = json_is_object(v);
        if (fits) return o3_sim_read_parameters(b, v);
        break;
    case F_MESSAGES:
        fits = json_is_array(v);
        if (fits) return o3_sim_read_messages(b, v);
        break;
    case F_KEEP_ALIVE:
        return o3_sim_read_keep_alive(b, v);
    case F_THINK:
        return o3_sim_read_think(b, v);
    case F_INPUT:
        return o3_sim_read_input(b, v);
    case F_FILES:
        fits = json_is_object(v);
        if (fits) o3_sim_read_files(b, v);
        break;
    case F_FORMAT:
        return o3_sim_read_format(b, v);
    case F_TOOLS:
        fits = json_is_array(v);
        if (fits) return o3_sim_read_tools(b, v);
        break;
    case F_IMAGES:
        return o3_sim_read_images(b, v, &b->images);
    }
    return fits ? 0 : wrong_type(b, kind, f, v);
}

static const struct field *find_field(enum o3_sim_body_kind kind, const char *name) {
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++)
        if ((FIELDS[i].kinds & (1u << kind)) && !strcmp(FIELDS[i].name, name)) return &FIELDS[i];
    return NULL;
}

static int not_json(struct o3_sim_body *b, const char *bytes, size_t n, const json_error_t *e) {
    if (json_error_code(e) == json_error_premature_end_of_input) return o3_sim_refuse(b, 400, "unexpected EOF");
    size_t at = e->position > 0 ? (size_t)e->position - 1 : 0;
    char c = at < n ? bytes[at] : '?';
    if (c < ' ' || c > '~') c = '?';
    return o3_sim_refuse(b, 400, "invalid character '%c' looking for beginning of value", c);
}

static bool is_blank(const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r\n", bytes[i]) || !bytes[i]) return false;
    return true;
}

int o3_sim_body_read(enum o3_sim_body_kind kind, json_t *root, struct o3_sim_body *b) {
    int r = 0;
    const char *name;
    json_t *v;
    json_object_foreach(root, name, v) {
        const struct field *f = find_field(kind, name);
        if (f && !json_is_null(v)) r = field(b, kind, f, v);
        if (r < 0 || b->status) break;
    }
    if (b->top_logprobs < 0 || b->top_logprobs > 20) o3_sim_refuse(b, 400, "top_logprobs must be between 0 and 20");
    return r;
}

static int read_openai(enum o3_sim_body_kind kind, json_t *root, struct o3_sim_body *b) {
    json_t *native = NULL;
    int r = o3_sim_openai_translate(kind, root, b, &native);
    if (r == 0 && native && !b->status)
        r = o3_sim_body_read(kind == O3_SIM_BODY_V1_CHAT         ? O3_SIM_BODY_CHAT
                             : kind == O3_SIM_BODY_V1_COMPLETION ? O3_SIM_BODY_GENERATE
                                                                 : O3_SIM_BODY_EMBED,
                             native, b);
    json_decref(native);
    return r;
}

static void forget(struct o3_sim_bodies *b, size_t i) {
    free(b->v[i].bytes);
    json_decref(b->v[i].root);
    b->v[i].bytes = NULL;
    b->v[i].root = NULL;
}

void o3_sim_bodies_done(struct o3_sim_bodies *b) {
    for (size_t i = 0; i < sizeof b->v / sizeof *b->v; i++)
        forget(b, i);
}

static json_t *find(const struct o3_sim_bodies *b, const char *bytes, size_t n) {
    for (size_t i = 0; b && i < sizeof b->v / sizeof *b->v; i++)
        if (b->v[i].bytes && b->v[i].n == n && !memcmp(b->v[i].bytes, bytes, n)) return json_incref(b->v[i].root);
    return NULL;
}

static void keep(struct o3_sim_bodies *b, const char *bytes, size_t n, json_t *root) {
    size_t i = b->next++ % (sizeof b->v / sizeof *b->v);
    forget(b, i);
    b->v[i].bytes = malloc(n);
    if (!b->v[i].bytes) return;
    memcpy(b->v[i].bytes, bytes, n);
    b->v[i].n = n;
    b->v[i].root = json_incref(root);
}

static json_t *parse(const char *bytes, size_t n, struct o3_sim_bodies *known, json_error_t *e) {
    json_t *root = find(known, bytes, n);
    if (root) return root;
    root = json_loadb(bytes, n, JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, e);
    if (root && known) keep(known, bytes, n, root);
    return root;
}

int o3_sim_body_decode(enum o3_sim_body_kind kind, const char *bytes, size_t n, struct o3_sim_bodies *known,
                       struct o3_sim_body *ret) {
    *ret = (struct o3_sim_body){0};
    bool is_openai = kind >= O3_SIM_BODY_V1_CHAT;
    if (is_blank(bytes, n)) return o3_sim_refuse(ret, 400, is_openai ? "EOF" : "missing request body");
    json_error_t e;
    json_t *root = parse(bytes, n, known, &e);
    if (!root) return not_json(ret, bytes, n, &e);
    int r = 0;
    if (!json_is_object(root))
        o3_sim_refuse(ret, 400, "json: cannot unmarshal %s into Go value of type %s.%s", o3_sim_go_kind(root),
                      is_openai ? "openai" : "api", GO_NAMES[kind]);
    else
        r = is_openai ? read_openai(kind, root, ret) : o3_sim_body_read(kind, root, ret);
    json_decref(root);
    if (r < 0) o3_sim_body_done(ret);
    return r;
}

void o3_sim_body_done(struct o3_sim_body *b) {
    free(b->prompt);
    free(b->suffix);
    free(b->system);
    free(b->template_text);
    free(b->format);
    free(b->tools);
    for (size_t i = 0; i < b->n_messages; i++) {
        free(b->messages[i].content);
        free(b->messages[i].calls);
    }
    free(b->messages);
    for (size_t i = 0; i < b->n_inputs; i++)
        free(b->inputs[i]);
    free(b->inputs);
    *b = (struct o3_sim_body){0};
}
