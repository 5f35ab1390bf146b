/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's figures against the measured ones: memory row by row, and the times of a real server. The tables are
 * those of the measurements; where a tolerance is ours, its reason stands beside it. */
#include "sim/client.h"
#include "sim/sim.h"

#define SMALL "o3-small:latest" /* the model that was measured: 235 M parameters, Q8_0 */
#define MIB 1048576.0

static const double ALLOCATOR_MIB = 28; /* measured: 0 to 28 MiB more at a batch of 512, in proportion to it */

/* ---- memory: Ollama 0.32.15 on a processor ---- */

static const struct {
    int num_ctx;
    double mib[3]; /* /api/ps size at num_batch 8, 64, 512 */
    double kv_mib;
} SIZES[] = {
    {2048, {270.64, 274.04, 301.17}, 32},   {4096, {302.68, 306.29, 335.17}, 64},
    {8192, {366.74, 370.79, 403.17}, 128},  {16384, {494.86, 499.79, 539.17}, 256},
    {32768, {751.11, 757.79, 811.17}, 512}, {65536, {1263.61, 1273.79, 1355.17}, 1024},
};

static void sizes_of_a_real_server(void **state) {
    (void)state;
    static const int BATCH[] = {8, 64, 512};
    const double file_mib = 249880952 / MIB, buffer_mib = 238.13; /* the simulator counts the file */
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    int64_t t = 0;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++)
        for (size_t b = 0; b < 3; b++) {
            char options[80];
            snprintf(options, sizeof options, "\"num_ctx\":%d,\"num_batch\":%d", SIZES[i].num_ctx, BATCH[b]);
            struct figures f = client_generate(w, t += MIN, SMALL, 1, "", 2, options);
            assert_int_equal(f.status, 200);
            double size = (double)client_ps(w, f.end_ns, "size") / MIB;
            double compute_mib = SIZES[i].mib[b] - buffer_mib - SIZES[i].kv_mib;
            O3_ASSERT_NEAR(size - (file_mib - buffer_mib), SIZES[i].mib[b], 0.002 * compute_mib + 0.06);
            struct o3_sim_memory_rules u = o3_sim_memory_rules(false);
            struct o3_sim_launch l = {.num_ctx = SIZES[i].num_ctx, .num_batch = BATCH[b]};
            const struct o3_sim_weights *m = o3_sim_library_find(w, SMALL)->weights;
            assert_true((double)o3_sim_kv_bytes(&u, m, &l, 1) == SIZES[i].kv_mib * MIB);
        }
    o3_world_free(w);
}

static void special_cases_of_that_server(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    const struct o3_sim_weights *m = o3_sim_library_find(w, SMALL)->weights;
    /* q8_0, two slots of 8192 each: exact. */
    struct o3_sim_memory_rules u = o3_sim_memory_rules(false), q8 = u, off = u;
    q8.kv_bytes = 34.0 / 32;
    off.no_flash_attention = true;
    struct o3_sim_launch l = {.num_ctx = 8192, .num_batch = 512};
    assert_true((double)o3_sim_kv_bytes(&q8, m, &l, 2) == 136 * MIB);
    /* Padded to a multiple of 256. */
    l.num_ctx = 2000;
    assert_true((double)o3_sim_kv_bytes(&u, m, &l, 1) == 32 * MIB);
    /* Without flash attention. */
    l.num_ctx = 8192;
    O3_ASSERT_NEAR((double)o3_sim_compute_bytes(&off, m, &l) / MIB, 283, 1);
    l.num_ctx = 32768;
    O3_ASSERT_NEAR((double)o3_sim_compute_bytes(&off, m, &l) / MIB, 1099, 1);
    /* The other model, and its recorded size; the file holds 0.07 MiB beside the weights. */
    l.num_ctx = 4096;
    const struct o3_sim_model *tiny = o3_sim_library_find(w, "o3-tiny");
    O3_ASSERT_NEAR((double)o3_sim_compute_bytes(&u, tiny->weights, &l) / MIB, 10.13, 0.01);
    struct o3_sim_fit fit;
    o3_sim_fit(w, tiny, &l, 0, &fit);
    O3_ASSERT_NEAR((double)fit.size_bytes, 29139925, 0.003 * 29139925);
    o3_world_free(w);
}

/* ---- memory: another build of llama.cpp, synthetic shapes ---- */

enum kv_type { F16, Q8_0, Q4_0 };
static const struct shape {
    struct o3_sim_weights weights;
} LLAMA = {{.layers = 8, .heads = 32, .heads_kv = 8, .head_size = 64, .embedding = 2048, .vocabulary = 32000}},
  GEMMA = {{.layers = 12,
            .global_layers = 2,
            .sliding_window = 1024,
            .heads = 32,
            .heads_kv = 4,
            .head_size = 256,
            .embedding = 2048,
            .vocabulary = 32000}};

static const struct {
    const struct shape *shape;
    int64_t n, ub;
    int parallel;
    bool no_flash;
    enum kv_type type;
    double kv_mib, compute_mib;
} ALLOCATIONS[] = {
    {&LLAMA, 4096, 512, 1, false, F16, 64, 70.5},    {&LLAMA, 4100, 512, 1, false, F16, 68, 70.5},
    {&LLAMA, 32768, 512, 1, false, F16, 512, 98.5},  {&LLAMA, 131072, 512, 1, false, F16, 2048, 164.0},
    {&LLAMA, 32768, 2048, 1, false, F16, 512, 394},  {&LLAMA, 131072, 2048, 1, false, F16, 2048, 656},
    {&LLAMA, 8192, 512, 4, false, F16, 512, 90.5},   {&LLAMA, 8192, 512, 1, false, F16, 128, 90.5},
    {&LLAMA, 16384, 512, 1, false, F16, 256, 70.5},  {&LLAMA, 32768, 512, 1, false, Q8_0, 272, 74.5},
    {&LLAMA, 32768, 512, 1, false, Q4_0, 144, 74.5}, {&LLAMA, 4096, 512, 1, true, F16, 64, 286},
    {&LLAMA, 32768, 512, 1, true, F16, 512, 2134},   {&LLAMA, 65536, 512, 1, true, F16, 1024, 4246},
    {&GEMMA, 4096, 513, 1, false, F16, 102, 70.6},   {&GEMMA, 131072, 513, 1, false, F16, 1094, 166.1},
    {&GEMMA, 32768, 2049, 1, false, F16, 386, 394},  {&GEMMA, 8192, 513, 4, false, F16, 536, 92.6},
};

static void allocations_of_another_build(void **state) {
    (void)state;
    static const double KV_BYTES[] = {2, 34.0 / 32, 18.0 / 32};
    for (size_t i = 0; i < sizeof ALLOCATIONS / sizeof *ALLOCATIONS; i++) {
        struct o3_sim_memory_rules u = {.kv_bytes = KV_BYTES[ALLOCATIONS[i].type],
                                        .no_flash_attention = ALLOCATIONS[i].no_flash,
                                        .logits_copies = 2}; /* on a processor */
        struct o3_sim_launch l = {.num_ctx = ALLOCATIONS[i].n, .num_batch = ALLOCATIONS[i].ub};
        const struct o3_sim_weights *m = &ALLOCATIONS[i].shape->weights;
        assert_true((double)o3_sim_kv_bytes(&u, m, &l, ALLOCATIONS[i].parallel) == ALLOCATIONS[i].kv_mib * MIB);
        double more = ALLOCATIONS[i].compute_mib - (double)o3_sim_compute_bytes(&u, m, &l) / MIB;
        double band = ALLOCATIONS[i].no_flash ? 0 : ALLOCATOR_MIB * (double)ALLOCATIONS[i].ub / 512;
        if (more < -0.2 || more > band + 0.2) fail_msg("row %zu: %.2f MiB more than the formula", i, more);
    }
}

/* Published for an 8B model with CUDA: 258.5 MiB at a batch of 512. That is what the simulated GPU shows. */
static void a_gpu_keeps_logits(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
    struct o3_sim_memory_rules u = o3_sim_memory_rules(true);
    struct o3_sim_launch l = {.num_ctx = 8192, .num_batch = 512};
    const struct o3_sim_weights *m = o3_sim_library_find(w, "sim-medium")->weights;
    O3_ASSERT_NEAR((double)o3_sim_compute_bytes(&u, m, &l) / MIB, 258.5, 0.01);
    o3_world_free(w);
}

/* Published sizes of a cache per token: Llama-3.1-8B 128 KiB, Qwen3-8B 144 KiB. */
static void cache_of_well_known_models(void **state) {
    (void)state;
    static const struct o3_sim_weights ROWS[] = {{.layers = 32, .heads_kv = 8, .head_size = 128},
                                                 {.layers = 36, .heads_kv = 8, .head_size = 128}};
    assert_int_equal(o3_sim_kv_token_bytes(&ROWS[0]), 128 << 10);
    assert_int_equal(o3_sim_kv_token_bytes(&ROWS[1]), 144 << 10);
}

/* One layer of 49 off the GPU: 85.5 to 52.0 tok/s. */
static void one_layer_off_the_gpu(void **state) {
    (void)state;
    static const struct o3_sim_weights M = {.name = "m",
                                            .layers = 48,
                                            .heads_kv = 8,
                                            .head_size = 256,
                                            .embedding = 3840,
                                            .feed_forward = 15360,
                                            .vocabulary = 262144,
                                            .size_bytes = 8149190253,
                                            .context_length = 131072,
                                            .can_complete = true,
                                            .decode_tps = 85.5,
                                            .prefill_tps = 3000};
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
    struct o3_sim_model m = {.weights = &M, .name = "m:latest"};
    assert_int_equal(o3_sim_library_put(w, &m), 0);
    assert_int_equal(o3_world_preload(w, "m", 8192, 0, NULL), 0);
    double whole = o3_world_expected(w, "m", O3_WORLD_DECODE_RATE, S);
    w->runners[0].vram_bytes = w->runners[0].size_bytes / 49 * 48;
    double split = o3_world_expected(w, "m", O3_WORLD_DECODE_RATE, S);
    O3_ASSERT_NEAR(whole, 85.5, 1.5); /* the cache at the depth of the truth takes a little */
    O3_ASSERT_NEAR(split / whole, 52.0 / 85.5, 0.005);
    o3_world_free(w);
}

/* ---- times of a real server ---- */

static struct o3_world *small(const char *version, int parallel) {
    struct o3_world *w = client_world(
        (struct o3_world_params){.version = version, .parallel = parallel, .keep_alive_ms = -1});
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
    return w;
}

/* Raw prompts, as the wording of a template adds to the others: first time; again; nonce at the start. ms. */
static void times_of_prompts(void **state) {
    (void)state;
    static const struct {
        const char *nonce;
        int n_prompt;
        double prompt_ms, ttft_ms, rest_ms, share;
    } rows[] = {{"", 781, 5149, 5186, 35, 0.05}, {"", 781, 31, 46, 13, 0.25}, {"x7", 775, 5049, 5068, 14, 0.05}};
    struct o3_world *w = small(NULL, 1);
    for (size_t i = 0; i < 3; i++) {
        int64_t t = (int64_t)(i + 1) * MIN;
        struct figures f = client_generate(w, t, SMALL, rows[i].n_prompt, rows[i].nonce, 2, "\"num_ctx\":4096");
        double rest = (double)(f.total_ns - f.load_ns - f.prompt_ns - f.eval_ns) / 1e6;
        O3_ASSERT_NEAR((double)f.prompt_ns / 1e6 / rows[i].prompt_ms, 1, rows[i].share);
        O3_ASSERT_NEAR((double)(f.head_ns - t) / 1e6 / rows[i].ttft_ms, 1, rows[i].share);
        assert_true(rest >= 8 && rest <= 16 + (i == 2 ? 20 : 0)); /* raw: 13 to 14; seen for a swap: 17 more */
        assert_true(f.load_ns >= 1300000 && f.load_ns <= 6000000);
        assert_true(f.end_ns - t - f.total_ns >= 0 && f.end_ns - t - f.total_ns <= 10 * MS);
        assert_true(f.head_ns - t - f.load_ns - f.prompt_ns <= 60 * MS);
    }
    /* With a template 30 to 60 ms go by elsewhere. */
    struct figures f = client_ask(w, 5 * MIN, "/api/generate",
                                  "{\"model\":\"o3-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096,"
                                  "\"num_predict\":4}}");
    double rest = (double)(f.total_ns - f.load_ns - f.prompt_ns - f.eval_ns) / 1e6;
    assert_true(rest >= 30 && rest <= 64);
    o3_world_free(w);
}

/* eval_duration covers one token less than eval_count. */
static void durations_of_short_answers(void **state) {
    (void)state;
    static const struct {
        int n;
        double eval_ms, by_count, by_steps;
    } rows[] = {{2, 26.45, 75.6, 37.8}, {4, 80.46, 49.7, 37.3}, {16, 400.6, 39.9, 37.4}, {64, 1675.7, 38.2, 37.6}};
    struct o3_world *w = small(NULL, 1);
    for (size_t i = 0; i < 4; i++) {
        struct figures f = client_generate(w, (int64_t)(i + 1) * MIN, SMALL, 2, "", rows[i].n, "\"num_ctx\":4096");
        assert_int_equal(f.n_eval, rows[i].n);
        double ms = (double)f.eval_ns / 1e6;
        O3_ASSERT_NEAR(ms / rows[i].eval_ms, 1, 0.02);
        O3_ASSERT_NEAR((double)f.n_eval * 1e3 / ms / rows[i].by_count, 1, 0.02);
        O3_ASSERT_NEAR(client_decode_tps(&f) / rows[i].by_steps, 1, 0.02);
        O3_ASSERT_NEAR((double)(f.last_piece_ns - f.head_ns), (double)f.eval_ns, 1e6);
    }
    struct figures one = client_generate(w, 9 * MIN, SMALL, 2, "", 1, "\"num_ctx\":4096");
    assert_int_equal(one.eval_ns, 1);
    o3_world_free(w);
}

/* 251 tokens: prompt tok/s by num_batch; the generation is not touched by it. */
static void batches_of_prompts(void **state) {
    (void)state;
    static const struct {
        int batch;
        double tps;
    } rows[] = {{512, 117}, {128, 111}, {64, 107}, {32, 100}, {8, 89}};
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    double best = 0, decode = 0;
    for (size_t i = 0; i < 5; i++) {
        char options[80];
        snprintf(options, sizeof options, "\"num_ctx\":4096,\"num_batch\":%d", rows[i].batch);
        struct figures f = client_generate(w, (int64_t)(i + 1) * MIN, SMALL, 250, "", 16, options);
        assert_int_equal(f.n_prompt, 251);
        double tps = 251e9 / (double)f.prompt_ns;
        if (i == 0) best = tps;
        if (i == 0) decode = client_decode_tps(&f);
        /* The series was taken beside other work (152 tok/s when quiet): its shape counts. */
        O3_ASSERT_NEAR(tps / best / (rows[i].tps / 117), 1, 0.02);
        O3_ASSERT_NEAR(client_decode_tps(&f), decode, 0.01 * decode);
    }
    o3_world_free(w);
}

static void a_cold_load(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    struct figures f = client_generate(w, MIN, SMALL, 2, "", 4, "\"num_ctx\":4096");
    O3_ASSERT_NEAR((double)f.load_ns / 1e6, 770, 15);
    o3_world_free(w);
}

/* Two really run together: 25 tok/s each where one gets 39. */
static void two_at_once(void **state) {
    (void)state;
    struct o3_world *w = small(NULL, 2);
    struct figures alone = client_generate(w, MIN, SMALL, 2, "", 32, "\"num_ctx\":4096");
    static const char other[] =
        "{\"model\":\"o3-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096,\"num_predict\":3000}}";
    o3_world_request(w, 2 * MIN, "POST", "/api/generate", other, strlen(other));
    struct figures f = client_generate(w, 2 * MIN + S, SMALL, 2, "", 32, "\"num_ctx\":4096");
    O3_ASSERT_NEAR(client_decode_tps(&f) / client_decode_tps(&alone), 25.0 / 39, 0.01);
    o3_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_a_real_server),
        cmocka_unit_test(special_cases_of_that_server),
        cmocka_unit_test(allocations_of_another_build),
        cmocka_unit_test(a_gpu_keeps_logits),
        cmocka_unit_test(cache_of_well_known_models),
        cmocka_unit_test(one_layer_off_the_gpu),
        cmocka_unit_test(times_of_prompts),
        cmocka_unit_test(durations_of_short_answers),
        cmocka_unit_test(batches_of_prompts),
        cmocka_unit_test(a_cold_load),
        cmocka_unit_test(two_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
