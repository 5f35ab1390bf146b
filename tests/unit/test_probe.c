/* SPDX-License-Identifier: Apache-2.0 */
/* One probe: what is asked, and the sample that the reply gives. */
#include "o3/probe.h"
#include "o3_test.h"

#define DECODE                                                                                                         \
    ((struct o3_probe_spec){.kind = O3_PROBE_DECODE, .model = "m:1", .num_predict = 16, .context_length = 8192})

static const char *write(const struct o3_probe_spec *p, struct o3_buf *b) {
    o3_buf_init(b, 65536);
    assert_int_equal(o3_probe_write(p, b), 0);
    assert_null(strstr(o3_buf_str(b), "keep_alive"));
    return o3_buf_str(b);
}

static void test_decode_names_the_context_and_nothing_else(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    const char *text = write(&DECODE, &b);
    assert_non_null(strstr(text, "\"raw\":true"));
    assert_non_null(strstr(text, "\"num_ctx\":8192"));
    assert_non_null(strstr(text, "\"num_predict\":16"));
    assert_null(strstr(text, "num_batch"));
    assert_null(strstr(text, "num_thread"));
    assert_null(strstr(text, "think"));
    O3_AUTO_BUF again;
    assert_string_equal(text, write(&DECODE, &again)); /* one prompt-cache entry */
}

static void test_known_options_are_replayed(void **state) {
    (void)state;
    struct o3_runner_cmdline runner = {.batch = 256, .threads = 4};
    struct o3_probe_spec p = DECODE;
    p.runner = &runner;
    p.send_think_false = true;
    O3_AUTO_BUF b;
    const char *text = write(&p, &b);
    assert_non_null(strstr(text, "\"num_batch\":256"));
    assert_non_null(strstr(text, "\"num_thread\":4"));
    assert_non_null(strstr(text, "\"think\":false"));
}

static void test_prefill_differs_from_its_first_byte_on(void **state) {
    (void)state;
    struct o3_probe_spec p = DECODE;
    p.kind = O3_PROBE_PREFILL;
    p.num_predict = 2;
    p.prefill_words = 64;
    p.nonce = 1;
    O3_AUTO_BUF a;
    O3_AUTO_BUF b;
    assert_non_null(strstr(write(&p, &a), "\"prompt\":\"0000000000000001 "));
    p.nonce = UINT64_C(0xf000000000000001);
    assert_non_null(strstr(write(&p, &b), "\"prompt\":\"f000000000000001 "));
}

static void test_embedding_names_no_options_of_an_automatic_load(void **state) {
    (void)state;
    struct o3_probe_spec p = {
        .kind = O3_PROBE_EMBED, .model = "e", .context_length = 512, .trained_context_length = 512};
    O3_AUTO_BUF a;
    assert_null(strstr(write(&p, &a), "num_ctx"));
    p.context_length = 256;
    O3_AUTO_BUF b;
    assert_non_null(strstr(write(&p, &b), "\"num_ctx\":256"));
}

static struct o3_sample reply_to(enum o3_probe_kind kind, int status, const char *bytes, int transport,
                                 const char *text) {
    struct o3_probe_reply r;
    assert_int_equal(o3_probe_reply_init(&r, kind), 0);
    struct o3_probe_asked asked = {.kind = kind,
                                   .num_predict = 3,
                                   .sent_mono_ns = 1000000,
                                   .end_mono_ns = 500000000,
                                   .http_status = status,
                                   .transport = transport};
    if (*bytes) o3_probe_reply_data(&r, status, bytes, strlen(bytes), 41000000);
    struct o3_sample s = {0};
    o3_probe_reply_sample(&r, &asked, text, &s);
    o3_probe_reply_done(&r);
    o3_probe_reply_done(&r); /* harmless */
    return s;
}

static void test_replies_become_samples(void **state) {
    (void)state;
    struct o3_sample s = reply_to(O3_PROBE_DECODE, 200,
                                  "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true,\"done_"
                                  "reason\":\"length\",\"total_duration\":400000000,"
                                  "\"load_duration\":2000000,\"prompt_eval_count\":9,\"prompt_eval_duration\":30000000,"
                                  "\"eval_count\":3,\"eval_duration\":100000000}\n",
                                  0, "");
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    O3_ASSERT_NEAR(s.decode_tps, 20, 1e-9);
    assert_int_equal(s.ttft_ns, 40000000);
    s = reply_to(O3_PROBE_DECODE, 404, "{\"error\":\"model 'm' not found\"}", 0, "");
    assert_int_equal(s.outcome, O3_OUTCOME_HTTP_ERROR);
    assert_string_equal(s.detail, "model 'm' not found");
    s = reply_to(O3_PROBE_DECODE, 0, "", O3_E_UNREACHABLE, "connection refused");
    assert_int_equal(s.outcome, O3_OUTCOME_REFUSED);
    assert_string_equal(s.detail, "connection refused");
    s = reply_to(
        O3_PROBE_EMBED, 200,
        "{\"embeddings\":[[0.5]],\"total_duration\":9000000,\"load_duration\":1000000,\"prompt_eval_count\":4}", 0, "");
    assert_int_equal(s.outcome, O3_OUTCOME_OK);
    assert_int_equal(s.total_ns, 9000000);
    s = reply_to(O3_PROBE_EMBED, 200, "<html>", 0, "");
    assert_int_equal(s.outcome, O3_OUTCOME_BROKEN);
    assert_true(s.detail[0] != '\0');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_names_the_context_and_nothing_else),
        cmocka_unit_test(test_known_options_are_replayed),
        cmocka_unit_test(test_prefill_differs_from_its_first_byte_on),
        cmocka_unit_test(test_embedding_names_no_options_of_an_automatic_load),
        cmocka_unit_test(test_replies_become_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
