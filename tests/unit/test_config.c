/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "app/config_source.h"
#include "o3/config.h"
#include "o3/text.h"
#include <sys/stat.h>
#include <unistd.h>

struct warnings {
    int n;
    char last[256];
};

static void on_warning(void *ctx, const char *text) {
    struct warnings *w = ctx;
    w->n++;
    o3_str_copy(w->last, sizeof w->last, text);
}

static struct o3_config *load(const struct o3_conf_sources *src) {
    struct o3_config *c = NULL;
    struct o3_err e = {0};
    if (o3_config_load(src, NULL, NULL, &c, &e) < 0) fail_msg("%u:%u: %s", e.line, e.col, e.text);
    return c;
}

static struct o3_config *load_n(const char *yaml, size_t n) {
    return load(&(struct o3_conf_sources){.file_name = "o3.yaml", .file_text = yaml, .file_len = n});
}

static struct o3_config *load_yaml(const char *yaml) {
    return load_n(yaml, strlen(yaml));
}

static void expect_error_n(const char *yaml, size_t n, uint32_t line, uint32_t col, const char *text) {
    struct o3_config *c = NULL;
    struct o3_err e = {0};
    struct o3_conf_sources src = {.file_name = "o3.yaml", .file_text = yaml, .file_len = n};
    int r = o3_config_load(&src, NULL, NULL, &c, &e);
    if (r == 0) fail_msg("accepted, expected: %s", text);
    assert_int_equal(r, O3_E_CONFIG);
    assert_int_equal(e.code, O3_E_CONFIG);
    assert_null(c);
    if (strcmp(e.text, text) || e.line != line || e.col != col)
        fail_msg("%u:%u: %s\nexpected %u:%u: %s", e.line, e.col, e.text, line, col, text);
}

static void expect_error(const char *yaml, uint32_t line, uint32_t col, const char *text) {
    expect_error_n(yaml, strlen(yaml), line, col, text);
}

static void an_empty_file_is_all_defaults(void **state) {
    (void)state;
    static const char *const EMPTY[] = {"",
                                        "\n",
                                        "# only a comment\n",
                                        "---\n",
                                        "--- {}\n",
                                        "---\n...\n",
                                        "~\n",
                                        "probe:\n",
                                        "probe: ~\nweb: {}\n",
                                        "\xef\xbb\xbfprobe:\n",
                                        "%YAML 1.1\n---\n"};
    for (size_t i = 0; i < sizeof EMPTY / sizeof *EMPTY; i++) {
        struct o3_config *c = load_yaml(EMPTY[i]);
        assert_int_equal(o3_config_values(c)->probe_interval_ms, 60000);
        assert_int_equal(o3_config_origin(c, "probe.interval"), O3_ORIGIN_DEFAULT);
        o3_config_free(c);
    }
}

static void the_defaults_are_those_of_the_manual(void **state) {
    (void)state;
    struct o3_config *c = load(&(struct o3_conf_sources){0});
    const struct o3_config_values *v = o3_config_values(c);
    O3_ASSERT_NEAR(v->objectives_max_context_priority, 0.8, 0);
    O3_ASSERT_NEAR(v->probe_max_busy_ratio, 0.005, 0);
    assert_int_equal(v->probe_max_tokens_per_day, 50000);
    assert_int_equal(v->probe_linger_ms, 600000);
    assert_true(v->probe_enabled);
    assert_int_equal(v->tune_mode, O3_TUNE_MODE_PROPOSE);
    assert_int_equal(v->search_strategy_context_discovery, O3_CONTEXT_PREDICTIVE);
    assert_int_equal(v->resource_headroom_vram_reserve_mb, O3_CONF_AUTO);
    assert_int_equal(v->concurrency_levels.n, 4);
    assert_int_equal(v->concurrency_levels.v[3], 8);
    assert_int_equal(v->preset_categories_balanced_target_context_range.v[1], 12288);
    assert_int_equal(v->models_include.n, 0);
    assert_int_equal(v->models_max, 64);
    assert_string_equal(v->ollama_url, "http://127.0.0.1:11434");
    assert_string_equal(v->web_listen, "127.0.0.1:21434");
    assert_string_equal(v->web_token, "");
    assert_int_equal(v->store_retention_ms, 90LL * 86400 * 1000);
    assert_int_equal(v->log_level, 2);
    o3_config_free(c);
}

static void values_of_every_type_are_read(void **state) {
    (void)state;
    struct o3_config *c = load_yaml("probe:\n"
                                    "  interval: 1m30s\n"
                                    "  enabled: false\n"
                                    "  max_busy_ratio: .25\n"
                                    "  prefill_tokens: 512\n"
                                    "models:\n"
                                    "  include:\n"
                                    "    - qwen3*\n"
                                    "    - \"hf.co/a/b:Q4_K_M\"\n"
                                    "  exclude: [x, 'y']\n"
                                    "resource_headroom: {vram_reserve_mb: 4096}\n"
                                    "concurrency: {levels: [2, 3]}\n"
                                    "tune: {mode: off}\n"
                                    "web: {token: 12345, listen: '[::1]:0'}\n"
                                    "publish:\n"
                                    "  file: /a/b\xc3\xa4.yaml\n");
    const struct o3_config_values *v = o3_config_values(c);
    assert_int_equal(v->probe_interval_ms, 90000);
    assert_false(v->probe_enabled);
    O3_ASSERT_NEAR(v->probe_max_busy_ratio, 0.25, 0);
    assert_int_equal(v->probe_prefill_tokens, 512);
    assert_int_equal(v->models_include.n, 2);
    assert_string_equal(v->models_include.v[1], "hf.co/a/b:Q4_K_M");
    assert_string_equal(v->models_exclude.v[1], "y");
    assert_int_equal(v->resource_headroom_vram_reserve_mb, 4096);
    assert_int_equal(v->concurrency_levels.n, 2);
    assert_int_equal(v->tune_mode, O3_TUNE_MODE_OFF);
    assert_string_equal(v->web_token, "12345");
    assert_string_equal(v->web_listen, "[::1]:0");
    assert_string_equal(v->publish_file, "/a/b\xc3\xa4.yaml");
    assert_int_equal(o3_config_origin(c, "web.token"), O3_ORIGIN_FILE);
    assert_int_equal(o3_config_origin(c, "no.such"), O3_ORIGIN_DEFAULT);
    o3_config_free(c);
}

static void unknown_keys_name_the_nearest(void **state) {
    (void)state;
    expect_error("probe:\n  intervall: 5s\n", 2, 3,
                 "unknown key \"probe.intervall\"; did you mean \"probe.interval\"?");
    expect_error("interval: 5s\n", 1, 1, "unknown key \"interval\"; did you mean \"probe.interval\"?");
    expect_error("probe: {}\nmodls: {}\n", 2, 1, "unknown key \"modls\"; did you mean \"models\"?");
    expect_error("web: {probe: {}}\n", 1, 7, "unknown key \"web.probe\"; did you mean \"probe\"?");
    expect_error("batch_adaptation: {}\n", 1, 1,
                 "unknown key \"batch_adaptation\"; did you mean \"search_strategy.batch_adaptation\"?");
    expect_error("probe.interval: 5s\n", 1, 1,
                 "write \"probe.interval\" nested, one group below the other, not with dots");
    expect_error("probe.intervall: 5s\n", 1, 1, "unknown key \"probe.intervall\"; did you mean \"probe.interval\"?");
    expect_error("path: x\n", 1, 1, "unknown key \"path\"");
    expect_error("foo: x\n", 1, 1, "unknown key \"foo\"");
    expect_error("\"\": x\n", 1, 1, "unknown key \"\"");
    expect_error("\"\\e[31m\\x9b\": x\n", 1, 1, "unknown key \"...\"");
    expect_error("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff: x\n", 1, 1,
                 "unknown key \"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeee...\"");
    expect_error("\"a\\0\": x\n", 1, 1, "this is no key: it is too long or holds a NUL character");
    expect_error("? {a: b}\n: c\n", 1, 3, "expected the name of a key");
}

static void duplicates_name_the_first_line(void **state) {
    (void)state;
    expect_error("probe:\n  interval: 5s\n  interval: 5s\n", 3, 3, "probe.interval: already given in line 2");
    expect_error("probe:\n  interval: 5s\nprobe:\n  linger: 5m\n", 3, 1, "probe: already given in line 1");
    expect_error("web:\n  \"token\":\n    a\n  token: b\n", 4, 3, "web.token: already given in line 2");
}

static void wrong_types_say_what_was_expected(void **state) {
    (void)state;
    expect_error("probe:\n  interval: 30\n", 2, 13,
                 "probe.interval: expected a duration such as 30s or 5m, found \"30\"");
    expect_error("probe: {interval: 5 minutes}\n", 1, 19,
                 "probe.interval: expected a duration such as 30s or 5m, found \"5 minutes\"");
    expect_error("probe: {interval: [5s]}\n", 1, 19,
                 "probe.interval: expected a duration such as 30s or 5m, found a list");
    expect_error("probe: {interval: {a: 1}}\n", 1, 19, "probe.interval: expected a value, found a group of keys");
    expect_error("probe:\n  interval:\n", 2, 12, "probe.interval: has no value; give one or remove the line");
    expect_error("models: {include: ~}\n", 1, 19, "models.include: has no value; give one or remove the line");
    expect_error("models: {include: foo}\n", 1, 19, "models.include: expected a list such as [a, b], found \"foo\"");
    expect_error("models:\n  include:\n    - a\n    - b: c\n", 4, 7, "models.include: a list holds single values only");
    expect_error("models: {include: [a, [b]]}\n", 1, 23, "models.include: a list holds single values only");
    expect_error("models: {include: [a, '']}\n", 1, 23, "models.include: must not be empty");
    expect_error("probe: {enabled: yes}\n", 1, 18, "probe.enabled: expected true or false, found \"yes\"");
    expect_error("probe: {enabled: 'true'}\n", 1, 18,
                 "probe.enabled: expected true or false without quotes, found \"true\"");
    expect_error("models: {max: '5'}\n", 1, 15, "models.max: expected a number without quotes, found \"5\"");
    expect_error("models: {max: 5.5}\n", 1, 15, "models.max: expected a whole number, found \"5.5\"");
    expect_error("models: {max: 99999999999999999999}\n", 1, 15,
                 "models.max: expected a whole number, found \"99999999999999999999\"");
    expect_error("drift: {min_effect: .inf}\n", 1, 21, "drift.min_effect: expected a number, found \".inf\"");
    expect_error("drift: {min_effect: 5%}\n", 1, 21, "drift.min_effect: expected a number, found \"5%\"");
    expect_error("resource_headroom:\n  vram_reserve_mb: 4GiB\n", 2, 20,
                 "resource_headroom.vram_reserve_mb: expected a whole number of MiB without a unit, or auto, "
                 "found \"4GiB\"");
    expect_error("concurrency: {levels: [1, x]}\n", 1, 27, "concurrency.levels: expected a whole number, found \"x\"");
    expect_error("concurrency: {levels: 4}\n", 1, 23,
                 "concurrency.levels: expected a list of whole numbers such as [1, 2], found \"4\"");
    expect_error("log: {level: loud}\n", 1, 14, "log.level: expected one of error, warn, info, debug, found \"loud\"");
    expect_error("drift: {detector: ewma}\n", 1, 19, "drift.detector: expected one of cusum, rank, found \"ewma\"");
    expect_error("probe: 5\n", 1, 8, "probe: expected a group of keys, one per line");
    expect_error("probe: [interval]\n", 1, 8, "probe: expected a group of keys, one per line");
}

static void ranges_are_checked(void **state) {
    (void)state;
    expect_error("probe: {interval: 500ms}\n", 1, 19, "probe.interval: \"500ms\" is below the minimum 1s");
    expect_error("probe: {interval: 25h}\n", 1, 19, "probe.interval: \"25h\" is above the maximum 24h");
    expect_error("models: {max: 257}\n", 1, 15, "models.max: \"257\" is above the maximum 256");
    expect_error("models: {max: -1}\n", 1, 15, "models.max: \"-1\" is below the minimum 1");
    expect_error("probe: {max_busy_ratio: 0}\n", 1, 25, "probe.max_busy_ratio: \"0\" is below the minimum 0.0001");
    expect_error("resource_headroom: {ram_reserve_mb: -1}\n", 1, 37,
                 "resource_headroom.ram_reserve_mb: \"-1\" is below the minimum 0");
    expect_error("concurrency: {levels: [0]}\n", 1, 24, "concurrency.levels: \"0\" is below the minimum 1");
}

static void texts_have_their_form(void **state) {
    (void)state;
    static const char *const BAD_URLS[] = {"127.0.0.1:11434", "ftp://x",   "http://",   "http://:80", "http://x:0",
                                           "http://x:65536",  "http://x:", "localhost", "[::1]:80"};
    for (size_t i = 0; i < sizeof BAD_URLS / sizeof *BAD_URLS; i++) {
        char yaml[100], text[200];
        snprintf(yaml, sizeof yaml, "ollama:\n  url: '%s'\n", BAD_URLS[i]);
        snprintf(text, sizeof text, "ollama.url: expected http://HOST:PORT or https://HOST:PORT, found \"%s\"",
                 BAD_URLS[i]);
        expect_error(yaml, 2, 8, text);
    }
    expect_error("ollama: {url: 'http://u:p@h:1'}\n", 1, 15,
                 "ollama.url: expected http://HOST:PORT without a user name");
    expect_error("ollama: {url: 'http://h:1/'}\n", 1, 15,
                 "ollama.url: expected http://HOST:PORT or https://HOST:PORT, found \"http://h:1/\"");
    expect_error("ollama: {url: ''}\n", 1, 15, "ollama.url: must not be empty");
    expect_error("web: {listen: 'x'}\n", 1, 15, "web.listen: expected HOST:PORT, [IPV6]:PORT or :PORT, found \"x\"");
    expect_error("web: {listen: 'x:70000'}\n", 1, 15,
                 "web.listen: expected HOST:PORT, [IPV6]:PORT or :PORT, found \"x:70000\"");
    expect_error("publish: {file: /a/}\n", 1, 17,
                 "publish.file: expected the path of a file, not of a folder, found \"/a/\"");
    expect_error("publish: {file: \"a\\nb\"}\n", 1, 17,
                 "publish.file: expected a text of one line without control characters, found \"a?b\"");
    expect_error("publish: {file: \"a\\u2028b\"}\n", 1, 17,
                 "publish.file: expected a text of one line without control characters, found \"a\xe2\x80\xa8"
                 "b\"");
    expect_error("publish: {file: \"a\\0b\"}\n", 1, 17, "publish.file: holds a NUL character");
    expect_error("models: {include: ['a*b']}\n", 1, 20,
                 "models.include: expected a model name as Ollama prints it, which may end in *, found \"a*b\"");
    expect_error("publish: {primary_model: 'a*'}\n", 1, 26,
                 "publish.primary_model: expected a model name as Ollama prints it, found \"a*\"");
    expect_error("drift: {false_alarms: 5}\n", 1, 23,
                 "drift.false_alarms: expected a rate such as 1 per 30d, at most one per hour and at least one in "
                 "100 years, found \"5\"");
    static const char *const GOOD_URLS[] = {"https://ollama.example.org", "http://[::1]:11434", "http://localhost:1"};
    for (size_t i = 0; i < sizeof GOOD_URLS / sizeof *GOOD_URLS; i++) {
        char yaml[100];
        snprintf(yaml, sizeof yaml, "ollama: {url: '%s'}\n", GOOD_URLS[i]);
        struct o3_config *c = load_yaml(yaml);
        assert_string_equal(o3_config_values(c)->ollama_url, GOOD_URLS[i]);
        o3_config_free(c);
    }
}

static void a_secret_is_never_shown(void **state) {
    (void)state;
    expect_error("web: {token: 'pass word'}\n", 1, 14,
                 "web.token: expected at most 1024 printable ASCII characters without blanks");
    expect_error("web: {token: [hush]}\n", 1, 14, "web.token: expected a text, found a list");
    struct o3_config *c = load_yaml("web: {token: hush}\n");
    O3_AUTO_BUF out;
    o3_buf_init(&out, 1 << 20);
    assert_int_equal(o3_config_dump(c, true, &out), 0);
    assert_int_equal(o3_config_dump_json(c, true, &out), 0);
    assert_null(strstr(o3_buf_str(&out), "hush"));
    assert_non_null(strstr(o3_buf_str(&out), "  token: \"***\" # file\n"));
    assert_non_null(strstr(o3_buf_str(&out), "\"token\": {\"value\": \"***\", \"origin\": \"file\"}"));
    o3_config_free(c);
}

/* Of an address only scheme, host and port are told: what is around them may hold a password. */
static void an_address_is_told_without_what_may_be_a_secret(void **state) {
    (void)state;
    static const char *const SILENT[] = {"http://user:hunter2@h:1",    "https://hunter2@h",
                                         "user:hunter2@h:1",           "http://us/er:hunter2@h:1/",
                                         "http://user:p@hunter2@h:80", "ftp://u:hunter2@h"};
    static const struct {
        const char *given, *told;
    } CUT[] = {{"http://user:hunter2", "http://user..."},
               {"http://h:1/?key=hunter2", "http://h:1..."},
               {"https://h/hunter2/", "https://h..."},
               {"http://h:80#hunter2", "http://h:80..."},
               {"http://h:123456", "http://h..."},
               {"http://[::1", "http://..."},
               {"http://x y", "http://x..."},
               {"http://-x", "http://..."}};
    static const char *const KEYS[] = {"ollama.url", "kubernetes.url", "web.listen"};
    for (size_t k = 0; k < sizeof KEYS / sizeof *KEYS; k++) {
        struct o3_conf_pair pair = {.name = KEYS[k]};
        struct o3_conf_sources src = {.flags = &pair, .n_flags = 1};
        for (size_t i = 0; i < sizeof SILENT / sizeof *SILENT + sizeof CUT / sizeof *CUT; i++) {
            struct o3_config *c = NULL;
            struct o3_err e = {0};
            bool is_cut = i >= sizeof SILENT / sizeof *SILENT;
            size_t at = i - (is_cut ? sizeof SILENT / sizeof *SILENT : 0);
            char found[64] = "";
            pair.value = is_cut ? CUT[at].given : SILENT[at];
            if (is_cut) snprintf(found, sizeof found, "found \"%s\"", CUT[at].told);
            assert_int_equal(o3_config_load(&src, NULL, NULL, &c, &e), O3_E_USAGE);
            if (strstr(e.text, "hunter2") || !strstr(e.text, found) || (!is_cut && strstr(e.text, "found")))
                fail_msg("%s %s: %s", KEYS[k], pair.value, e.text);
        }
    }
    expect_error("models: {include: ['http://user:hunter2@h/*b']}\n", 1, 20,
                 "models.include: expected a model name as Ollama prints it, which may end in *");
    expect_error("drift: {false_alarms: 'user:hunter2@h'}\n", 1, 23,
                 "drift.false_alarms: expected a rate such as 1 per 30d, at most one per hour and at least one in "
                 "100 years");
}

/* A blank that is missing, or a comma that is not quoted, makes a key of a value. */
static void a_key_is_told_without_what_may_be_a_value(void **state) {
    (void)state;
    expect_error("web: {token:hunter2}\n", 1, 7, "unknown key \"web.token...\"; did you mean \"web.token\"?");
    expect_error("web: {token=hunter2}\n", 1, 7, "unknown key \"web.token...\"; did you mean \"web.token\"?");
    expect_error("O3_WEB_TOKEN hunter2: x\n", 1, 1, "unknown key \"O3_WEB_TOKEN...\"");
    expect_error("{http://u:hunter2@h: x}\n", 1, 2, "unknown key \"http...\"");
    expect_error("web: {token: hun,ter2}\n", 1, 18,
                 "unknown key behind web.token; a text that holds a comma needs quotes here");
    expect_error("web: {token: hun,ter2: x}\n", 1, 18,
                 "unknown key behind web.token; a text that holds a comma needs quotes here");
    expect_error("web:\n  token: hun\n  lisen: x\n", 3, 3, "unknown key \"web.lisen\"; did you mean \"web.listen\"?");
}

static void yaml_errors_have_their_place(void **state) {
    (void)state;
    expect_error("probe:\n\tinterval: 5s\n", 2, 1, "a tab cannot indent; use spaces");
    expect_error("web: {}\nprobe: {interval: 5s\n", 3, 1,
                 "not valid YAML: did not find expected ',' or '}' while parsing a flow mapping that began at 2:8");
    expect_error("web:\n  token: \"abc\n", 3, 1,
                 "not valid YAML: found unexpected end of stream while scanning a quoted scalar that began at 2:10");
    expect_error("probe:\n  interval: 5s\n linger: 5m\n", 3, 2,
                 "not valid YAML: did not find expected key while parsing a block mapping that began at 1:1");
    expect_error("probe: *x\n", 1, 8, "anchors (&), aliases (*) and tags (!) are not allowed; write the value");
    expect_error("probe: &x {}\n", 1, 8, "anchors (&), aliases (*) and tags (!) are not allowed; write the value");
    expect_error("models: {max: !!int 5}\n", 1, 15,
                 "anchors (&), aliases (*) and tags (!) are not allowed; write the value");
    expect_error("--- {}\n--- {}\n", 2, 1, "only one YAML document is allowed");
    expect_error("- a\n", 1, 1, "expected a group of keys, one per line");
    expect_error("just text\n", 1, 1, "expected a group of keys, one per line");
    expect_error("# \xc3\xa4\nweb: \xff\n", 2, 6, "this is not UTF-8 text");
    expect_error("# \xc3\xa4\xc3\xa4 \xc3", 1, 6, "this is not UTF-8 text");
    expect_error("\xff\xfe"
                 "a",
                 1, 1, "this is not UTF-8 text");
    expect_error("web: \x01\n", 1, 6, "a control character is not allowed here");
    expect_error_n("web: {}\n\0", 9, 2, 1, "a control character is not allowed here");
    expect_error("web:\n  # x\xc2\x80\n", 2, 6, "not valid YAML: control characters are not allowed");
}

static char *filled(size_t n, char with) {
    char *p = malloc(n + 1);
    assert_non_null(p);
    memset(p, with, n);
    p[n] = '\0';
    return p;
}

static void large_input_is_refused_quickly(void **state) {
    (void)state;
    char *ten_mib = filled(10u << 20, '#');
    expect_error(ten_mib, 1, 1, "the file is larger than 1 MiB");
    struct o3_config *c = load_n(ten_mib, O3_CONF_FILE_MAX);
    o3_config_free(c);
    free(ten_mib);
    char *deep = filled(O3_CONF_FILE_MAX, '[');
    expect_error(deep, 1, 1, "expected a group of keys, one per line");
    memcpy(deep, "web: ", 5);
    expect_error(deep, 1, 6, "web: expected a group of keys, one per line");
    memset(deep, '{', O3_CONF_FILE_MAX);
    expect_error(deep, 1, 2, "expected the name of a key");
    free(deep);
    char *text = filled(5000, 'x');
    memcpy(text, "publish: {file: ", 16);
    text[4999] = '}';
    expect_error(text, 1, 17, "publish.file: longer than 4095 bytes");
    memset(text, 'x', 5000);
    memcpy(text + 300, ": 1", 3);
    expect_error(text, 1, 1, "this is no key: it is too long or holds a NUL character");
    free(text);
}

static void lists_have_limits(void **state) {
    (void)state;
    O3_AUTO_BUF yaml;
    o3_buf_init(&yaml, 1 << 20);
    o3_buf_adds(&yaml, "models:\n  include:\n");
    for (int i = 0; i < O3_CONF_LIST_MAX; i++)
        o3_buf_addf(&yaml, "  - m%d\n", i);
    struct o3_config *c = load_yaml(o3_buf_str(&yaml));
    assert_int_equal(o3_config_values(c)->models_include.n, O3_CONF_LIST_MAX);
    assert_string_equal(o3_config_values(c)->models_include.v[63], "m63");
    o3_config_free(c);
    o3_buf_adds(&yaml, "  - one_more\n");
    expect_error(o3_buf_str(&yaml), 67, 5, "models.include: at most 64 items");
    expect_error("concurrency: {levels: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}\n", 1, 23,
                 "concurrency.levels: at most 16 items");
}

static void keys_must_fit_together(void **state) {
    (void)state;
    expect_error("probe:\n  decode_tokens: 4\n", 2, 18, "probe.decode_tokens: expected 0, or 8 to 64");
    expect_error("concurrency: {levels: [4, 2]}\n", 1, 23,
                 "concurrency.levels: expected at least one number, ascending");
    expect_error("concurrency: {levels: []}\n", 1, 23, "concurrency.levels: expected at least one number, ascending");
    expect_error("preset_categories: {balanced: {target_context_range: [8192]}}\n", 1, 54,
                 "preset_categories.balanced.target_context_range: expected two numbers, the smaller one first");
    expect_error("search_strategy:\n  batch_adaptation:\n    max_batch: 32\n", 3, 16,
                 "search_strategy.batch_adaptation.max_batch: 32 is below "
                 "search_strategy.batch_adaptation.initial_batch_small, which is 64");
    expect_error("search_strategy:\n  batch_adaptation:\n    initial_batch_large: 512\n", 3, 26,
                 "search_strategy.batch_adaptation.initial_batch_large: 512 is above "
                 "search_strategy.batch_adaptation.max_batch, which is 256");
    expect_error("store: {path: /a/b}\npublish: {file: /a/b}\n", 2, 17, "publish.file: is the same file as store.path");
}

static void later_sources_win(void **state) {
    (void)state;
    const char *yaml = "probe: {interval: 10s, linger: 1m, idle_for: 3s}\n";
    struct o3_conf_pair env[] = {{"O3_PROBE_INTERVAL", "20s"},      {"O3_PROBE_LINGER", "2m"},
                                 {"O3_MODELS_INCLUDE", " a , b* "}, {"O3_CONCURRENCY_LEVELS", "1,3"},
                                 {"O3_PUBLISH_FILE", ""},           {"O3_MODELS_EXCLUDE", ""}};
    struct o3_conf_pair flags[] = {{"probe.interval", "30s"}, {"web.token", "t"}};
    struct o3_config *c = load(&(struct o3_conf_sources){"o3.yaml", yaml, strlen(yaml), env, 6, flags, 2});
    const struct o3_config_values *v = o3_config_values(c);
    assert_int_equal(v->probe_interval_ms, 30000);
    assert_int_equal(v->probe_linger_ms, 120000);
    assert_int_equal(v->probe_idle_for_ms, 3000);
    assert_int_equal(v->models_include.n, 2);
    assert_string_equal(v->models_include.v[0], "a");
    assert_string_equal(v->models_include.v[1], "b*");
    assert_int_equal(v->concurrency_levels.v[1], 3);
    assert_int_equal(v->models_exclude.n, 0);
    assert_int_equal(o3_config_origin(c, "probe.interval"), O3_ORIGIN_FLAG);
    assert_int_equal(o3_config_origin(c, "probe.linger"), O3_ORIGIN_ENVIRONMENT);
    assert_int_equal(o3_config_origin(c, "probe.idle_for"), O3_ORIGIN_FILE);
    assert_int_equal(o3_config_origin(c, "probe.max_busy"), O3_ORIGIN_DEFAULT);
    o3_config_free(c);
}

static void expect_pair_error(bool is_flag, const char *name, const char *value, int code, const char *text) {
    struct o3_conf_pair pair = {name, value};
    struct o3_conf_sources src = {0};
    struct o3_config *c = NULL;
    struct o3_err e = {0};
    if (is_flag)
        src.flags = &pair, src.n_flags = 1;
    else
        src.env = &pair, src.n_env = 1;
    assert_int_equal(o3_config_load(&src, NULL, NULL, &c, &e), code);
    assert_string_equal(e.text, text);
    assert_int_equal(e.line, 0);
}

static void errors_name_the_variable_or_the_flag(void **state) {
    (void)state;
    expect_pair_error(false, "O3_PROBE_INTERVAL", "7x", O3_E_CONFIG,
                      "O3_PROBE_INTERVAL: expected a duration such as 30s or 5m, found \"7x\"");
    expect_pair_error(true, "probe.interval", "7", O3_E_USAGE,
                      "--probe.interval: expected a duration such as 30s or 5m, found \"7\"");
    expect_pair_error(true, "no.such", "7", O3_E_USAGE, "\"no.such\" is no key");
    expect_pair_error(false, "O3_PROBE_ENABLED", "", O3_E_CONFIG,
                      "O3_PROBE_ENABLED: expected true or false, found \"\"");
    expect_pair_error(false, "O3_WEB_TOKEN", "a\nb", O3_E_CONFIG,
                      "O3_WEB_TOKEN: expected at most 1024 printable ASCII characters without blanks");
    expect_pair_error(false, "O3_PUBLISH_FILE", "\xff", O3_E_CONFIG,
                      "O3_PUBLISH_FILE: expected UTF-8 text, found \"?\"");
    expect_pair_error(false, "O3_MODELS_INCLUDE", "a,,b", O3_E_CONFIG, "O3_MODELS_INCLUDE: must not be empty");
    expect_pair_error(false, "O3_MODELS_INCLUDE", "a,", O3_E_CONFIG, "O3_MODELS_INCLUDE: must not be empty");
    expect_pair_error(false, "O3_PROBE_DECODE_TOKENS", "3", O3_E_CONFIG,
                      "O3_PROBE_DECODE_TOKENS: expected 0, or 8 to 64");
    char many[2 * O3_CONF_LIST_MAX + 2];
    for (size_t i = 0; i < sizeof many; i++)
        many[i] = i % 2 ? ',' : 'm';
    many[sizeof many - 1] = '\0';
    expect_pair_error(false, "O3_MODELS_INCLUDE", many, O3_E_CONFIG, "O3_MODELS_INCLUDE: at most 64 items");
    char *long_text = filled(100000, 'm');
    expect_pair_error(true, "models.include", long_text, O3_E_USAGE, "--models.include: longer than 16384 bytes");
    expect_pair_error(true, "publish.file", long_text, O3_E_USAGE, "--publish.file: longer than 4095 bytes");
    free(long_text);
}

static int count_warnings(const char *name, struct warnings *w) {
    struct o3_conf_pair pair = {name, "x"};
    struct o3_config *c = NULL;
    *w = (struct warnings){0};
    assert_int_equal(o3_config_load(&(struct o3_conf_sources){.env = &pair, .n_env = 1}, on_warning, w, &c, NULL), 0);
    o3_config_free(c);
    return w->n;
}

static void unknown_variables_warn_once(void **state) {
    (void)state;
    struct warnings w;
    static const char *const SILENT[] = {"O3_SERVICE_HOST",
                                         "O3_SERVICE_PORT_HTTP",
                                         "O3_PORT",
                                         "O3_PORT_21434_TCP_ADDR",
                                         "O3_SEED",
                                         "O3_TEST_ANY",
                                         "O3_CONFIG_FILE",
                                         "PATH",
                                         "O3_SIDECAR_SERVICE_HOST",
                                         "O3_SIDECAR_PORT",
                                         "O3_SIDECAR_PORT_21434_TCP"};
    for (size_t i = 0; i < sizeof SILENT / sizeof *SILENT; i++)
        assert_int_equal(count_warnings(SILENT[i], &w), 0);
    assert_int_equal(count_warnings("O3_PROBE_INTERVALL", &w), 1);
    assert_string_equal(w.last, "the environment variable \"O3_PROBE_INTERVALL\" is no setting and has no effect; "
                                "did you mean O3_PROBE_INTERVAL?");
    assert_int_equal(count_warnings("O3_NOTHING", &w), 1);
    assert_string_equal(w.last, "the environment variable \"O3_NOTHING\" is no setting and has no effect");
}

static void collect(void *ctx, const char *key) {
    o3_buf_addf(ctx, "%s ", key);
}

static void unused_keys_are_named(void **state) {
    (void)state;
    O3_AUTO_BUF keys;
    o3_buf_init(&keys, 4096);
    struct o3_config *c = load_yaml("publish: {alias: true}\nprobe: {linger: 1m}\nthresholds: {max_ram_percent: 80}\n");
    o3_config_each_unused(c, collect, &keys);
    assert_string_equal(o3_buf_str(&keys), "thresholds.max_ram_percent publish.alias ");
    o3_config_free(c);
    o3_buf_clear(&keys);
    c = load_yaml("tune: {mode: canary}\n");
    o3_config_each_unused(c, collect, &keys);
    assert_string_equal(o3_buf_str(&keys), "tune.mode=canary ");
    o3_config_free(c);
}

static void a_reload_names_what_needs_a_restart(void **state) {
    (void)state;
    O3_AUTO_BUF keys;
    o3_buf_init(&keys, 4096);
    struct o3_config *a = load_yaml("");
    struct o3_config *b = load_yaml(
        "web: {listen: ':1', token: x}\nprobe: {interval: 5s}\nmodels: {max: 3, include: [a]}\n"
        "drift: {baseline_samples: 30}\n");
    o3_config_each_restart(a, b, collect, &keys);
    assert_string_equal(o3_buf_str(&keys), "models.max web.listen ");
    o3_buf_clear(&keys);
    o3_config_each_restart(b, b, collect, &keys);
    assert_string_equal(o3_buf_str(&keys), "");
    o3_config_free(a);
    o3_config_free(b);
}

static void every_row_passes_its_own_check(void **state) {
    (void)state;
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows);
    assert_true(n > 60);
    for (size_t i = 0; i < n; i++) {
        struct o3_conf_pair flag = {rows[i].key, rows[i].default_text};
        struct o3_conf_pair env = {rows[i].env, rows[i].default_text};
        struct o3_config *c = load(&(struct o3_conf_sources){.flags = &flag, .n_flags = 1, .env = &env, .n_env = 1});
        assert_int_equal(o3_config_origin(c, rows[i].key), O3_ORIGIN_FLAG);
        o3_config_free(c);
        assert_int_equal(strncmp(rows[i].env, "O3_", 3), 0);
        assert_int_equal(strlen(rows[i].env), strlen(rows[i].key) + 3);
        assert_true(strlen(rows[i].help) > 10);
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(rows[i].key, rows[k].key);
            assert_string_not_equal(rows[i].env, rows[k].env);
        }
        if (!*rows[i].min_text) continue;
        /* A bound itself is inside; lists and the rest of a key's group may still object to it. */
        struct o3_err e = {0};
        flag.value = rows[i].max_text;
        if (o3_config_load(&(struct o3_conf_sources){.flags = &flag, .n_flags = 1}, NULL, NULL, &c, &e) == 0)
            o3_config_free(c);
        else
            assert_null(strstr(e.text, "maximum"));
    }
}

static void a_dump_reads_back_as_itself(void **state) {
    (void)state;
    struct o3_config *c = load_yaml("publish: {file: \"/a \\\"b\\\" \\\\ # c: \xc3\xa4\"}\n"
                                    "models: {include: [a, 'b*', 'on']}\n"
                                    "tune: {mode: off}\nprobe: {interval: 1h1s, max_busy_ratio: 0.1234567890123456}\n"
                                    "resource_headroom: {ram_reserve_mb: 5}\n");
    for (int with_origin = 0; with_origin < 2; with_origin++) {
        O3_AUTO_BUF first, second;
        o3_buf_init(&first, 1 << 20);
        o3_buf_init(&second, 1 << 20);
        assert_int_equal(o3_config_dump(c, with_origin, &first), 0);
        struct o3_config *again = load_yaml(o3_buf_str(&first));
        assert_int_equal(o3_config_dump(again, false, &second), 0);
        o3_buf_clear(&first);
        assert_int_equal(o3_config_dump(c, false, &first), 0);
        assert_string_equal(o3_buf_str(&first), o3_buf_str(&second));
        assert_string_equal(o3_config_values(again)->publish_file, "/a \"b\" \\ # c: \xc3\xa4");
        O3_ASSERT_NEAR(o3_config_values(again)->probe_max_busy_ratio, 0.1234567890123456, 0);
        /* JSON is YAML: the other dump says the same. */
        O3_AUTO_BUF json;
        o3_buf_init(&json, 1 << 20);
        assert_int_equal(o3_config_dump_json(c, false, &json), 0);
        struct o3_config *from_json = load_yaml(o3_buf_str(&json));
        o3_buf_clear(&second);
        assert_int_equal(o3_config_dump(from_json, false, &second), 0);
        assert_string_equal(o3_buf_str(&first), o3_buf_str(&second));
        o3_config_free(from_json);
        o3_config_free(again);
    }
    o3_config_free(c);
}

static void the_origin_is_shown(void **state) {
    (void)state;
    O3_AUTO_BUF out;
    o3_buf_init(&out, 1 << 20);
    struct o3_conf_pair env = {"O3_PROBE_LINGER", "5m"}, flag = {"probe.max_busy", "20s"};
    const char *yaml = "probe: {interval: 5s}\n";
    struct o3_config *c = load(&(struct o3_conf_sources){"f", yaml, strlen(yaml), &env, 1, &flag, 1});
    assert_int_equal(o3_config_dump(c, true, &out), 0);
    assert_non_null(strstr(o3_buf_str(&out), "\nprobe:\n  enabled: true # default\n  interval: 5s # file\n"));
    assert_non_null(strstr(o3_buf_str(&out), "\n  linger: 5m # environment\n  max_busy: 20s # flag\n"));
    o3_config_free(c);
}

static void the_example_file_is_the_generated_one(void **state) {
    (void)state;
    O3_AUTO_BUF out;
    o3_buf_init(&out, 1 << 20);
    assert_int_equal(o3_config_example(&out), 0);
    char *file = o3_test_read("src/doc/o3.yaml", NULL);
    assert_string_equal(o3_buf_str(&out), file); /* else: o3 config example > src/doc/o3.yaml */
    struct o3_config *c = load_yaml(file);
    O3_AUTO_BUF unused;
    o3_buf_init(&unused, 4096);
    o3_config_each_unused(c, collect, &unused);
    assert_string_equal(o3_buf_str(&unused), "");
    o3_config_free(c);
    /* With every # at the start of a line taken away, below the heading, it names every key. */
    char *body = strstr(file, "\n\n");
    assert_non_null(body);
    char before = '\n', *q = body;
    for (const char *p = body; *p; before = *p++)
        if (*p != '#' || before != '\n') *q++ = *p;
    *q = '\0';
    c = load_yaml(body);
    const struct o3_conf_row *rows;
    size_t n = o3_conf_rows(&rows);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(o3_config_origin(c, rows[i].key), O3_ORIGIN_FILE);
    struct o3_config *built_in = load_yaml("");
    O3_AUTO_BUF a, b;
    o3_buf_init(&a, 1 << 20);
    o3_buf_init(&b, 1 << 20);
    assert_int_equal(o3_config_dump(c, false, &a), 0);
    assert_int_equal(o3_config_dump(built_in, false, &b), 0);
    assert_string_equal(o3_buf_str(&a), o3_buf_str(&b));
    o3_config_free(built_in);
    o3_config_free(c);
    free(file);
}

static void a_full_buffer_is_an_error_not_a_cut(void **state) {
    (void)state;
    struct o3_config *c = load_yaml("");
    O3_AUTO_BUF out;
    o3_buf_init(&out, 100);
    assert_int_equal(o3_config_dump(c, false, &out), O3_E_LIMIT);
    o3_buf_clear(&out);
    assert_int_equal(o3_config_dump_json(c, false, &out), O3_E_LIMIT);
    o3_buf_clear(&out);
    assert_int_equal(o3_config_example(&out), O3_E_LIMIT);
    o3_config_free(c);
}

static void false_alarm_rates(void **state) {
    (void)state;
    double ms;
    assert_true(o3_false_alarms_parse("1 per 30d", &ms));
    O3_ASSERT_NEAR(ms, 30.0 * 86400e3, 0);
    assert_true(o3_false_alarms_parse("2 per 1h", &ms));
    O3_ASSERT_NEAR(ms, 1800e3, 0);
    assert_true(o3_false_alarms_parse("0.5 per 1d", &ms));
    O3_ASSERT_NEAR(ms, 2 * 86400e3, 0);
    static const char *const BAD[] = {"",         "1",         "per 30d", " per 30d", "1 per",      "1 per ",
                                      "0 per 1d", "-1 per 1d", "1 per 0", "1 per 30", "1  per 30d", "1 per 1d per 1d",
                                      "x per 1d"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(o3_false_alarms_parse(BAD[i], &ms));
}

/* A command line in memory that may be written to, as a real one. */
struct line {
    char bytes[512];
    char *argv[16];
    int argc;
};

static void fill_line(struct line *l, const char *words) {
    *l = (struct line){0};
    o3_str_copy(l->bytes, sizeof l->bytes, words);
    for (char *p = l->bytes, *end; *p; p = end) {
        end = strchr(p, ' ');
        l->argv[l->argc++] = p;
        if (!end) break;
        *end++ = '\0';
    }
}

static void flags_are_taken_out_of_argv(void **state) {
    (void)state;
    struct line l;
    fill_line(&l, "serve --probe.interval 5s --json --config.file=a.yaml --no-drift.enabled m --probe.enabled "
                  "--web.token=a=b --probe.interval=6s -- --web.listen");
    assert_int_equal(l.argc, 12);
    struct o3_config_args args;
    struct o3_err e = {0};
    assert_int_equal(o3_config_args_parse(&l.argc, l.argv, &args, &e), 0);
    assert_int_equal(l.argc, 5);
    assert_string_equal(l.argv[1], "--json");
    assert_string_equal(l.argv[2], "m");
    assert_string_equal(l.argv[3], "--");
    assert_string_equal(l.argv[4], "--web.listen");
    assert_null(l.argv[5]);
    assert_string_equal(args.file, "a.yaml");
    assert_int_equal(args.n_flags, 4);
    assert_string_equal(args.flags[0].name, "probe.interval");
    assert_string_equal(args.flags[0].value, "6s");
    assert_string_equal(args.flags[1].value, "false");
    assert_string_equal(args.flags[2].value, "true");
    assert_string_equal(args.flags[3].value, "a=b");
    fill_line(&l, "serve --probe.enabled false x");
    assert_int_equal(o3_config_args_parse(&l.argc, l.argv, &args, NULL), 0);
    assert_int_equal(l.argc, 2);
    assert_string_equal(args.flags[0].value, "false");
}

static void expect_args_error(const char *words, const char *text) {
    struct line l;
    struct o3_config_args args;
    struct o3_err e = {0};
    fill_line(&l, words);
    assert_int_equal(o3_config_args_parse(&l.argc, l.argv, &args, &e), O3_E_USAGE);
    assert_string_equal(e.text, text);
}

static void wrong_flags_are_named(void **state) {
    (void)state;
    expect_args_error("serve --probe.interval", "--probe.interval needs a value");
    expect_args_error("serve --probe.intervl 5", "unknown option --probe.intervl; did you mean --probe.interval?");
    expect_args_error("serve --xyzzy.plugh=1", "unknown option --xyzzy.plugh");
    expect_args_error("serve --web.token:hush", "unknown option --web.token...; did you mean --web.token?");
    expect_args_error("serve --no-probe.interval", "--no-probe.interval: probe.interval is not true or false");
    expect_args_error("serve --no-probe.enabled=x", "--no-probe.enabled takes no value");
    expect_args_error("serve --config.file", "--config.file needs the path of a file");
    expect_args_error("serve --config.file=", "--config.file needs the path of a file");
}

static void write_file(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void files_are_read_from_disk(void **state) {
    (void)state;
    char dir[] = "/tmp/o3_test_config_XXXXXX", path[64], sha[65], expected_sha[65];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/o3.yaml", dir);
    struct o3_config *c = NULL;
    struct o3_err e = {0};
    assert_int_equal(o3_config_source_load(path, NULL, 0, NULL, NULL, &c, sha, &e), O3_E_CONFIG);
    assert_non_null(strstr(e.text, "o3.yaml: No such file or directory"));
    assert_int_equal(o3_config_source_load(dir, NULL, 0, NULL, NULL, &c, sha, &e), O3_E_CONFIG);
    assert_non_null(strstr(e.text, "this is a folder, not a file"));

    static const char YAML[] = "probe: {interval: 7s, linger: 7m}\n";
    write_file(path, YAML);
    setenv("O3_PROBE_LINGER", "8m", 1);
    setenv("O3_WHATEVER", "1", 1);
    struct warnings w = {0};
    struct o3_conf_pair flag = {"probe.max_busy", "9m"};
    assert_int_equal(o3_config_source_load(path, &flag, 1, on_warning, &w, &c, sha, &e), 0);
    assert_int_equal(o3_config_values(c)->probe_interval_ms, 7000);
    assert_int_equal(o3_config_values(c)->probe_linger_ms, 480000);
    assert_int_equal(o3_config_values(c)->probe_max_busy_ms, 540000);
    assert_int_equal(w.n, 1);
    o3_sha256_hex(YAML, strlen(YAML), expected_sha);
    assert_string_equal(sha, expected_sha);
    o3_config_free(c);
    unsetenv("O3_PROBE_LINGER");
    unsetenv("O3_WHATEVER");

    setenv("O3_CONFIG_FILE", path, 1);
    assert_string_equal(o3_config_source_path(NULL), path);
    assert_string_equal(o3_config_source_path("other"), "other");
    assert_int_equal(o3_config_source_load(NULL, NULL, 0, NULL, NULL, &c, NULL, &e), 0);
    assert_int_equal(o3_config_values(c)->probe_interval_ms, 7000);
    o3_config_free(c);
    unsetenv("O3_CONFIG_FILE");

    char *large = filled(2u << 20, '#');
    write_file(path, large);
    free(large);
    assert_int_equal(o3_config_source_load(path, NULL, 0, NULL, NULL, &c, sha, &e), O3_E_CONFIG);
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1000);
    o3_config_format_error("o3.yaml", &e, &text);
    assert_string_equal(o3_buf_str(&text), "o3.yaml:1:1: the file is larger than 1 MiB");
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_is_all_defaults),
        cmocka_unit_test(the_defaults_are_those_of_the_manual),
        cmocka_unit_test(values_of_every_type_are_read),
        cmocka_unit_test(unknown_keys_name_the_nearest),
        cmocka_unit_test(duplicates_name_the_first_line),
        cmocka_unit_test(wrong_types_say_what_was_expected),
        cmocka_unit_test(ranges_are_checked),
        cmocka_unit_test(texts_have_their_form),
        cmocka_unit_test(a_secret_is_never_shown),
        cmocka_unit_test(an_address_is_told_without_what_may_be_a_secret),
        cmocka_unit_test(a_key_is_told_without_what_may_be_a_value),
        cmocka_unit_test(yaml_errors_have_their_place),
        cmocka_unit_test(large_input_is_refused_quickly),
        cmocka_unit_test(lists_have_limits),
        cmocka_unit_test(keys_must_fit_together),
        cmocka_unit_test(later_sources_win),
        cmocka_unit_test(errors_name_the_variable_or_the_flag),
        cmocka_unit_test(unknown_variables_warn_once),
        cmocka_unit_test(unused_keys_are_named),
        cmocka_unit_test(a_reload_names_what_needs_a_restart),
        cmocka_unit_test(every_row_passes_its_own_check),
        cmocka_unit_test(a_dump_reads_back_as_itself),
        cmocka_unit_test(the_origin_is_shown),
        cmocka_unit_test(the_example_file_is_the_generated_one),
        cmocka_unit_test(a_full_buffer_is_an_error_not_a_cut),
        cmocka_unit_test(false_alarm_rates),
        cmocka_unit_test(flags_are_taken_out_of_argv),
        cmocka_unit_test(wrong_flags_are_named),
        cmocka_unit_test(files_are_read_from_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
