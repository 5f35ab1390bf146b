/* SPDX-License-Identifier: Apache-2.0 */
/* Probe sizes, cadence, the token budget, and which models are selected. */
#include "o3/config.h"
#include "o3/plan.h"
#include "o3_test.h"

#define HOUR_MS 3600000LL

static void test_sizes_stay_in_their_limits(void **state) {
    (void)state;
    assert_int_equal(o3_decode_tokens_for(NAN), 8);
    assert_int_equal(o3_decode_tokens_for(0.3), 8);
    assert_int_equal(o3_decode_tokens_for(38.7), 38);
    assert_int_equal(o3_decode_tokens_for(1e9), 64);
    assert_int_equal(o3_prefill_words_for(NAN, 256, 64, 64), 16);
    assert_int_equal(o3_prefill_words_for(300, 256, 64, 64), 150);
    assert_int_equal(o3_prefill_words_for(INFINITY, 256, 64, 64), 256);
    assert_int_equal(o3_prefill_words_for(INFINITY, 256, 64, 256), 64); /* four tokens a word */
    assert_int_equal(o3_prefill_words_for(INFINITY, 256, 64, -1), 256);
}

/* 50,000 tokens a day: two thirds of them at a probe a minute are 23 for one model, of which the prompt takes two. */
static void test_sizes_last_at_the_interval(void **state) {
    (void)state;
    struct o3_probe_means day = {.interval_ms = 60000, .n_models = 1, .tokens_per_day = 50000, .max_busy_ratio = 0.005};
    assert_int_equal(o3_decode_tokens_within(330, 0.02, &day), 21);
    assert_int_equal(o3_decode_tokens_within(12, 0, &day), 8);
    assert_int_equal(o3_decode_tokens_within(NAN, NAN, &day), 8);
    assert_int_equal(o3_decode_tokens_within(40, 0.02, &day), 11); /* in 0.9 x 0.3 s less 0.02 s */
    day.max_busy_ratio = 1;
    assert_int_equal(o3_decode_tokens_within(12.9, 0, &day), 12); /* about a second's worth */
    day.n_models = 2;
    assert_int_equal(o3_decode_tokens_within(330, 0.02, &day), 9);
    day.n_models = 60;
    assert_int_equal(o3_decode_tokens_within(330, 0.02, &day), 8);
    day.tokens_per_day = 0;
    assert_int_equal(o3_decode_tokens_within(330, 0.02, &day), 64);
    struct o3_probe_means prefill = {
        .interval_ms = 1800000, .n_models = 1, .tokens_per_day = 50000, .max_busy_ratio = 1};
    assert_int_equal(o3_prefill_tokens_within(256, 34, &prefill), 256);
    assert_int_equal(o3_prefill_tokens_within(2048, 34, &prefill), 313);
    prefill.n_models = 3;
    assert_int_equal(o3_prefill_tokens_within(256, 34, &prefill), 81);
    prefill.n_models = 64;
    assert_int_equal(o3_prefill_tokens_within(256, 34, &prefill), 16);
}

static void test_interval_follows_the_busy_ratio(void **state) {
    (void)state;
    assert_int_equal(o3_effective_interval_ms(60000, -1, 3, 0.005), 60000);
    assert_int_equal(o3_effective_interval_ms(60000, 1.0, 1, 0.005), 200000);
    assert_int_equal(o3_effective_interval_ms(60000, 0.1, 3, 0.005), 60000);
    assert_int_equal(o3_effective_interval_ms(1000, 0.5, 1, 1.0), 1000);
    assert_int_equal(o3_effective_interval_ms(1000, 1e6, 64, 0.0001), 86400000);
}

static void test_tokens_last_for_the_day(void **state) {
    (void)state;
    assert_int_equal(o3_token_interval_ms(100, 1, 86400, 1), 100000);
    assert_int_equal(o3_token_interval_ms(100, 3, 86400, 0.5), 600000);
    assert_int_equal(o3_token_interval_ms(100, 1, 0, 1), 0); /* no limit */
    assert_int_equal(o3_token_interval_ms(1000, 64, 1, 0.3), 86400000);
}

static void test_budget_slides_over_a_day(void **state) {
    (void)state;
    struct o3_token_budget b;
    o3_token_budget_init(&b);
    for (int h = 0; h < 24; h++)
        o3_token_budget_spend(&b, 100, h * HOUR_MS);
    assert_int_equal(o3_token_budget_used(&b, 23 * HOUR_MS), 2400);
    assert_int_equal(o3_token_budget_used(&b, 24 * HOUR_MS), 2300);
    assert_false(o3_token_budget_allows(&b, 101, 2400, 24 * HOUR_MS));
    assert_true(o3_token_budget_allows(&b, 100, 2400, 24 * HOUR_MS));
    assert_true(o3_token_budget_allows(&b, 1000000, 0, 24 * HOUR_MS));
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1000);
    assert_int_equal(o3_token_budget_encode(&b, &text), 0);
    struct o3_token_budget again = {0};
    assert_true(o3_token_budget_decode(o3_buf_str(&text), &again));
    assert_memory_equal(&again, &b, sizeof b);
    assert_false(o3_token_budget_decode("12 3 4", &again));
    assert_false(o3_token_budget_decode("", &again));
    assert_memory_equal(&again, &b, sizeof b);
    assert_int_equal(o3_token_budget_used(&b, 1000 * HOUR_MS), 0);
}

/* A clock that ran years ahead and was set right must not end probing for years; nor does one that is set free tokens.
 */
static void test_budget_survives_a_clock_that_is_set(void **state) {
    (void)state;
    struct o3_token_budget b;
    o3_token_budget_init(&b);
    o3_token_budget_spend(&b, 300, 90000 * HOUR_MS);
    o3_token_budget_spend(&b, 100, 1000 * HOUR_MS);
    assert_int_equal(o3_token_budget_used(&b, 1000 * HOUR_MS), 400);
    assert_int_equal(o3_token_budget_used(&b, 999 * HOUR_MS), 400);
    assert_int_equal(o3_token_budget_used(&b, 1024 * HOUR_MS), 0);
    o3_token_budget_spend(&b, 50, -90000 * HOUR_MS);
    assert_int_equal(o3_token_budget_used(&b, INT64_MIN), 50);
    assert_int_equal(o3_token_budget_used(&b, 0), 50);
    assert_int_equal(o3_token_budget_used(&b, 24 * HOUR_MS), 0);
    o3_token_budget_spend(&b, 7, INT64_MAX);
    assert_int_equal(o3_token_budget_used(&b, 0), 7);
}

static void test_prefill_prompt_begins_with_its_nonce(void **state) {
    (void)state;
    O3_AUTO_BUF b;
    o3_buf_init(&b, 65536);
    assert_int_equal(o3_prefill_prompt(0x1234, 64, &b), 0);
    assert_int_equal(strncmp(o3_buf_str(&b), "0000000000001234 ", 17), 0);
    int words = 0;
    for (const char *p = o3_buf_str(&b); *p; p++)
        words += *p == ' ';
    assert_int_equal(words, 54);
    o3_buf_clear(&b);
    assert_int_equal(o3_prefill_prompt(UINT64_MAX, 16, &b), 0);
    assert_int_equal(strncmp(o3_buf_str(&b), "ffffffffffffffff ", 17), 0);
}

static void test_options_in_force(void **state) {
    (void)state;
    struct o3_runner_options o = o3_options_in_force(8192, NULL);
    assert_int_equal(o.num_ctx, 8192);
    assert_int_equal(o.num_batch, -1);
    assert_int_equal(o.num_thread, -1);
    struct o3_runner_cmdline c = {.batch = 256, .threads = 4};
    o = o3_options_in_force(4096, &c);
    assert_int_equal(o.num_batch, 256);
    assert_int_equal(o.num_thread, 4);
}

static void test_embedding_options_in_force(void **state) {
    (void)state;
    struct o3_runner_cmdline c = {.batch = 256, .threads = -1};
    assert_int_equal(o3_embed_options_in_force(512, 512, &c).num_ctx, -1); /* clamped to the model's own: automatic */
    assert_int_equal(o3_embed_options_in_force(512, 512, &c).num_batch, -1);
    assert_int_equal(o3_embed_options_in_force(4096, 8192, NULL).num_ctx, -1); /* a server default */
    assert_int_equal(o3_embed_options_in_force(256, 512, &c).num_ctx, 256);    /* only a user can have asked for it */
    assert_int_equal(o3_embed_options_in_force(256, 512, &c).num_batch, 256);
}

static void test_selection(void **state) {
    (void)state;
    struct o3_conf_list none = {0}, include = {.n = 2, .v = {"qwen3:8b", "llama*"}},
                        exclude = {.n = 1, .v = {"llama3"}};
    assert_true(o3_model_is_selected("anything", &none, &none));
    assert_true(o3_model_is_selected("qwen3:8b", &include, &none));
    assert_false(o3_model_is_selected("qwen3:8b-q8", &include, &none));
    assert_true(o3_model_is_selected("llama3:latest", &include, &none));
    assert_false(o3_model_is_selected("llama3:latest", &include, &exclude)); /* a bare name means :latest */
    assert_false(o3_model_is_selected("llama3", &none, &exclude));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_stay_in_their_limits),
        cmocka_unit_test(test_sizes_last_at_the_interval),
        cmocka_unit_test(test_interval_follows_the_busy_ratio),
        cmocka_unit_test(test_tokens_last_for_the_day),
        cmocka_unit_test(test_budget_slides_over_a_day),
        cmocka_unit_test(test_budget_survives_a_clock_that_is_set),
        cmocka_unit_test(test_prefill_prompt_begins_with_its_nonce),
        cmocka_unit_test(test_options_in_force),
        cmocka_unit_test(test_embedding_options_in_force),
        cmocka_unit_test(test_selection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
