/* SPDX-License-Identifier: Apache-2.0 */
/* What happens on a runner: the prompt, tokens one by one, the final figures; embeddings.
 * Reported durations are differences of the very times at which the pieces are sent. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/num.h"
#include "sim/sim.h"

static bool is_embedding(const struct o3_sim_request *rq) {
    return rq->kind == O3_SIM_EMBED || rq->kind == O3_SIM_EMBEDDINGS;
}

/* ---- ends ---- */

static void give_back(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_runner *r = rq->runner;
    if (!r) return;
    bool had_slot = rq->has_slot, has_others = r->refs > 1;
    rq->has_slot = false;
    if (had_slot) {
        o3_sim_cache_give(w, rq);
        o3_sim_slot_leave(w, r, t);
    }
    o3_sim_sched_release(w, rq, t);
    /* Who waits for the slot holds the runner too, so it is still there. */
    if (had_slot && has_others && !r->is_dead) o3_sim_work_slot_free(w, r, t);
}

static void fail(struct o3_world *w, struct o3_sim_request *rq, int64_t t, int status, const char *text) {
    give_back(w, rq, t);
    o3_buf_clear(&rq->reply);
    const char *type = o3_sim_write_error(rq, status, text, &rq->reply);
    /* An error instead of a stream has the type that the handler of streams gives it. */
    bool is_stream = !rq->body.no_stream && (rq->kind == O3_SIM_GENERATE || rq->kind == O3_SIM_CHAT);
    o3_sim_answer(w, rq, t, status, is_stream ? O3_SIM_JSON_PLAIN : type);
}

static void piece_at(const struct o3_world *w, const struct o3_sim_request *rq, int64_t t, struct o3_sim_piece *ret) {
    *ret = (struct o3_sim_piece){.model = rq->body.model, .is_chat = rq->kind == O3_SIM_CHAT, .text = ""};
    o3_sim_wall(w, t, &ret->wall_s, &ret->wall_ns);
}

static void send_piece(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const struct o3_sim_piece *p) {
    struct o3_buf *line = &w->line;
    o3_buf_clear(line);
    o3_sim_write_piece(rq, p, line);
    if (!rq->head_sent) o3_sim_emit_head(w, rq, t, 200, o3_sim_stream_type(rq), true);
    rq->head_sent = true;
    o3_sim_emit_data(w, rq, t, o3_buf_str(line), line->len);
}

static void send_calls(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_piece p;
    piece_at(w, rq, t, &p);
    p.tool_calls = o3_sim_script_calls(rq);
    if (p.tool_calls) send_piece(w, rq, t, &p);
}

static void send_figures(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_piece p;
    if (!rq->body.no_stream) send_calls(w, rq, t);
    piece_at(w, rq, t, &p);
    p.text = o3_sim_script_rest(rq);
    p.is_done = true;
    p.done_reason = rq->done_reason;
    p.has_counts = true;
    p.context = rq->body.raw || p.is_chat ? NULL : &rq->tokens;
    p.total_ns = t - rq->start_ns;
    p.load_ns = rq->load_ns;
    p.prompt_count = (int64_t)rq->n_prompt;
    p.prompt_ns = rq->prompt_ns;
    p.eval_count = rq->n_out;
    p.eval_ns = rq->last_ns > rq->first_ns ? rq->last_ns - rq->first_ns : 1;
    if (!rq->body.no_stream) {
        send_piece(w, rq, t, &p);
        return;
    }
    o3_buf_adds(&rq->collected, p.text);
    p.text = o3_buf_str(&rq->collected);
    p.thinking = o3_buf_str(&rq->collected_thinking);
    p.tool_calls = o3_sim_script_calls(rq);
    if (rq->body.has_logprobs) p.logprobs = o3_buf_str(&rq->script.logprobs);
    o3_sim_write_whole(rq, &p);
}

static void finish(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (rq->user)
        o3_sim_users_answered(w, rq, t);
    else
        send_figures(w, rq, t);
    o3_sim_cache_keep(rq);
    give_back(w, rq, t);
    if (rq->body.no_stream) {
        o3_sim_answer(w, rq, t, 200, o3_sim_whole_type(rq));
        return;
    }
    o3_sim_emit_end(w, rq, t, false);
    o3_sim_remove(w, rq);
}

/* The stream just ends: no figures, no error. */
static void end_without_done(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_sim_cache_keep(rq);
    give_back(w, rq, t);
    if (rq->body.no_stream) {
        struct o3_sim_piece p;
        piece_at(w, rq, t, &p);
        p.text = o3_buf_str(&rq->collected);
        o3_sim_write_whole(rq, &p);
        o3_sim_answer(w, rq, t, 200, o3_sim_whole_type(rq));
        return;
    }
    o3_sim_emit_end(w, rq, t, false);
    o3_sim_remove(w, rq);
}

/* ---- tokens ---- */

static void next_word(struct o3_sim_request *rq, char out[O3_SIM_WORD_SIZE]) {
    if (o3_sim_script_next(rq, out)) return;
    if (rq->model.weights->repeats_itself)
        o3_str_copy(out, O3_SIM_WORD_SIZE, " jil");
    else
        o3_sim_word(&rq->text, out);
}

static bool is_stop(const struct o3_sim_request *rq, const char *word) {
    for (int i = 0; i < rq->options.n_stop; i++)
        if (rq->options.stop[i][0] && strstr(word, rq->options.stop[i])) return true;
    return false;
}

static void send_word(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *word) {
    bool is_thought = rq->n_out <= rq->n_thinking, is_held = o3_sim_script_is_held(rq);
    O3_AUTO_BUF logprobs;
    o3_buf_init(&logprobs, O3_SIM_MAX_REPLY);
    if (rq->body.has_logprobs) o3_sim_script_logprobs(rq, word, &logprobs);
    if (rq->body.no_stream) {
        if (rq->body.has_logprobs)
            o3_buf_addf(&rq->script.logprobs, "%s%s", rq->script.logprobs.len ? "," : "", o3_buf_str(&logprobs));
        if (!is_held) o3_buf_adds(is_thought ? &rq->collected_thinking : &rq->collected, word);
        return;
    }
    if (is_held && !rq->body.has_logprobs) return;
    struct o3_sim_piece p;
    piece_at(w, rq, t, &p);
    if (is_thought)
        p.thinking = word;
    else if (!is_held)
        p.text = word;
    if (rq->body.has_logprobs) p.logprobs = o3_buf_str(&logprobs);
    send_piece(w, rq, t, &p);
}

static bool is_cut_off(const struct o3_world *w, const struct o3_sim_request *rq, int64_t t) {
    if (rq->body.no_stream || !o3_sim_in_force(w, O3_SIM_CHANGE_TRUNCATE, t)) return false;
    const int64_t latest = 20;
    int64_t half = (rq->n_limit < rq->n_natural ? rq->n_limit : rq->n_natural) / 2;
    return rq->n_out >= 1 && rq->n_out >= (half < latest ? half : latest);
}

static void add_word(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    char word[O3_SIM_WORD_SIZE];
    next_word(rq, word);
    if (is_stop(rq, word)) {
        rq->done_reason = "stop";
        return;
    }
    rq->n_out++;
    w->truth.n_generated_tokens++;
    (void)o3_sim_tokens_add(&rq->tokens, o3_sim_token_id(word, strlen(word)));
    send_word(w, rq, t, word);
}

/* What the server says to a user is nowhere spelt out. */
static void add_tokens(struct o3_world *w, struct o3_sim_request *rq) {
    uint64_t key = o3_sim_draw(w, rq, O3_SIM_DRAW_TEXT);
    (void)o3_sim_tokens_add_made(&rq->tokens, key, (uint64_t)rq->n_out, (size_t)rq->n_step);
    rq->n_out += rq->n_step;
    w->truth.n_generated_tokens += rq->n_step;
}

/* Nobody sees the single tokens of a user's answer: a step makes several, each as long as the first of them. */
static int64_t decode_ns(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    int64_t gap = o3_sim_token_gap_ns(w, rq, t);
    if (!rq->user) return gap;
    const int64_t most = 16, longest_ns = 2 * O3_NS_PER_S;
    int64_t n = longest_ns / gap, left = rq->n_natural - rq->n_out;
    if (n > most) n = most;
    if (n > left) n = left;
    rq->n_step = n > 1 ? n : 1;
    return rq->n_step * gap;
}

static void token(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    if (o3_sim_fills_up(w, rq, t)) {
        w->truth.n_ooms++;
        o3_sim_cache_clear(w, rq->runner, !rq->user);
        o3_sim_kill_runner(w, rq->runner, t);
        return;
    }
    const int64_t most_equal = 31; /* seen: more than 30 equal tokens end a generate stream */
    if (rq->n_out == 0) {
        rq->first_ns = t;
        rq->prompt_ns = t - rq->prompt_start_ns;
    }
    rq->last_ns = t;
    if (rq->user)
        add_tokens(w, rq);
    else
        add_word(w, rq, t);
    bool is_loop = rq->model.weights->repeats_itself && rq->kind == O3_SIM_GENERATE && rq->n_out >= most_equal;
    if (is_loop || is_cut_off(w, rq, t)) {
        end_without_done(w, rq, t);
        return;
    }
    if (!rq->done_reason && rq->n_out >= rq->n_limit) rq->done_reason = "length";
    if (!rq->done_reason && rq->n_out >= rq->n_natural) rq->done_reason = "stop";
    rq->stage = rq->done_reason ? O3_SIM_TAIL : O3_SIM_DECODE;
    rq->next_ns = t + (rq->done_reason ? o3_sim_between(w, rq, O3_SIM_DRAW_TAIL, 0.2, 1.5) : decode_ns(w, rq, t));
}

/* ---- the prompt ---- */

/* Builds the tokens; false when the request was answered with an error. */
static bool prepare_prompt(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_refusal no;
    if (o3_sim_prompt_build(w, rq, &no)) return true;
    fail(w, rq, t, no.status, no.text);
    return false;
}

static int64_t limit_of(const struct o3_sim_request *rq) {
    int64_t num_ctx = rq->runner->launch.num_ctx, most = 10 * num_ctx;
    double asked = o3_sim_option(&rq->options, O3_SIM_NUM_PREDICT, -1);
    int64_t limit = asked < 0 || asked > (double)most ? most : (int64_t)asked;
    if (limit == 0) limit = INT64_MAX; /* as the server has it: unlimited */
    int64_t room = num_ctx - (int64_t)rq->n_prompt;
    return rq->body.no_shift && limit > room ? room : limit;
}

static void prepare_text(struct o3_world *w, struct o3_sim_request *rq) {
    const struct o3_sim_weights *m = rq->model.weights;
    double seed = o3_sim_option(&rq->options, O3_SIM_SEED, -1);
    bool repeats = seed >= 0 || o3_sim_option(&rq->options, O3_SIM_TEMPERATURE, 0.8) <= 0;
    uint64_t chance = repeats ? (uint64_t)(int64_t)seed : o3_sim_draw(w, rq, O3_SIM_DRAW_TEXT);
    uint64_t h = o3_sim_hash(chance, m->name, strlen(m->name));
    o3_rand_seed(&rq->text, o3_sim_hash(h, rq->tokens.v, rq->n_prompt * sizeof *rq->tokens.v));
    double length = m->natural_tokens * o3_exp(0.4 * o3_rand_normal(&rq->text));
    const int64_t shortest = 96; /* so that short answers end by num_predict only */
    rq->n_natural = m->natural_tokens == 0 ? INT64_MAX : length < (double)shortest ? shortest : (int64_t)length;
    bool thinks = m->can_think && w->profile.has_think && (!rq->body.has_think || rq->body.think);
    rq->n_thinking = thinks ? 24 + (int64_t)o3_rand_below(&rq->text, 60) : 0;
    if (rq->body.think_level == 'l') rq->n_thinking /= 2;
    if (rq->body.think_level == 'h') rq->n_thinking *= 2;
    (void)o3_sim_script_write(rq); /* without memory for it: words */
}

/* ---- embeddings ---- */

static int64_t count_input(struct o3_sim_request *rq, const char *s, int64_t *ret) {
    const int64_t begin_and_end = 2;
    rq->tokens.n = 0;
    int r = o3_sim_tokens_add_text(&rq->tokens, s, strlen(s));
    *ret = (int64_t)rq->tokens.n + begin_and_end;
    return r;
}

/* false when the request was answered with an error. */
static bool prepare_inputs(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    int64_t n_ctx = rq->runner->launch.num_ctx, total = 0;
    for (size_t i = 0; i < rq->body.n_inputs; i++) {
        int64_t n;
        if (count_input(rq, rq->body.inputs[i], &n) < 0) {
            fail(w, rq, t, 500, "out of memory");
            return false;
        }
        if (n > n_ctx && rq->body.no_truncate) {
            fail(w, rq, t, 400, "the input length exceeds the context length");
            return false;
        }
        total += n < n_ctx ? n : n_ctx;
    }
    rq->n_prompt = (size_t)total;
    return true;
}

static void fill_vector(const struct o3_sim_weights *m, const char *text, double *v, size_t n) {
    struct o3_rand r;
    o3_rand_seed(&r, o3_sim_hash(o3_sim_hash(0, m->name, strlen(m->name)), text, strlen(text)));
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = o3_rand_normal(&r);
        square += v[i] * v[i];
    }
    for (size_t i = 0; i < n; i++)
        v[i] /= sqrt(square);
}

static void finish_embedding(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const struct o3_sim_weights *m = rq->model.weights;
    size_t n = rq->body.n_inputs, dimensions = (size_t)m->embedding;
    if (rq->body.dimensions > 0 && rq->body.dimensions < m->embedding) dimensions = (size_t)rq->body.dimensions;
    double *v = calloc(n ? n * dimensions : 1, sizeof *v);
    if (!v) {
        fail(w, rq, t, 500, "out of memory");
        return;
    }
    for (size_t i = 0; i < n; i++)
        fill_vector(m, rq->body.inputs[i], v + i * dimensions, dimensions);
    struct o3_sim_vectors out = {.model = rq->body.model, .is_legacy = rq->kind == O3_SIM_EMBEDDINGS, .v = v, .n = n};
    out.dimensions = dimensions;
    out.has_counts = n > 0;
    out.total_ns = t - rq->start_ns;
    out.load_ns = rq->load_ns;
    out.prompt_count = (int64_t)rq->n_prompt;
    o3_sim_write_vectors(rq, &out);
    free(v);
    give_back(w, rq, t);
    o3_sim_answer(w, rq, t, 200, o3_sim_whole_type(rq));
}

/* ---- the way through ---- */

static void take_slot(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    rq->has_slot = true;
    o3_sim_slot_take(w, rq, t);
    int64_t copying = o3_sim_cache_take(w, rq);
    bool is_plain = rq->body.raw || is_embedding(rq);
    double low_ms, high_ms;
    o3_sim_before_ms(w, rq->model.name, is_plain, t, &low_ms, &high_ms);
    rq->prompt_start_ns = t + o3_sim_between(w, rq, O3_SIM_DRAW_BEFORE, low_ms, high_ms) + copying;
    int64_t n = (int64_t)(rq->n_prompt - rq->n_cached);
    if (rq->user) {
        o3_sim_users_started(w, rq);
    } else if (!is_embedding(rq)) {
        prepare_text(w, rq);
        rq->n_limit = limit_of(rq);
    }
    rq->stage = O3_SIM_PROMPT;
    rq->next_ns = rq->prompt_start_ns + o3_sim_prompt_time_ns(w, rq, n, t);
}

void o3_sim_work_slot_free(struct o3_world *w, struct o3_sim_runner *r, int64_t t) {
    struct o3_sim_request *first = NULL;
    for (size_t i = 0; i < w->n_requests; i++) {
        struct o3_sim_request *rq = w->requests[i];
        if (rq->stage != O3_SIM_WAITING || rq->runner != r) continue;
        if (!first || rq->queue_serial < first->queue_serial) first = rq;
    }
    if (first && r->busy_slots < o3_sim_slots(w, first)) take_slot(w, first, t);
}

void o3_sim_work_ready(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    int64_t from = t > rq->start_ns ? t : rq->start_ns;
    /* Seen on a loaded runner: 1.3 to 6 ms. */
    rq->next_ns = from + o3_sim_between(w, rq, O3_SIM_DRAW_READY, rq->has_loaded ? 0.1 : 1.3, rq->has_loaded ? 0.5 : 6);
    rq->load_ns = rq->next_ns - rq->start_ns;
    rq->stage = O3_SIM_READY;
}

static void answer_load_only(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    struct o3_sim_piece p;
    piece_at(w, rq, t, &p);
    p.is_done = true;
    p.done_reason = "load";
    if (is_embedding(rq)) {
        struct o3_sim_vectors none = {.model = rq->body.model, .is_legacy = rq->kind == O3_SIM_EMBEDDINGS};
        o3_sim_write_vectors(rq, &none);
    } else {
        o3_sim_write_whole(rq, &p);
    }
    give_back(w, rq, t);
    o3_sim_answer(w, rq, t, 200, o3_sim_whole_type(rq));
}

static void ready(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    /* Before 0.30 every model gave vectors. */
    if (is_embedding(rq) && !rq->model.weights->can_embed && w->profile.has_child_server) {
        fail(w, rq, t, 501, "This server does not support embeddings. Start it with `--embeddings`");
        return;
    }
    if (rq->is_load_only) {
        answer_load_only(w, rq, t);
        return;
    }
    if (!(is_embedding(rq) ? prepare_inputs(w, rq, t) : prepare_prompt(w, rq, t))) return;
    if (rq->runner->busy_slots < o3_sim_slots(w, rq)) {
        take_slot(w, rq, t);
        return;
    }
    rq->stage = O3_SIM_WAITING;
    rq->next_ns = INT64_MAX;
    rq->queue_serial = ++w->last_serial;
}

static void drained(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_sim_cache_keep(rq);
    give_back(w, rq, t);
    o3_sim_remove(w, rq);
}

void o3_sim_work_step(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    switch (rq->stage) {
    case O3_SIM_READY:
        ready(w, rq, t);
        return;
    case O3_SIM_PROMPT:
        if (is_embedding(rq))
            finish_embedding(w, rq, t);
        else
            token(w, rq, t);
        return;
    case O3_SIM_DECODE:
        token(w, rq, t);
        return;
    case O3_SIM_TAIL:
        finish(w, rq, t);
        return;
    case O3_SIM_DRAIN:
        drained(w, rq, t);
        return;
    case O3_SIM_ARRIVED:
    case O3_SIM_REPLYING:
    case O3_SIM_PENDING:
    case O3_SIM_LOADING:
    case O3_SIM_WAITING:
        O3_ASSERT(false); /* these have no step of their own */
    }
}

void o3_sim_work_break(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    static const char text[] = "an error was encountered while running the model: unexpected EOF";
    if (!rq->head_sent) {
        fail(w, rq, t, 500, text);
        return;
    }
    give_back(w, rq, t);
    o3_buf_clear(&rq->reply);
    o3_sim_write_stream_error(rq, text, &rq->reply);
    o3_sim_emit_data(w, rq, t, o3_buf_str(&rq->reply), rq->reply.len);
    o3_sim_emit_end(w, rq, t, false);
    o3_sim_remove(w, rq);
}
