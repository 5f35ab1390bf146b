/* SPDX-License-Identifier: Apache-2.0 */
/* What the recorded replies (tests/contract) do not show: odd, hostile and older replies, and the bodies o3 sends. */
#include "o3_test.h"
#include <jansson.h>
#include "o3/ollama.h"
#include "o3/rand.h"
#include "o3/text.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* ---- version ---- */

static struct o3_ollama_version version_of(const char *text) {
    char body[128];
    snprintf(body, sizeof body, "{\"version\":\"%s\"}", text);
    struct o3_ollama_version v;
    assert_int_equal(o3_ollama_parse_version(body, strlen(body), &v, NULL), 0);
    return v;
}

static void versions(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int major, minor, patch;
        bool is_development, has_child_server, has_think;
    } ROWS[] = {
        {"0.32.15", 0, 32, 15, false, true, true},
        {"0.30.0", 0, 30, 0, false, true, true},
        {"0.30.0-rc1", 0, 30, 0, false, true, true},
        {"v0.24.0", 0, 24, 0, false, false, true},
        {"0.9.0", 0, 9, 0, false, false, true},
        {"0.8.9", 0, 8, 9, false, false, false},
        {"1.0.0+build.7", 1, 0, 0, false, true, true},
        {"0.12", 0, 12, 0, false, false, true},
        {"0.0.0", 0, 0, 0, true, true, true},
        {"nightly", 0, 0, 0, true, true, true},
        {"0.", 0, 0, 0, true, true, true},
        {"0.24.x", 0, 0, 0, true, true, true},
        {"0.24.0.1", 0, 0, 0, true, true, true},
        {"-1.2.3", 0, 0, 0, true, true, true},
        {"0.99999999999.1", 0, 0, 0, true, true, true},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_ollama_version v = version_of(ROWS[i].text);
        assert_string_equal(v.text, ROWS[i].text);
        assert_int_equal(v.major, ROWS[i].major);
        assert_int_equal(v.minor, ROWS[i].minor);
        assert_int_equal(v.patch, ROWS[i].patch);
        assert_int_equal(v.is_development, ROWS[i].is_development);
        assert_int_equal(v.has_child_server, ROWS[i].has_child_server);
        assert_int_equal(v.has_think, ROWS[i].has_think);
    }
    assert_int_equal(strlen(version_of("0.1.2-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").text), 31);
    assert_string_equal(version_of("0.1.2\\n\\u001b[31m").text, "0.1.2  [31m");
}

static void a_version_must_be_there(void **state) {
    (void)state;
    static const char *const BODIES[] = {
        "", "{}", "[]", "{\"version\":7}", "{\"version\":\"\"}", "{\"version\":\"1.0.0\"} x"};
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++) {
        struct o3_ollama_version v = {.major = 77};
        struct o3_err e = {0};
        assert_int_equal(o3_ollama_parse_version(BODIES[i], strlen(BODIES[i]), &v, &e), O3_E_PARSE);
        assert_int_equal(e.code, O3_E_PARSE);
        assert_int_equal(v.major, 77);
    }
    struct o3_err e = {0};
    struct o3_ollama_version v;
    static const char BAD[] = "{\"version\":\n  \xff\xfe}";
    assert_int_equal(o3_ollama_parse_version(BAD, sizeof BAD - 1, &v, &e), O3_E_PARSE);
    assert_int_equal(e.line, 2);
    assert_true(o3_utf8_valid(e.text, strlen(e.text)));
}

static void automatic_batch(void **state) {
    (void)state;
    struct o3_ollama_version now = version_of("0.32.15"), old = version_of("0.24.0");
    static const int64_t NOW[][2] = {{4, 512}, {4096, 512}, {4097, 1024}, {32768, 1024}, {32769, 2048}, {262144, 2048}};
    for (size_t i = 0; i < sizeof NOW / sizeof *NOW; i++)
        assert_int_equal(o3_ollama_automatic_batch(&now, NOW[i][0]), NOW[i][1]);
    assert_int_equal(o3_ollama_automatic_batch(&old, 256), 256);
    assert_int_equal(o3_ollama_automatic_batch(&old, 512), 512);
    assert_int_equal(o3_ollama_automatic_batch(&old, 65536), 512);
    assert_int_equal(o3_ollama_automatic_batch(&old, -1), 512);
}

/* ---- lists of models ---- */

static struct o3_ollama_models *models_of(const char *body) {
    struct o3_ollama_models *m = NULL;
    assert_int_equal(o3_ollama_parse_models(body, strlen(body), &m, NULL), 0);
    return m;
}

static struct o3_ollama_model one_model(const char *entry) {
    char body[1024];
    snprintf(body, sizeof body, "{\"models\":[%s]}", entry);
    struct o3_ollama_models *list = models_of(body);
    assert_int_equal(list->n, 1);
    struct o3_ollama_model m = list->v[0];
    o3_ollama_models_free(list);
    return m;
}

#define ENTRY(name, expiry) "{\"name\":\"" name "\",\"size\":5,\"expires_at\":\"" expiry "\",\"size_vram\":5}"
#define LIST(a, b) "{\"models\":[" a "," b "]}"
#define T0 "2026-11-21T00:00:00.111111111Z"
#define T1 "2026-11-21T00:00:09.222222222Z"
#define NEVER "2319-03-03T00:26:06.479150654Z"

/* The same as reading the later text, or nothing. */
static void other_times_are_taken_over(void **state) {
    (void)state;
    static const char WAS[] = LIST(ENTRY("a:b", T0), ENTRY("c:d", NEVER));
    static const struct {
        const char *now;
        bool is_taken;
    } rows[] = {
        {LIST(ENTRY("a:b", T1), ENTRY("c:d", NEVER)), true},
        {LIST(ENTRY("a:b", T0), ENTRY("c:d", NEVER)), true},
        {LIST(ENTRY("a:b", T1), ENTRY("c:d", T0)), true},
        {LIST(ENTRY("a:b", NEVER), ENTRY("c:d", "0001-01-01T00:00:00.000000000Z")), true},
        {LIST(ENTRY("a:b", "2026-11-21T00:00:00.11111111+Z"), ENTRY("c:d", NEVER)), true}, /* not a time: -1 */
        {LIST(ENTRY("a:c", T1), ENTRY("c:d", NEVER)), false},
        {LIST(ENTRY("c:d", NEVER), ENTRY("a:b", T0)), false},
        {LIST(ENTRY("a:b", T1), ENTRY("c:e", NEVER)), false},
        {LIST(ENTRY("a:b", T1), ENTRY("c:d", NEVER)) "!", false},
        {LIST(ENTRY("a:b", "2026-11-21T00:00:00.111111111\\"), ENTRY("c:d", NEVER)), false},
        {LIST(ENTRY("a:b", "2026-11-21T00:00:00.1\",\"a\":\"Z"), ENTRY("c:d", NEVER)), false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_ollama_models *m = models_of(WAS);
        bool has_length = strlen(rows[i].now) == strlen(WAS);
        bool is_taken = has_length && o3_ollama_models_retime(m, WAS, rows[i].now, strlen(WAS));
        if (is_taken != rows[i].is_taken) fail_msg("row %zu: %s", i, rows[i].now);
        struct o3_ollama_models *want = models_of(is_taken ? rows[i].now : WAS);
        assert_int_equal(m->n, want->n);
        for (size_t k = 0; k < m->n; k++)
            assert_memory_equal(&m->v[k], &want->v[k], sizeof m->v[k]);
        o3_ollama_models_free(m);
        o3_ollama_models_free(want);
    }
    /* A key of another place is none of a model. */
    static const char NESTED[] = "{\"models\":[{\"name\":\"a\",\"details\":{\"expires_at\":\"" T0 "\"}}]}";
    struct o3_ollama_models *m = models_of(NESTED);
    assert_false(o3_ollama_models_retime(m, NESTED, NESTED, strlen(NESTED)));
    o3_ollama_models_free(m);
}

static void a_bare_model(void **state) {
    (void)state;
    struct o3_ollama_model m = one_model("{\"name\":\"a:b\"}");
    assert_string_equal(m.name, "a:b");
    assert_string_equal(m.digest, "");
    assert_string_equal(m.family, "");
    assert_int_equal(m.size_bytes, -1);
    assert_int_equal(m.size_vram_bytes, -1);
    assert_int_equal(m.context_length, -1);
    assert_int_equal(m.expires_at_ms, -1);
    assert_false(m.is_remote || m.can_embed_only || m.can_think || m.has_capabilities);
    assert_string_equal(one_model("{\"model\":\"only\"}").name, "only");
}

static void digests(void **state) {
    (void)state;
    assert_string_equal(one_model("{\"name\":\"a\",\"digest\":\"sha256:" HEX64 "\"}").digest, HEX64);
    assert_string_equal(one_model("{\"name\":\"a\",\"digest\":\"" HEX64 "\"}").digest, HEX64);
    assert_string_equal(one_model("{\"name\":\"a\",\"digest\":\"" HEX64 "0\"}").digest, "");
    assert_string_equal(one_model("{\"name\":\"a\",\"digest\":\"../../etc\"}").digest, "");
    assert_string_equal(one_model("{\"name\":\"a\",\"digest\":\"sha256:\"}").digest, "");
}

static void expiry(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } ROWS[] = {
        {"2319-03-03T00:00:00.1Z", O3_TIME_NEVER_MS},
        {"2200-01-01T00:00:00Z", O3_TIME_NEVER_MS},
        {"2199-12-31T23:59:59Z", 7258118399000},
        {"2026-11-21T04:11:06.161588035Z", 1795234266161},
        {"2026-11-21T06:11:06.161588035+02:00", 1795234266161},
        {"0001-01-01T00:00:00Z", -1},
        {"soon", -1},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char entry[128];
        snprintf(entry, sizeof entry, "{\"name\":\"a\",\"expires_at\":\"%s\"}", ROWS[i].text);
        assert_int_equal(one_model(entry).expires_at_ms, ROWS[i].ms);
    }
}

static void remote_models(void **state) {
    (void)state;
    assert_true(one_model("{\"name\":\"big:cloud\"}").is_remote);
    assert_true(one_model("{\"name\":\"big:120b-cloud\"}").is_remote);
    assert_true(one_model("{\"name\":\"a\",\"remote_host\":\"https://ollama.com\"}").is_remote);
    assert_true(one_model("{\"name\":\"a\",\"remote_model\":\"b\"}").is_remote);
    assert_false(one_model("{\"name\":\"a\",\"remote_host\":\"\",\"remote_model\":null}").is_remote);
    assert_false(one_model("{\"name\":\"cloud:latest\"}").is_remote);
}

static void capabilities(void **state) {
    (void)state;
    struct o3_ollama_model m = one_model(
        "{\"name\":\"a\",\"capabilities\":[\"embedding\",\"completion\",\"thinking\"]}");
    assert_true(m.has_capabilities && m.can_think && !m.can_embed_only);
    m = one_model("{\"name\":\"a\",\"capabilities\":[\"embedding\",7,null]}");
    assert_true(m.has_capabilities && m.can_embed_only && !m.can_think);
    m = one_model("{\"name\":\"a\",\"capabilities\":[]}");
    assert_true(m.has_capabilities && !m.can_embed_only);
    m = one_model("{\"name\":\"a\",\"capabilities\":\"embedding\"}");
    assert_false(m.has_capabilities || m.can_embed_only);
}

static void unusable_names_are_left_out(void **state) {
    (void)state;
    char body[1024];
    char long_name[130], longest[129];
    memset(long_name, 'n', sizeof long_name);
    long_name[129] = '\0';
    memset(longest, 'l', sizeof longest);
    longest[128] = '\0';
    snprintf(
        body, sizeof body,
        "{\"models\":[{\"name\":\"%s\"},{\"name\":\"a\\nb\"},{\"name\":\"a\\u0000b\"},{\"name\":\"a\\u007f\"},"
        "{\"name\":\"a\\u009b\"},{\"name\":\"\"},{\"name\":7},7,null,[],{},{\"name\":\"%s\"},{\"name\":\"\xc3\xa9\"}]}",
        long_name, longest);
    struct o3_ollama_models *m = models_of(body);
    assert_int_equal(m->n, 2);
    assert_int_equal(m->n_left_out, 11);
    assert_string_equal(m->v[0].name, longest);
    assert_string_equal(m->v[1].name, "\xc3\xa9");
    o3_ollama_models_free(m);
}

static void fields_are_cut_and_cleaned(void **state) {
    (void)state;
    struct o3_ollama_model m = one_model(
        "{\"name\":\"a\",\"size\":-4,\"size_vram\":1.5,\"context_length\":\"7\",\"details\":{\"family\":"
        "\"1234567890123456789012345678901\xc3\xa9!\",\"parameter_size\":\"8\\nB\",\"quantization_level\":{},"
        "\"context_length\":512}}");
    assert_string_equal(m.family, "1234567890123456789012345678901");
    assert_string_equal(m.parameter_size, "8 B");
    assert_string_equal(m.quantization, "");
    assert_int_equal(m.size_bytes, -1);
    assert_int_equal(m.size_vram_bytes, -1);
    assert_int_equal(m.context_length, 512);
}

/* 2^50 bytes and 2^31 - 1 tokens are believed, what is beyond counts as absent. */
static void figures_of_no_machine(void **state) {
    (void)state;
    struct o3_ollama_model m = one_model(
        "{\"name\":\"a\",\"size\":1125899906842624,\"size_vram\":1125899906842624,\"context_length\":2147483647}");
    assert_int_equal(m.size_bytes, INT64_C(1) << 50);
    assert_int_equal(m.size_vram_bytes, INT64_C(1) << 50);
    assert_int_equal(m.context_length, INT32_MAX);
    m = one_model(
        "{\"name\":\"a\",\"size\":1125899906842625,\"size_vram\":4611686018427387904,\"context_length\":2147483648,"
        "\"details\":{\"context_length\":9223372036854775807}}");
    assert_int_equal(m.size_bytes, -1);
    assert_int_equal(m.size_vram_bytes, -1);
    assert_int_equal(m.context_length, -1);
}

static void long_lists_stop(void **state) {
    (void)state;
    O3_AUTO_BUF body;
    o3_buf_init(&body, 1 << 16);
    o3_buf_adds(&body, "{\"models\":[");
    for (int i = 0; i < O3_OLLAMA_MAX_MODELS + 5; i++)
        o3_buf_addf(&body, "%s{\"name\":\"m%d\"}", i ? "," : "", i);
    o3_buf_adds(&body, "]}");
    struct o3_ollama_models *m = models_of(o3_buf_str(&body));
    assert_int_equal(m->n, O3_OLLAMA_MAX_MODELS);
    assert_int_equal(m->n_left_out, 5);
    assert_string_equal(m->v[O3_OLLAMA_MAX_MODELS - 1].name, "m255");
    o3_ollama_models_free(m);
    o3_ollama_models_free(NULL);
}

static void a_list_must_be_there(void **state) {
    (void)state;
    struct o3_ollama_models *m = models_of("{\"models\":null}");
    assert_int_equal(m->n, 0);
    o3_ollama_models_free(m);
    static const char *const BODIES[] = {"{}",           "[]", "{\"models\":{}}", "{\"models\":7}", "{\"error\":\"x\"}",
                                         "{\"models\":["};
    for (size_t i = 0; i < sizeof BODIES / sizeof *BODIES; i++) {
        m = NULL;
        assert_int_equal(o3_ollama_parse_models(BODIES[i], strlen(BODIES[i]), &m, NULL), O3_E_PARSE);
        assert_null(m);
    }
}

/* ---- show ---- */

static struct o3_ollama_show show_of(const char *body) {
    struct o3_ollama_show s;
    assert_int_equal(o3_ollama_parse_show(body, strlen(body), &s, NULL), 0);
    return s;
}

static struct o3_ollama_show show_of_info(const char *info) {
    char body[1024];
    snprintf(body, sizeof body, "{\"model_info\":{\"general.architecture\":\"q\"%s%s}}", *info ? "," : "", info);
    return show_of(body);
}

static void kv_heads(void **state) {
    (void)state;
    assert_int_equal(show_of_info("\"q.block_count\":16,\"q.attention.head_count_kv\":4").head_count_kv, 64);
    assert_int_equal(show_of_info("\"q.block_count\":4,\"q.attention.head_count_kv\":[8,0,8,2]").head_count_kv, 18);
    assert_int_equal(show_of_info("\"q.attention.head_count_kv\":4").head_count_kv, -1);
    assert_int_equal(show_of_info("\"q.block_count\":16").head_count_kv, -1);
    assert_int_equal(show_of_info("\"q.block_count\":2,\"q.attention.head_count_kv\":[8,\"x\"]").head_count_kv, -1);
    assert_int_equal(show_of_info("\"q.block_count\":2,\"q.attention.head_count_kv\":[]").head_count_kv, -1);
    assert_int_equal(show_of_info("\"q.block_count\":2,\"q.attention.head_count_kv\":null").head_count_kv, -1);
    assert_int_equal(
        show_of_info("\"q.block_count\":9223372036854775807,\"q.attention.head_count_kv\":2").head_count_kv, -1);
    assert_int_equal(show_of_info("\"q.attention.head_count_kv\":[9223372036854775807,1]").head_count_kv, -1);
}

static void layers_that_differ(void **state) {
    (void)state;
    struct o3_ollama_show s = show_of_info("\"q.attention.head_count\":[4,16,8],\"q.feed_forward_length\":[1,2]");
    assert_int_equal(s.head_count, 16);
    assert_int_equal(s.feed_forward_length, 2);
    assert_int_equal(s.parameter_count, -1);
    assert_int_equal(s.context_length, -1);
}

static void experts(void **state) {
    (void)state;
    struct o3_ollama_show s = show_of_info(
        "\"q.expert_count\":8,\"q.expert_used_count\":2,\"q.expert_feed_forward_length\":768");
    assert_int_equal(s.expert_count, 8);
    assert_int_equal(s.expert_used_count, 2);
    assert_int_equal(s.expert_feed_forward_length, 768);
    s = show_of_info("\"q.expert_count\":\"8\",\"q.expert_used_count\":-2");
    assert_int_equal(s.expert_count, -1);
    assert_int_equal(s.expert_used_count, -1);
}

static void numbers_of_another_architecture_do_not_count(void **state) {
    (void)state;
    struct o3_ollama_show s = show_of_info("\"llama.block_count\":16,\"block_count\":3");
    assert_string_equal(s.architecture, "q");
    assert_int_equal(s.block_count, -1);
}

static void blobs(void **state) {
    (void)state;
    static const struct {
        const char *modelfile, *blob;
    } ROWS[] = {
        {"FROM /m/blobs/sha256-" HEX64 "\\nTEMPLATE x", HEX64},
        {"# FROM /m/blobs/sha256-" HEX64, ""},
        {"# c\\r\\nFROM C:\\\\my models\\\\blobs\\\\sha256-" HEX64 "\\r\\n", HEX64},
        {"FROM sha256:" HEX64, HEX64},
        {"FROM /m/blobs/sha256-" HEX64 "\\nFROM /m/blobs/sha256-" HEX64 "0", HEX64},
        {"FROM llama3:8b\\nFROM /m/blobs/sha256-" HEX64, ""},
        {"FROM /m/blobs/sha256-" HEX64 "/..", ""},
        {"FROM sha256-g123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", ""},
        {"FROM", ""},
        {"", ""},
        {"SYSTEM \\\"\\\"\\\"\\nFROM /m/blobs/sha256-" HEX64 "\\n\\\"\\\"\\\"\\n", ""},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char body[512];
        snprintf(body, sizeof body, "{\"modelfile\":\"%s\",\"details\":{}}", ROWS[i].modelfile);
        assert_string_equal(show_of(body).blob, ROWS[i].blob);
    }
}

static void parameters(void **state) {
    (void)state;
    struct o3_ollama_show s = show_of(
        "{\"details\":{},\"parameters\":\"num_ctx                        8192\\n"
        "num_gpu                        0\\nstop                           \\\"num_batch 7\\\"\"}");
    assert_int_equal(s.parameter_num_ctx, 8192);
    assert_int_equal(s.parameter_num_gpu, 0);
    assert_int_equal(s.parameter_num_batch, -1);
    assert_int_equal(s.parameter_num_thread, -1);
    s = show_of(
        "{\"details\":{},\"modelfile\":\"PARAMETER num_ctx 4096\\nPARAMETER num_batch 256\\nPARAMETER num_thread 4\\n"
        "SYSTEM \\\"\\\"\\\"one line\\\"\\\"\\\"\\nSYSTEM \\\"\\\"\\\"\\nPARAMETER num_gpu 9\\n\\\"\\\"\\\"\\n\"}");
    assert_int_equal(s.parameter_num_ctx, 4096);
    assert_int_equal(s.parameter_num_batch, 256);
    assert_int_equal(s.parameter_num_thread, 4);
    assert_int_equal(s.parameter_num_gpu, -1);
    s = show_of(
        "{\"details\":{},\"modelfile\":\"PARAMETER num_ctx 4096\\n\",\"parameters\":\"num_ctx 4096.7\\nnum_batch abc\\n"
        "num_thread 99999999999999999999\\nnum_gpu -1\\nnum_ctxx 5\\nnum_ctx\"}");
    assert_int_equal(s.parameter_num_ctx, 4096);
    assert_int_equal(s.parameter_num_batch, -1);
    assert_int_equal(s.parameter_num_thread, -1);
    assert_int_equal(s.parameter_num_gpu, -1);
}

static void a_model_must_be_described(void **state) {
    (void)state;
    struct o3_ollama_show s;
    assert_int_equal(o3_ollama_parse_show("{}", 2, &s, NULL), O3_E_PARSE);
    assert_int_equal(o3_ollama_parse_show("{\"error\":\"x\"}", 13, &s, NULL), O3_E_PARSE);
    s = show_of("{\"details\":{},\"model_info\":null,\"capabilities\":[\"thinking\"]}");
    assert_string_equal(s.architecture, "");
    assert_int_equal(s.head_count, -1);
    assert_true(s.can_think);
}

/* ---- embed, error ---- */

static void embeds(void **state) {
    (void)state;
    struct o3_ollama_embed r;
    static const char FULL[] = "{\"embeddings\":[[1,2,3],[4]],\"total_duration\":9,\"prompt_eval_count\":2}";
    assert_int_equal(o3_ollama_parse_embed(FULL, sizeof FULL - 1, &r, NULL), 0);
    assert_int_equal(r.dimensions, 3);
    assert_int_equal(r.total_ns, 9);
    assert_int_equal(r.load_ns, -1);
    assert_int_equal(r.prompt_eval_count, 2);
    static const char HUGE_ONE[] = "{\"embeddings\":[],\"total_duration\":9007199254740993,"
                                   "\"load_duration\":9007199254740992,\"prompt_eval_count\":9223372036854775807}";
    assert_int_equal(o3_ollama_parse_embed(HUGE_ONE, sizeof HUGE_ONE - 1, &r, NULL), 0);
    assert_int_equal(r.total_ns, -1);
    assert_int_equal(r.load_ns, INT64_C(1) << 53);
    assert_int_equal(r.prompt_eval_count, -1);
    static const char LOAD[] = "{\"embeddings\":[]}";
    assert_int_equal(o3_ollama_parse_embed(LOAD, sizeof LOAD - 1, &r, NULL), 0);
    assert_int_equal(r.dimensions, -1);
    assert_int_equal(o3_ollama_parse_embed("{}", 2, &r, NULL), O3_E_PARSE);
}

static void errors(void **state) {
    (void)state;
    char text[16];
    static const char LONG[] = "{\"error\":\"12345678901234\xc3\xa9 and more\"}";
    assert_true(o3_ollama_parse_error(LONG, sizeof LONG - 1, text, sizeof text));
    assert_string_equal(text, "12345678901234");
    assert_false(o3_ollama_parse_error("404 page not found", 18, text, sizeof text));
    assert_string_equal(text, "");
    assert_false(o3_ollama_parse_error("", 0, text, sizeof text));
    assert_false(o3_ollama_parse_error("{\"models\":[]}", 13, text, sizeof text));
}

/* ---- bodies ---- */

static void generate_bodies(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    struct o3_ollama_generate g = {.model = "m:1",
                                   .prompt = "say \"hi\"\n",
                                   .is_raw = true,
                                   .num_predict = 2,
                                   .seed = -1,
                                   .options = O3_RUNNER_OPTIONS_NONE};
    assert_int_equal(o3_ollama_write_generate(&g, &b), 0);
    assert_string_equal(o3_buf_str(&b),
                        "{\"model\":\"m:1\",\"prompt\":\"say \\\"hi\\\"\\n\",\"raw\":true,\"stream\":true,"
                        "\"options\":{\"num_predict\":2,\"temperature\":0}}");
    g.is_chat = g.send_think_false = true;
    g.seed = 0;
    g.options = (struct o3_runner_options){4096, 512, 4};
    o3_buf_clear(&b);
    assert_int_equal(o3_ollama_write_generate(&g, &b), 0);
    assert_string_equal(
        o3_buf_str(&b),
        "{\"model\":\"m:1\",\"messages\":[{\"role\":\"user\",\"content\":\"say \\\"hi\\\"\\n\"}],\"think\":false,"
        "\"stream\":true,\"options\":{\"num_ctx\":4096,\"num_batch\":512,\"num_thread\":4,\"num_predict\":2,"
        "\"temperature\":0,\"seed\":0}}");
    assert_null(strstr(o3_buf_str(&b), "keep_alive"));
}

static void embed_and_show_bodies(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    struct o3_runner_options none = O3_RUNNER_OPTIONS_NONE, some = {2048, -1, -1};
    assert_int_equal(o3_ollama_write_embed("e", "text", &none, &b), 0);
    assert_string_equal(o3_buf_str(&b), "{\"model\":\"e\",\"input\":\"text\"}");
    o3_buf_clear(&b);
    assert_int_equal(o3_ollama_write_embed("e", "text", &some, &b), 0);
    assert_string_equal(o3_buf_str(&b), "{\"model\":\"e\",\"input\":\"text\",\"options\":{\"num_ctx\":2048}}");
    o3_buf_clear(&b);
    assert_int_equal(o3_ollama_write_show("m/\xc3\xa9", &b), 0);
    assert_string_equal(o3_buf_str(&b), "{\"model\":\"m/\xc3\xa9\"}");
}

static void bodies_that_cannot_be(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    struct o3_runner_options none = O3_RUNNER_OPTIONS_NONE;
    assert_int_equal(o3_ollama_write_show("\xff", &b), O3_E_PARSE);
    assert_int_equal(o3_ollama_write_embed("e", "\xc3", &none, &b), O3_E_PARSE);
    assert_int_equal(b.len, 0);
    O3_AUTO_BUF small;
    o3_buf_init(&small, 8);
    assert_int_equal(o3_ollama_write_show("model", &small), O3_E_LIMIT);
    assert_int_equal(small.err, O3_E_LIMIT);
    assert_int_equal(o3_ollama_write_show("m", &small), O3_E_LIMIT);
}

/* Bodies are read back as what was asked, whatever the prompt holds. */
static void any_prompt_survives(void **state) {
    (void)state;
    struct o3_rand rand;
    o3_rand_seed(&rand, o3_test_seed(7));
    for (int round = 0; round < 500; round++) {
        char prompt[33];
        size_t n = (size_t)o3_rand_below(&rand, 32);
        for (size_t i = 0; i < n; i++)
            prompt[i] = (char)(1 + o3_rand_below(&rand, 127));
        prompt[n] = '\0';
        struct o3_ollama_generate g = {.model = "m", .prompt = prompt, .num_predict = 8, .seed = 1};
        O3_AUTO_BUF b;
        o3_buf_init(&b, 4096);
        assert_int_equal(o3_ollama_write_generate(&g, &b), 0);
        json_t *j = json_loadb(o3_buf_str(&b), b.len, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(j, "prompt")), prompt);
        json_decref(j);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(a_version_must_be_there),
        cmocka_unit_test(automatic_batch),
        cmocka_unit_test(other_times_are_taken_over),
        cmocka_unit_test(a_bare_model),
        cmocka_unit_test(digests),
        cmocka_unit_test(expiry),
        cmocka_unit_test(remote_models),
        cmocka_unit_test(capabilities),
        cmocka_unit_test(unusable_names_are_left_out),
        cmocka_unit_test(fields_are_cut_and_cleaned),
        cmocka_unit_test(figures_of_no_machine),
        cmocka_unit_test(long_lists_stop),
        cmocka_unit_test(a_list_must_be_there),
        cmocka_unit_test(kv_heads),
        cmocka_unit_test(layers_that_differ),
        cmocka_unit_test(experts),
        cmocka_unit_test(numbers_of_another_architecture_do_not_count),
        cmocka_unit_test(blobs),
        cmocka_unit_test(parameters),
        cmocka_unit_test(a_model_must_be_described),
        cmocka_unit_test(embeds),
        cmocka_unit_test(errors),
        cmocka_unit_test(generate_bodies),
        cmocka_unit_test(embed_and_show_bodies),
        cmocka_unit_test(bodies_that_cannot_be),
        cmocka_unit_test(any_prompt_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
