/* SPDX-License-Identifier: Apache-2.0 */
/* Every mechanism of the simulated machine: its sign, its size, its time constant; and that chance keeps to its keys.
 */
#include "sim/client.h"
#include "sim/sim.h"

#define SMALL "sim-small:latest"
#define CTX "\"num_ctx\":4096"

/* No noise, one model loaded. */
static struct o3_world *quiet(const char *event) {
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    if (event) client_event(w, event);
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
    return w;
}

static double decode(struct o3_world *w, int64_t t) {
    struct figures f = client_generate(w, t, SMALL, 2, "", 32, CTX);
    return client_decode_tps(&f);
}

static double expected(const struct o3_world *w, enum o3_world_signal s, int64_t t) {
    return o3_world_expected(w, SMALL, s, t);
}

#define NEAR_SHARE(actual, wanted, share) O3_ASSERT_NEAR((actual) / (wanted), 1, share)

/* ---- the truth is what requests see ---- */

static void expected_is_what_is_measured(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 1s decode -30 %",    "at 1s prefill 500 tok/s", "at 1s ttft +200ms",
                                         "at 1s daily 20 %",      "at 1s decay 30 %/day",    "at 1s quota 6 cores",
                                         "at 1s neighbour 20 %",  "at 1s load-effect 10 %",  "at 1s noise 0 %",
                                         "at 1s decode 12 tok/s", "at 1s thermal 30C",       "at 1s ambient 30C"};
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0, .keep_alive_ms = -1});
        client_event(w, EVENTS[i]);
        assert_int_equal(o3_world_preload(w, SMALL, 4096, 2 * S, NULL), 0);
        int64_t t = 3 * HOUR;
        double tps = expected(w, O3_WORLD_DECODE_RATE, t), prompt_tps = expected(w, O3_WORLD_PREFILL_RATE, t),
               before = expected(w, O3_WORLD_TTFT_OVERHEAD, t);
        struct figures f = client_generate(w, t, SMALL, 127, "", 8, CTX);
        assert_int_equal(f.n_prompt, 128);
        NEAR_SHARE(client_decode_tps(&f), tps, 0.01);
        NEAR_SHARE(128e9 / (double)f.prompt_ns, prompt_tps, 0.01);
        O3_ASSERT_NEAR((double)(f.head_ns - t - f.prompt_ns) / 1e9, before, 0.006);
        o3_world_free(w);
    }
    struct o3_world *w = quiet(NULL);
    NEAR_SHARE(expected(w, O3_WORLD_DECODE_RATE, S), 40, 0.02);
    assert_true(isnan(o3_world_expected(w, "sim-medium:latest", O3_WORLD_DECODE_RATE, S)));
    assert_true(isnan(o3_world_expected(w, "", O3_WORLD_DECODE_RATE, S)));
    NEAR_SHARE(o3_world_expected(w, "sim-small", O3_WORLD_DECODE_RATE, S), 40, 0.02);
    o3_world_free(w);
}

/* ---- chance ---- */

static void cv_of(struct o3_world *w, int n, int64_t step, double *ret_cv, double *ret_lag_1) {
    double *x = calloc((size_t)n, sizeof *x), mean = 0, square = 0, product = 0;
    for (int i = 0; i < n; i++) {
        x[i] = log(decode(w, (i + 1) * step));
        mean += x[i] / n;
    }
    for (int i = 0; i < n; i++) {
        square += (x[i] - mean) * (x[i] - mean);
        if (i > 0) product += (x[i] - mean) * (x[i - 1] - mean);
    }
    *ret_cv = sqrt(expm1(square / n));
    *ret_lag_1 = product / square;
    free(x);
}

static void noise_is_white_and_of_its_size(void **state) {
    (void)state;
    static const double CV[] = {0.02, 0.05, 0.10, 0.28};
    for (size_t i = 0; i < 4; i++) {
        char line[40];
        snprintf(line, sizeof line, "at 0s noise %g %%", CV[i] * 100);
        struct o3_world *w = quiet(line);
        double cv, lag;
        cv_of(w, 600, MIN, &cv, &lag);
        NEAR_SHARE(cv, CV[i], 0.12); /* 4 standard errors */
        O3_ASSERT_NEAR(lag, 0, 0.17);
        o3_world_free(w);
    }
}

static void noise_wanders(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s noise 10 % ar 0.5");
    double cv, lag;
    cv_of(w, 2000, 5 * MIN, &cv, &lag);
    NEAR_SHARE(cv, 0.10, 0.12);
    O3_ASSERT_NEAR(lag, 0.5, 0.08);
    o3_world_free(w);
    w = quiet("at 0s noise 10 % ar 0.5");
    cv_of(w, 2000, 20 * S, &cv, &lag);
    O3_ASSERT_NEAR(lag, 0.955, 0.03); /* 0.5 to the power 1/15 */
    o3_world_free(w);
    /* It belongs to the time, not to the requests. */
    struct o3_world *often = quiet("at 0s noise 10 % ar 0.9"), *seldom = quiet("at 0s noise 10 % ar 0.9");
    for (int i = 1; i < 100; i++) {
        double x = decode(often, i * MIN);
        if (i % 7 == 0) NEAR_SHARE(x, decode(seldom, i * MIN), 0.02); /* each token has its own deviation */
    }
    o3_world_free(often);
    o3_world_free(seldom);
}

/* The same request draws the same, whenever it comes. */
static void chance_belongs_to_the_request(void **state) {
    (void)state;
    double tps[2][20];
    for (int i = 0; i < 2; i++) {
        struct o3_world *w = quiet("at 0s noise 20 %");
        for (int j = 0; j < 20; j++)
            tps[i][j] = decode(w, (j + 1) * (i + 1) * MIN);
        o3_world_free(w);
    }
    for (int j = 0; j < 20; j++)
        assert_true(tps[0][j] == tps[1][j]);
    assert_true(tps[0][0] != tps[0][1]);
}

static void same_users(struct o3_world *w) {
    struct o3_world_users u = o3_world_users_default();
    u.num_ctx = 4096;
    assert_int_equal(o3_world_add_users(w, &u, NULL), 0);
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
}

static void requests_bring_no_chance_to_users(void **state) {
    (void)state;
    struct o3_world_params p = {.noise_cv = 0.1, .keep_alive_ms = -1, .ram_bytes = 64LL << 30};
    struct o3_world *a = client_world(p), *b = client_world(p);
    same_users(a);
    same_users(b);
    for (int i = 0; i < 600; i++) { /* only in b: requests that need no runner */
        o3_world_request(b, i * MIN, "GET", "/api/tags", NULL, 0);
        struct o3_world_output o;
        while (o3_world_poll(b, (i + 1) * MIN, &o))
            ;
    }
    struct o3_world_output o;
    assert_false(o3_world_poll(a, 600 * MIN, &o));
    struct o3_world_served x, y;
    int n = 0;
    for (; o3_world_take_served(a, &x); n++) {
        assert_true(o3_world_take_served(b, &y));
        assert_memory_equal(&x, &y, sizeof x);
    }
    assert_true(n > 100);
    assert_false(o3_world_take_served(b, &y));
    o3_world_free(a);
    o3_world_free(b);
}

static void loads_draw_their_speed(void **state) {
    (void)state;
    const int n = 120;
    double first[120], square = 0;
    for (int run = 0; run < 2; run++) {
        struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
        client_event(w, "at 0s load-effect 4 %");
        for (int i = 0; i < n; i++) {
            const char *options = i % 2 ? "\"num_ctx\":4096,\"num_thread\":8" : CTX; /* another runner each time */
            struct figures f = client_generate(w, (2 * i + 1) * MIN, SMALL, 2, "", 32, options);
            struct figures again = client_generate(w, (2 * i + 2) * MIN, SMALL, 2, "", 32, options);
            NEAR_SHARE(client_decode_tps(&again), client_decode_tps(&f), 1e-3);
            NEAR_SHARE(expected(w, O3_WORLD_DECODE_RATE, (2 * i + 2) * MIN), client_decode_tps(&f), 0.02);
            double x = log(client_decode_tps(&f) / 40);
            if (run == 0) first[i] = x;
            assert_true(x == first[i]); /* by the number of the load */
            square += x * x;
        }
        assert_int_equal(client_truth(w, 0).n_loads, n);
        o3_world_free(w);
    }
    NEAR_SHARE(sqrt(square / (2 * n)), 0.04, 0.25);
}

static void first_requests_are_slower(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s warm-up 3 requests");
    static const double SLOWER[] = {1.3, 1.2, 1.1, 1, 1};
    for (int i = 0; i < 5; i++)
        NEAR_SHARE(decode(w, (i + 1) * MIN) * SLOWER[i], 40, 0.01);
    client_event(w, "at 10m runner killed");
    NEAR_SHARE(decode(w, 11 * MIN) * SLOWER[0], 40, 0.01);
    NEAR_SHARE(expected(w, O3_WORLD_DECODE_RATE, 12 * MIN), 40, 0.02); /* of a warm runner */
    o3_world_free(w);
}

/* ---- the day of the machine ---- */

static void days_have_slow_hours(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s daily 10 %");
    NEAR_SHARE(decode(w, 2 * HOUR), 40, 0.01);
    NEAR_SHARE(decode(w, 8 * HOUR), 40 * 0.95, 0.01);
    NEAR_SHARE(decode(w, 14 * HOUR), 40 * 0.90, 0.01);
    NEAR_SHARE(decode(w, 38 * HOUR), 40 * 0.90, 0.01);
    o3_world_free(w);
}

static void uptime_wears(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s decay 4 %/day");
    client_event(w, "at 60h restart");
    NEAR_SHARE(decode(w, 48 * HOUR), 40 * 0.96 * 0.96, 0.01);
    NEAR_SHARE(decode(w, 60 * HOUR + MIN), 40, 0.01);
    NEAR_SHARE(decode(w, 84 * HOUR), 40 * 0.96, 0.01);
    o3_world_free(w);
}

/* Keeps the device busy from t on for that long; returns the rate of the last request. */
static double work(struct o3_world *w, int64_t t, int64_t duration) {
    double tps = 0;
    for (int64_t at = t; at < t + duration;) {
        struct figures f = client_generate(w, at, SMALL, 2, "", 400, CTX ",\"seed\":1");
        tps = client_decode_tps(&f);
        at = f.end_ns;
    }
    return tps;
}

static void heat_throttles(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s thermal 83C");
    client_event(w, "at 0s ambient 35C");
    double depth = work(w, S, S); /* long answers are slower towards their end */
    /* 35 + 60 (1 - exp(-t / 180 s)) comes into the controller's band after 275 s. */
    NEAR_SHARE(work(w, 20 * S, 220 * S), depth, 0.02);
    O3_ASSERT_NEAR(o3_sim_heat_celsius(w, 250 * S), 95 - 60 * exp(-250.0 / 180), 2.5);
    double throttled = work(w, 245 * S, 15 * MIN);
    NEAR_SHARE(throttled, depth * (83.0 - 35) / 60, 0.03); /* what the cooling carries away at the limit */
    O3_ASSERT_NEAR(o3_sim_heat_celsius(w, 18 * MIN), 83, 1);
    /* It cools with the time constant. */
    double hot = o3_sim_heat_celsius(w, 25 * MIN);
    O3_ASSERT_NEAR(o3_sim_heat_celsius(w, 28 * MIN), 35 + (hot - 35) * exp(-1), 0.1);
    NEAR_SHARE(work(w, 60 * MIN, S), depth, 0.01);
    o3_world_free(w);
}

/* A model that never stops by itself. */
#define ENDLESS(n)                                                                                                     \
    "{\"model\":\"o3-loop\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"options\":{\"num_predict\":" #n "}" \
    "}"

/* One long answer heats the device until it throttles. */
static void heat_throttles_within_a_request(void **state) {
    (void)state;
    int64_t eval_ns[2];
    for (int i = 0; i < 2; i++) {
        struct o3_world *w = quiet(i ? "at 0s thermal 72C" : NULL);
        client_event(w, "at 0s ambient 40C");
        client_event(w, "at 0s decode 20 tok/s");
        struct figures f = client_ask(w, S, "/api/chat", ENDLESS(4000));
        assert_int_equal(f.n_eval, 4000);
        eval_ns[i] = f.eval_ns;
        o3_world_free(w);
    }
    assert_true((double)eval_ns[1] > 1.1 * (double)eval_ns[0]);
}

static void heat_does_not_depend_on_the_steps(void **state) {
    (void)state;
    struct o3_world *w[2];
    for (int i = 0; i < 2; i++) {
        w[i] = client_world((struct o3_world_params){.noise_cv = 0});
        client_event(w[i], "at 0s thermal 70C");
        client_event(w[i], "at 10m ambient 45C for 10m");
        client_event(w[i], "at 15m thermal 60C");
        w[i]->n_busy_runners = 1;
        o3_sim_heat_settle(w[i], 0);
    }
    for (int64_t t = 0; t < 40 * MIN; t += 3 * S) {
        o3_sim_heat_settle(w[1], t);
        O3_ASSERT_NEAR(o3_sim_heat_celsius(w[0], t), o3_sim_heat_celsius(w[1], t), 1e-9);
    }
    O3_ASSERT_NEAR(o3_sim_heat_celsius(w[0], 40 * MIN), 60, 1);
    o3_world_free(w[0]);
    o3_world_free(w[1]);
}

/* ---- the processor and its neighbours ---- */

static double decode_with(struct o3_world *w, int64_t t, const char *options) {
    struct figures f = client_generate(w, t, SMALL, 2, "", 16, options);
    return client_decode_tps(&f);
}

static void a_quota_makes_a_convoy(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 1h quota 4 cores");
    NEAR_SHARE(decode(w, MIN), 40, 0.01);
    double convoy = decode_with(w, HOUR + MIN, CTX), alone = decode_with(w, HOUR + 10 * MIN, CTX ",\"num_thread\":4");
    NEAR_SHARE(alone / convoy, 45, 0.01);
    NEAR_SHARE(alone, 40, 0.01); /* half of the cores exhaust the memory */
    double five = decode_with(w, HOUR + 20 * MIN, CTX ",\"num_thread\":5");
    assert_true(five < alone * 0.6 && five > convoy);
    /* Prefill needs all cores, and waits in the convoy too. */
    decode_with(w, HOUR + 25 * MIN, CTX);
    NEAR_SHARE(expected(w, O3_WORLD_PREFILL_RATE, MIN) / expected(w, O3_WORLD_PREFILL_RATE, HOUR + 26 * MIN), 45, 0.01);
    NEAR_SHARE(decode_with(w, HOUR + 30 * MIN, CTX ",\"num_thread\":2"), alone / 2, 0.01);
    o3_world_free(w);
    /* On a GPU the processor does not matter... */
    w = client_world((struct o3_world_params){.has_gpu = true});
    client_event(w, "at 0s quota 2 cores");
    NEAR_SHARE(decode_with(w, MIN, CTX), 40, 0.01);
    /* ...until there are layers on it. */
    assert_true(decode_with(w, 10 * MIN, CTX ",\"num_gpu\":0") < 40.0 / 6 / 100);
    o3_world_free(w);
}

static void neighbours_take_more_than_their_share_of_a_processor(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 10m neighbour 50 %");
    double before = decode(w, MIN), beside = decode(w, 11 * MIN);
    /* Measured: 38 tok/s fell to 1, and 550 to 2. */
    assert_true(before / beside >= 38 && before / beside <= 275);
    NEAR_SHARE(decode_with(w, 20 * MIN, CTX ",\"num_thread\":4"), 40, 0.01);
    o3_world_free(w);
    w = client_world((struct o3_world_params){.has_gpu = true});
    client_event(w, "at 10m neighbour 50 %");
    NEAR_SHARE(decode(w, MIN) / decode(w, 11 * MIN), 2, 0.01);
    o3_world_free(w);
}

static void bandwidth_moves_decoding_only(void **state) {
    (void)state;
    struct o3_world *w[2];
    double tps[2], prompt_tps[2];
    for (int i = 0; i < 2; i++) {
        w[i] = client_world((struct o3_world_params){.bandwidth = (i + 1) * 400e9});
        struct figures f = client_generate(w[i], 0, SMALL, 1000, "", 32, CTX);
        tps[i] = client_decode_tps(&f);
        prompt_tps[i] = (double)f.n_prompt * 1e9 / (double)f.prompt_ns;
        o3_world_free(w[i]);
    }
    NEAR_SHARE(tps[1] / tps[0], 2, 0.01);
    NEAR_SHARE(prompt_tps[1], prompt_tps[0], 0.01);
}

/* A step reads the weights and the cache: at the depth where both are as large the rate is half. */
static void a_full_cache_slows(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    const int64_t kv_of_a_token = 2 * 28 * 8 * 128 * 2;
    int depth = (int)(2019377376 / kv_of_a_token);
    struct figures f = client_generate(w, 0, SMALL, depth, "", 16, "\"num_ctx\":32768");
    NEAR_SHARE(client_decode_tps(&f), 20, 0.01);
    o3_world_free(w);
}

static void runners_take_turns(void **state) {
    (void)state;
    struct o3_world *w = quiet(NULL);
    assert_int_equal(o3_world_preload(w, "sim-think:latest", 4096, 0, NULL), 0);
    static const char other[] =
        "{\"model\":\"sim-think\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096,\"num_predict\":2000}}";
    o3_world_request(w, MIN, "POST", "/api/generate", other, strlen(other));
    NEAR_SHARE(decode(w, MIN + S), 20, 0.01);
    o3_world_free(w);
}

/* ---- memory ---- */

static void tenants_make_spills_and_failures(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
    client_event(w, "at 1h tenant 21GiB");
    double alone = decode(w, MIN);
    assert_int_equal(client_truth(w, 0).n_spilled_loads, 0);
    double spilled = decode(w, HOUR + 10 * MIN);
    assert_true(spilled < alone * 0.7 && spilled > alone / 6.6);
    assert_int_equal(client_truth(w, 0).n_spilled_loads, 1);
    assert_true(client_ps(w, HOUR + 11 * MIN, "size_vram") < client_ps(w, HOUR + 11 * MIN, "size"));
    NEAR_SHARE(expected(w, O3_WORLD_DECODE_RATE, HOUR + 11 * MIN), spilled, 0.02);
    o3_world_free(w);
    w = client_world((struct o3_world_params){.ram_bytes = 8LL << 30});
    client_event(w, "at 1h tenant 6GiB");
    decode(w, MIN);
    struct figures f = client_generate(w, HOUR + 10 * MIN, SMALL, 2, "", 8, CTX);
    assert_int_equal(f.status, 500);
    assert_non_null(strstr(f.error, "insufficient memory"));
    assert_int_equal(client_truth(w, 0).n_ooms, 1);
    o3_world_free(w);
}

static void what_no_formula_knows_is_there(void **state) {
    (void)state;
    enum { N = 24 };
    struct o3_world *plain = quiet(NULL);
    int64_t size = client_ps(plain, S, "size"), least = INT64_MAX, most = 0;
    o3_world_free(plain);
    struct o3_world *w = client_world((struct o3_world_params){.memory_noise_bytes = 28 << 20, .memory_bias = 0.03});
    int n_rises = 0;
    for (int64_t i = 0, last = 0; i < N; i++) {
        decode_with(w, (i + 1) * MIN, i % 2 ? CTX ",\"num_thread\":8" : CTX);
        int64_t more = client_ps(w, (i + 1) * MIN + 30 * S, "size") - size - (int64_t)(0.03 * 2019377376);
        assert_true(more >= 0 && more <= 28 << 20);
        least = more < least ? more : least;
        most = more > most ? more : most;
        n_rises += i > 0 && more > last;
        last = more;
    }
    assert_true(least < 6 << 20 && most > 22 << 20);
    assert_true(n_rises > N / 4 && n_rises < N * 3 / 4); /* in no order */
    most = 0;
    for (int64_t i = 0; i < N; i++) { /* a batch four times as large: four times the noise */
        const struct o3_sim_model *m = o3_sim_library_find(w, SMALL);
        struct o3_sim_launch l = {.num_ctx = 4096, .num_batch = 2048, .num_gpu = -1};
        struct o3_sim_memory_rules u = o3_sim_memory_rules(false);
        struct o3_sim_fit fit;
        o3_sim_load_count(w, m);
        o3_sim_fit(w, m, &l, 0, &fit);
        int64_t noise = fit.size_bytes - m->weights->size_bytes - o3_sim_kv_bytes(&u, m->weights, &l, 1) -
                        o3_sim_compute_bytes(&u, m->weights, &l);
        most = noise > most ? noise : most;
    }
    assert_true(most > (58 + 80) << 20 && most < (59 + 4 * 28) << 20); /* 58 MiB of bias */
    o3_world_free(w);
    /* The context of the device is not in /api/ps but takes its room. */
    struct o3_world_params p = {.has_gpu = true, .vram_bytes = 4LL << 30};
    for (int i = 0; i < 2; i++) {
        p.memory_overhead_bytes = i ? 600 << 20 : 0;
        w = client_world(p);
        decode(w, 0);
        assert_int_equal(client_truth(w, 0).n_spilled_loads, i);
        if (i == 0) size = client_ps(w, 30 * S, "size");
        assert_int_equal(client_ps(w, 30 * S, "size"), size);
        o3_world_free(w);
    }
}

/* The overhead of what is loaded is taken from what comes next. */
static void overheads_add_up(void **state) {
    (void)state;
    struct o3_world_params p = {.has_gpu = true, .keep_alive_ms = -1};
    struct o3_world *w = client_world(p);
    int64_t sizes[2];
    for (int i = 0; i < 2; i++) {
        struct o3_sim_launch l = {.num_ctx = 4096, .num_batch = 512, .num_gpu = -1};
        struct o3_sim_fit fit;
        o3_sim_fit(w, o3_sim_library_find(w, i ? "sim-think" : SMALL), &l, 0, &fit);
        sizes[i] = fit.size_bytes;
    }
    o3_world_free(w);
    p.memory_overhead_bytes = 500 << 20;
    for (int i = 0; i < 2; i++) {
        p.vram_bytes = sizes[0] + sizes[1] + O3_SIM_GIB + (i + 1) * p.memory_overhead_bytes + (10 << 20);
        w = client_world(p);
        assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
        assert_int_equal(o3_world_preload(w, "sim-think", 4096, 0, NULL), 0);
        assert_int_equal(client_truth(w, 0).n_loaded, i + 1);
        o3_world_free(w);
    }
}

static void an_automatic_context_is_lowered(void **state) {
    (void)state;
    /* 262144, clamped to what the model was trained with, then 32768, then 4096. */
    static const struct {
        int64_t tenant_gib, context;
    } rows[] = {{10, 131072}, {70, 32768}, {76, 4096}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct o3_world_params p = {.has_gpu = true, .vram_bytes = 80LL << 30, .ram_bytes = 2LL << 30};
        struct o3_world *w = client_world(p);
        char line[40];
        snprintf(line, sizeof line, "at 0s tenant %dGiB", (int)rows[i].tenant_gib);
        client_event(w, line);
        decode_with(w, S, "\"temperature\":0");
        assert_int_equal(client_ps(w, MIN, "context_length"), rows[i].context);
        assert_int_equal(client_truth(w, 0).n_ooms, i > 0);
        o3_world_free(w);
    }
}

static void an_explicit_number_of_layers_is_not_made_to_fit(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true, .vram_bytes = 4LL << 30});
    const char *medium = "sim-medium:latest";
    struct figures f = client_generate(w, 0, medium, 2, "", 4, CTX);
    assert_int_equal(f.status, 200);
    assert_int_equal(client_truth(w, 0).n_spilled_loads, 1);
    f = client_generate(w, MIN, medium, 2, "", 4, CTX ",\"num_gpu\":32");
    assert_int_equal(f.status, 500);
    assert_int_equal(client_truth(w, 0).n_ooms, 1);
    o3_world_free(w);
}

static void out_of_memory_unloads_all(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.ram_bytes = 7LL << 30});
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
    assert_int_equal(o3_world_preload(w, "o3-tiny", 4096, 0, NULL), 0);
    assert_int_equal(client_truth(w, 0).n_loaded, 2);
    /* It would fit beside the tiny one, but both go; the load then succeeds, after the first try. */
    struct figures f = client_generate(w, MIN, "sim-medium:latest", 2, "", 4, CTX);
    assert_int_equal(f.status, 200);
    assert_int_equal(client_truth(w, 0).n_loaded, 1);
    assert_true(f.load_ns > 12500 * MS && f.load_ns < 13 * S);
    assert_int_equal(client_truth(w, 0).n_ooms, 1);
    o3_world_free(w);
}

/* ---- faults ---- */

static void a_lost_gpu_may_go_unseen(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
    client_event(w, "at 1h gpu lost unseen for 1h");
    NEAR_SHARE(decode(w, 59 * MIN), 40, 0.01);
    NEAR_SHARE(decode(w, 61 * MIN), 40.0 / 6, 0.01);
    NEAR_SHARE(expected(w, O3_WORLD_DECODE_RATE, 62 * MIN), 40.0 / 6, 0.02);
    assert_int_equal(client_ps(w, 62 * MIN, "size"), client_ps(w, 62 * MIN, "size_vram"));
    assert_int_equal(client_truth(w, 0).n_loads, 1);
    NEAR_SHARE(decode(w, 121 * MIN), 40, 0.01);
    o3_world_free(w);
}

static void a_lost_gpu_stays_lost_while_any_line_says_so(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
    client_event(w, "at 10m gpu lost for 1h");
    client_event(w, "at 20m gpu lost for 10m");
    struct figures f = client_generate(w, 40 * MIN, "sim-small", 10, "x", 4, "");
    assert_int_equal(f.status, 200);
    assert_int_equal(client_ps(w, 41 * MIN, "size_vram"), 0);
    f = client_generate(w, 80 * MIN, "sim-small", 10, "x", 4, ""); /* unloaded meanwhile, loaded anew */
    assert_int_equal(f.status, 200);
    assert_true(client_ps(w, 81 * MIN, "size_vram") > 0);
    o3_world_free(w);
}

/* What dies while it loads answers with an error, and no load goes on with a GPU that is gone. */
static void a_load_under_way_dies_too(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"at 3s runner killed", "at 3s gpu lost",
                                         "at 3s runner killed model=sim-small"};
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        struct o3_world *w = client_world((struct o3_world_params){.has_gpu = true});
        client_event(w, EVENTS[i]);
        struct figures f = client_generate(w, 1 * S, "sim-small", 10, "x", 4, "");
        assert_int_equal(f.status, 500);
        assert_string_equal(f.error, "llama-server process has terminated: signal: killed");
        assert_true(f.end_ns >= 3 * S && f.end_ns < 3 * S + 100 * MS);
        assert_int_equal(client_truth(w, 4 * S).n_loaded, 0);
        f = client_generate(w, 5 * S, "sim-small", 10, "x", 4, "");
        assert_int_equal(f.status, 200);
        assert_int_equal(client_ps(w, 60 * S, "size_vram") > 0, i != 1);
        o3_world_free(w);
    }
}

static void loads_run_out_of_memory(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 1m oom load for 10m");
    struct figures f = client_generate(w, 2 * MIN, "sim-think:latest", 2, "", 8, CTX);
    assert_int_equal(f.status, 500);
    assert_int_equal(client_truth(w, 0).n_loaded, 0); /* the other one went with it */
    assert_int_equal(client_truth(w, 0).n_ooms, 1);
    f = client_generate(w, 20 * MIN, "sim-think:latest", 2, "", 8, CTX);
    assert_int_equal(f.status, 200);
    o3_world_free(w);
}

static void runners_die_when_filled(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 1m oom fill for 1h");
    struct figures f = client_generate(w, 2 * MIN, SMALL, 2030, "", 40, CTX);
    assert_int_equal(f.status, 200);
    assert_false(f.is_done);
    assert_false(f.is_cut);
    assert_string_equal(f.error, "an error was encountered while running the model: unexpected EOF");
    assert_int_equal(client_truth(w, 0).n_ooms, 1);
    f = client_generate(w, 5 * MIN, SMALL, 2000, "", 40, CTX); /* less is borne, by a new process */
    assert_true(f.is_done);
    assert_int_equal(client_truth(w, 0).n_reloads, 1);
    f = client_generate(w, 8 * MIN, SMALL, 3000, "", 8, CTX); /* before the first token: nothing was sent */
    assert_int_equal(f.status, 500);
    o3_world_free(w);
}

static void a_slow_disk_slows_loads(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.noise_cv = 0});
    client_event(w, "at 0s disk slow 20x");
    struct figures f = client_generate(w, MIN, SMALL, 2, "", 8, CTX);
    NEAR_SHARE((double)f.load_ns / 1e9, 0.1 + 20 * 2019377376.0 / 0.55e9, 0.01);
    NEAR_SHARE(client_decode_tps(&f), 40, 0.01);
    o3_world_free(w);
}

/* What is told while a request runs is in force for it. */
static void events_reach_what_runs(void **state) {
    (void)state;
    struct o3_world *w = quiet("at 0s decode 20 tok/s");
    assert_int_equal(o3_world_preload(w, "o3-loop", 0, 0, NULL), 0);
    static const char body[] = ENDLESS(4000);
    o3_world_request(w, 0, "POST", "/api/chat", body, strlen(body));
    struct o3_world_output o;
    int n = 0;
    while (o3_world_poll(w, 5 * S, &o))
        ;
    client_event(w, "at 5s decode 2 tok/s");
    while (o3_world_poll(w, 15 * S, &o))
        n += o.kind == O3_WORLD_DATA;
    assert_in_range(n, 19, 21);
    client_event(w, "at 1s decode 40 tok/s"); /* in force before the newest of its kind */
    client_event(w, "at 15s decode 40 tok/s");
    for (n = 0; o3_world_poll(w, 16 * S, &o);)
        n += o.kind == O3_WORLD_DATA;
    assert_in_range(n, 20, 41); /* what had begun takes its time */
    o3_world_free(w);
}

/* ---- the whole ---- */

static void extremes_stay_finite(void **state) {
    (void)state;
    struct o3_world *w = client_world((struct o3_world_params){.keep_alive_ms = -1, .noise_cv = 1});
    for (int i = 0; i < 100; i++)
        client_event(w, "at 1s decode -99.99 %");
    for (int i = 0; i < 100; i++)
        client_event(w, "at 1s load-time +10000 %");
    client_event(w, "at 0s decay 99 %/day");
    client_event(w, "at 0s quota 0.01 cores");
    client_event(w, "at 0s neighbour 95 %");
    client_event(w, "at 0s daily 95 %");
    assert_int_equal(o3_world_preload(w, SMALL, 4096, 0, NULL), 0);
    struct o3_world_output o;
    static const char body[] = "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_ctx\":4096}}";
    static const char other[] = "{\"model\":\"sim-think\",\"prompt\":\"x\"}";
    int64_t t = 1000 * 24 * HOUR, latest = t + 50LL * 365 * 24 * HOUR;
    o3_world_request(w, t, "POST", "/api/generate", body, strlen(body));
    o3_world_request(w, t + S, "POST", "/api/generate", other, strlen(other));
    assert_false(o3_world_poll(w, t + HOUR, &o));
    int64_t next = o3_world_next_ns(w);
    assert_true(next > t + HOUR && next < latest);
    o3_world_free(w);
}

static uint64_t hash_of(uint64_t seed, int64_t step) {
    static const char *const EVENTS[] = {"at 0s noise 8 % ar 0.6", "at 0s load-effect 4 %", "at 0s warm-up 3 requests",
                                         "at 0s daily 10 %",       "at 0s decay 2 %/day",   "at 0s thermal 60C",
                                         "at 1h neighbour 10 %",   "at 2h tenant 20GiB",    "at 3h runner killed",
                                         "at 4h disk slow 3x",     "at 5h gpu lost for 30m"};
    struct o3_world_params p = {.seed = seed, .noise_cv = 0.05, .has_gpu = true, .memory_noise_bytes = 28 << 20};
    struct o3_world *w = client_world(p);
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++)
        client_event(w, EVENTS[i]);
    uint64_t h = 0;
    for (int i = 0; i < 8 * 60; i++) {
        static const char body[] = "{\"model\":\"sim-small\",\"prompt\":\"x\",\"options\":{\"num_predict\":100}}";
        o3_world_request(w, i * MIN, "POST", "/api/generate", body, strlen(body));
        struct o3_world_output o;
        for (int64_t t = i * MIN; t <= (i + 1) * MIN; t += step)
            while (o3_world_poll(w, t, &o)) {
                h = o3_sim_hash(h, o.bytes, o.n);
                h = o3_sim_hash(h, &o.mono_ns, sizeof o.mono_ns);
            }
    }
    o3_world_free(w);
    return h;
}

static void everything_repeats(void **state) {
    (void)state;
    uint64_t h = hash_of(5, MIN);
    assert_true(h == hash_of(5, MIN));
    assert_true(h == hash_of(5, 100 * MS)); /* however often one looks */
    assert_true(h != hash_of(6, MIN));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_under_way_dies_too),
        cmocka_unit_test(a_lost_gpu_stays_lost_while_any_line_says_so),
        cmocka_unit_test(expected_is_what_is_measured),
        cmocka_unit_test(noise_is_white_and_of_its_size),
        cmocka_unit_test(noise_wanders),
        cmocka_unit_test(chance_belongs_to_the_request),
        cmocka_unit_test(requests_bring_no_chance_to_users),
        cmocka_unit_test(loads_draw_their_speed),
        cmocka_unit_test(first_requests_are_slower),
        cmocka_unit_test(days_have_slow_hours),
        cmocka_unit_test(uptime_wears),
        cmocka_unit_test(heat_throttles),
        cmocka_unit_test(heat_throttles_within_a_request),
        cmocka_unit_test(heat_does_not_depend_on_the_steps),
        cmocka_unit_test(a_quota_makes_a_convoy),
        cmocka_unit_test(neighbours_take_more_than_their_share_of_a_processor),
        cmocka_unit_test(bandwidth_moves_decoding_only),
        cmocka_unit_test(a_full_cache_slows),
        cmocka_unit_test(runners_take_turns),
        cmocka_unit_test(tenants_make_spills_and_failures),
        cmocka_unit_test(what_no_formula_knows_is_there),
        cmocka_unit_test(overheads_add_up),
        cmocka_unit_test(an_automatic_context_is_lowered),
        cmocka_unit_test(an_explicit_number_of_layers_is_not_made_to_fit),
        cmocka_unit_test(out_of_memory_unloads_all),
        cmocka_unit_test(a_lost_gpu_may_go_unseen),
        cmocka_unit_test(loads_run_out_of_memory),
        cmocka_unit_test(runners_die_when_filled),
        cmocka_unit_test(a_slow_disk_slows_loads),
        cmocka_unit_test(events_reach_what_runs),
        cmocka_unit_test(extremes_stay_finite),
        cmocka_unit_test(everything_repeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
