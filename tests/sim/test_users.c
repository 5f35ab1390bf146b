/* SPDX-License-Identifier: Apache-2.0 */
/* Users of the simulated server: when they come, what they say, what the caches keep for them, and what requests from
 * the API cost them. */
#include "o3_test.h"
#include <jansson.h>
#include "sim/sim.h"

#define S O3_NS_PER_S
#define MS O3_NS_PER_MS
#define HOUR (3600 * S)
#define START_WALL_MS 1795219200000LL /* 2026-11-21T00:00:00Z */

static struct o3_world *world_with(struct o3_world_params p) {
    if (!p.seed) p.seed = 7;
    p.has_gpu = true;
    p.has_recorded_models = true;
    p.start_wall_ms = START_WALL_MS;
    struct o3_world *w = o3_world_new(&p);
    assert_non_null(w);
    return w;
}

static struct o3_world *plain_world(uint64_t seed) {
    return world_with((struct o3_world_params){.seed = seed, .noise_cv = 0.03});
}

/* Models stay loaded once they are. */
static struct o3_world *lasting_world(uint64_t seed) {
    return world_with((struct o3_world_params){.seed = seed, .noise_cv = 0.03, .keep_alive_ms = -1});
}

static void add(struct o3_world *w, struct o3_world_users u) {
    struct o3_err e = {0};
    if (o3_world_add_users(w, &u, &e) < 0) fail_msg("%s", e.text);
}

static void event(struct o3_world *w, const char *line) {
    struct o3_err e = {0};
    if (o3_world_add_event(w, line, &e) < 0) fail_msg("%s: %s", line, e.text);
}

static struct o3_world_truth truth(const struct o3_world *w) {
    struct o3_world_truth t;
    o3_world_truth(w, 0, &t);
    return t;
}

struct records {
    struct o3_world_served *v;
    size_t n, cap;
};

static void take(struct o3_world *w, struct records *r) {
    struct o3_world_served s;
    while (o3_world_take_served(w, &s)) {
        if (r->n == r->cap) {
            r->cap = r->cap ? r->cap * 2 : 256;
            r->v = realloc(r->v, r->cap * sizeof *r->v);
            assert_non_null(r->v);
        }
        r->v[r->n++] = s;
    }
}

static void run(struct o3_world *w, int64_t until, struct records *r) {
    struct o3_world_output o;
    for (int64_t t = 0; t < until; t += HOUR) {
        while (o3_world_poll(w, t + HOUR < until ? t + HOUR : until, &o))
            ;
        if (r) take(w, r);
    }
}

static void records_done(struct records *r) {
    free(r->v);
    *r = (struct records){0};
}

static int by_key(const void *a, const void *b) {
    const struct o3_world_served *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->conversation != y->conversation) return x->conversation < y->conversation ? -1 : 1;
    return (x->turn > y->turn) - (x->turn < y->turn);
}

static void sort(struct records *r) {
    qsort(r->v, r->n, sizeof *r->v, by_key);
}

static const struct o3_world_served *find(const struct records *r, uint32_t conversation, uint32_t turn) {
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].conversation == conversation && r->v[i].turn == turn) return &r->v[i];
    return NULL;
}

/* ---- what is accepted ---- */

static void refused(void **state) {
    (void)state;
    struct o3_world *w = plain_world(7);
    struct o3_err e = {0};
    struct o3_world_users u = o3_world_users_default();
    o3_str_copy(u.model, sizeof u.model, "nope");
    assert_int_equal(o3_world_add_users(w, &u, &e), O3_E_NOT_FOUND);
    assert_non_null(strstr(e.text, "nope"));
    o3_str_copy(u.model, sizeof u.model, "sim-embed");
    assert_int_equal(o3_world_add_users(w, &u, &e), O3_E_CONFIG);
    o3_str_copy(u.model, sizeof u.model, "sim-remote:cloud");
    assert_int_equal(o3_world_add_users(w, &u, &e), O3_E_CONFIG);
    struct o3_world_users wrong[10];
    for (size_t i = 0; i < 10; i++)
        wrong[i] = o3_world_users_default();
    wrong[0].conversations_per_hour = 0;
    wrong[1].conversations_per_hour = NAN;
    wrong[2].burst = 0.5;
    wrong[3].daily = 1.5;
    wrong[4].turns = 0;
    wrong[5].prompt_tokens = 0;
    wrong[6].answer_tokens = 0;
    wrong[7].pause_ms = -1;
    wrong[8].conversations_per_hour = INFINITY;
    wrong[9].burst = NAN;
    for (size_t i = 0; i < 10; i++)
        if (o3_world_add_users(w, &wrong[i], &e) != O3_E_CONFIG) fail_msg("row %zu was accepted", i);
    assert_int_equal(o3_world_next_ns(w), INT64_MAX);
    for (int i = 0; i < O3_SIM_MAX_GROUPS; i++)
        add(w, o3_world_users_default());
    u = o3_world_users_default();
    assert_int_equal(o3_world_add_users(w, &u, &e), O3_E_LIMIT);
    o3_world_free(w);
}

/* ---- when they come ---- */

struct arrivals {
    double per_hour, dispersion, night, day; /* dispersion: variance over mean of the hourly counts */
    double turns, answer, first_prompt;
    size_t n;
};

static struct arrivals arrivals_of(struct o3_world_users u, int n_hours) {
    struct o3_world *w = plain_world(o3_test_seed(11));
    add(w, u);
    struct records r = {0};
    run(w, n_hours * HOUR, &r);
    struct arrivals a = {0};
    double *counts = calloc((size_t)n_hours, sizeof *counts);
    for (size_t i = 0; i < r.n; i++) {
        const struct o3_world_served *s = &r.v[i];
        assert_true(s->is_good);
        a.answer += (double)s->n_answer / (double)r.n;
        if (s->turn > 0) continue;
        a.n++;
        a.first_prompt += (double)s->n_prompt;
        counts[s->sent_ns / HOUR]++;
        int64_t hour = s->sent_ns / HOUR % 24;
        a.night += hour < 4;
        a.day += hour >= 12 && hour < 16;
    }
    double n = n_hours, square = 0;
    a.per_hour = (double)a.n / n;
    for (int i = 0; i < n_hours; i++)
        square += (counts[i] - a.per_hour) * (counts[i] - a.per_hour);
    a.dispersion = square / (n - 1) / a.per_hour;
    a.turns = (double)r.n / (double)a.n;
    a.first_prompt /= (double)a.n;
    free(counts);
    records_done(&r);
    o3_world_free(w);
    return a;
}

static void conversations_come_by_chance(void **state) {
    (void)state;
    const int hours = 20 * 24;
    struct arrivals a = arrivals_of(o3_world_users_default(), hours);
    O3_ASSERT_NEAR(a.per_hour, 12, 4 * sqrt(12.0 / hours));
    O3_ASSERT_NEAR(a.dispersion, 1, 4 * sqrt(2.0 / hours));
    O3_ASSERT_NEAR(a.turns, 4, 4 * sqrt(12.0 / (12 * hours))); /* geometric: variance 4 x 3 */
    O3_ASSERT_NEAR(a.answer, 200, 200 * 4 * 0.8 / sqrt(48 * hours));
    O3_ASSERT_NEAR(a.first_prompt, 300 + 13, 300 * 4 * 0.8 / sqrt(12 * hours) + 4);
}

static void bursts_keep_the_rate(void **state) {
    (void)state;
    const int hours = 20 * 24;
    struct o3_world_users u = o3_world_users_default();
    u.burst = 4;
    u.turns = 1;
    u.answer_tokens = 20; /* or some would lose patience in the queue */
    struct arrivals a = arrivals_of(u, hours);
    /* A geometric number with mean 4 of them at once: the variance is 2 x 4 - 1 times that of single ones. */
    O3_ASSERT_NEAR(a.per_hour, 12, 4 * sqrt(7 * 12.0 / hours));
    assert_true(a.dispersion > 5 && a.dispersion < 9.5);
}

static void traffic_has_a_daily_cycle(void **state) {
    (void)state;
    struct o3_world_users u = o3_world_users_default();
    u.daily = 0.8;
    u.turns = 1;
    struct arrivals a = arrivals_of(u, 30 * 24);
    O3_ASSERT_NEAR(a.per_hour, 12, 4 * sqrt(12.0 / (30 * 24)));
    /* At 02:00 a fifth of the traffic of 14:00; over four hours around them 0.218 to 0.982. */
    O3_ASSERT_NEAR(a.night / a.day, 0.218 / 0.982, 0.03);
}

/* ---- what they say ---- */

static void prompts_grow_and_are_found_in_the_cache(void **state) {
    (void)state;
    struct o3_world *w = plain_world(7);
    add(w, o3_world_users_default());
    struct records r = {0};
    run(w, 24 * HOUR, &r);
    size_t n_later = 0, n_found = 0;
    for (size_t i = 0; i < r.n; i++) {
        const struct o3_world_served *s = &r.v[i];
        assert_true(s->is_good && s->ttft_ns > 0 && s->total_ns > s->ttft_ns);
        if (s->turn == 0) continue;
        const struct o3_world_served *before = find(&r, s->conversation, s->turn - 1);
        assert_non_null(before);
        assert_true(s->sent_ns >= before->sent_ns + before->total_ns);
        int64_t known = before->n_prompt + before->n_answer;
        bool is_cut = s->n_prompt < known; /* the context was full */
        n_later++;
        n_found += s->n_evaluated == s->n_prompt - known;
        if (!is_cut) assert_true(s->n_evaluated >= s->n_prompt - known);
    }
    assert_true(n_later > 400);
    if (n_found * 100 < n_later * 97) fail_msg("%zu of %zu prefixes were found", n_found, n_later);
    struct o3_world_truth t = truth(w);
    assert_int_equal(t.n_users_served, r.n);
    assert_int_equal(t.n_served_dropped, 0);
    assert_int_equal(t.n_prefixes_evicted + t.n_prefixes_swapped + t.n_tokens_again, 0);
    records_done(&r);
    o3_world_free(w);
}

static void a_full_context_loses_the_oldest_messages(void **state) {
    (void)state;
    struct o3_world *w = plain_world(7);
    struct o3_world_users u = o3_world_users_default();
    u.conversations_per_hour = 4;
    u.turns = 30;
    u.num_ctx = 2048;
    u.prompt_tokens = 150;
    add(w, u);
    struct records r = {0};
    run(w, 24 * HOUR, &r);
    size_t n_cut = 0;
    for (size_t i = 0; i < r.n; i++) {
        if (!r.v[i].is_good || r.v[i].n_prompt >= 2048)
            fail_msg("turn %u of %u: %s, %lld tokens after %lld ms", r.v[i].turn, r.v[i].conversation,
                     r.v[i].is_good ? "good" : "bad", (long long)r.v[i].n_prompt, (long long)(r.v[i].total_ns / MS));
        const struct o3_world_served *before = r.v[i].turn ? find(&r, r.v[i].conversation, r.v[i].turn - 1) : NULL;
        n_cut += before && r.v[i].n_prompt < before->n_prompt + before->n_answer;
    }
    assert_true(n_cut > 300);
    records_done(&r);
    o3_world_free(w);
}

static void they_load_the_model_and_keep_it(void **state) {
    (void)state;
    struct o3_world *w = plain_world(7);
    struct o3_world_users u = o3_world_users_default();
    u.conversations_per_hour = 0.02;
    u.turns = 2;
    add(w, u);
    struct records r = {0};
    int64_t begin = o3_world_next_ns(w);
    assert_true(begin > 0 && begin < INT64_MAX);
    struct o3_world_output o;
    assert_false(o3_world_poll(w, begin, &o));
    assert_int_equal(truth(w).n_users_active, 1);
    while (r.n == 0) {
        assert_false(o3_world_poll(w, o3_world_next_ns(w), &o));
        take(w, &r);
    }
    assert_int_equal(truth(w).n_users_active, 0);
    assert_int_equal(truth(w).n_loads, 1);
    assert_true(r.v[0].has_loaded && r.v[0].is_good && r.v[0].ttft_ns > 2 * S);
    assert_int_equal(r.v[0].sent_ns, begin);
    while (truth(w).n_unloads == 0) {
        int64_t t = o3_world_next_ns(w);
        assert_false(o3_world_poll(w, t, &o));
        take(w, &r);
        const struct o3_world_served *last = &r.v[r.n - 1];
        if (truth(w).n_unloads) assert_int_equal(t, last->sent_ns + last->total_ns + 300 * S);
    }
    records_done(&r);
    o3_world_free(w);
}

/* ---- pairs of worlds ---- */

static void probe(struct o3_world *w, int64_t t, const char *model, int n) {
    char body[512];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"raw\":true,\"prompt\":\"n%d one two three four five six seven eight nine ten\","
             "\"options\":{\"num_predict\":24}}",
             model, n);
    o3_world_request(w, t, "POST", "/api/generate", body, strlen(body));
}

static void run_with_probes(struct o3_world *w, int64_t until, int64_t every, struct records *r) {
    struct o3_world_output o;
    int n = 0;
    for (int64_t t = every; t <= until; t += every) {
        while (o3_world_poll(w, t, &o))
            ;
        probe(w, t, "sim-small", n++);
        take(w, r);
    }
    while (o3_world_poll(w, until, &o))
        ;
    take(w, r);
}

static void the_same_conversations_in_two_worlds(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(19);
    struct o3_world *a = lasting_world(seed), *b = lasting_world(seed);
    /* So few that they seldom wait for each other: a delay changes for whom one waits, either way. */
    struct o3_world_users small = o3_world_users_default();
    small.conversations_per_hour = 2;
    struct o3_world_users medium = small;
    o3_str_copy(medium.model, sizeof medium.model, "sim-medium");
    add(a, small);
    add(a, medium);
    add(b, small);
    add(b, medium);
    struct records ra = {0}, rb = {0};
    run(a, 72 * HOUR, &ra);
    run_with_probes(b, 72 * HOUR, 31 * S, &rb);
    sort(&ra);
    sort(&rb);
    size_t n_same = 0, n_timely = 0, i = 0, j = 0;
    size_t n_delayed = 0, n_hastened = 0;
    while (i < ra.n && j < rb.n) {
        const struct o3_world_served *x = &ra.v[i], *y = &rb.v[j];
        int c = by_key(x, y);
        i += c <= 0;
        j += c >= 0;
        if (c != 0) continue;
        assert_int_equal(x->n_prompt, y->n_prompt);
        assert_int_equal(x->n_answer, y->n_answer);
        assert_true(x->is_good && y->is_good);
        if (x->turn == 0) assert_int_equal(x->sent_ns, y->sent_ns);
        if (x->turn == 0) n_same++;
        n_timely += x->n_evaluated == y->n_evaluated && x->total_ns == y->total_ns;
        /* Who begins a conversation gains: the probe has already put away what was in the slot. */
        if (x->turn == 0) continue;
        n_delayed += y->total_ns > x->total_ns + 10 * MS;
        n_hastened += y->total_ns < x->total_ns - 10 * MS;
    }
    /* Only what was under way at the end can be in one of them alone. */
    assert_true(n_same > 200 && ra.n + 20 > rb.n && rb.n + 20 > ra.n);
    assert_true(i + 20 > ra.n && j + 20 > rb.n);
    /* Most requests meet no probe and are the same to the nanosecond, noise included. */
    assert_true(n_timely * 3 > ra.n);
    print_message("%zu the same, %zu delayed, %zu hastened\n", n_timely, n_delayed, n_hastened);
    assert_true(n_delayed > 20 && n_delayed > 2 * n_hastened);
    records_done(&ra);
    records_done(&rb);
    o3_world_free(a);
    o3_world_free(b);
}

static void other_seeds_are_other_users(void **state) {
    (void)state;
    struct o3_world *a = plain_world(1), *b = plain_world(2);
    add(a, o3_world_users_default());
    add(b, o3_world_users_default());
    struct records ra = {0}, rb = {0};
    run(a, HOUR * 3, &ra);
    run(b, HOUR * 3, &rb);
    assert_true(ra.n > 3 && rb.n > 3);
    assert_true(ra.v[0].sent_ns != rb.v[0].sent_ns && ra.v[0].n_answer != rb.v[0].n_answer);
    records_done(&ra);
    records_done(&rb);
    o3_world_free(a);
    o3_world_free(b);
}

static void a_jump_of_the_clock_leaves_them_alone(void **state) {
    (void)state;
    struct o3_world_users u = o3_world_users_default();
    u.daily = 1;
    struct records r[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct o3_world *w = plain_world(21);
        add(w, u);
        run(w, HOUR, &r[i]);
        if (i) o3_world_jump_clock(w, HOUR, 9 * 3600 * O3_MS_PER_S);
        run(w, 24 * HOUR, &r[i]);
        o3_world_free(w);
    }
    assert_true(r[0].n > 100);
    assert_int_equal(r[0].n, r[1].n);
    for (size_t i = 0; i < r[0].n; i++) {
        const struct o3_world_served *a = &r[0].v[i], *b = &r[1].v[i];
        assert_int_equal(by_key(a, b), 0);
        assert_int_equal(a->sent_ns, b->sent_ns);
        assert_int_equal(a->total_ns, b->total_ns);
    }
    records_done(&r[0]);
    records_done(&r[1]);
}

/* The first conversation with at least two turns, as it goes without disturbance. */
static struct o3_world_served two_turns[2];

static struct o3_world *lone_world(const char *version, int parallel, struct o3_world_users u) {
    struct o3_world *w = world_with(
        (struct o3_world_params){.seed = 3, .noise_cv = 0, .parallel = parallel, .version = version});
    struct o3_err e = {0};
    if (o3_world_preload(w, u.model, u.num_ctx, 0, &e) < 0) fail_msg("%s", e.text);
    add(w, u);
    return w;
}

static struct o3_world_users lone_users(void) {
    struct o3_world_users u = o3_world_users_default();
    u.conversations_per_hour = 0.5;
    u.pause_ms = 60000;
    u.num_ctx = 8192;
    return u;
}

/* Seeds are fixed here, so is the conversation that has at least two turns and a pause of half a minute or more. */
static void watch_alone(const char *version, int parallel) {
    struct o3_world *w = lone_world(version, parallel, lone_users());
    struct records r = {0};
    run(w, 100 * HOUR, &r);
    bool is_found = false;
    for (size_t i = 0; i < r.n && !is_found; i++) {
        const struct o3_world_served *a = &r.v[i], *b = find(&r, a->conversation, 1);
        is_found = a->turn == 0 && b && b->sent_ns - a->sent_ns - a->total_ns > 30 * S;
        if (is_found) memcpy(two_turns, (struct o3_world_served[]){*a, *b}, sizeof two_turns);
    }
    assert_true(is_found);
    records_done(&r);
    o3_world_free(w);
}

static void who_waits_behind_a_probe_waits_longer(void **state) {
    (void)state;
    watch_alone(NULL, 1);
    struct o3_world *w = lone_world(NULL, 1, lone_users());
    struct o3_world_output o;
    int64_t sent = two_turns[1].sent_ns, ended = 0;
    while (o3_world_poll(w, sent - 1 * S, &o))
        ;
    const char *body = "{\"model\":\"sim-small\",\"raw\":true,\"prompt\":\"hello\",\"options\":{\"num_predict\":80,"
                       "\"num_ctx\":8192}}";
    uint64_t id = o3_world_request(w, sent - 1 * S, "POST", "/api/generate", body, strlen(body));
    while (o3_world_poll(w, sent + 60 * S, &o))
        if (o.id == id && o.kind == O3_WORLD_END) ended = o.mono_ns;
    assert_true(ended > sent);
    struct records r = {0};
    take(w, &r);
    const struct o3_world_served *s = find(&r, two_turns[1].conversation, 1);
    assert_non_null(s);
    assert_int_equal(s->sent_ns, sent);
    double waited = (double)(s->ttft_ns - two_turns[1].ttft_ns) / 1e9;
    /* The rest of the probe, and the state that comes back from the prompt cache. */
    O3_ASSERT_NEAR(waited, (double)(ended - sent) / 1e9, 0.25);
    assert_true(waited > 0.7);
    records_done(&r);
    o3_world_free(w);
}

/* ---- what the caches keep ---- */

struct loss {
    struct o3_world_truth truth;
    struct o3_world_served turn; /* the second one */
};

/* Requests of the API while the user of the second turn reads the first answer. */
static struct loss disturb(const char *version, int parallel, const char *head, const char *options, int n_probes) {
    watch_alone(version, parallel);
    struct o3_world *w = lone_world(version, parallel, lone_users());
    struct o3_world_output o;
    int64_t t = two_turns[0].sent_ns + two_turns[0].total_ns + 2 * S;
    for (int i = 0; i < n_probes; i++, t += 2 * S) {
        while (o3_world_poll(w, t, &o))
            ;
        char body[2048];
        snprintf(body, sizeof body,
                 "{\"model\":\"sim-small\",\"raw\":true,\"prompt\":\"%s x%d one two three four five six seven eight "
                 "nine ten\",\"options\":{\"num_predict\":4%s}}",
                 head, i, options);
        o3_world_request(w, t, "POST", "/api/generate", body, strlen(body));
    }
    while (o3_world_poll(w, two_turns[1].sent_ns + 100 * S, &o))
        ;
    struct loss l = {.truth = truth(w)};
    struct records r = {0};
    take(w, &r);
    const struct o3_world_served *s = find(&r, two_turns[0].conversation, 1);
    assert_non_null(s);
    l.turn = *s;
    records_done(&r);
    o3_world_free(w);
    return l;
}

#define CTX ",\"num_ctx\":8192"
#define HEAD "pin pan pon pun pin pan pon pun"

static void an_old_server_loses_the_prefix(void **state) {
    (void)state;
    struct loss l = disturb("0.24.0", 1, "", CTX, 1);
    int64_t known = two_turns[0].n_prompt + two_turns[0].n_answer;
    assert_int_equal(l.truth.n_prefixes_evicted, 1);
    assert_int_equal(l.truth.n_prefixes_swapped, 0);
    assert_in_range(l.truth.n_tokens_again, known - 1, known);
    assert_int_equal(l.turn.n_evaluated, two_turns[1].n_evaluated + l.truth.n_tokens_again);
    double again_s = (double)(l.turn.ttft_ns - two_turns[1].ttft_ns) / 1e9;
    O3_ASSERT_NEAR((double)l.truth.n_tokens_again / again_s, 1500, 300);
    assert_int_equal(disturb("0.24.0", 1, "", CTX, 0).truth.n_prefixes_evicted, 0);
}

static void a_new_server_swaps_the_prefix(void **state) {
    (void)state;
    struct loss l = disturb(NULL, 1, "", CTX, 3);
    assert_int_equal(l.truth.n_prefixes_evicted, 0);
    assert_int_equal(l.truth.n_prefixes_swapped, 1);
    assert_int_equal(l.truth.n_tokens_again, 0);
    assert_int_equal(l.turn.n_evaluated, two_turns[1].n_evaluated);
    double added_ms = (double)(l.turn.ttft_ns - two_turns[1].ttft_ns) / 1e6;
    assert_true(added_ms > 10 && added_ms < 400); /* copying it back */
}

static void a_pinned_probe_leaves_the_prefix_alone(void **state) {
    (void)state;
    struct loss l = disturb(NULL, 2, HEAD, CTX, 5);
    assert_int_equal(l.truth.n_prefixes_evicted, 0);
    assert_int_equal(l.truth.n_prefixes_swapped, 0);
    assert_int_equal(l.turn.n_evaluated, two_turns[1].n_evaluated);
    assert_int_equal(l.turn.ttft_ns, two_turns[1].ttft_ns);
    /* Without a common head the second probe takes the slot unused for longest: the user's. */
    l = disturb(NULL, 2, "", CTX, 2);
    assert_int_equal(l.truth.n_prefixes_swapped, 1);
    assert_int_equal(l.truth.n_prefixes_evicted, 0);
}

static void a_reload_loses_every_prefix(void **state) {
    (void)state;
    struct loss l = disturb(NULL, 2, HEAD, ",\"num_ctx\":4096", 1);
    assert_int_equal(l.truth.n_reloads, 2); /* there and back */
    assert_int_equal(l.truth.n_prefixes_evicted, 1);
    assert_in_range(l.truth.n_tokens_again, two_turns[0].n_prompt, two_turns[0].n_prompt + two_turns[0].n_answer);
    assert_true(l.turn.has_loaded && !two_turns[1].has_loaded);
}

static void a_short_keep_alive_loses_the_prefix(void **state) {
    (void)state;
    struct loss l = disturb(NULL, 2, HEAD, CTX "},\"keep_alive\":1,\"x\":{\"y\":1", 1);
    assert_int_equal(l.truth.n_reloads, 0);
    assert_int_equal(l.truth.n_loads, disturb(NULL, 2, HEAD, CTX, 0).truth.n_loads + 1);
    assert_int_equal(l.truth.n_prefixes_evicted, 1);
    assert_true(l.truth.n_tokens_again > 0);
}

/* A runner that dies, or a server that restarts, takes the prefixes along, whoever asks next or asked last. */
static void a_crash_is_nobodys_fault(void **state) {
    (void)state;
    static const char *const EVENTS[] = {"runner killed", "restart", "gpu lost", "version 0.33.0"};
    for (size_t i = 0; i < sizeof EVENTS / sizeof *EVENTS; i++) {
        struct o3_world *w = world_with((struct o3_world_params){.seed = 3, .noise_cv = 0, .keep_alive_ms = -1});
        struct o3_world_users u = lone_users();
        u.pause_ms = 7 * 86400 * O3_MS_PER_S;
        u.turns = 100;
        add(w, u);
        struct o3_world_output o;
        while (truth(w).n_users_served == 0)
            assert_false(o3_world_poll(w, o3_world_next_ns(w), &o));
        static const char BODY[] = "{\"model\":\"sim-small\",\"keep_alive\":-1,\"options\":{\"num_predict\":2" CTX
                                   "},\"prompt\":\"x\"}";
        struct records r = {0};
        take(w, &r);
        int64_t t = r.v[0].sent_ns + r.v[0].total_ns + 10 * S;
        records_done(&r);
        for (int k = 0; k < 2; k++) {
            o3_world_request(w, t, "POST", "/api/generate", BODY, sizeof BODY - 1);
            while (o3_world_poll(w, t + 60 * S, &o))
                ;
            t += 60 * S;
            if (k > 0) break;
            char line[64];
            snprintf(line, sizeof line, "at %llds %s", (long long)(t / S + 1), EVENTS[i]);
            event(w, line);
            t += 10 * S;
        }
        assert_int_equal(truth(w).n_prefixes_evicted, 0);
        assert_int_equal(truth(w).n_prefixes_swapped, 0);
        o3_world_free(w);
    }
}

/* Long prompts from the API while the user reads for a long time: the prompt cache has no room for all of them. */
static void a_full_cache_loses_the_prefix(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.seed = 3, .noise_cv = 0, .keep_alive_ms = -1});
    struct o3_world_users u = lone_users();
    u.pause_ms = 7 * 86400 * O3_MS_PER_S;
    u.turns = 100;
    add(w, u);
    struct o3_world_output o;
    while (truth(w).n_users_served == 0)
        assert_false(o3_world_poll(w, o3_world_next_ns(w), &o));
    struct records r = {0};
    take(w, &r);
    int64_t t = r.v[0].sent_ns + r.v[0].total_ns;
    records_done(&r);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    for (int i = 0; i < 15; i++) {
        o3_buf_clear(&b);
        o3_buf_addf(&b, "{\"model\":\"sim-small\",\"raw\":true,\"options\":{\"num_predict\":2" CTX "},\"prompt\":\"x%d",
                    i);
        for (int k = 0; k < 6000; k++)
            o3_buf_adds(&b, " word");
        o3_buf_adds(&b, "\"}");
        o3_world_request(w, t += 20 * S, "POST", "/api/generate", o3_buf_str(&b), b.len);
        while (o3_world_poll(w, t + 19 * S, &o))
            ;
        /* 8 GiB hold the prefix and 12 of them: a token has 112 KiB. */
        assert_int_equal(truth(w).n_prefixes_swapped, i < 13);
        assert_int_equal(truth(w).n_prefixes_evicted, i >= 13);
    }
    o3_world_free(w);
}

static int64_t ttft_of(struct o3_world *w, int64_t t, const char *prefix, int n_words) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_addf(&b, "{\"model\":\"o3-small\",\"options\":{\"num_predict\":16},\"prompt\":\"%s", prefix);
    for (int i = 0; i < n_words; i++)
        o3_buf_adds(&b, " word");
    o3_buf_adds(&b, "\"}");
    uint64_t id = o3_world_request(w, t, "POST", "/api/generate", o3_buf_str(&b), b.len);
    struct o3_world_output o;
    int64_t first = 0;
    while (o3_world_poll(w, t + 30 * S, &o))
        if (o.id == id && o.kind == O3_WORLD_HEAD) first = o.mono_ns;
    assert_true(first > t);
    return first - t;
}

/* Measured on such a model: 127 ms with a warm prefix, 149 ms after a probe, 3665 ms cold. */
static void a_swap_costs_little(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.noise_cv = 0});
    struct o3_err e = {0};
    assert_int_equal(o3_world_preload(w, "o3-small", 0, 0, &e), 0);
    double cold = (double)ttft_of(w, 0, "", 540) / 1e6;
    double warm = (double)ttft_of(w, 60 * S, "", 540) / 1e6;
    ttft_of(w, 120 * S, "a probe", 24);
    double after = (double)ttft_of(w, 180 * S, "", 540) / 1e6;
    print_message("%.0f ms warm, %.0f ms after a probe, %.0f ms cold\n", warm, after, cold);
    O3_ASSERT_NEAR(cold, 3665, 500);
    assert_true(warm > 40 && warm < 190);
    assert_true(after > warm + 5 && after < warm + 60);
    o3_world_free(w);
}

/* ---- the cache itself ---- */

static int64_t cached_bytes(const struct o3_sim_runner *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_cached; i++)
        n += r->cached[i].tokens.n;
    return o3_sim_kv_token_bytes(r->model.weights) * (int64_t)n;
}

static void the_cache_is_bounded(void **state) {
    (void)state;
    struct o3_world *w = lasting_world(5);
    struct o3_world_users u = o3_world_users_default();
    u.num_ctx = 32768;
    u.prompt_tokens = 4000;
    u.turns = 1;
    add(w, u);
    struct records r = {0};
    int64_t most = 0;
    size_t n_most = 0;
    for (int64_t t = HOUR / 4; t < 12 * HOUR; t += HOUR / 4) {
        run_with_probes(w, t, HOUR, &r);
        for (size_t i = 0; i < O3_SIM_MAX_RUNNERS; i++) {
            const struct o3_sim_runner *rn = &w->runners[i];
            if (!rn->is_used) continue;
            int64_t bytes = cached_bytes(rn);
            assert_true(bytes <= O3_SIM_CACHE_BYTES);
            assert_true(rn->n_cached <= O3_SIM_MAX_CACHED);
            if (bytes > most) most = bytes;
            if (rn->n_cached > n_most) n_most = rn->n_cached;
        }
    }
    assert_true(most > O3_SIM_CACHE_BYTES / 2 && n_most > 4); /* it was full */
    records_done(&r);
    o3_world_free(w);
}

/* Bytes that the world holds for requests, outputs and caches. */
static size_t held(const struct o3_world *w) {
    size_t n = w->cap_outputs * sizeof *w->outputs + w->cap_requests * sizeof *w->requests;
    n += w->n_requests * sizeof **w->requests;
    for (size_t i = 0; i < O3_SIM_MAX_RUNNERS; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        for (size_t k = 0; k < O3_SIM_MAX_SLOTS; k++)
            n += r->slots[k].prefix.tokens.cap * sizeof(uint32_t);
        for (size_t k = 0; k < r->n_cached; k++)
            n += r->cached[k].tokens.cap * sizeof(uint32_t);
    }
    return n;
}

static void memory_does_not_grow(void **state) {
    (void)state;
    struct o3_world *w = lasting_world(5);
    struct o3_world_users u = o3_world_users_default();
    u.pause_ms = 600000;
    add(w, u);
    size_t most[2] = {0};
    for (int day = 0; day < 40; day++) {
        struct o3_world_output o;
        while (o3_world_poll(w, (day + 1) * 24 * HOUR, &o))
            ;
        size_t n = held(w);
        if (n > most[day >= 10]) most[day >= 10] = n;
    }
    assert_true(most[0] > 0 && most[1] < most[0] * 2);
    /* Nobody took the records: the newest are there, the others counted. */
    struct records r = {0};
    take(w, &r);
    assert_int_equal(r.n, O3_SIM_MAX_SERVED);
    assert_int_equal(truth(w).n_served_dropped + O3_SIM_MAX_SERVED, truth(w).n_users_served);
    assert_true(r.v[r.n - 1].sent_ns > 39 * 24 * HOUR);
    records_done(&r);
    o3_world_free(w);
}

static void too_many_conversations_are_turned_away(void **state) {
    (void)state;
    struct o3_world *w = plain_world(5);
    struct o3_world_users u = o3_world_users_default();
    u.conversations_per_hour = 3000;
    add(w, u);
    struct records r = {0};
    for (int i = 1; i <= 30; i++) {
        run(w, i * 60 * S, &r);
        assert_in_range(truth(w).n_users_active, 0, O3_SIM_MAX_CONVERSATIONS);
    }
    assert_true(truth(w).n_conversations_dropped > 100);
    assert_true(r.n > 20);
    records_done(&r);
    o3_world_free(w);
}

/* ---- failures ---- */

struct failing {
    size_t n_bad, n_good_after, n_bad_after;
    int64_t longest_ns;
    bool has_later_turn; /* of a conversation whose request failed */
};

static struct failing fail_by(const char *line) {
    struct o3_world *w = plain_world(13);
    struct o3_world_users u = o3_world_users_default();
    u.conversations_per_hour = 60;
    add(w, u);
    event(w, line);
    struct records r = {0};
    run(w, 3 * HOUR, &r);
    struct failing f = {0};
    int64_t limit = HOUR + 30 * 60 * S; /* events last from 1h to 1h10m */
    for (size_t i = 0; i < r.n; i++) {
        const struct o3_world_served *s = &r.v[i];
        if (s->sent_ns + s->total_ns < HOUR) assert_true(s->is_good);
        f.n_bad += !s->is_good;
        f.n_good_after += s->is_good && s->sent_ns > limit;
        f.n_bad_after += !s->is_good && s->sent_ns > limit;
        if (s->is_good) continue;
        if (s->total_ns > f.longest_ns) f.longest_ns = s->total_ns;
        if (find(&r, s->conversation, s->turn + 1)) f.has_later_turn = true;
    }
    struct o3_world_truth t = truth(w);
    assert_int_equal(t.n_users_served, r.n);
    assert_in_range(t.n_users_active, 0, O3_SIM_MAX_CONVERSATIONS);
    records_done(&r);
    o3_world_free(w);
    return f;
}

static void failures_end_conversations(void **state) {
    (void)state;
    static const char *const lines[] = {
        "at 1h http 503 for 10m", "at 1h hang for 10m",      "at 1h freeze for 10m",
        "at 1h refuse for 10m",   "at 1h malformed for 10m", "at 1h truncate-stream for 10m",
        "at 1h runner killed",    "at 1h restart",           "at 1h version 0.24.0",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct failing f = fail_by(lines[i]);
        if (f.n_bad == 0 || f.n_bad_after > 0 || f.n_good_after < 50 || f.has_later_turn)
            fail_msg("%s: %zu bad, afterwards %zu bad and %zu good", lines[i], f.n_bad, f.n_bad_after, f.n_good_after);
    }
    /* Who hears nothing leaves after two minutes. */
    int64_t longest = fail_by(lines[1]).longest_ns;
    assert_true(longest >= 120 * S && longest < 260 * S);
}

static void an_interrupted_prompt_is_half_there(void **state) {
    (void)state;
    struct o3_world *w = world_with((struct o3_world_params){.noise_cv = 0});
    struct o3_err e = {0};
    assert_int_equal(o3_world_preload(w, "o3-small", 0, 0, &e), 0);
    O3_AUTO_BUF b;
    o3_buf_init(&b, 1 << 20);
    o3_buf_adds(&b, "{\"model\":\"o3-small\",\"options\":{\"num_predict\":2},\"prompt\":\"");
    for (int i = 0; i < 600; i++)
        o3_buf_adds(&b, " word");
    o3_buf_adds(&b, "\"}");
    uint64_t id = o3_world_request(w, 0, "POST", "/api/generate", o3_buf_str(&b), b.len);
    struct o3_world_output o;
    assert_false(o3_world_poll(w, 2 * S, &o));
    o3_world_disconnect(w, 2 * S, id);
    assert_false(o3_world_poll(w, 4 * S, &o));
    size_t n = w->runners[0].slots[0].prefix.tokens.n;
    assert_in_range(n, 250, 350); /* of 612 at 152 tok/s */
    o3_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),
        cmocka_unit_test(conversations_come_by_chance),
        cmocka_unit_test(bursts_keep_the_rate),
        cmocka_unit_test(traffic_has_a_daily_cycle),
        cmocka_unit_test(prompts_grow_and_are_found_in_the_cache),
        cmocka_unit_test(a_full_context_loses_the_oldest_messages),
        cmocka_unit_test(they_load_the_model_and_keep_it),
        cmocka_unit_test(the_same_conversations_in_two_worlds),
        cmocka_unit_test(other_seeds_are_other_users),
        cmocka_unit_test(a_jump_of_the_clock_leaves_them_alone),
        cmocka_unit_test(who_waits_behind_a_probe_waits_longer),
        cmocka_unit_test(an_old_server_loses_the_prefix),
        cmocka_unit_test(a_new_server_swaps_the_prefix),
        cmocka_unit_test(a_pinned_probe_leaves_the_prefix_alone),
        cmocka_unit_test(a_reload_loses_every_prefix),
        cmocka_unit_test(a_short_keep_alive_loses_the_prefix),
        cmocka_unit_test(a_crash_is_nobodys_fault),
        cmocka_unit_test(a_full_cache_loses_the_prefix),
        cmocka_unit_test(a_swap_costs_little),
        cmocka_unit_test(the_cache_is_bounded),
        cmocka_unit_test(memory_does_not_grow),
        cmocka_unit_test(too_many_conversations_are_turned_away),
        cmocka_unit_test(failures_end_conversations),
        cmocka_unit_test(an_interrupted_prompt_is_half_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
