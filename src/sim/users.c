/* SPDX-License-Identifier: Apache-2.0 */
/* The users of the server: conversations that begin by chance and whose prompts grow turn by turn. What chance decides
 * about them is keyed by the seed, the group, the conversation and the turn; only the moments at which answers end
 * depend on the server. Their requests go the way of those of the API, without bytes in and out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "o3/num.h"
#include "sim/sim.h"

#define PATIENCE_NS (120 * O3_NS_PER_S) /* without a token */
#define READING_BEGINS_NS (2 * O3_NS_PER_S)
#define READING_TOKENS_PER_S 20
#define SPREAD 0.7 /* of lengths: sigma of their logarithm */
enum { MAX_TURNS = 1000, MAX_BURST = 1000, MAX_TOKENS = O3_WORLD_USERS_TOKENS_MAX };
#define MAX_PER_HOUR 1e5

struct conversation {
    uint64_t key; /* o3_sim_request.user */
    int group;
    uint32_t number, turn, n_turns;
    /* Between turns the time of the next one; while a request is under way that at which patience is looked at. */
    int64_t next_ns, sent_ns, pause_ns;
    int64_t plan_ns;          /* when this turn would have been sent to a server that answers faster than people read */
    int64_t n_text, n_answer; /* tokens of this turn */
    uint64_t chance;          /* of this turn */
    struct o3_sim_request *request;
    bool is_answered;
    size_t n_lost; /* tokens of the prefix that a request from the API took out of the caches */
    /* The messages so far, and where each of them ends. */
    struct o3_sim_tokens tokens, ends;
};

struct group {
    struct o3_world_users users;
    struct o3_rand starts;
    int64_t next_start_ns;
    int64_t n_burst; /* conversations that begin then */
    uint32_t n_begun;
    int n_open;
};

struct o3_sim_users {
    struct group groups[O3_SIM_MAX_GROUPS];
    int n_groups;
    struct conversation open[O3_SIM_MAX_GROUPS * O3_SIM_MAX_CONVERSATIONS]; /* in order of their beginning */
    size_t n_open;
    struct o3_world_served served[O3_SIM_MAX_SERVED]; /* ring */
    size_t first_served, n_served;
};

/* ---- chance ---- */

static double exponential(struct o3_rand *r, double mean) {
    return -mean * o3_log(1 - o3_rand_uniform(r));
}

/* 1, 2, ... */
static int64_t geometric(struct o3_rand *r, double mean, int64_t most) {
    double u = o3_rand_uniform(r);
    if (mean <= 1) return 1;
    double n = 1 + floor(o3_log(1 - u) / o3_log1p(-1 / mean));
    return n < (double)most ? (int64_t)n : most;
}

static int64_t length(struct o3_rand *r, double mean) {
    double n = mean * o3_exp(SPREAD * o3_rand_normal(r) - SPREAD * SPREAD / 2);
    const double most = MAX_TOKENS;
    return n < 1 ? 1 : n > most ? MAX_TOKENS : (int64_t)(n + 0.5);
}

static void rand_of_turn(const struct o3_world *w, const struct conversation *c, uint32_t turn, struct o3_rand *ret) {
    uint64_t key = o3_sim_key(w->params.seed, "users", c->key);
    o3_rand_seed(ret, o3_sim_key(key, "turn", turn));
}

static void draw_turn(const struct o3_world *w, struct conversation *c) {
    const struct o3_world_users *u = &w->users->groups[c->group].users;
    struct o3_rand r;
    rand_of_turn(w, c, c->turn, &r);
    c->chance = o3_rand_u64(&r);
    c->n_text = length(&r, u->prompt_tokens);
    c->n_answer = length(&r, u->answer_tokens);
    c->pause_ns = (int64_t)(exponential(&r, (double)u->pause_ms) * 1e3) * 1000;
}

/* ---- when conversations begin ---- */

/* Traffic at that time as a share of the traffic at 14:00 UTC. People do not follow a server's clock when it jumps. */
static double share_of_day(const struct o3_world *w, double daily, int64_t t) {
    const double two_pi = 6.283185307179586, peak_h = 14;
    const int64_t day_ms = 86400 * O3_MS_PER_S;
    int64_t ms = (w->params.start_wall_ms % day_ms + t / O3_NS_PER_MS) % day_ms;
    double h = (double)ms / 3600e3;
    return 1 - daily * (1 - o3_cos(two_pi * (h - peak_h) / 24)) / 2;
}

/* A Poisson process of bursts with the rate of the busiest hour, thinned by the time of day. */
static void plan_start(const struct o3_world *w, struct group *g, int64_t t) {
    const double hour_ns = 3600e9;
    double per_hour = g->users.conversations_per_hour / (1 - g->users.daily / 2) / g->users.burst;
    for (;;) {
        double gap_ns = exponential(&g->starts, hour_ns / per_hour);
        if (gap_ns > (double)(INT64_MAX / 4 - t)) {
            g->next_start_ns = INT64_MAX;
            return;
        }
        t += (int64_t)(gap_ns / 1e3) * 1000;
        if (o3_rand_uniform(&g->starts) < share_of_day(w, g->users.daily, t)) break;
    }
    g->next_start_ns = t;
    g->n_burst = geometric(&g->starts, g->users.burst, MAX_BURST);
}

/* ---- conversations ---- */

static struct conversation *find(const struct o3_world *w, uint64_t key) {
    struct o3_sim_users *u = w->users;
    for (size_t i = 0; u && i < u->n_open; i++)
        if (u->open[i].key == key) return &u->open[i];
    return NULL;
}

static void refresh(struct o3_world *w) {
    int64_t next = INT64_MAX;
    for (int i = 0; i < w->users->n_groups; i++)
        if (w->users->groups[i].next_start_ns < next) next = w->users->groups[i].next_start_ns;
    for (size_t i = 0; i < w->users->n_open; i++)
        if (w->users->open[i].next_ns < next) next = w->users->open[i].next_ns;
    w->users_next_ns = next;
}

static void begin(struct o3_world *w, int group, int64_t t) {
    struct o3_sim_users *u = w->users;
    struct group *g = &u->groups[group];
    uint32_t number = g->n_begun++;
    if (g->n_open == O3_SIM_MAX_CONVERSATIONS) {
        w->truth.n_conversations_dropped++;
        return;
    }
    struct conversation *c = &u->open[u->n_open++];
    *c = (struct conversation){.group = group, .number = number, .next_ns = t, .plan_ns = t};
    c->key = (uint64_t)(group + 1) << 32 | number;
    struct o3_rand r;
    rand_of_turn(w, c, UINT32_MAX, &r);
    c->n_turns = (uint32_t)geometric(&r, g->users.turns, MAX_TURNS);
    draw_turn(w, c);
    g->n_open++;
}

static void end(struct o3_world *w, struct conversation *c) {
    struct o3_sim_users *u = w->users;
    u->groups[c->group].n_open--;
    o3_sim_tokens_done(&c->tokens);
    o3_sim_tokens_done(&c->ends);
    size_t i = (size_t)(c - u->open);
    u->n_open--;
    memmove(c, c + 1, (u->n_open - i) * sizeof *c);
}

/* ---- messages ---- */

static int add_question(struct conversation *c) {
    int r = o3_sim_tokens_add_header(&c->tokens, "user");
    if (r == 0) r = o3_sim_tokens_add_made(&c->tokens, o3_sim_key(c->chance, "text", 0), 0, (size_t)c->n_text);
    if (r == 0) r = o3_sim_tokens_end(&c->tokens);
    return r < 0 ? r : o3_sim_tokens_add(&c->ends, (uint32_t)c->tokens.n);
}

static int add_answer(struct conversation *c, const struct o3_sim_request *rq) {
    int r = o3_sim_tokens_add_header(&c->tokens, "assistant");
    if (r == 0) r = o3_sim_tokens_append(&c->tokens, rq->tokens.v + rq->n_prompt, rq->tokens.n - rq->n_prompt);
    if (r == 0) r = o3_sim_tokens_end(&c->tokens);
    return r < 0 ? r : o3_sim_tokens_add(&c->ends, (uint32_t)c->tokens.n);
}

/* Drops the oldest messages until the rest, or the last one, fits: as the server does with each request. */
static void drop_old_messages(struct conversation *c, size_t room) {
    size_t n = 0, dropped = 0;
    while (n + 1 < c->ends.n && c->tokens.n - dropped >= room)
        dropped = c->ends.v[n++];
    if (n == 0) return;
    c->tokens.n -= dropped;
    memmove(c->tokens.v, c->tokens.v + dropped, c->tokens.n * sizeof *c->tokens.v);
    c->ends.n -= n;
    for (size_t i = 0; i < c->ends.n; i++)
        c->ends.v[i] = c->ends.v[i + n] - (uint32_t)dropped;
    c->n_lost = 0; /* the prefix is another one now */
}

int o3_sim_users_prompt(struct o3_world *w, struct o3_sim_request *rq) {
    size_t n_ctx = (size_t)rq->runner->launch.num_ctx;
    struct conversation *c = find(w, rq->user);
    O3_ASSERT(c && c->request == rq); /* who leaves takes the request along */
    struct o3_sim_tokens *t = &rq->tokens;
    int r = o3_sim_tokens_begin(t);
    if (r == 0) r = o3_sim_tokens_add_header(t, "assistant");
    size_t n_frame = t->n;
    drop_old_messages(c, n_ctx > n_frame ? n_ctx - n_frame : 0);
    t->n = 1; /* the header comes last */
    if (r == 0) r = o3_sim_tokens_reserve(t, n_frame + c->tokens.n + (size_t)c->n_answer);
    if (r == 0) r = o3_sim_tokens_append(t, c->tokens.v, c->tokens.n);
    return r < 0 ? r : o3_sim_tokens_add_header(t, "assistant");
}

/* ---- requests ---- */

static void put_served(struct o3_world *w, const struct o3_world_served *s) {
    struct o3_sim_users *u = w->users;
    if (u->n_served == O3_SIM_MAX_SERVED) {
        u->first_served = (u->first_served + 1) % O3_SIM_MAX_SERVED;
        u->n_served--;
        w->truth.n_served_dropped++;
    }
    u->served[(u->first_served + u->n_served++) % O3_SIM_MAX_SERVED] = *s;
    w->truth.n_users_served++;
}

static void report(struct o3_world *w, const struct conversation *c, int64_t t) {
    const struct o3_sim_request *rq = c->request;
    struct o3_world_served s = {.group = c->group, .conversation = c->number, .turn = c->turn, .sent_ns = c->sent_ns};
    s.total_ns = t - c->sent_ns;
    s.ttft_ns = rq && rq->n_out > 0 ? rq->first_ns - c->sent_ns : -1;
    s.is_good = c->is_answered;
    s.n_answer = rq ? rq->n_out : 0;
    s.has_loaded = rq && rq->has_queued;
    if (rq && rq->n_out > 0) {
        s.n_prompt = (int64_t)rq->n_prompt;
        s.n_evaluated = (int64_t)(rq->n_prompt - rq->n_cached);
    }
    put_served(w, &s);
}

/* People read the answer and think. One that comes a little later moves their next message only if it comes later than
 * they would have read it: so a delay dies out, and two worlds do not drift apart because of it. */
static void plan_next_turn(struct conversation *c, int64_t ended_ns) {
    c->plan_ns += READING_BEGINS_NS + c->n_answer * (O3_NS_PER_S / READING_TOKENS_PER_S) + c->pause_ns;
    int64_t earliest = ended_ns + c->pause_ns / 2;
    c->next_ns = c->plan_ns > earliest ? c->plan_ns : earliest;
}

/* The request under way is over; the conversation with it, unless it was answered and more is to be said. */
static void close_request(struct o3_world *w, struct conversation *c, int64_t t) {
    report(w, c, t);
    c->request = NULL;
    w->truth.n_users_active--;
    if (!c->is_answered || ++c->turn >= c->n_turns) {
        end(w, c);
        return;
    }
    plan_next_turn(c, t);
    draw_turn(w, c);
}

static void set_body(struct o3_sim_request *rq, const struct o3_world_users *u) {
    rq->has_body = true;
    o3_str_copy(rq->body.model, sizeof rq->body.model, u->model);
    rq->body.options.has[O3_SIM_NUM_CTX] = u->num_ctx > 0;
    rq->body.options.number[O3_SIM_NUM_CTX] = (double)u->num_ctx;
}

static void send(struct o3_world *w, struct conversation *c, int64_t t) {
    c->sent_ns = t;
    c->is_answered = false;
    struct o3_sim_request *rq = o3_sim_add_request(w, t);
    w->truth.n_users_active++;
    if (!rq || add_question(c) < 0) {
        if (rq) o3_sim_remove(w, rq);
        close_request(w, c, t);
        return;
    }
    rq->user = c->key;
    rq->chance = c->chance;
    rq->is_silent = true;
    rq->n_step = 1;
    set_body(rq, &w->users->groups[c->group].users);
    c->request = rq;
    c->next_ns = t + PATIENCE_NS;
}

void o3_sim_users_started(struct o3_world *w, struct o3_sim_request *rq) {
    struct conversation *c = find(w, rq->user);
    O3_ASSERT(c);
    rq->n_limit = INT64_MAX;
    rq->n_natural = c->n_answer;
    size_t had = c->n_lost < rq->n_prompt ? c->n_lost : rq->n_prompt - 1;
    if (had > rq->n_cached) w->truth.n_tokens_again += (int64_t)(had - rq->n_cached);
    c->n_lost = 0;
}

void o3_sim_users_answered(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct conversation *c = find(w, rq->user);
    if (!c || c->request != rq || o3_sim_in_force(w, O3_SIM_CHANGE_MALFORMED, t)) return;
    c->is_answered = add_answer(c, rq) == 0;
}

void o3_sim_users_ended(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct conversation *c = find(w, rq->user);
    if (!c || c->request != rq) return;
    close_request(w, c, t);
    refresh(w);
}

/* The user goes away. */
static void leave(struct o3_world *w, struct conversation *c, int64_t t) {
    struct o3_sim_request *rq = c->request;
    close_request(w, c, t);
    o3_sim_leave(w, rq, t);
}

void o3_sim_users_cut(struct o3_world *w, int64_t t) {
    struct o3_sim_users *u = w->users;
    for (size_t i = 0; u && i < u->n_open;)
        if (u->open[i].request) {
            leave(w, &u->open[i], t);
            i = 0; /* the end of one may have ended others */
        } else {
            i++;
        }
    if (u) refresh(w);
}

static void look_at_patience(struct o3_world *w, struct conversation *c, int64_t t) {
    int64_t last = c->request->n_out > 0 ? c->request->last_ns : c->sent_ns;
    if (t - last >= PATIENCE_NS)
        leave(w, c, t);
    else
        c->next_ns = last + PATIENCE_NS;
}

/* Starts come before turns, in order of the groups and of the conversations. */
void o3_sim_users_step(struct o3_world *w, int64_t t) {
    struct o3_sim_users *u = w->users;
    for (int i = 0; i < u->n_groups; i++)
        if (u->groups[i].next_start_ns <= t) {
            for (int64_t n = u->groups[i].n_burst; n > 0; n--)
                begin(w, i, t);
            plan_start(w, &u->groups[i], t);
            refresh(w);
            return;
        }
    for (size_t i = 0; i < u->n_open; i++) {
        struct conversation *c = &u->open[i];
        if (c->next_ns > t) continue;
        if (c->request)
            look_at_patience(w, c, t);
        else
            send(w, c, t);
        break;
    }
    refresh(w);
}

/* ---- what the prompt cache wants to know ---- */

bool o3_sim_users_is_open(const struct o3_world *w, uint64_t user) {
    return find(w, user) != NULL;
}

void o3_sim_users_lost(struct o3_world *w, uint64_t user, size_t n_tokens) {
    struct conversation *c = find(w, user);
    if (c && n_tokens > c->n_lost) c->n_lost = n_tokens;
}

/* ---- public ---- */

struct o3_world_users o3_world_users_default(void) {
    struct o3_world_users u = {.conversations_per_hour = 12, .burst = 1, .turns = 4, .pause_ms = 30000};
    o3_str_copy(u.model, sizeof u.model, "sim-small");
    u.prompt_tokens = 300;
    u.answer_tokens = 200;
    return u;
}

static int check(struct o3_world *w, const struct o3_world_users *u, struct o3_err *e) {
    int r = o3_world_check_model(w, u->model, e);
    if (r < 0) return r;
    const struct o3_sim_model *m = o3_sim_library_find(w, u->model);
    if (!m->weights->can_complete || m->weights->remote_host)
        return o3_err_set(e, O3_E_CONFIG, "model \"%s\" answers no chats here", u->model);
    if (!(u->conversations_per_hour > 0 && u->conversations_per_hour <= MAX_PER_HOUR))
        return o3_err_set(e, O3_E_CONFIG, "expected more than 0 and at most %.0f conversations an hour", MAX_PER_HOUR);
    if (!(u->burst >= 1 && u->burst <= (double)MAX_BURST / 10))
        return o3_err_set(e, O3_E_CONFIG, "expected bursts of 1 to %d conversations", MAX_BURST / 10);
    if (!(u->daily >= 0 && u->daily <= 1)) return o3_err_set(e, O3_E_CONFIG, "expected a daily share from 0 to 1");
    if (u->turns < 1 || u->turns > MAX_TURNS / 10)
        return o3_err_set(e, O3_E_CONFIG, "expected 1 to %d turns", MAX_TURNS / 10);
    if (u->prompt_tokens < 1 || u->prompt_tokens > MAX_TOKENS || u->answer_tokens < 1 || u->answer_tokens > MAX_TOKENS)
        return o3_err_set(e, O3_E_CONFIG, "expected 1 to %d tokens in prompts and answers", MAX_TOKENS);
    if (u->pause_ms < 0 || u->pause_ms > O3_WORLD_USERS_PAUSE_MAX_MS)
        return o3_err_set(e, O3_E_CONFIG, "expected a pause of at most 7 days");
    return 0;
}

int o3_world_add_users(struct o3_world *w, const struct o3_world_users *u, struct o3_err *e) {
    int r = check(w, u, e);
    if (r < 0) return r;
    if (!w->users) w->users = calloc(1, sizeof *w->users);
    if (!w->users) return o3_err_set(e, O3_E_NOMEM, "out of memory");
    if (w->users->n_groups == O3_SIM_MAX_GROUPS)
        return o3_err_set(e, O3_E_LIMIT, "more than %d groups of users", O3_SIM_MAX_GROUPS);
    int i = w->users->n_groups++;
    struct group *g = &w->users->groups[i];
    *g = (struct group){.users = *u};
    o3_rand_seed(&g->starts, o3_sim_key(w->params.seed, "starts", (uint64_t)i));
    plan_start(w, g, w->now_ns);
    refresh(w);
    w->is_due_known = false;
    return 0;
}

bool o3_world_take_served(struct o3_world *w, struct o3_world_served *ret) {
    struct o3_sim_users *u = w->users;
    if (!u || u->n_served == 0) return false;
    *ret = u->served[u->first_served];
    u->first_served = (u->first_served + 1) % O3_SIM_MAX_SERVED;
    u->n_served--;
    return true;
}

void o3_sim_users_free(struct o3_world *w) {
    if (!w->users) return;
    while (w->users->n_open > 0)
        end(w, &w->users->open[w->users->n_open - 1]);
    free(w->users);
    w->users = NULL;
}
