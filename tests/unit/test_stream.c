/* SPDX-License-Identifier: Apache-2.0 */
#include "o3_test.h"
#include "o3/rand.h"
#include "o3/stream.h"
#include "o3/text.h"

enum { MAX_LINE = 1024 };

#define TOKEN(text) "{\"model\":\"m\",\"response\":\"" text "\",\"done\":false}\n"
#define DONE                                                                                                           \
    "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"done_reason\":\"length\",\"context\":[1,2,3],"                 \
    "\"total_duration\":42446822,\"load_duration\":1883522,\"prompt_eval_count\":12,\"prompt_eval_duration\":3687000," \
    "\"eval_count\":3,\"eval_duration\":6039000}\n"
static const char ANSWER[] = TOKEN(" a") TOKEN(" b") TOKEN("\xc3\xa9") DONE;

static struct o3_stream *new_stream(void) {
    struct o3_stream *s = o3_stream_new(MAX_LINE);
    assert_non_null(s);
    return s;
}

static struct o3_stream_result end_stream(struct o3_stream *s, int64_t mono_ns) {
    o3_stream_end(s, mono_ns);
    struct o3_stream_result r = *o3_stream_result(s);
    o3_stream_free(s);
    return r;
}

static struct o3_stream_result parse_n(const char *bytes, size_t n) {
    struct o3_stream *s = new_stream();
    o3_stream_feed(s, bytes, n, 7);
    return end_stream(s, 8);
}

static struct o3_stream_result parse(const char *text) {
    return parse_n(text, strlen(text));
}

static void assert_answer(const struct o3_stream_result *r, size_t n_bytes) {
    assert_true(r->is_done);
    assert_string_equal(r->done_reason, "length");
    assert_int_equal(r->n_token_lines, 3);
    assert_int_equal(r->total_ns, 42446822);
    assert_int_equal(r->load_ns, 1883522);
    assert_int_equal(r->prompt_eval_ns, 3687000);
    assert_int_equal(r->prompt_eval_count, 12);
    assert_int_equal(r->eval_count, 3);
    assert_int_equal(r->eval_ns, 6039000);
    assert_int_equal(r->n_bad_lines, 0);
    assert_int_equal(r->n_long_lines, 0);
    assert_int_equal(r->n_bytes, n_bytes);
    assert_string_equal(r->error, "");
}

static void an_empty_stream_holds_nothing(void **state) {
    (void)state;
    struct o3_stream_result r = parse("");
    assert_int_equal(r.first_token_ns, -1);
    assert_int_equal(r.first_content_ns, -1);
    assert_int_equal(r.last_token_ns, -1);
    assert_int_equal(r.total_ns, -1);
    assert_int_equal(r.eval_count, -1);
    assert_int_equal(r.n_token_lines, 0);
    assert_false(r.is_done);
    o3_stream_free(NULL);
}

static void every_split_gives_the_same(void **state) {
    (void)state;
    size_t n = sizeof ANSWER - 1;
    for (size_t cut = 0; cut <= n; cut++) {
        struct o3_stream *s = new_stream();
        o3_stream_feed(s, ANSWER, cut, 100);
        o3_stream_feed(s, ANSWER + cut, n - cut, 200);
        struct o3_stream_result r = end_stream(s, 300);
        assert_answer(&r, n);
        /* The first token's time is that of the piece with the end of its line. */
        bool is_in_first = cut >= strlen(TOKEN(" a"));
        assert_int_equal(r.first_token_ns, is_in_first ? 100 : 200);
    }
}

static void every_two_splits_give_the_same(void **state) {
    (void)state;
    size_t n = sizeof ANSWER - 1;
    for (size_t i = 0; i <= n; i += 3)
        for (size_t k = i; k <= n; k += 5) {
            struct o3_stream *s = new_stream();
            o3_stream_feed(s, ANSWER, i, 1);
            o3_stream_feed(s, ANSWER + i, k - i, 2);
            o3_stream_feed(s, ANSWER + k, n - k, 3);
            struct o3_stream_result r = end_stream(s, 4);
            assert_answer(&r, n);
        }
}

static void byte_by_byte(void **state) {
    (void)state;
    size_t n = sizeof ANSWER - 1;
    struct o3_stream *s = new_stream();
    for (size_t i = 0; i < n; i++)
        o3_stream_feed(s, ANSWER + i, 1, (int64_t)i);
    struct o3_stream_result r = end_stream(s, 9999);
    assert_answer(&r, n);
    assert_int_equal(r.first_token_ns, strlen(TOKEN(" a")) - 1);
    assert_int_equal(r.last_token_ns, strlen(TOKEN(" a") TOKEN(" b") TOKEN("\xc3\xa9")) - 1);
}

static void the_last_line_needs_no_newline(void **state) {
    (void)state;
    struct o3_stream_result r = parse_n(ANSWER, sizeof ANSWER - 2);
    assert_answer(&r, sizeof ANSWER - 2);
    struct o3_stream *s = new_stream();
    o3_stream_feed(s, "{\"response\":\"x\"}", 16, 5);
    assert_int_equal(o3_stream_result(s)->n_token_lines, 0);
    r = end_stream(s, 6);
    assert_int_equal(r.first_token_ns, 6);
}

static void crlf_and_blank_lines(void **state) {
    (void)state;
    struct o3_stream_result r = parse(
        "\r\n\n  \r\n{\"response\":\"a\"}\r\n\r\n\t\n {\"done\":true,\"eval_count\":1}\r\n\r");
    assert_true(r.is_done);
    assert_int_equal(r.n_token_lines, 1);
    assert_int_equal(r.n_bad_lines, 0);
    assert_int_equal(r.eval_count, 1);
}

static void any_channel_is_a_token(void **state) {
    (void)state;
    static const char EMPTY[] = "{\"response\":\"\",\"message\":{\"content\":\"\"}}\n";
    static const char *const LINES[] = {
        "{\"response\":\"\",\"thinking\":\"hm\"}\n",
        "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"}}\n",
    };
    static const char *const CONTENT[] = {"{\"response\":\"a\"}\n", "{\"message\":{\"content\":\"a\"}}\n"};
    for (size_t i = 0; i < 2; i++) {
        struct o3_stream *s = new_stream();
        o3_stream_feed(s, EMPTY, sizeof EMPTY - 1, 1);
        o3_stream_feed(s, LINES[i], strlen(LINES[i]), 2);
        o3_stream_feed(s, LINES[i], strlen(LINES[i]), 3);
        assert_int_equal(o3_stream_result(s)->first_content_ns, -1);
        o3_stream_feed(s, CONTENT[i], strlen(CONTENT[i]), 4);
        struct o3_stream_result r = end_stream(s, 5);
        assert_int_equal(r.first_token_ns, 2);
        assert_int_equal(r.first_content_ns, 4);
        assert_int_equal(r.last_token_ns, 4);
        assert_int_equal(r.n_token_lines, 3);
    }
}

static void a_nul_character_is_a_token(void **state) {
    (void)state;
    struct o3_stream_result r = parse("{\"response\":\"\\u0000\"}\n");
    assert_int_equal(r.n_token_lines, 1);
    assert_int_equal(r.n_bad_lines, 0);
}

static void two_objects_in_a_line(void **state) {
    (void)state;
    struct o3_stream_result r = parse("{\"response\":\"a\"}{\"response\":\"b\"} \t{\"done\":true,\"eval_count\":2}\n");
    assert_int_equal(r.n_token_lines, 2);
    assert_true(r.is_done);
    assert_int_equal(r.n_bad_lines, 0);
    r = parse("{\"response\":\"a\"}{\"response\":\n");
    assert_int_equal(r.n_token_lines, 1);
    assert_int_equal(r.n_bad_lines, 1);
}

static void bad_lines_are_counted_and_passed_over(void **state) {
    (void)state;
    struct o3_stream_result r = parse("<html>\nnull\n7\n\"x\"\n[1]\n{]\n{\"a\":1\nx" TOKEN("a") TOKEN("b") DONE);
    assert_int_equal(r.n_bad_lines, 8);
    assert_int_equal(r.n_token_lines, 1);
    assert_true(r.is_done);
}

static void invalid_utf8_is_a_bad_line(void **state) {
    (void)state;
    struct o3_stream_result r = parse(
        "{\"response\":\"\xff\"}\n{\"response\":\"\xc3\"}\n{\"response\":\"\xed\xa0\x80\"}\n"
        "{\"response\":\"\\ud800\"}\n" TOKEN("a"));
    assert_int_equal(r.n_bad_lines, 4);
    assert_int_equal(r.n_token_lines, 1);
}

static void long_lines_are_skipped(void **state) {
    (void)state;
    static char text[8 * MAX_LINE];
    size_t n = 0;
    for (size_t pad = MAX_LINE - 2; pad < MAX_LINE + 2; pad++) {
        /* {"response":"aaa..."} of exactly `pad` bytes */
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"response\":\"%0*d\"}\n", (int)(pad - 15), 0);
    }
    size_t pieces[] = {1, 7, 100, n};
    for (size_t p = 0; p < 4; p++) {
        struct o3_stream *s = new_stream();
        for (size_t i = 0; i < n; i += pieces[p])
            o3_stream_feed(s, text + i, n - i < pieces[p] ? n - i : pieces[p], 1);
        o3_stream_feed(s, ANSWER, sizeof ANSWER - 1, 2);
        struct o3_stream_result r = end_stream(s, 3);
        assert_int_equal(r.n_long_lines, 1);
        assert_int_equal(r.n_bad_lines, 0);
        assert_int_equal(r.n_token_lines, 3 + 3);
        assert_true(r.is_done);
        assert_int_equal(r.n_bytes, n + sizeof ANSWER - 1);
    }
}

static void a_stream_of_one_endless_line(void **state) {
    (void)state;
    char block[512];
    memset(block, 'x', sizeof block);
    struct o3_stream *s = new_stream();
    for (int i = 0; i < 10000; i++)
        o3_stream_feed(s, block, sizeof block, i);
    struct o3_stream_result r = end_stream(s, 1);
    assert_int_equal(r.n_long_lines, 1);
    assert_int_equal(r.n_bad_lines, 0);
    assert_int_equal(r.n_bytes, 10000 * sizeof block);
}

static void durations_have_more_than_32_bits(void **state) {
    (void)state;
    struct o3_stream_result r = parse(
        "{\"done\":true,\"total_duration\":9007199254740992,\"load_duration\":4294967296,\"eval_count\":2.0,"
        "\"eval_duration\":1e3}\n");
    assert_int_equal(r.total_ns, INT64_C(1) << 53);
    assert_int_equal(r.load_ns, 4294967296);
    assert_int_equal(r.eval_count, 2);
    assert_int_equal(r.eval_ns, 1000);
}

/* Both readers: that of plain lines takes 18 digits. */
static void figures_of_no_machine(void **state) {
    (void)state;
    static const char *const FIGURES[] = {"9007199254740993", "999999999999999999", "9223372036854775807"};
    for (size_t i = 0; i < sizeof FIGURES / sizeof *FIGURES; i++) {
        char line[512];
        const char *f = FIGURES[i];
        snprintf(line, sizeof line,
                 "{\"done\":true,\"total_duration\":%s,\"load_duration\":%s,\"prompt_eval_count\":%s,"
                 "\"prompt_eval_duration\":%s,\"eval_count\":%s,\"eval_duration\":%s}\n",
                 f, f, f, f, f, f);
        struct o3_stream_result r = parse(line);
        assert_true(r.is_done);
        assert_int_equal(r.total_ns, -1);
        assert_int_equal(r.load_ns, -1);
        assert_int_equal(r.prompt_eval_ns, -1);
        assert_int_equal(r.eval_ns, -1);
        assert_int_equal(r.prompt_eval_count, -1);
        assert_int_equal(r.eval_count, -1);
    }
}

static void one_number_beyond_64_bits_does_not_spoil_the_rest(void **state) {
    (void)state;
    struct o3_stream_result r = parse("{\"done\":true,\"total_duration\":99999999999999999999,\"eval_count\":5}\n");
    assert_true(r.is_done);
    assert_int_equal(r.total_ns, -1);
    assert_int_equal(r.eval_count, 5);
}

static void missing_unknown_and_odd_fields(void **state) {
    (void)state;
    struct o3_stream_result r = parse(
        "{\"done\":true,\"new_field\":{\"a\":[1]},\"eval_count\":-5,\"eval_duration\":1.5,"
        "\"load_duration\":\"7\",\"total_duration\":null,\"prompt_eval_count\":true,"
        "\"prompt_eval_duration\":[],\"done_reason\":7}\n");
    assert_true(r.is_done);
    assert_string_equal(r.done_reason, "");
    assert_int_equal(r.eval_count, -1);
    assert_int_equal(r.eval_ns, -1);
    assert_int_equal(r.load_ns, -1);
    assert_int_equal(r.total_ns, -1);
    assert_int_equal(r.prompt_eval_count, -1);
    assert_int_equal(r.prompt_eval_ns, -1);
    r = parse("{\"response\":7,\"message\":[],\"thinking\":null,\"done\":\"true\"}\n{\"done\":1}\n{}\n");
    assert_false(r.is_done);
    assert_int_equal(r.n_token_lines, 0);
    assert_int_equal(r.n_bad_lines, 0);
}

static void a_done_reason_is_cut_to_its_field(void **state) {
    (void)state;
    struct o3_stream_result r = parse("{\"done\":true,\"done_reason\":\"123456789012345\xc3\xa9zz\"}\n");
    assert_string_equal(r.done_reason, "123456789012345");
}

static void what_follows_done_is_ignored(void **state) {
    (void)state;
    struct o3_stream_result r = parse("{\"done\":true,\"eval_count\":2,\"done_reason\":\"stop\"}\n" TOKEN(
        "late") "{\"error\":\"late\"}\n{\"done\":true,\"eval_count\":9,\"done_reason\":\"length\"}\n");
    assert_int_equal(r.n_token_lines, 0);
    assert_string_equal(r.error, "");
    assert_int_equal(r.eval_count, 2);
    assert_string_equal(r.done_reason, "stop");
}

static void a_stream_without_done(void **state) {
    (void)state;
    struct o3_stream_result r = parse(TOKEN("a") TOKEN("b"));
    assert_false(r.is_done);
    assert_int_equal(r.n_token_lines, 2);
    assert_int_equal(r.eval_count, -1);
}

static void error_objects(void **state) {
    (void)state;
    static const struct {
        const char *line, *text;
    } ROWS[] = {
        {"{\"error\":\"it broke\"}", "it broke"},
        {"{\"error\":{\"message\":\"it broke\",\"code\":500}}", "it broke"},
        {"{\"error\":\"{\\\"error\\\":{\\\"code\\\":400,\\\"message\\\":\\\"inner\\\"}}\"}", "inner"},
        {"{\"error\":\"{not json\"}", "{not json"},
        {"{\"error\":\"{\\\"other\\\":1}\"}", "{\"other\":1}"},
        {"{\"error\":\"a\\nb\\u0000c\\u0085d\"}", "a b c  d"},
        {"{\"error\":7}", "unknown error"},
        {"{\"error\":true}", "unknown error"},
        {"{\"error\":{}}", "unknown error"},
        {"{\"error\":\"\"}", ""},
        {"{\"error\":null}", ""},
        {"{\"error\":false}", ""},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct o3_stream_result r = parse(ROWS[i].line);
        assert_string_equal(r.error, ROWS[i].text);
        assert_int_equal(r.n_bad_lines, 0);
    }
    struct o3_stream_result r = parse(TOKEN("a") "{\"error\":\"first\"}\n" TOKEN("b") "{\"error\":\"second\"}\n" DONE);
    assert_string_equal(r.error, "first");
    assert_int_equal(r.n_token_lines, 1);
    assert_false(r.is_done);
}

static void deep_nesting_is_refused(void **state) {
    (void)state;
    enum { DEPTH = 500000 };
    char *text = malloc(DEPTH);
    assert_non_null(text);
    memset(text, '[', DEPTH);
    struct o3_stream *s = o3_stream_new(1 << 20);
    o3_stream_feed(s, text, DEPTH, 1);
    free(text);
    struct o3_stream_result r = end_stream(s, 2);
    assert_int_equal(r.n_bad_lines, 1);
}

/* Garbage made of pieces that look right: whatever comes, the parser survives it and any split sees the same. */
static void random_garbage(void **state) {
    (void)state;
    static const char *const PIECES[] = {
        "{",
        "}",
        "\n",
        "\r\n",
        "\"",
        "\\",
        "\"response\":\"",
        "\"done\":true",
        "\"error\":",
        "[",
        "]",
        ",",
        ":",
        "\xc3",
        "\xa9",
        "\xff",
        "1e999",
        "-1",
        "99999999999",
        "null",
        "true",
        "{}",
        " ",
        "\\u0000",
        "\\ud800",
        TOKEN("a"),
        DONE,
        "{\"message\":{\"content\":\"x\"}}\n",
    };
    struct o3_rand rand;
    o3_rand_seed(&rand, o3_test_seed(20261121));
    for (int round = 0; round < 3000; round++) {
        char text[4096];
        size_t n = 0;
        for (uint64_t k = o3_rand_below(&rand, 40); k > 0; k--) {
            const char *piece = PIECES[o3_rand_below(&rand, sizeof PIECES / sizeof *PIECES)];
            size_t n_piece = strlen(piece);
            if (n + n_piece + 1 > sizeof text) break;
            memcpy(text + n, piece, n_piece);
            n += n_piece;
            if (o3_rand_below(&rand, 8) == 0) text[n++] = (char)o3_rand_below(&rand, 256);
        }
        struct o3_stream_result whole = parse_n(text, n);
        struct o3_stream *s = new_stream();
        for (size_t i = 0; i < n;) {
            size_t len = 1 + (size_t)o3_rand_below(&rand, n - i);
            o3_stream_feed(s, text + i, len, 7);
            i += len;
        }
        struct o3_stream_result pieces = end_stream(s, 8);
        assert_int_equal(whole.n_token_lines, pieces.n_token_lines);
        assert_int_equal(whole.n_bad_lines, pieces.n_bad_lines);
        assert_int_equal(whole.n_long_lines, pieces.n_long_lines);
        assert_int_equal(whole.is_done, pieces.is_done);
        assert_int_equal(whole.eval_count, pieces.eval_count);
        assert_int_equal(whole.first_token_ns, pieces.first_token_ns);
        assert_string_equal(whole.error, pieces.error);
        assert_int_equal(whole.n_bytes, n);
        assert_true(o3_utf8_valid(whole.error, strlen(whole.error)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_stream_holds_nothing),
        cmocka_unit_test(every_split_gives_the_same),
        cmocka_unit_test(every_two_splits_give_the_same),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(crlf_and_blank_lines),
        cmocka_unit_test(any_channel_is_a_token),
        cmocka_unit_test(a_nul_character_is_a_token),
        cmocka_unit_test(two_objects_in_a_line),
        cmocka_unit_test(bad_lines_are_counted_and_passed_over),
        cmocka_unit_test(invalid_utf8_is_a_bad_line),
        cmocka_unit_test(long_lines_are_skipped),
        cmocka_unit_test(a_stream_of_one_endless_line),
        cmocka_unit_test(durations_have_more_than_32_bits),
        cmocka_unit_test(figures_of_no_machine),
        cmocka_unit_test(one_number_beyond_64_bits_does_not_spoil_the_rest),
        cmocka_unit_test(missing_unknown_and_odd_fields),
        cmocka_unit_test(a_done_reason_is_cut_to_its_field),
        cmocka_unit_test(what_follows_done_is_ignored),
        cmocka_unit_test(a_stream_without_done),
        cmocka_unit_test(error_objects),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(random_garbage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
