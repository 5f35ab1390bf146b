/* SPDX-License-Identifier: Apache-2.0 */
/* The quick reader of stream lines: what it takes it reads as the general parser does, everything else it leaves. */
#include "o3_test.h"
#include "o3/rand.h"
#include "o3/stream.h"
#include "probe/word_line.h"

#define HEAD "{\"model\":\"m:1b\",\"created_at\":\"2026-11-21T00:00:00.1Z\","

static void words_are_taken(void **state) {
    (void)state;
    static const struct {
        const char *line;
        bool has_content, has_thinking;
    } rows[] = {
        {HEAD "\"response\":\" word\",\"done\":false}", true, false},
        {HEAD "\"response\":\"\",\"done\":false}", false, false},
        {HEAD "\"response\":\"\",\"thinking\":\"hm\",\"done\":false}", false, true},
        {HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"x\"},\"done\":false}", true, false},
        {HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}", false, true},
        {"{\"response\":\"a\",\"response\":\"\"}", false, false}, /* the last one counts */
        {"{\"message\":{\"content\":\"a\"},\"message\":{\"role\":\"b\"}}", false, false},
        {"{\"message\":{\"content\":\"a\"},\"message\":\"b\"}", false, false},
        {"{\"content\":\"a\"}", false, false}, /* only of a message */
        {"{\"message\":{\"response\":\"a\"}}", false, false},
        {"{\"response\":false}", false, false},
        {"{\"response\":3}", false, false},
        {"{\"response\":\"a\",\"context\":[0,12,4294967295]}", true, false},
        {"{\"response\":\"a\",\"context\":[]}", true, false},
        {"{\"message\":{\"content\":\"a\",\"tool_calls\":[]}}", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_word_line w = {0};
        if (!o3_word_line_read(rows[i].line, strlen(rows[i].line), &w)) fail_msg("left: %s", rows[i].line);
        if (w.has_content != rows[i].has_content || w.has_thinking != rows[i].has_thinking)
            fail_msg("%s: content %d, thinking %d", rows[i].line, w.has_content, w.has_thinking);
    }
}

static void figures_are_taken(void **state) {
    (void)state;
    static const char LINE[] = HEAD "\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\"context\":[1,2],"
                                    "\"total_duration\":123456789012345678,\"load_duration\":0,\"eval_count\":9,"
                                    "\"eval_duration\":7,\"eval_duration\":\"x\"}";
    struct o3_word_line w;
    assert_true(o3_word_line_read(LINE, sizeof LINE - 1, &w));
    assert_true(w.is_done && w.n_done_reason == 6 && !memcmp(w.done_reason, "length", 6));
    assert_int_equal(w.figure[O3_WORD_TOTAL_DURATION], 123456789012345678);
    assert_int_equal(w.figure[O3_WORD_LOAD_DURATION], 0);
    assert_int_equal(w.figure[O3_WORD_EVAL_COUNT], 9);
    assert_int_equal(w.figure[O3_WORD_EVAL_DURATION], -1); /* the last one counts */
    assert_int_equal(w.figure[O3_WORD_PROMPT_EVAL_COUNT], -1);
}

static void the_rest_is_left(void **state) {
    (void)state;
    static const char *const LINES[] = {
        "",
        "{",
        "{}",
        "[]",
        " {\"response\":\"a\"}",
        "{ \"response\":\"a\"}",
        "{\"response\":\"a\"} ",
        "{\"response\":\"a\"}{\"response\":\"b\"}",
        "{\"response\":\"a\",}",
        "{\"response\":\"a\"",
        "{\"response\":\"a",
        "{\"response\":\"a\\n\"}",
        "{\"response\":\"\xc3\xa9\"}",
        "{\"response\":\"\x01\"}",
        "{\"response\":\"\x7f\"}",
        "{\"response\":\"a\",\"done\":truer}",
        "{\"response\":\"a\",\"eval_count\":-3}",
        "{\"response\":\"a\",\"eval_count\":03}",
        "{\"response\":\"a\",\"eval_count\":3.0}",
        "{\"response\":\"a\",\"eval_count\":3e2}",
        "{\"response\":\"a\",\"eval_count\":1234567890123456789}",
        "{\"response\":\"a\",\"context\":[1,]}",
        "{\"response\":\"a\",\"context\":[1",
        "{\"response\":\"a\",\"context\":[\"b\"]}",
        "{\"response\":null}",
        "{\"response\":falsey}",
        "{\"error\":\"no\"}",
        "{\"message\":{\"content\":\"a\",\"error\":\"no\"}}",
        "{\"message\":{\"content\":{\"x\":\"a\"}}}",
        "{\"message\":{\"message\":{\"content\":\"a\"}}}",
        "{\"other\":{\"content\":\"a\"}}",
        "{\"message\":{\"content\":\"a\",\"tool_calls\":[{}]}}",
        "{\"response\"\"a\"}",
        "{response:\"a\"}",
    };
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        struct o3_word_line w;
        if (o3_word_line_read(LINES[i], strlen(LINES[i]), &w)) fail_msg("taken: %s", LINES[i]);
    }
    static const char with_nul[] = "{\"response\":\"a\0b\"}";
    struct o3_word_line w;
    assert_false(o3_word_line_read(with_nul, sizeof with_nul - 1, &w));
}

static struct o3_stream_result parse(const char *line, size_t n) {
    struct o3_stream *s = o3_stream_new(4096);
    assert_non_null(s);
    o3_stream_feed(s, line, n, 7);
    o3_stream_end(s, 8);
    struct o3_stream_result r = *o3_stream_result(s);
    o3_stream_free(s);
    r.n_bytes = 0;
    return r;
}

/* Pieces of lines in any order: right ones, nearly right ones and nonsense. */
static size_t make_line(struct o3_rand *r, char out[512]) {
    static const char *const PIECES[] = {"{",
                                         "}",
                                         "\"response\"",
                                         ":",
                                         "\"\"",
                                         "\" a\"",
                                         ",",
                                         "\"message\"",
                                         "false",
                                         "\"thinking\"",
                                         "\"done\"",
                                         "\"content\"",
                                         "true",
                                         "\"error\"",
                                         "{\"content\":\"x\"}",
                                         "\"x\":",
                                         "\"\\u00e9\"",
                                         "1",
                                         "[",
                                         "]",
                                         "\"eval_count\":12",
                                         " ",
                                         "\"response\":\"b\""};
    static const char *const MEMBERS[] = {"\"response\":\"b\"",
                                          "\"response\":\"\"",
                                          "\"thinking\":\"t\"",
                                          "\"done\":false",
                                          "\"done\":true",
                                          "\"message\":{\"content\":\"c\"}",
                                          "\"message\":{\"role\":\"r\"}",
                                          "\"message\":\"m\"",
                                          "\"message\":{\"thinking\":\"\",\"content\":false}",
                                          "\"error\":\"e\"",
                                          "\"content\":\"c\"",
                                          "\"model\":\"x\"",
                                          "\"done\":7",
                                          "\"done_reason\":\"stop\"",
                                          "\"done_reason\":false",
                                          "\"eval_count\":8",
                                          "\"eval_count\":\"8\"",
                                          "\"eval_count\":-8",
                                          "\"eval_count\":8.0",
                                          "\"total_duration\":0",
                                          "\"load_duration\":123456789012",
                                          "\"prompt_eval_duration\":[1,22]",
                                          "\"prompt_eval_count\":true",
                                          "\"eval_duration\":99999999999999999999",
                                          "\"context\":[]",
                                          "\"context\":[5,0,7]"};
    size_t n = 0;
    bool is_wild = o3_rand_uniform(r) < 0.3;
    int n_pieces = 1 + (int)(o3_rand_uniform(r) * 6);
    if (!is_wild) out[n++] = '{';
    for (int i = 0; i < n_pieces; i++) {
        const char *piece = is_wild ? PIECES[(size_t)(o3_rand_uniform(r) * (sizeof PIECES / sizeof *PIECES))]
                                    : MEMBERS[(size_t)(o3_rand_uniform(r) * (sizeof MEMBERS / sizeof *MEMBERS))];
        if (!is_wild && i) out[n++] = ',';
        memcpy(out + n, piece, strlen(piece));
        n += strlen(piece);
    }
    if (!is_wild) out[n++] = '}';
    if (o3_rand_uniform(r) < 0.1)
        out[(size_t)(o3_rand_uniform(r) * (double)n)] = (char)(unsigned char)(int)(o3_rand_uniform(r) * 256);
    return n;
}

/* A blank before the line keeps the quick reader away from it. */
static void both_readers_agree(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(4));
    int n_taken = 0;
    for (int i = 0; i < 20000; i++) {
        char line[513] = " ";
        size_t n = make_line(&r, line + 1);
        struct o3_word_line w;
        n_taken += o3_word_line_read(line + 1, n, &w);
        struct o3_stream_result quick = parse(line + 1, n), general = parse(line, n + 1);
        if (memcmp(&quick, &general, sizeof quick) != 0) fail_msg("read in two ways: %.*s", (int)n, line + 1);
    }
    assert_true(n_taken > 2000 && n_taken < 18000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_taken),
        cmocka_unit_test(figures_are_taken),
        cmocka_unit_test(the_rest_is_left),
        cmocka_unit_test(both_readers_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
