/* SPDX-License-Identifier: Apache-2.0 */
/* Causes with known answers: what was seen before and since, and which hypothesis must come first. */
#include "o3_test.h"
#include "o3/cause.h"
#include "o3/rand.h"
#include "o3/text.h"

#define GIB 1073741824.0
#define N_OF(v) (sizeof(v) / sizeof *(v))

static struct o3_circumstances healthy(void) {
    struct o3_circumstances c = {.n_samples = 50,
                                 .version = "0.32.15",
                                 .digest = "aaaaaaaaaaaaaaaabbbb",
                                 .gpu = "NVIDIA GeForce RTX 4090, driver 550.54",
                                 .gpu_ratio = 1,
                                 .num_ctx = 8192,
                                 .size_bytes = 9 * GIB,
                                 .preset_num_ctx = NAN,
                                 .other_vram_bytes = 0,
                                 .memory_available_bytes = 40 * GIB,
                                 .pressure_cpu = 0.01,
                                 .pressure_memory = 0,
                                 .pressure_io = 0,
                                 .queue_s = 0.02,
                                 .loads_per_h = 0.1,
                                 .user_requests_per_h = 60,
                                 .swapped_bytes_per_s = 0,
                                 .throttled_per_h = 0,
                                 .quota_per_h = 0,
                                 .efficiency = 0.69,
                                 .decode_tps = 85.5,
                                 .bytes_per_token = 8.1e9,
                                 .uptime_s = 3600};
    return c;
}

static const struct o3_cause_member SLOWER = {O3_SIGNAL_DECODE_RATE, O3_STRATUM_IDLE, -1, -0.4, false};
static const struct o3_cause_member FASTER = {O3_SIGNAL_DECODE_RATE, O3_STRATUM_IDLE, 1, 0.5, false};
static const struct o3_cause_member LATER = {O3_SIGNAL_TTFT, O3_STRATUM_IDLE, 1, 1.5, false};
static const struct o3_cause_member LONGER_LOADS = {O3_SIGNAL_LOAD_TIME, O3_STRATUM_IDLE, 1, 3, false};
static const struct o3_cause_member LESS_GPU = {O3_SIGNAL_GPU_RATIO, O3_STRATUM_IDLE, -1, -1, false};
static const struct o3_cause_member LESS_CONTEXT = {O3_SIGNAL_CONTEXT, O3_STRATUM_IDLE, -1, -0.5, false};

static struct o3_cause_found found[O3_CAUSES_MAX];

static int rank(const struct o3_cause_member *m, size_t n, const struct o3_circumstances *since) {
    struct o3_circumstances before = healthy();
    return o3_cause_rank(m, n, &before, since, found);
}

#define ASSERT_FIRST(cause_, least_weight)                                                                             \
    do {                                                                                                               \
        if (found[0].cause != (cause_) || found[0].weight < (least_weight))                                            \
            fail_msg("first is %s (%.3f): %s", o3_cause_name(found[0].cause), found[0].weight, found[0].evidence);     \
    } while (0)

static void gpu_share_comes_first_when_it_fell(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.gpu_ratio = 0.82;
    s.decode_tps = 52;
    s.efficiency = 0.42;
    const struct o3_cause_member both[] = {SLOWER, LATER};
    rank(both, 2, &s);
    ASSERT_FIRST(O3_CAUSE_GPU_SHARE_FELL, 0.9);
    assert_string_equal(found[0].evidence, "GPU share 1.00 -> 0.82");
    /* It explains no load that takes longer, and nothing that got better. */
    rank(&LONGER_LOADS, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    rank(&FASTER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    /* The automatic context follows the GPU. */
    s.gpu_ratio = 0;
    s.num_ctx = 4096;
    s.size_bytes = 8 * GIB;
    s.memory_available_bytes = 32 * GIB;
    const struct o3_cause_member lost[] = {LESS_GPU, LESS_CONTEXT};
    rank(lost, 2, &s);
    ASSERT_FIRST(O3_CAUSE_GPU_SHARE_FELL, 0.6);
    assert_int_equal(found[1].cause, O3_CAUSE_CONTEXT_CHANGED);
}

static void the_gpu_that_is_back_explains_what_got_better(void **state) {
    (void)state;
    struct o3_circumstances b = healthy(), s = healthy();
    b.gpu_ratio = 0;
    o3_cause_rank(&FASTER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_GPU_SHARE_ROSE, 0.9);
    o3_cause_rank(&SLOWER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.9);
}

static void a_processor_instead_of_the_gpu_is_told_by_the_roofline(void **state) {
    (void)state;
    struct o3_circumstances b = healthy(), s = healthy();
    s.decode_tps = 9; /* 73 GB/s */
    s.efficiency = o3_roofline_efficiency(9, 8.1e9, 1008e9);
    struct o3_cause_member m = SLOWER;
    m.change_ratio = 9 / 85.5 - 1;
    rank(&m, 1, &s);
    ASSERT_FIRST(O3_CAUSE_CPU_FALLBACK, 0.9);
    assert_non_null(strstr(found[0].evidence, "72.9 GB/s"));
    assert_non_null(strstr(found[0].evidence, "7 % of the GPU's peak"));
    /* Without the peak only a large fall tells, and less surely. */
    b.efficiency = s.efficiency = NAN;
    o3_cause_rank(&m, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_CPU_FALLBACK, 0.8);
    s.decode_tps = 50;
    m.change_ratio = 50 / 85.5 - 1;
    o3_cause_rank(&m, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    /* More than a processor could read. */
    s.bytes_per_token = 80e9;
    s.decode_tps = 9;
    o3_cause_rank(&m, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    /* A machine without a GPU has none to fall back from. */
    s = b = healthy();
    b.gpu_ratio = s.gpu_ratio = 0;
    s.decode_tps = 9;
    o3_cause_rank(&m, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
}

static void a_neighbour_in_memory_is_told_from_the_model_itself(void **state) {
    (void)state;
    struct o3_circumstances b = healthy(), s = healthy();
    s.gpu_ratio = 0.6;
    s.other_vram_bytes = 12 * GIB;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_MEMORY_NEIGHBOUR, 0.55);
    assert_int_equal(found[1].cause, O3_CAUSE_GPU_SHARE_FELL);
    /* Both fit: little is explained. */
    s.gpu_ratio = 1;
    rank(&SLOWER, 1, &s);
    assert_true(found[0].weight < 0.95);
    /* In RAM. */
    b = s = healthy();
    b.gpu_ratio = s.gpu_ratio = 0;
    s.memory_available_bytes = 1 * GIB;
    o3_cause_rank(&SLOWER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_MEMORY_NEIGHBOUR, 0.9);
    /* It was the model itself that moved there. */
    b.gpu_ratio = 1;
    b.memory_available_bytes = 10 * GIB;
    o3_cause_rank(&SLOWER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_GPU_SHARE_FELL, 0.9);
    /* It left again. */
    s = b = healthy();
    b.gpu_ratio = s.gpu_ratio = 0;
    b.memory_available_bytes = 1 * GIB;
    o3_cause_rank(&FASTER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_MEMORY_NEIGHBOUR, 0.9);
}

static void the_machine_is_told_by_its_sensors(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.throttled_per_h = 30;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_THROTTLING, 0.9);
    assert_string_equal(found[0].evidence, "processors slowed down by heat: 0 -> 30 an hour");
    s = healthy();
    s.quota_per_h = 900;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_CPU_QUOTA, 0.9);
    s = healthy();
    s.swapped_bytes_per_s = 20 * 1048576.0;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_SWAPPING, 0.9);
    assert_string_equal(found[0].evidence, "read back from swap: 0 -> 20 MiB/s");
    s = healthy();
    s.pressure_memory = 0.4;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_HOST_PRESSURE, 0.9);
    assert_string_equal(found[0].evidence, "work that waited for memory: 0 % -> 40 % of the time");
    s = healthy();
    s.pressure_io = 0.9;
    rank(&LONGER_LOADS, 1, &s);
    ASSERT_FIRST(O3_CAUSE_HOST_PRESSURE, 0.9);
}

static void weak_evidence_stays_below_chance(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.pressure_memory = 0.035;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.5);
    assert_int_equal(found[1].cause, O3_CAUSE_HOST_PRESSURE);
    /* What was there all along explains no change. */
    struct o3_circumstances b = healthy();
    b.throttled_per_h = 40;
    s = healthy();
    s.throttled_per_h = 50;
    o3_cause_rank(&SLOWER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
}

static void the_server_and_the_model_say_so_themselves(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    strcpy(s.version, "0.33.0");
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_SERVER_VERSION, 0.95);
    assert_string_equal(found[0].evidence, "Ollama 0.32.15 -> 0.33.0");
    rank(&FASTER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_SERVER_VERSION, 0.95);
    /* An upgrade that lost the GPU is an upgrade first. */
    s.gpu_ratio = 0;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_SERVER_VERSION, 0.6);
    assert_int_equal(found[1].cause, O3_CAUSE_GPU_SHARE_FELL);
    s = healthy();
    strcpy(s.digest, "cccccccccccccccc");
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_MODEL_CHANGED, 0.95);
    assert_string_equal(found[0].evidence, "digest aaaaaaaaaaaa -> cccccccccccc");
    s = healthy();
    s.num_ctx = 32768;
    s.preset_num_ctx = 8192;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_CONTEXT_CHANGED, 0.95);
    assert_string_equal(found[0].evidence, "context 8192 -> 32768 tokens; the preset says 8192");
    /* A smaller context slows nothing down. */
    s.num_ctx = 4096;
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.9);
    rank(&FASTER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_CONTEXT_CHANGED, 0.95);
    rank(&LESS_CONTEXT, 1, &s);
    ASSERT_FIRST(O3_CAUSE_CONTEXT_CHANGED, 0.95);
}

static void queues_and_loads_delay_first_tokens_only(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.queue_s = 2;
    s.user_requests_per_h = 400;
    rank(&LATER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_QUEUEING, 0.9);
    assert_string_equal(found[0].evidence, "wait for a slot 0.02 -> 2 s, 60 -> 400 user requests an hour");
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    s = healthy();
    s.loads_per_h = 20;
    s.n_loads = 5;
    rank(&LATER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_RELOAD_STORM, 0.9);
    assert_string_equal(found[0].evidence, "5 loads of the model: 0.1 -> 20 an hour");
    rank(&SLOWER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    s.num_ctx = 4096; /* a context that changes with each load is a part of the storm */
    rank(&LESS_CONTEXT, 1, &s);
    ASSERT_FIRST(O3_CAUSE_RELOAD_STORM, 0.6);
    s.num_ctx = 8192;
    s.loads_per_h = 40; /* one load within a minute and a half is none */
    s.n_loads = 1;
    rank(&LATER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    struct o3_circumstances b = healthy(); /* as often as ever */
    b.loads_per_h = 12;
    s.loads_per_h = 20;
    s.n_loads = 5;
    o3_cause_rank(&LATER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
}

static void what_creeps_in_goes_with_uptime(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.uptime_s = 30 * 3600;
    struct o3_cause_member m = SLOWER;
    m.is_slow = true;
    rank(&m, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UPTIME, 0.85);
    assert_string_equal(found[0].evidence, "slower and slower since the model was loaded 30 h ago");
    m.is_slow = false; /* a step is none of it */
    rank(&m, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
    m.is_slow = true; /* the model was loaded again meanwhile, and is slow all the same */
    s.uptime_s = 60;
    rank(&m, 1, &s);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
}

enum shape { STEP, EVENLY, BY_DAY };

/* ln(rate) falls by `fall` in the course of two days and a half: at a stroke, evenly, or every day anew from two to
 * fourteen o'clock. The samples are what the judge keeps of them: one in half an hour. */
static int rank_of_fall(double fall, enum shape shape, uint64_t seed, enum o3_cause *ret_first) {
    enum { N = 120, CHANGE = 75 };
    const int64_t step_ms = 30 * 60000;
    static struct o3_sample v[N];
    struct o3_rand r;
    o3_rand_seed(&r, seed);
    for (int i = 0; i < N; i++) {
        double by_day = 0.5 * (1 + cos(6.283185307 * ((double)i / 48 - 14.0 / 24)));
        double at = shape == STEP ? i >= CHANGE : shape == EVENLY ? (double)i / (double)N : by_day;
        v[i] = (struct o3_sample){
            .wall_ms = 1789948800000 + i * step_ms, .num_ctx = 4096, .size_bytes = 1 << 30, .vram_bytes = 1 << 30};
        o3_surroundings_init(&v[i].around);
        v[i].around.loaded_wall_ms = v[0].wall_ms - 3600000;
        v[i].decode_tps = 40 * exp(-fall * at + 0.04 * o3_rand_normal(&r));
        if (i % 50 == 7) v[i].decode_tps = 3; /* met something else */
    }
    struct o3_circumstances b, s;
    o3_circumstances_of(v, CHANGE - 10, &b);
    o3_circumstances_of(v + CHANGE, N - CHANGE, &s);
    s.day_log_change = o3_day_log_change(v, N);
    int n = o3_cause_rank(&SLOWER, 1, &b, &s, found);
    *ret_first = found[0].cause;
    return n;
}

static void a_slope_is_told_from_a_step(void **state) {
    (void)state;
    enum { RUNS = 400 };
    uint64_t seed = o3_test_seed(21);
    int n_step = 0, n_small_step = 0, n_slope = 0, n_nothing = 0, n_daily = 0;
    for (uint64_t i = 0; i < RUNS; i++) {
        enum o3_cause first;
        rank_of_fall(0.3, STEP, seed + i, &first);
        n_step += first == O3_CAUSE_UPTIME;
        rank_of_fall(0.06, STEP, seed + i, &first);
        n_small_step += first == O3_CAUSE_UPTIME;
        rank_of_fall(0.1, EVENLY, seed + i, &first);
        n_slope += first == O3_CAUSE_UPTIME;
        rank_of_fall(0, EVENLY, seed + i, &first);
        n_nothing += first == O3_CAUSE_UPTIME;
        rank_of_fall(0.12, BY_DAY, seed + i, &first);
        n_daily += first == O3_CAUSE_UPTIME;
    }
    print_message("called uptime: %d steps, %d small steps, %d slopes, %d without a change, %d days, of %d each\n",
                  n_step, n_small_step, n_slope, n_nothing, n_daily, RUNS);
    assert_int_equal(n_step, 0);
    assert_true(n_small_step < RUNS / 20);
    assert_true(n_slope > RUNS * 8 / 10);
    assert_true(n_nothing < RUNS / 10);
    assert_int_equal(n_daily, 0);
    enum o3_cause first; /* however far it has come */
    rank_of_fall(2, EVENLY, seed, &first);
    assert_int_equal(first, O3_CAUSE_UPTIME);
}

/* Half a day tells nothing of a rhythm, however clear the slope. */
static void a_day_must_have_passed(void **state) {
    (void)state;
    enum { N = 60 };
    static struct o3_sample v[N];
    for (int i = 0; i < N; i++) {
        v[i] = (struct o3_sample){.wall_ms = 1789948800000 + i * 12 * 60000LL, .decode_tps = 40 * exp(-0.01 * i)};
        o3_surroundings_init(&v[i].around);
        v[i].around.loaded_wall_ms = v[0].wall_ms - 40 * 3600000LL;
    }
    assert_true(isnan(o3_day_log_change(v, N)));
    assert_true(isnan(o3_day_log_change(NULL, 0)));
    struct o3_circumstances b, s;
    o3_circumstances_of(v, N / 2, &b);
    o3_circumstances_of(v + N / 2, N / 2, &s);
    s.day_log_change = o3_day_log_change(v, N);
    o3_cause_rank(&SLOWER, 1, &b, &s, found);
    ASSERT_FIRST(O3_CAUSE_UNKNOWN, 0.99);
}

static void each_unexplained_member_counts_against(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.queue_s = 2;
    s.user_requests_per_h = 400;
    s.quota_per_h = 60;
    rank(&LATER, 1, &s);
    ASSERT_FIRST(O3_CAUSE_QUEUEING, 0.6);
    const struct o3_cause_member both[] = {LATER, SLOWER};
    rank(both, 2, &s);
    ASSERT_FIRST(O3_CAUSE_CPU_QUOTA, 0.4);
}

static void equals_stand_in_the_order_of_the_set(void **state) {
    (void)state;
    struct o3_circumstances s = healthy();
    s.throttled_per_h = s.quota_per_h = 1000;
    s.swapped_bytes_per_s = 1e9;
    s.pressure_io = 1;
    int n = rank(&SLOWER, 1, &s);
    assert_int_equal(n, 4);
    assert_int_equal(found[0].cause, O3_CAUSE_THROTTLING);
    assert_int_equal(found[1].cause, O3_CAUSE_CPU_QUOTA);
    assert_int_equal(found[2].cause, O3_CAUSE_SWAPPING);
    assert_int_equal(found[3].cause, O3_CAUSE_HOST_PRESSURE);
    O3_ASSERT_NEAR(found[0].weight, 25.0 / 96, 1e-12);
    O3_ASSERT_NEAR(found[1].weight, found[0].weight, 0);
}

static void nothing_known_is_unknown(void **state) {
    (void)state;
    struct o3_circumstances same = healthy();
    assert_int_equal(rank(&SLOWER, 1, &same), 1);
    assert_int_equal(found[0].cause, O3_CAUSE_UNKNOWN);
    O3_ASSERT_NEAR(found[0].weight, 1, 0);
    assert_string_equal(found[0].evidence, "nothing that the sidecar can see explains it");
    assert_int_equal(o3_cause_rank(&SLOWER, 1, NULL, NULL, found), 1);
    assert_int_equal(found[0].cause, O3_CAUSE_UNKNOWN);
    same.gpu_ratio = 0; /* seen, but no member to explain */
    assert_int_equal(rank(NULL, 0, &same), 1);
    assert_int_equal(found[0].cause, O3_CAUSE_UNKNOWN);
    same = healthy();
    strcpy(same.gpu, "NVIDIA GeForce RTX 4090, driver 570.1");
    rank(&SLOWER, 1, &same);
    assert_non_null(strstr(found[0].evidence, "the device or its driver changed"));
    assert_string_equal(o3_cause_name(O3_CAUSE_GPU_SHARE_FELL), "gpu_share_fell");
    assert_string_equal(o3_cause_name(O3_CAUSE_COUNT), "unknown");
}

/* Any bits at all: a whole, ordered answer with printable text. */
static void hostile_values_are_survived(void **state) {
    (void)state;
    static const double ODD[] = {NAN, -1, -1e300, 1e300, INFINITY, -INFINITY, 0, 1e-300, 5e-324, 1, 0.5, 1e18, 1e9};
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(11));
    for (int i = 0; i < 20000; i++) {
        struct o3_circumstances c[2];
        for (int k = 0; k < 2; k++) {
            c[k] = healthy();
            double *first = &c[k].gpu_ratio;
            for (size_t j = 0; j < (size_t)(&c[k].uptime_s - first) + 1; j++)
                if (o3_rand_u64(&r) % 2) first[j] = ODD[o3_rand_u64(&r) % N_OF(ODD)];
            for (size_t j = 0; j < sizeof c[k].version - 1 && i % 3 == 0; j++)
                c[k].version[j] = (char)o3_rand_u64(&r);
        }
        struct o3_cause_member m[3];
        for (int k = 0; k < 3; k++) {
            m[k] = SLOWER;
            m[k].signal = (enum o3_signal)(o3_rand_u64(&r) % (O3_SIGNAL_COUNT + 2));
            m[k].direction = (int)(o3_rand_u64(&r) % 3) - 1;
            m[k].change_ratio = ODD[o3_rand_u64(&r) % N_OF(ODD)];
            m[k].is_slow = o3_rand_u64(&r) % 2;
        }
        int n = o3_cause_rank(m, o3_rand_u64(&r) % 4, &c[0], &c[1], found);
        assert_in_range(n, 1, O3_CAUSES_MAX);
        double sum = 0, last = 1;
        for (int k = 0; k < n; k++) {
            assert_true(found[k].weight > 0 && found[k].weight <= last);
            last = found[k].weight;
            sum += last;
            size_t len = strlen(found[k].evidence);
            assert_in_range(len, 1, 159);
            assert_true(o3_utf8_valid(found[k].evidence, len));
            for (size_t at = 0; at < len; at += o3_utf8_sequence(found[k].evidence + at, len - at))
                assert_true(
                    o3_utf8_control(found[k].evidence + at, o3_utf8_sequence(found[k].evidence + at, len - at)) < 0);
        }
        assert_true(sum <= 1 + 1e-9);
    }
}

/* ---- circumstances ---- */

static struct o3_sample sample_at(int64_t wall_ms) {
    struct o3_sample s = {.wall_ms = wall_ms,
                          .digest = "d1",
                          .outcome = O3_OUTCOME_OK,
                          .num_ctx = 4096,
                          .queue_ns = 20000000,
                          .decode_tps = 50,
                          .size_bytes = 1000,
                          .vram_bytes = 1000,
                          .around = {.version = "1",
                                     .gpu = "g",
                                     .parallel = -1,
                                     .preset_num_ctx = -1,
                                     .loaded_wall_ms = 1000,
                                     .weight_bytes = 2000,
                                     .bandwidth_bytes_per_s = 200000,
                                     .interval_ms = 60000,
                                     .n_models = 1,
                                     .pressure_cpu = NAN,
                                     .pressure_memory = 0.1,
                                     .pressure_io = 7,
                                     .memory_available_bytes = -1,
                                     .other_vram_bytes = 5}};
    return s;
}

static void circumstances_are_medians_and_rates(void **state) {
    (void)state;
    struct o3_sample v[5];
    for (int i = 0; i < 5; i++) {
        v[i] = sample_at(1000 + (i + 1) * 60000);
        v[i].decode_tps = 48 + i;
        v[i].around.n_loads = 1;
        v[i].around.n_throttled = 5;
        v[i].around.n_quota = 3;
        v[i].around.swapped_bytes = 600;
    }
    v[4].decode_tps = 4000; /* none of these counts */
    v[4].flags = O3_SAMPLE_WARMUP;
    v[3].vram_bytes = -1;
    strcpy(v[4].around.version, "2");
    struct o3_circumstances c;
    o3_circumstances_of(v, 5, &c);
    assert_int_equal(c.n_samples, 5);
    assert_int_equal(c.from_wall_ms, 61000);
    assert_int_equal(c.to_wall_ms, 301000);
    assert_string_equal(c.version, "2");
    assert_string_equal(c.digest, "d1");
    O3_ASSERT_NEAR(c.decode_tps, 49.5, 1e-12);
    O3_ASSERT_NEAR(c.gpu_ratio, 1, 0);
    O3_ASSERT_NEAR(c.loads_per_h, 60, 1e-9); /* five in five minutes */
    assert_int_equal(c.n_loads, 5);
    O3_ASSERT_NEAR(c.throttled_per_h, 120, 1e-9);
    O3_ASSERT_NEAR(c.quota_per_h, 180, 1e-9);
    O3_ASSERT_NEAR(c.swapped_bytes_per_s, 10, 1e-9);
    O3_ASSERT_NEAR(c.pressure_memory, 0.1, 0);
    O3_ASSERT_NEAR(c.efficiency, 49.5 * 2000 / 200000, 1e-12);
    O3_ASSERT_NEAR(c.uptime_s, 300, 1e-9);
    O3_ASSERT_NEAR(c.other_vram_bytes, 5, 0);
    assert_true(isnan(c.pressure_cpu) && isnan(c.pressure_io) && isnan(c.preset_num_ctx) &&
                isnan(c.memory_available_bytes));
    /* Without an interval the first count belongs to a time that is not known. */
    for (int i = 0; i < 5; i++)
        v[i].around.interval_ms = -1;
    o3_circumstances_of(v, 5, &c);
    O3_ASSERT_NEAR(c.loads_per_h, 60, 1e-9);
    o3_circumstances_of(v, 1, &c);
    assert_true(isnan(c.loads_per_h));
    o3_circumstances_of(v, 0, &c);
    assert_int_equal(c.n_samples, 0);
    assert_true(isnan(c.decode_tps) && isnan(c.loads_per_h) && isnan(c.uptime_s) && isnan(c.efficiency));
}

static void of_many_samples_the_newest_count(void **state) {
    (void)state;
    enum { N = O3_CIRCUMSTANCES_MAX + 100 };
    struct o3_sample *v = calloc(N, sizeof *v);
    for (int i = 0; i < N; i++) {
        v[i] = sample_at(i * 60000LL);
        v[i].decode_tps = i < 100 ? 1 : 50;
    }
    struct o3_circumstances c;
    o3_circumstances_of(v, N, &c);
    assert_int_equal(c.n_samples, O3_CIRCUMSTANCES_MAX);
    assert_int_equal(c.from_wall_ms, 100 * 60000LL);
    v[N - 1].wall_ms = INT64_MIN; /* a clock that jumped */
    v[N - 1].around.loaded_wall_ms = INT64_MAX;
    o3_circumstances_of(v, N, &c);
    assert_true(isnan(c.loads_per_h));
    free(v);
}

/* ---- roofline ---- */

static void efficiency_follows_the_bytes(void **state) {
    (void)state;
    O3_ASSERT_NEAR(o3_roofline_efficiency(85.5, 8.1e9, 1008e9), 0.687, 0.001); /* the example of the figures */
    O3_ASSERT_NEAR(o3_roofline_efficiency(0, 8.1e9, 1008e9), 0, 0);
    static const double BAD[] = {NAN, -1, INFINITY};
    for (size_t i = 0; i < N_OF(BAD); i++) {
        assert_true(isnan(o3_roofline_efficiency(BAD[i], 8.1e9, 1008e9)));
        assert_true(isnan(o3_roofline_efficiency(85.5, BAD[i], 1008e9)));
    }
    assert_true(isnan(o3_roofline_efficiency(85.5, 8.1e9, NAN)) && isnan(o3_roofline_efficiency(85.5, 8.1e9, 0)));
}

static void gpus_are_known_by_their_names(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double gb_per_s;
    } KNOWN[] = {{"NVIDIA GeForce RTX 4090", 1008},
                 {"NVIDIA GeForce RTX 3060, driver 550.54.14", 360},
                 {"NVIDIA A100-SXM4-80GB", 2039},
                 {"NVIDIA H100 80GB HBM3", 3350},
                 {"NVIDIA H200", 4800},
                 {"NVIDIA L4", 300},
                 {"NVIDIA L40S", 864},
                 {"NVIDIA A10", 600},
                 {"AMD Instinct MI300X", 5300}};
    for (size_t i = 0; i < N_OF(KNOWN); i++)
        O3_ASSERT_NEAR(o3_gpu_bandwidth(KNOWN[i].name), KNOWN[i].gb_per_s * 1e9, 1);
    static const char *const OTHERS[] = {"",
                                         "NVIDIA GeForce RTX 3060 Ti",
                                         "NVIDIA GeForce RTX 4090 Laptop GPU",
                                         "NVIDIA A100-PCIE-40GB",
                                         "NVIDIA H100 PCIe",
                                         "NVIDIA H100 NVL",
                                         "NVIDIA L40",
                                         "NVIDIA A10G",
                                         "NVIDIA Tesla T4"};
    for (size_t i = 0; i < N_OF(OTHERS); i++)
        if (!isnan(o3_gpu_bandwidth(OTHERS[i]))) fail_msg("%s has a bandwidth", OTHERS[i]);
    assert_true(isnan(o3_gpu_bandwidth(NULL)));
}

static void experts_that_are_not_used_are_not_read(void **state) {
    (void)state;
    struct o3_ollama_show dense = {.expert_count = -1, .expert_used_count = -1};
    assert_int_equal(o3_active_weight_bytes(&dense, 8100), 8100);
    assert_int_equal(o3_active_weight_bytes(NULL, 8100), 8100);
    assert_int_equal(o3_active_weight_bytes(&dense, -1), -1);
    /* Mixtral 8x7B by its published shape: 46.7e9 parameters, 12.9e9 of them active. */
    struct o3_ollama_show m = {.expert_count = 8,
                               .expert_used_count = 2,
                               .expert_feed_forward_length = -1,
                               .feed_forward_length = 14336,
                               .embedding_length = 4096,
                               .block_count = 32,
                               .parameter_count = 46702792704};
    O3_ASSERT_NEAR((double)o3_active_weight_bytes(&m, 26000000000) / 26e9, 12.88 / 46.70, 0.005);
    m.expert_used_count = -1;
    assert_int_equal(o3_active_weight_bytes(&m, 26000000000), -1);
    m.expert_used_count = 9;
    assert_int_equal(o3_active_weight_bytes(&m, 26000000000), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpu_share_comes_first_when_it_fell),
        cmocka_unit_test(the_gpu_that_is_back_explains_what_got_better),
        cmocka_unit_test(a_processor_instead_of_the_gpu_is_told_by_the_roofline),
        cmocka_unit_test(a_neighbour_in_memory_is_told_from_the_model_itself),
        cmocka_unit_test(the_machine_is_told_by_its_sensors),
        cmocka_unit_test(weak_evidence_stays_below_chance),
        cmocka_unit_test(the_server_and_the_model_say_so_themselves),
        cmocka_unit_test(queues_and_loads_delay_first_tokens_only),
        cmocka_unit_test(what_creeps_in_goes_with_uptime),
        cmocka_unit_test(a_slope_is_told_from_a_step),
        cmocka_unit_test(a_day_must_have_passed),
        cmocka_unit_test(each_unexplained_member_counts_against),
        cmocka_unit_test(equals_stand_in_the_order_of_the_set),
        cmocka_unit_test(nothing_known_is_unknown),
        cmocka_unit_test(hostile_values_are_survived),
        cmocka_unit_test(circumstances_are_medians_and_rates),
        cmocka_unit_test(of_many_samples_the_newest_count),
        cmocka_unit_test(efficiency_follows_the_bytes),
        cmocka_unit_test(gpus_are_known_by_their_names),
        cmocka_unit_test(experts_that_are_not_used_are_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
