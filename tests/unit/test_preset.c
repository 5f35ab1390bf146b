/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include <jansson.h>
#include "o3/preset.h"
#include "o3/rand.h"
#include "o3/text.h"

static struct o3_preset_doc example(void) {
    struct o3_preset_doc d = {.model = "qwen3-coder:30b"};
    memset(d.digest, 'a', 64);
    d.presets[O3_PRESET_MAX_CONTEXT] = (struct o3_preset){
        .is_set = true,
        .num_ctx = 32768,
        .batch = 512,
        .batch_source = O3_BATCH_RUNNER,
        .f16_kv = true,
        .num_predict = 256,
        .performance = {.is_set = true, .tokens_per_sec = 6.0411, .ttft_ms = 8945.4, .stability = 0.97, .n = 48},
        .previous =
            {.is_set = true, .tokens_per_sec = 10, .ttft_ms = NAN, .stability = NAN, .n = 7, .as_of_ms = 1795233966161},
        .source = O3_SOURCE_VERIFIED,
        .as_of_ms = 1795233966161,
        .use_case = "Long-form reasoning, extensive tool traces",
    };
    d.presets[O3_PRESET_FAST_RESPONSE] = (struct o3_preset){.is_set = true, .num_ctx = 4096, .num_predict = -1};
    return d;
}

static char *yaml_of(const struct o3_preset_doc *d) {
    struct o3_buf b;
    o3_buf_init(&b, O3_PRESET_DOC_MAX);
    assert_int_equal(o3_preset_doc_encode_yaml(d, &b), 0);
    return o3_buf_take(&b);
}

static struct o3_preset_doc read_back(const char *text) {
    struct o3_preset_doc d;
    struct o3_err e = {0};
    if (o3_preset_doc_decode_yaml(text, strlen(text), &d, &e) < 0)
        fail_msg("%u:%u %s\n%s", e.line, e.col, e.text, text);
    return d;
}

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void test_yaml(void **state) {
    (void)state;
    struct o3_preset_doc d = example();
    char *text = yaml_of(&d);
    assert_string_equal(text, "model: qwen3-coder:30b\n"
                              "digest: sha256:" A64 "\n"
                              "presets:\n"
                              "  max_context:\n"
                              "    num_ctx: 32768\n"
                              "    batch: 512\n"
                              "    batch_source: runner\n"
                              "    f16_kv: true\n"
                              "    num_predict: 256\n"
                              "    performance: {tokens_per_sec: 6.04, ttft_ms: 8945, stability: 0.97, n: 48}\n"
                              "    previous: {tokens_per_sec: 10.0, n: 7, as_of: \"2026-11-21T04:06:06.161Z\"}\n"
                              "    source: verified\n"
                              "    as_of: \"2026-11-21T04:06:06.161Z\"\n"
                              "    use_case: \"Long-form reasoning, extensive tool traces\"\n"
                              "  fast_response:\n"
                              "    num_ctx: 4096\n"
                              "    batch_source: assumed\n"
                              "    f16_kv: false\n"
                              "    source: observed\n");
    struct o3_preset_doc back = read_back(text);
    assert_true(o3_preset_doc_equal(&d, &back));
    assert_false(back.presets[O3_PRESET_BALANCED].is_set);
    const struct o3_preset *p = &back.presets[O3_PRESET_MAX_CONTEXT];
    O3_ASSERT_NEAR(p->performance.tokens_per_sec, 6.04, 0);
    assert_true(isnan(p->previous.ttft_ms) && p->previous.as_of_ms == 1795233966161 && p->as_of_ms == 1795233966161);
    assert_int_equal(p->performance.n, 48);
    char *again = yaml_of(&back);
    assert_string_equal(text, again);
    free(again);
    free(text);
}

static void test_json(void **state) {
    (void)state;
    struct o3_preset_doc d = example();
    struct o3_buf b;
    o3_buf_init(&b, O3_PRESET_DOC_MAX);
    assert_int_equal(o3_preset_doc_encode_json(&d, &b), 0);
    json_t *j = json_loadb(b.p, b.len, 0, NULL);
    assert_non_null(j);
    const char *model;
    json_int_t num_ctx;
    double tps;
    assert_int_equal(json_unpack(j, "{s:s,s:{s:{s:I,s:{s:F}}}}", "model", &model, "presets", "max_context", "num_ctx",
                                 &num_ctx, "performance", "tokens_per_sec", &tps),
                     0);
    assert_string_equal(model, "qwen3-coder:30b");
    assert_int_equal(num_ctx, 32768);
    O3_ASSERT_NEAR(tps, 6.04, 0);
    assert_non_null(strstr(b.p, "\"tokens_per_sec\": 6.04,"));
    json_decref(j);
    o3_buf_done(&b);
}

static void check_format(const char *format, const char *expected) {
    struct o3_preset_doc d = example();
    struct o3_buf b;
    o3_buf_init(&b, O3_PRESET_DOC_MAX);
    assert_int_equal(o3_preset_encode(&d, O3_PRESET_MAX_CONTEXT, format, &b, NULL), 0);
    if (strncmp(o3_buf_str(&b), expected, strlen(expected)) != 0) fail_msg("%s", o3_buf_str(&b));
    o3_buf_done(&b);
}

static void test_formats(void **state) {
    (void)state;
    check_format("env", "O3_NUM_CTX=32768\nO3_NUM_BATCH=512\n");
    check_format("modelfile", "PARAMETER num_ctx 32768\nPARAMETER num_batch 512\n");
    check_format("ollama-options", "{\"num_ctx\":32768,\"num_batch\":512}\n");
    check_format("yaml", "model: qwen3-coder:30b\ndigest: sha256:" A64 "\npreset: max_context\nnum_ctx: 32768\n");
    check_format("json", "{\n  \"model\": \"qwen3-coder:30b\",\n");
    struct o3_preset_doc d = example();
    struct o3_err e;
    struct o3_buf b;
    o3_buf_init(&b, 100);
    assert_int_equal(o3_preset_encode(&d, O3_PRESET_MAX_CONTEXT, "toml", &b, &e), O3_E_USAGE);
    assert_non_null(strstr(e.text, "ollama-options"));
    assert_int_equal(o3_preset_encode(&d, O3_PRESET_BALANCED, "env", &b, &e), O3_E_NOT_FOUND);
    assert_int_equal(o3_preset_encode(&d, O3_PRESET_MAX_CONTEXT, "yaml", &b, &e), O3_E_LIMIT);
    o3_buf_done(&b);
}

static void test_names_that_yaml_could_take_for_something_else(void **state) {
    (void)state;
    const char *const names[] = {
        "yes",
        "NO",
        "null",
        "~",
        "123",
        "1:30",
        "0x1f",
        "1e3",
        ".inf",
        "true",
        "a: b",
        "a #b",
        "- a",
        "a:",
        "'",
        "\"",
        "hf.co/unsloth/Qwen3-GGUF:Q4_K_M",
        "\xe6\xa8\xa1\xe5\x9e\x8b:7b",
        "*a",
        "&a",
        "!t",
        "%x",
        "@x",
        "`x",
        "{a}",
        "[b]",
        "a, b",
        " lead",
        "trail ",
        "---",
        "...",
        "=",
        "<<",
        "\\n",

        "\xe2\x80\xa8x",
        "\xf0\x9f\x98\x80",
        "on",
        "y",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct o3_preset_doc d = example();
        o3_str_copy(d.model, sizeof d.model, names[i]);
        o3_str_copy(d.presets[0].use_case, sizeof d.presets[0].use_case, names[i]);
        char *text = yaml_of(&d);
        struct o3_preset_doc back = read_back(text);
        assert_string_equal(back.model, names[i]);
        assert_true(o3_preset_doc_equal(&d, &back));
        free(text);
    }
    struct o3_preset_doc d = example();
    o3_str_copy(d.model, sizeof d.model, "bad \xff");
    struct o3_buf b;
    o3_buf_init(&b, O3_PRESET_DOC_MAX);
    assert_int_equal(o3_preset_doc_encode_yaml(&d, &b), O3_E_PARSE);
    assert_int_equal(o3_preset_doc_encode_json(&d, &b), O3_E_PARSE);
    o3_buf_done(&b);
}

/* A figure with noise in its far digits, sometimes unknown or absurd. */
static double figure(struct o3_rand *r, double scale) {
    switch (o3_rand_below(r, 8)) {
    case 0:
        return NAN;
    case 1:
        return 0;
    case 2:
        return INFINITY;
    default:
        return exp(10 * o3_rand_uniform(r) - 5) * scale;
    }
}

static struct o3_performance random_performance(struct o3_rand *r) {
    return (struct o3_performance){.is_set = o3_rand_below(r, 2),
                                   .tokens_per_sec = figure(r, 10),
                                   .ttft_ms = figure(r, 1000),
                                   .stability = o3_rand_uniform(r),
                                   .n = (int64_t)o3_rand_below(r, 1000),
                                   .as_of_ms = (int64_t)o3_rand_below(r, 4000000000000)};
}

static void test_round_trip(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(5));
    for (int round = 0; round < 500; round++) {
        struct o3_preset_doc d = {.model = "m"};
        for (int p = 0; p < O3_PRESET_COUNT; p++) {
            d.presets[p] = (struct o3_preset){.is_set = o3_rand_below(&r, 4) > 0,
                                              .num_ctx = 1 + (int64_t)o3_rand_below(&r, 1 << 20),
                                              .batch = (int64_t)o3_rand_below(&r, 2048),
                                              .num_predict = (int64_t)o3_rand_below(&r, 3) - 1,
                                              .f16_kv = o3_rand_below(&r, 2),
                                              .batch_source = (enum o3_batch_source)o3_rand_below(&r, 3),
                                              .source = (enum o3_preset_source)o3_rand_below(&r, 3),
                                              .performance = random_performance(&r),
                                              .previous = random_performance(&r)};
            for (int i = 0; i < 20; i++)
                d.presets[p].use_case[i] = (char)(' ' + o3_rand_below(&r, 95));
        }
        char *text = yaml_of(&d);
        struct o3_preset_doc back = read_back(text);
        if (!o3_preset_doc_equal(&d, &back)) fail_msg("%s", text);
        char *again = yaml_of(&back);
        assert_string_equal(text, again);
        free(again);
        free(text);
    }
}

static void test_equal(void **state) {
    (void)state;
    struct o3_preset_doc a = example(), b = example();
    b.presets[0].as_of_ms++;
    b.presets[0].performance.n++;
    b.presets[0].performance.as_of_ms = 1;
    b.presets[0].performance.tokens_per_sec += 0.0001;
    b.presets[1].num_ctx = 5; /* not set: no matter */
    b.presets[2].num_predict = -2;
    assert_true(o3_preset_doc_equal(&a, &b));
    b.presets[0].performance.tokens_per_sec = 3;
    assert_false(o3_preset_doc_equal(&a, &b));
    b = example();
    b.presets[2].batch = 64;
    assert_false(o3_preset_doc_equal(&a, &b));
    b = example();
    b.presets[0].previous.is_set = false;
    assert_false(o3_preset_doc_equal(&a, &b));
    b = example();
    b.digest[0] = 'b';
    assert_false(o3_preset_doc_equal(&a, &b));
}

static void test_reading_older_files(void **state) {
    (void)state;
    struct o3_preset_doc d = read_back(
        "# by hand\n"
        "presets:\n"
        "  balanced: {num_ctx: 8192, batch: 64, f16_kv: true, num_predict: 256, new: [1, {a: b}],\n"
        "             performance: {tokens_per_sec: 12, note: ~, stability: 1}, previous: null}\n"
        "  other: {num_ctx: x}\n"
        "experimental: {extreme: {num_ctx: 65536}}\n"
        "model: \"llama3\"\n");
    assert_string_equal(d.model, "llama3");
    assert_int_equal(d.presets[O3_PRESET_BALANCED].num_ctx, 8192);
    assert_true(d.presets[O3_PRESET_BALANCED].performance.is_set && !d.presets[O3_PRESET_BALANCED].previous.is_set);
    assert_false(d.presets[O3_PRESET_MAX_CONTEXT].is_set);
}

static void test_refused(void **state) {
    (void)state;
    const struct {
        const char *text;
        uint32_t line, col;
        const char *part;
    } cases[] = {
        {"", 1, 1, "empty"},
        {"a", 1, 1, "mapping"},
        {"digest: sha256:00", 2, 1, "'model'"},
        {"model: [a]", 1, 8, "string"},
        {"model: m\ndigest: xyz", 2, 9, "hexadecimal"},
        {"model: m\npresets: 3", 2, 10, "mapping"},
        {"model: m\npresets:\n  balanced:\n    num_ctx: many", 4, 14, "whole number"},
        {"model: m\npresets:\n  balanced:\n    num_ctx: \"8\"", 4, 14, "whole number"},
        {"model: m\npresets:\n  balanced:\n    num_ctx: -1", 4, 14, "range"},
        {"model: m\npresets:\n  balanced: {batch: 3}", 3, 22, "num_ctx"},
        {"model: m\npresets: {balanced: {num_ctx: 1, f16_kv: yes}}", 2, 42, "true or false"},
        {"model: m\npresets: {balanced: {num_ctx: 1, source: guessed}}", 2, 42, "observed"},
        {"model: m\npresets: {balanced: {num_ctx: 1, performance: {stability: 2}}}", 2, 59, "range"},
        {"model: m\npresets: {balanced: {num_ctx: 1, performance: {ttft_ms: nan}}}", 2, 57, "number"},
        {"model: m\nx: &a [1]\ny: *a", 3, 4, "aliases"},
        {"model: m\nx: [[[[[[[[[[[1]]]]]]]]]]]", 2, 11, "deep"},
        {"model: m\n---\nmodel: n", 2, 1, "one document"},
        {"model: \"a\\0b\"", 1, 8, "string"},
        {"model: \"a\\nb\"", 1, 8, "control"},
        {"model: \"a\\u009bb\"", 1, 8, "control"},
        {"model: m\n? [a]\n: b", 2, 3, "key"},
        {"model: \"m", 1, 10, ""},
        {"model: m\xff", 0, 0, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct o3_preset_doc d = {.model = "untouched"};
        struct o3_err e = {0};
        assert_int_equal(o3_preset_doc_decode_yaml(cases[i].text, strlen(cases[i].text), &d, &e), O3_E_PARSE);
        assert_string_equal(d.model, "untouched");
        if (!strstr(e.text, cases[i].part)) fail_msg("%s: %s", cases[i].text, e.text);
        if (cases[i].line && (cases[i].line != e.line || cases[i].col != e.col))
            fail_msg("%s: %u:%u %s", cases[i].text, e.line, e.col, e.text);
    }
    char *large = calloc(1, O3_PRESET_DOC_MAX + 1);
    struct o3_preset_doc d;
    assert_int_equal(o3_preset_doc_decode_yaml(large, O3_PRESET_DOC_MAX + 1, &d, NULL), O3_E_LIMIT);
    free(large);
    char model[300] = "model: ";
    memset(model + 7, 'x', 129);
    assert_int_equal(o3_preset_doc_decode_yaml(model, strlen(model), &d, NULL), O3_E_PARSE);
    model[7 + 128] = '\0';
    assert_int_equal(o3_preset_doc_decode_yaml(model, strlen(model), &d, NULL), 0);
}

static bool taken_by_other(void *ctx, const char *stem, const char *model) {
    (void)model;
    return !strcmp(stem, ctx);
}

static void check_stem(const char *model, const char *taken, const char *expected) {
    char out[160], other[160];
    o3_str_copy(other, sizeof other, taken);
    o3_model_file_stem(model, *taken ? taken_by_other : NULL, other, out, sizeof out);
    assert_string_equal(out, expected);
}

static void test_file_stem(void **state) {
    (void)state;
    check_stem("qwen3-coder:30b", "", "qwen3-coder_30b");
    check_stem("hf.co/a/b:Q4_K_M", "", "hf.co_a_b_Q4_K_M");
    check_stem("../../etc/passwd", "", "_._.._etc_passwd");
    check_stem(".", "", "_");
    check_stem("", "", "_");
    check_stem("\xc3\xa9", "", "__");
    check_stem("a:b", "x", "a_b");
    char hash[65], expected[32];
    o3_sha256_hex("a/b", 3, hash);
    snprintf(expected, sizeof expected, "a_b-%.8s", hash);
    check_stem("a/b", "a_b", expected);
    char longer[401], one[160], two[160];
    memset(longer, 'x', 400);
    longer[400] = '\0';
    o3_model_file_stem(longer, NULL, NULL, one, sizeof one);
    longer[399] = 'y';
    o3_model_file_stem(longer, NULL, NULL, two, sizeof two);
    assert_string_not_equal(one, two);
}

static void test_names(void **state) {
    (void)state;
    enum o3_preset_name p;
    assert_true(o3_preset_name_parse("balanced", &p) && p == O3_PRESET_BALANCED);
    assert_false(o3_preset_name_parse("Balanced", &p));
    assert_string_equal(o3_preset_source_name(O3_SOURCE_PREDICTED), "predicted");
    assert_string_equal(o3_batch_source_name(O3_BATCH_PRESET), "preset");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_names_that_yaml_could_take_for_something_else),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_reading_older_files),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_file_stem),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
