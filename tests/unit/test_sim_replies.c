/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a simulated stream, byte by byte: plain words and those that must be escaped are written in two ways. */
#include "o3_test.h"
#include "sim/sim.h"

static void expect(const struct o3_sim_piece *p, const char *want) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 4096);
    o3_sim_json_piece(p, &b);
    assert_int_equal(b.err, 0);
    assert_string_equal(o3_buf_str(&b), want);
}

#define HEAD "{\"model\":\"m:1b\",\"created_at\":\"1970-01-01T00:00:01.000000005Z\","

static void lines_of_a_stream(void **state) {
    (void)state;
    static const struct {
        const char *text, *thinking;
        bool is_chat;
        const char *want;
    } rows[] = {
        {" word", NULL, false, HEAD "\"response\":\" word\",\"done\":false}"},
        {" word", "", false, HEAD "\"response\":\" word\",\"done\":false}"},
        {"", NULL, false, HEAD "\"response\":\"\",\"done\":false}"},
        {"\"\\", NULL, false, HEAD "\"response\":\"\\\"\\\\\",\"done\":false}"},
        {"a<b", NULL, false, HEAD "\"response\":\"a\\u003cb\",\"done\":false}"},
        {"\n", NULL, false, HEAD "\"response\":\"\\n\",\"done\":false}"},
        {"\xc3\xa9", NULL, false, HEAD "\"response\":\"\xc3\xa9\",\"done\":false}"},
        {"", "hm", false, HEAD "\"response\":\"\",\"thinking\":\"hm\",\"done\":false}"},
        {" word", NULL, true, HEAD "\"message\":{\"role\":\"assistant\",\"content\":\" word\"},\"done\":false}"},
        {"&", NULL, true, HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"\\u0026\"},\"done\":false}"},
        {"", "hm", true,
         HEAD "\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_sim_piece p = {.model = "m:1b",
                                 .is_chat = rows[i].is_chat,
                                 .wall_s = 1,
                                 .wall_ns = 5,
                                 .text = rows[i].text,
                                 .thinking = rows[i].thinking};
        expect(&p, rows[i].want);
    }
}

static void the_last_line(void **state) {
    (void)state;
    struct o3_sim_piece p = {
        .model = "m:1b", .is_done = true, .wall_s = 1, .wall_ns = 5, .text = "", .done_reason = "stop"};
    expect(&p, HEAD "\"response\":\"\",\"done\":true,\"done_reason\":\"stop\"}");
    p = (struct o3_sim_piece){.model = "<", .wall_s = 1, .wall_ns = 5, .text = "a"};
    expect(&p, "{\"model\":\"\\u003c\",\"created_at\":\"1970-01-01T00:00:01.000000005Z\",\"response\":\"a\","
               "\"done\":false}");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_of_a_stream), cmocka_unit_test(the_last_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
