/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the simulated API that make more than words: formats, tools, images, log probabilities, insertion,
 * pulls, pushes, uploads, and the OpenAI endpoints. */
#include "sim/ask.h"
#include "o3/text.h"

#define MODEL "\"model\":\"sim-small\""
#define FEW "\"options\":{\"num_predict\":6,\"seed\":1}"
#define USER(content) "\"messages\":[{\"role\":\"user\",\"content\":\"" content "\"}]"

static json_t *ask_json(struct o3_world *w, const char *path, const char *body, int status) {
    struct answer a = ask(w, 0, path, body);
    if (a.status != status) fail_msg("%s %s\n answered %d %s", path, body ? body : "", a.status, a.body);
    json_t *v = last(&a);
    done(&a);
    return v;
}

static const json_t *at(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!v) fail_msg("no \"%s\"", name);
    return v;
}

static const json_t *first(const json_t *o, const char *name) {
    const json_t *v = json_array_get(at(o, name), 0);
    if (!v) fail_msg("\"%s\" is empty", name);
    return v;
}

/* Whether the members of the object are these, in this order ("a b c"). */
static void has_fields(const json_t *o, const char *names) {
    char found[256] = "";
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, name, v) {
        assert_true(strlen(found) + strlen(name) + 2 < sizeof found);
        if (*found) strcat(found, " ");
        strcat(found, name);
    }
    assert_string_equal(found, names);
}

static void starts_with(const char *whole, const char *start) {
    if (strncmp(whole, start, strlen(start)) != 0) fail_msg("does not start with %s\n%.200s", start, whole);
}

/* ---- formats ---- */

static json_t *formatted(struct o3_world *w, const char *format, int seed) {
    char body[4096];
    snprintf(body, sizeof body,
             "{" MODEL
             ",\"prompt\":\"x\",\"stream\":false,\"format\":%s,\"options\":{\"seed\":%d,\"num_predict\":4000}}",
             format, seed);
    json_t *v = ask_json(w, "/api/generate", body, 200);
    assert_string_equal(text(v, "done_reason"), "stop");
    json_t *value = json_loads(text(v, "response"), JSON_DECODE_ANY, NULL);
    if (!value) fail_msg("%s\n gave %s", format, text(v, "response"));
    json_decref(v);
    return value;
}

static void any_json(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = formatted(w, "\"json\"", 1);
    assert_true(json_is_object(v) && json_object_size(v) > 0);
    json_decref(v);
    v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"format\":\"\"," FEW "}", 200);
    json_decref(v);
    v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"format\":\"xml\"}", 500);
    assert_string_equal(text(v, "error"),
                        "invalid format: \"\\\"xml\\\"\"; expected \"json\" or a valid JSON Schema object");
    json_decref(v);
    v = ask_json(w, "/api/chat", "{" MODEL "," USER("x") ",\"format\":7}", 500);
    json_decref(v);
    o3_world_free(w);
}

#define SCHEMA                                                                                                         \
    "{\"type\":\"object\",\"required\":[\"name\",\"age\"],\"properties\":{"                                            \
    "\"name\":{\"type\":\"string\",\"minLength\":3,\"maxLength\":9},\"age\":{\"type\":\"integer\",\"minimum\":18,"     \
    "\"maximum\":20},\"height\":{\"type\":\"number\",\"exclusiveMinimum\":1,\"maximum\":2.5},\"is_well\":{\"type\":"   \
    "\"boolean\"},\"colour\":{\"enum\":[\"red\",\"green\",3]},\"tags\":{\"type\":\"array\",\"minItems\":2,"            \
    "\"maxItems\":3,\"items\":{\"type\":\"string\"}},\"pet\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":"               \
    "\"#/$defs/pet\"}]},\"kind\":{\"const\":\"person\"},\"when\":{\"type\":\"string\",\"format\":\"date\"},\"even\":"  \
    "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":-20,\"maximum\":-10}},\"$defs\":{\"pet\":{\"type\":"           \
    "\"object\",\"properties\":{\"legs\":{\"type\":\"integer\"}}}}}"

static void json_that_fits_a_schema(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    for (int seed = 1; seed <= 20; seed++) {
        json_t *v = formatted(w, SCHEMA, seed);
        has_fields(v, "name age height is_well colour tags pet kind when even");
        size_t n = strlen(text(v, "name"));
        assert_in_range(n, 3, 9);
        assert_in_range(number(v, "age"), 18, 20);
        double height = json_number_value(at(v, "height"));
        assert_true(json_is_real(at(v, "height")) && height > 1 && height <= 2.5);
        assert_true(json_is_boolean(at(v, "is_well")));
        const json_t *colour = at(v, "colour");
        assert_true(json_is_integer(colour)
                        ? json_integer_value(colour) == 3
                        : !strcmp(json_string_value(colour), "red") || !strcmp(json_string_value(colour), "green"));
        assert_in_range(json_array_size(at(v, "tags")), 2, 3);
        assert_true(json_is_string(first(v, "tags")));
        assert_true(json_is_integer(at(at(v, "pet"), "legs")));
        assert_string_equal(text(v, "kind"), "person");
        assert_string_equal(text(v, "when"), "2026-03-14");
        assert_int_equal(number(v, "even"), -14);
        json_decref(v);
    }
    o3_world_free(w);
}

/* What has no end in the schema has one in the answer. */
static void schemas_without_end(void **state) {
    (void)state;
    static const char *const schemas[] = {
        "{\"$ref\":\"#\"}",
        "{\"$ref\":\"#/nowhere\"}",
        "{\"type\":\"array\",\"minItems\":1e9,\"items\":{\"$ref\":\"#\"}}",
        ("{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"$ref\":\"#\"},\"b\":{\"$ref\":\"#\"}"
         "}"
         "}"),
        "{\"type\":\"string\",\"minLength\":1e12}",
        "{\"anyOf\":[{\"anyOf\":[{\"$ref\":\"#\"}]}]}",
        "{\"type\":\"number\",\"minimum\":1e308,\"maximum\":-1e308,\"multipleOf\":1e-300}",
        "{\"type\":\"integer\",\"minimum\":-1e308,\"multipleOf\":1e308}",
        "{\"type\":[7],\"enum\":[],\"items\":7,\"properties\":7}",
    };
    struct o3_world *w = quiet();
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        char body[1024];
        snprintf(body, sizeof body, "{" MODEL ",\"prompt\":\"x\",\"stream\":false,\"format\":%s," FEW "}", schemas[i]);
        json_t *v = ask_json(w, "/api/generate", body, 200);
        json_decref(v);
    }
    o3_world_free(w);
}

static void a_format_may_be_cut_off(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(w, "/api/generate",
                         "{" MODEL ",\"prompt\":\"x\",\"stream\":false,\"format\":\"json\"," FEW "}", 200);
    assert_string_equal(text(v, "done_reason"), "length");
    assert_int_equal(number(v, "eval_count"), 6);
    assert_null(json_loads(text(v, "response"), 0, NULL));
    json_decref(v);
    o3_world_free(w);
}

/* ---- tools ---- */

#define TOOLS                                                                                                          \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\","            \
    "\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}}}}},{\"type\":\"function\","            \
    "\"function\":{\"name\":\"get_weather\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":"   \
    "\"string\"}}}}}]"

static void a_tool_is_called(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(w, "/api/chat",
                         "{" MODEL "," USER("please get_weather of Rome") "," TOOLS ",\"stream\":false}", 200);
    const json_t *m = at(v, "message"), *call = first(m, "tool_calls"), *function = at(call, "function");
    has_fields(m, "role content tool_calls");
    assert_string_equal(text(m, "content"), "");
    has_fields(call, "id function");
    assert_int_equal(strncmp(text(call, "id"), "call_", 5), 0);
    has_fields(function, "index name arguments");
    assert_string_equal(text(function, "name"), "get_weather");
    assert_true(json_is_string(at(at(function, "arguments"), "city")));
    assert_string_equal(text(v, "done_reason"), "stop");
    assert_true(number(v, "eval_count") > 5);
    json_decref(v);
    v = ask_json(w, "/api/chat", "{" MODEL "," USER("what is 1 and 1") "," TOOLS ",\"stream\":false}", 200);
    function = at(first(at(v, "message"), "tool_calls"), "function");
    assert_string_equal(text(function, "name"), "add"); /* none is named: the first */
    assert_true(json_is_integer(at(at(function, "arguments"), "b")));
    json_decref(v);
    o3_world_free(w);
}

static void a_streamed_call_is_one_piece(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/chat", "{" MODEL "," USER("x") "," TOOLS "}");
    assert_int_equal(a.n_data, 2);
    json_t *piece = json_loads(a.body, JSON_DISABLE_EOF_CHECK, NULL), *end = last(&a);
    assert_true(json_is_false(at(piece, "done")));
    assert_non_null(first(at(piece, "message"), "tool_calls"));
    assert_string_equal(text(at(end, "message"), "content"), "");
    assert_null(json_object_get(at(end, "message"), "tool_calls"));
    json_decref(piece);
    json_decref(end);
    done(&a);
    /* A call that is cut off comes as text. */
    json_t *v = ask_json(w, "/api/chat", "{" MODEL "," USER("x") "," TOOLS ",\"stream\":false," FEW "}", 200);
    assert_string_equal(text(v, "done_reason"), "length");
    assert_null(json_object_get(at(v, "message"), "tool_calls"));
    assert_int_equal(strncmp(text(at(v, "message"), "content"), "{\"name\": \"add\"", 10), 0);
    json_decref(v);
    o3_world_free(w);
}

static void the_result_of_a_tool_is_answered_in_words(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(
        w, "/api/chat",
        "{" MODEL ",\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"\","
        "\"tool_calls\":[{\"function\":{\"name\":\"add\",\"arguments\":{\"a\":1,\"b\":2}}}]},{\"role\":\"tool\","
        "\"tool_name\":\"add\",\"content\":\"3\"}]," TOOLS ",\"stream\":false," FEW "}",
        200);
    assert_null(json_object_get(at(v, "message"), "tool_calls"));
    assert_true(*text(at(v, "message"), "content"));
    int64_t with_tools = number(v, "prompt_eval_count");
    json_decref(v);
    v = ask_json(w, "/api/chat", "{" MODEL "," USER("x") ",\"stream\":false," FEW "}", 200);
    assert_true(with_tools > number(v, "prompt_eval_count") + 40); /* the tools are part of the prompt */
    json_decref(v);
    o3_world_free(w);
}

/* ---- capabilities ---- */

#define PNG "iVBORw0KGgo="

static void capabilities_are_asked_for(void **state) {
    (void)state;
    static const struct {
        const char *path, *body;
        int status;
        const char *error;
    } rows[] = {
        {"/api/chat", "{\"model\":\"sim-vision\"," USER("x") "," TOOLS "}", 400,
         "registry.ollama.ai/library/sim-vision:latest does not support tools"},
        {"/api/generate", "{" MODEL ",\"prompt\":\"x\",\"suffix\":\"y\"}", 400,
         "registry.ollama.ai/library/sim-small:latest does not support insert"},
        {"/api/generate", "{" MODEL ",\"prompt\":\"x\",\"images\":[\"" PNG "\"]}", 400,
         "this model is missing data required for image input"},
        {"/api/generate", "{\"model\":\"sim-vision\",\"prompt\":\"x\",\"images\":[\"a*b\"]}", 400,
         "illegal base64 data at input byte 1"},
        {"/api/generate", "{" MODEL ",\"prompt\":\"x\",\"top_logprobs\":21}", 400,
         "top_logprobs must be between 0 and 20"},
        {"/api/chat", "{" USER("x") "}", 400, "model is required"},
        {"/api/embeddings", "{\"prompt\":\"x\"}", 400, "model is required"},
        {"/api/embed", "{\"model\":\"nope\",\"input\":\"x\"}", 404, "model \"nope\" not found, try pulling it first"},
        {"/api/chat", "{" MODEL "," USER("x") ",\"tools\":[7]}", 400,
         "json: cannot unmarshal number into Go struct field ChatRequest.tools of type api.Tool"},
    };
    struct o3_world *w = quiet();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = ask_json(w, rows[i].path, rows[i].body, rows[i].status);
        assert_string_equal(text(v, "error"), rows[i].error);
        json_decref(v);
    }
    o3_world_free(w);
    w = world_with((struct o3_world_params){.version = "0.24.0"});
    json_t *v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"images\":[\"" PNG "\"]}", 500);
    json_decref(v);
    o3_world_free(w);
}

static int64_t prompt_tokens(struct o3_world *w, const char *path, const char *body) {
    json_t *v = ask_json(w, path, body, 200);
    int64_t n = number(v, "prompt_eval_count");
    json_decref(v);
    return n;
}

static void images_are_tokens(void **state) {
    (void)state;
    struct o3_world *w = quiet();
#define SEEN(more) "{\"model\":\"sim-vision\"," USER("x") more ",\"stream\":false," FEW "}"
    int64_t without = prompt_tokens(w, "/api/chat", SEEN(""));
    int64_t with = prompt_tokens(w, "/api/chat",
                                 "{\"model\":\"sim-vision\",\"messages\":[{\"role\":\"user\",\"content\":\"x\","
                                 "\"images\":[\"" PNG "\",\"" PNG "\"]}],\"stream\":false," FEW "}");
    assert_int_equal(with - without, 512);
    o3_world_free(w);
}

static void insertion(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    int64_t without = prompt_tokens(w, "/api/generate",
                                    "{\"model\":\"sim-code\",\"prompt\":\"f(\",\"raw\":true,\"stream\":false," FEW "}");
    int64_t with = prompt_tokens(
        w, "/api/generate", "{\"model\":\"sim-code\",\"prompt\":\"f(\",\"suffix\":\")\",\"stream\":false," FEW "}");
    assert_int_equal(with - without, 2);
    o3_world_free(w);
}

static void levels_of_thinking(void **state) {
    (void)state;
    static const char *const levels[] = {"\"low\"", "true", "\"high\""};
    struct o3_world *w = quiet();
    size_t before = 0;
    for (size_t i = 0; i < 3; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"model\":\"sim-think\",\"prompt\":\"x\",\"stream\":false,\"think\":%s,\"options\":{\"seed\":1}}",
                 levels[i]);
        json_t *v = ask_json(w, "/api/generate", body, 200);
        assert_true(strlen(text(v, "thinking")) > before);
        before = strlen(text(v, "thinking"));
        json_decref(v);
    }
    o3_world_free(w);
}

/* ---- log probabilities ---- */

static void log_probabilities(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *plain = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"stream\":false," FEW "}", 200);
    json_t *v = ask_json(w, "/api/generate",
                         "{" MODEL ",\"prompt\":\"x\",\"stream\":false,\"logprobs\":true,\"top_logprobs\":3," FEW "}",
                         200);
    assert_string_equal(text(v, "response"), text(plain, "response"));
    const json_t *list = at(v, "logprobs");
    assert_int_equal(json_array_size(list), 6);
    char joined[128] = "";
    for (size_t i = 0; i < 6; i++) {
        const json_t *one = json_array_get(list, i), *top = at(one, "top_logprobs");
        has_fields(one, "token logprob bytes top_logprobs");
        assert_true(json_real_value(at(one, "logprob")) < 0);
        assert_int_equal(json_array_size(top), 3);
        assert_string_equal(text(json_array_get(top, 0), "token"), text(one, "token"));
        assert_true(json_real_value(at(json_array_get(top, 1), "logprob")) <
                    json_real_value(at(json_array_get(top, 0), "logprob")));
        assert_int_equal(json_array_size(at(one, "bytes")), strlen(text(one, "token")));
        strcat(joined, text(one, "token"));
    }
    assert_string_equal(joined, text(v, "response"));
    json_decref(v);
    json_decref(plain);
    struct answer a = ask(w, 0, "/api/chat", "{" MODEL "," USER("x") ",\"logprobs\":true," FEW "}");
    v = json_loads(a.body, JSON_DISABLE_EOF_CHECK, NULL);
    has_fields(v, "model created_at message done logprobs");
    has_fields(first(v, "logprobs"), "token logprob bytes");
    json_decref(v);
    done(&a);
    a = ask(w, 0, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"logprobs\":true," FEW "}");
    v = json_loads(a.body, JSON_DISABLE_EOF_CHECK, NULL);
    has_fields(v, "model created_at response done logprobs");
    json_decref(v);
    done(&a);
    o3_world_free(w);
}

/* ---- pulls, pushes, uploads ---- */

static void pulls(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/pull", "{\"model\":\"sim-small\"}");
    assert_int_equal(a.status, 200);
    assert_string_equal(a.type, "application/x-ndjson");
    starts_with(a.body, "{\"status\":\"pulling manifest\"}\n{\"status\":\"pulling ");
    assert_non_null(strstr(a.body, "\"total\":2019377376,\"completed\":2019377376}\n"));
    assert_non_null(strstr(a.body, "{\"status\":\"verifying sha256 digest\"}\n{\"status\":\"writing manifest\"}\n"));
    assert_string_equal(a.body + a.n - 21, "{\"status\":\"success\"}\n");
    done(&a);
    expect(w, 0, "/api/pull", "{\"name\":\"sim-small\",\"stream\":false}", 200, "{\"status\":\"success\"}");
    a = ask(w, 0, "/api/pull", "{\"model\":\"other/nope:7b\"}");
    json_t *v = last(&a);
    assert_int_equal(a.status, 200);
    assert_string_equal(text(v, "error"),
                        "pull model manifest: Get \"https://registry.ollama.ai/v2/other/nope/manifests/7b\": dial tcp: "
                        "lookup registry.ollama.ai on 127.0.0.1:53: no such host");
    json_decref(v);
    done(&a);
    v = ask_json(w, "/api/pull", "{\"model\":\"nope\",\"stream\":false}", 500);
    json_decref(v);
    v = ask_json(w, "/api/pull", "{\"model\":\"a b\"}", 400);
    assert_string_equal(text(v, "error"), "invalid model name");
    json_decref(v);
    o3_world_free(w);
}

static void a_deleted_model_is_pulled_again(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask_as(w, 0, "DELETE", "/api/delete", "{\"model\":\"sim-code\"}");
    assert_int_equal(a.status, 200);
    done(&a);
    json_t *v = ask_json(w, "/api/show", "{\"model\":\"sim-code\"}", 404);
    json_decref(v);
    a = ask(w, 0, "/api/pull", "{\"model\":\"sim-code\"}");
    assert_non_null(strstr(a.body, "\"total\":986048768}\n")); /* nothing yet: no "completed" */
    assert_non_null(strstr(a.body, "\"completed\":493024384}\n"));
    done(&a);
    v = ask_json(w, "/api/show", "{\"model\":\"sim-code\"}", 200);
    json_decref(v);
    o3_world_free(w);
}

static void pushes(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/push", "{\"model\":\"sim-small\"}");
    json_t *v = last(&a);
    assert_int_equal(a.status, 200);
    starts_with(a.body, "{\"status\":\"retrieving manifest\"}\n{\"status\":\"pushing ");
    assert_string_equal(text(v, "error"), "you are not authorized to push to this namespace, create the model under a "
                                          "namespace you own");
    json_decref(v);
    done(&a);
    v = ask_json(w, "/api/push", "{\"model\":\"nope\",\"stream\":false}", 500);
    assert_string_equal(text(v, "error"), "file does not exist");
    json_decref(v);
    v = ask_json(w, "/api/push", "{}", 400);
    assert_string_equal(text(v, "error"), "model is required");
    json_decref(v);
    o3_world_free(w);
}

static int blob_status(struct o3_world *w, const char *method, const char *digest, const char *bytes) {
    char path[320];
    snprintf(path, sizeof path, "/api/blobs/%s", digest);
    struct answer a = ask_as(w, 0, method, path, bytes);
    int status = a.status;
    done(&a);
    return status;
}

static void uploads(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    char hex[65], digest[80], body[256];
    o3_sha256_hex("GGUF and more", 13, hex);
    snprintf(digest, sizeof digest, "sha256:%s", hex);
    assert_int_equal(blob_status(w, "HEAD", digest, NULL), 404);
    assert_int_equal(blob_status(w, "POST", digest, "other bytes"), 400);
    assert_int_equal(blob_status(w, "HEAD", digest, NULL), 404);
    assert_int_equal(blob_status(w, "POST", digest, "GGUF and more"), 201);
    assert_int_equal(blob_status(w, "POST", digest, "GGUF and more"), 200);
    assert_int_equal(blob_status(w, "HEAD", digest, NULL), 200);
    assert_int_equal(blob_status(w, "HEAD", "sha256:77", NULL), 400);
    assert_int_equal(blob_status(w, "GET", digest, NULL), 405);
    for (int i = 0; i < 100; i++) { /* the newest stay */
        char bytes[16];
        snprintf(bytes, sizeof bytes, "upload %d", i);
        o3_sha256_hex(bytes, strlen(bytes), hex);
        snprintf(body, sizeof body, "sha256:%s", hex);
        assert_int_equal(blob_status(w, "POST", body, bytes), 201);
    }
    assert_int_equal(blob_status(w, "HEAD", body, NULL), 200);
    assert_int_equal(blob_status(w, "HEAD", digest, NULL), 404);
    snprintf(body, sizeof body, "{\"model\":\"mine\",\"files\":{\"m.gguf\":\"%s\"}}", digest);
    json_t *v = ask_json(w, "/api/create", body, 400);
    assert_string_equal(text(v, "error"), "supplied file was not in GGUF format");
    json_decref(v);
    o3_world_free(w);
}

/* ---- created models ---- */

static void a_model_with_words_of_its_own(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(
        w, "/api/create",
        "{\"model\":\"mine\",\"from\":\"sim-small\",\"system\":\"be brief and kind\",\"template\":\"{{ "
        ".Prompt }}!\",\"parameters\":{\"temperature\":0.2},\"stream\":false}",
        200);
    json_decref(v);
    v = ask_json(w, "/api/show", "{\"model\":\"mine\"}", 200);
    has_fields(v, "modelfile parameters template system details model_info tensors capabilities modified_at");
    assert_string_equal(text(v, "system"), "be brief and kind");
    assert_string_equal(text(v, "template"), "{{ .Prompt }}!");
    assert_non_null(strstr(text(v, "modelfile"), "\nSYSTEM be brief and kind\nPARAMETER temperature 0.2\n"));
    json_decref(v);
    int64_t own = prompt_tokens(w, "/api/generate", "{\"model\":\"mine\",\"prompt\":\"x\",\"stream\":false," FEW "}");
    int64_t base = prompt_tokens(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"stream\":false," FEW "}");
    assert_true(own > base + 4);
    assert_int_equal(own, prompt_tokens(w, "/api/chat", "{\"model\":\"mine\"," USER("x") ",\"stream\":false," FEW "}"));
    char *body = calloc(1, 4096);
    snprintf(body, 4096, "{\"model\":\"mine\",\"from\":\"sim-small\",\"system\":\"%2100s\"}", "x");
    v = ask_json(w, "/api/create", body, 400);
    json_decref(v);
    free(body);
    o3_world_free(w);
}

/* ---- show ---- */

static void tensors_hold_the_parameters(void **state) {
    (void)state;
    static const char *const names[] = {"sim-small", "sim-medium", "sim-think", "o3-small", "o3-tiny", "o3-embed"};
    struct o3_world *w = quiet();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"model\":\"%s\"}", names[i]);
        json_t *v = ask_json(w, "/api/show", body, 200), *tensor, *size;
        size_t k, d;
        int64_t sum = 0;
        json_array_foreach(at(v, "tensors"), k, tensor) {
            int64_t n = 1;
            json_array_foreach(at(tensor, "shape"), d, size) n *= json_integer_value(size);
            sum += n;
        }
        int64_t counted = number(at(v, "model_info"), "general.parameter_count");
        if (sum != counted)
            fail_msg("%s: %lld in the tensors, %lld said", names[i], (long long)sum, (long long)counted);
        json_decref(v);
    }
    o3_world_free(w);
}

static void a_verbose_show_has_the_vocabulary(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/api/show", "{" MODEL ",\"verbose\":true}");
    assert_in_range(a.n, 1000000, 8000000);
    json_t *v = last(&a);
    const json_t *info = at(v, "model_info"), *tokens = at(info, "tokenizer.ggml.tokens");
    assert_int_equal(json_array_size(tokens), 128256);
    assert_int_equal(json_array_size(at(info, "tokenizer.ggml.token_type")), 128256);
    assert_int_equal(json_array_size(at(info, "tokenizer.ggml.scores")), 128256);
    assert_string_equal(json_string_value(json_array_get(tokens, 0)), "<unk>");
    json_t *seen = json_object();
    for (size_t i = 0; i < 128256; i++)
        json_object_set_new(seen, json_string_value(json_array_get(tokens, i)), json_true());
    assert_int_equal(json_object_size(seen), 128256); /* each one differs */
    json_decref(seen);
    json_decref(v);
    done(&a);
    v = ask_json(w, "/api/show", "{" MODEL "}", 200);
    assert_true(json_is_null(at(at(v, "model_info"), "tokenizer.ggml.tokens")));
    json_decref(v);
    o3_world_free(w);
}

/* ---- the OpenAI endpoints ---- */

static void openai_chat(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(w, "/v1/chat/completions",
                         "{" MODEL "," USER("x") ",\"max_tokens\":4,\"options\":{\"num_ctx\":7}}", 200);
    has_fields(v, "id object created model system_fingerprint choices usage");
    has_fields(first(v, "choices"), "index message finish_reason");
    has_fields(at(v, "usage"), "prompt_tokens completion_tokens total_tokens");
    assert_string_equal(text(first(v, "choices"), "finish_reason"), "length");
    assert_int_equal(number(at(v, "usage"), "completion_tokens"), 4);
    json_decref(v);
    v = ask_json(w, "/api/ps", NULL, 200);
    assert_int_equal(number(first(v, "models"), "context_length"), 4096); /* `options` is not read */
    json_decref(v);
    v = ask_json(w, "/v1/chat/completions",
                 "{" MODEL
                 "," USER("x") ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
                               "\"schema\":{\"properties\":{\"k\":{\"type\":\"integer\"}}}}}}",
                 200);
    json_t *value = json_loads(text(at(first(v, "choices"), "message"), "content"), 0, NULL);
    assert_true(json_is_integer(at(value, "k")));
    json_decref(value);
    json_decref(v);
    o3_world_free(w);
}

static void openai_stream(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    struct answer a = ask(w, 0, "/v1/chat/completions",
                          "{\"model\":\"sim-think\"," USER("x") ",\"stream\":true,\"max_tokens\":2}");
    assert_string_equal(a.type, "text/event-stream");
    starts_with(a.body, "data: {\"id\":\"chatcmpl-");
    assert_non_null(strstr(a.body, "\"delta\":{\"role\":\"assistant\",\"reasoning\":\""));
    assert_non_null(strstr(a.body, "\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"));
    assert_null(strstr(a.body, "usage"));
    done(&a);
    a = ask(w, 0, "/v1/chat/completions", "{" MODEL "," USER("x") "," TOOLS ",\"stream\":true}");
    assert_non_null(strstr(a.body, "\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"call_"));
    assert_non_null(
        strstr(a.body, "\"index\":0,\"type\":\"function\",\"function\":{\"name\":\"add\",\"arguments\":\"{\\\"a"));
    assert_non_null(strstr(a.body, "\"delta\":{},\"finish_reason\":\"tool_calls\"}]}"));
    done(&a);
    a = ask(w, 0, "/v1/completions",
            "{" MODEL
            ",\"prompt\":\"x\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":2}");
    assert_non_null(strstr(a.body, "\"object\":\"text_completion\""));
    assert_non_null(
        strstr(a.body, "\"choices\":[],\"model\":\"sim-small\",\"system_fingerprint\":\"fp_ollama\",\"usage\":{"));
    done(&a);
    o3_world_free(w);
}

static void openai_embeddings_and_models(void **state) {
    (void)state;
    struct o3_world *w = quiet();
    json_t *v = ask_json(w, "/v1/embeddings", "{\"model\":\"sim-embed\",\"input\":[\"a\",\"b\"]}", 200);
    has_fields(v, "object data model usage");
    has_fields(first(v, "data"), "object embedding index");
    assert_int_equal(json_array_size(at(first(v, "data"), "embedding")), 768);
    json_decref(v);
    v = ask_json(w, "/v1/embeddings",
                 "{\"model\":\"sim-embed\",\"input\":\"a\",\"encoding_format\":\"base64\",\"dimensions\":2}", 200);
    assert_int_equal(strlen(text(first(v, "data"), "embedding")), 12); /* eight bytes */
    json_decref(v);
    v = ask_json(w, "/v1/models", NULL, 200);
    has_fields(first(v, "data"), "id object created owned_by");
    assert_string_equal(text(first(v, "data"), "owned_by"), "library");
    json_decref(v);
    v = ask_json(w, "/v1/models/sim-small", NULL, 200);
    assert_string_equal(text(v, "id"), "sim-small");
    json_decref(v);
    o3_world_free(w);
}

static void openai_refusals(void **state) {
    (void)state;
    static const struct {
        const char *path, *body;
        int status;
        const char *type, *message;
    } rows[] = {
        {"/v1/chat/completions", "{\"model\":\"nope\"," USER("x") "}", 404, "not_found_error",
         "model 'nope' not found"},
        {"/v1/chat/completions", "{" MODEL ",\"messages\":[]}", 400, "invalid_request_error",
         "[] is too short - 'messages'"},
        {"/v1/chat/completions", "", 400, "invalid_request_error", "EOF"},
        {"/v1/chat/completions", "{", 400, "invalid_request_error", "unexpected EOF"},
        {"/v1/chat/completions", "{" MODEL ",\"messages\":[{\"role\":\"user\"}]}", 400, "invalid_request_error",
         "invalid message content type: <nil>"},
        {"/v1/chat/completions",
         "{\"model\":\"sim-vision\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_"
         "url\":{\"url\":\"http://x\"}}]}]}",
         400, "invalid_request_error", "invalid image input"},
        {"/v1/chat/completions", "{" MODEL "," USER("x") ",\"reasoning_effort\":\"wild\"}", 400,
         "invalid_request_error",
         "invalid reasoning value: 'wild' (must be \"high\", \"medium\", \"low\", or \"none\")"},
        {"/v1/chat/completions", "{\"model\":7," USER("x") "}", 400, "invalid_request_error",
         "json: cannot unmarshal number into Go struct field ChatCompletionRequest.model of type string"},
        {"/v1/embeddings", "{\"model\":\"sim-embed\",\"input\":[]}", 400, "invalid_request_error", "invalid input"},
        {"/v1/embeddings", "{\"model\":\"sim-small\",\"input\":\"x\"}", 501, "api_error",
         "This server does not support embeddings. Start it with `--embeddings`"},
        {"/v1/models/nope", NULL, 404, "not_found_error", "model 'nope' not found"},
    };
    struct o3_world *w = quiet();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *v = ask_json(w, rows[i].path, rows[i].body, rows[i].status);
        const json_t *e = at(v, "error");
        has_fields(e, "message type param code");
        assert_string_equal(text(e, "message"), rows[i].message);
        assert_string_equal(text(e, "type"), rows[i].type);
        json_decref(v);
    }
    o3_world_free(w);
}

/* ---- servers before 0.30 ---- */

static int64_t loads_after(const char *version, const char *options) {
    struct o3_world *w = world_with((struct o3_world_params){.version = version});
    char body[256];
    json_t *v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"\",\"options\":{\"num_ctx\":256}}", 200);
    json_decref(v);
    snprintf(body, sizeof body, "{" MODEL ",\"prompt\":\"\",\"options\":{%s}}", options);
    v = ask_json(w, "/api/generate", body, 200);
    json_decref(v);
    int64_t n = truth(w).n_loads;
    o3_world_free(w);
    return n;
}

static void older_servers_fix_the_batch(void **state) {
    (void)state;
    /* 512, but not more than the context; numbers are compared whatever their origin. */
    assert_int_equal(loads_after("0.24.0", "\"num_ctx\":256,\"num_batch\":256"), 1);
    assert_int_equal(loads_after("0.24.0", "\"num_ctx\":256,\"num_batch\":512"), 1);
    assert_int_equal(loads_after("0.24.0", "\"num_ctx\":256,\"num_batch\":128"), 2);
    assert_int_equal(loads_after("0.30.0", "\"num_ctx\":256,\"num_batch\":256"), 2);
    assert_int_equal(loads_after("0.30.0", "\"num_ctx\":256,\"num_batch\":512"), 1);
    /* No runner of its own process dies of a batch of one. */
    assert_int_equal(loads_after("0.24.0", "\"num_ctx\":256,\"num_batch\":1"), 2);
}

static void older_servers_say_less(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.version = "0.24.0"});
    json_t *v = ask_json(w, "/api/tags", NULL, 200);
    has_fields(first(v, "models"), "name model modified_at size digest details");
    has_fields(at(first(v, "models"), "details"),
               "parent_model format family families parameter_size quantization_level");
    json_decref(v);
    v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"stream\":false," FEW "}", 200);
    json_decref(v);
    v = ask_json(w, "/api/ps", NULL, 200);
    assert_int_equal(number(first(v, "models"), "context_length"), 4096);
    json_decref(v);
    o3_world_free(w);
    w = world_with((struct o3_world_params){.version = "0.10.1"});
    v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"stream\":false," FEW "}", 200);
    json_decref(v);
    v = ask_json(w, "/api/ps", NULL, 200);
    has_fields(first(v, "models"), "name model size digest details expires_at size_vram");
    json_decref(v);
    o3_world_free(w);
    w = world_with((struct o3_world_params){.version = "0.8.0"});
    v = ask_json(w, "/api/generate", "{" MODEL ",\"prompt\":\"x\",\"think\":true,\"stream\":false," FEW "}", 200);
    json_decref(v); /* a field that it does not know */
    o3_world_free(w);
}

static void older_servers_answer_otherwise(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.version = "0.24.0", .has_recorded_models = true});
    json_t *v = ask_json(w, "/api/embed", "{" MODEL ",\"input\":\"x\"}", 200);
    assert_int_equal(json_array_size(first(v, "embeddings")), 3072);
    json_decref(v);
    v = ask_json(w, "/api/generate", "{\"model\":\"o3-bigctx\",\"prompt\":\"hi\",\"options\":{\"num_ctx\":33554432}}",
                 500);
    starts_with(text(v, "error"), "model requires more system memory (");
    assert_non_null(strstr(text(v, "error"), " GiB) than is available (32.0 GiB)"));
    json_decref(v);
    /* What the cache holds is counted all the same. */
    const char *body = "{" MODEL ",\"prompt\":\"a long prompt that is sent twice\",\"stream\":false," FEW "}";
    int64_t once = prompt_tokens(w, "/api/generate", body);
    assert_int_equal(prompt_tokens(w, "/api/generate", body), once);
    o3_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_json),
        cmocka_unit_test(json_that_fits_a_schema),
        cmocka_unit_test(schemas_without_end),
        cmocka_unit_test(a_format_may_be_cut_off),
        cmocka_unit_test(a_tool_is_called),
        cmocka_unit_test(a_streamed_call_is_one_piece),
        cmocka_unit_test(the_result_of_a_tool_is_answered_in_words),
        cmocka_unit_test(capabilities_are_asked_for),
        cmocka_unit_test(images_are_tokens),
        cmocka_unit_test(insertion),
        cmocka_unit_test(levels_of_thinking),
        cmocka_unit_test(log_probabilities),
        cmocka_unit_test(pulls),
        cmocka_unit_test(a_deleted_model_is_pulled_again),
        cmocka_unit_test(pushes),
        cmocka_unit_test(uploads),
        cmocka_unit_test(a_model_with_words_of_its_own),
        cmocka_unit_test(tensors_hold_the_parameters),
        cmocka_unit_test(a_verbose_show_has_the_vocabulary),
        cmocka_unit_test(openai_chat),
        cmocka_unit_test(openai_stream),
        cmocka_unit_test(openai_embeddings_and_models),
        cmocka_unit_test(openai_refusals),
        cmocka_unit_test(older_servers_fix_the_batch),
        cmocka_unit_test(older_servers_say_less),
        cmocka_unit_test(older_servers_answer_otherwise),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
