/* SPDX-License-Identifier: Apache-2.0 */
/* One probe, from the request to the sample: with the very options in force, so that nothing is loaded again, and with
 * a judgement of who was to blame when something was loaded after all (ollama.md 1). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "sidecar/internal.h"

#define STREAM_BYTES_MAX (8u << 20)
#define N_WARMUP_GPU 1
#define N_WARMUP_CPU 2
#define PROBE_SECONDS_GAIN 0.2
#define BUDGET_SAVE_TOKENS 500
#define FIRST_PREFILL_AFTER 3   /* decode probes since the load */
#define DECODE_PROMPT_TOKENS 32 /* at most */
/* The first probe after another prompt waits until that one's state is put aside, the second for the copy of the first.
 */
#define N_SETTLING 2
#define QUEUE_MAX_BUSY 6 /* a test queues for so many times probe.max_busy at most */
#define SILENT_MIN 2     /* probes without a token in a row; one alone may have met a load */
#define NONCE_WORDS 10   /* of a prefill prompt's words, these stand for the nonce */
/* The last token of a cached prompt takes as long as one more token of the answer (measured: 31 ms beside 26); a
 * prompt of 20 on a processor takes eight times as long. On a GPU both take about the same: there the order of the
 * probes tells. */
#define CACHED_PROMPT_TOKEN_TIMES 3
#define PROMPT_TOKENS_GAIN 0.02
/* Probes in a row that waited before the prompt while nobody else is seen at work: what lasts is what users get now. */
#define QUEUED_PASSING 5
/* To put a user's state aside takes up to seconds for some GB (0.30 and later), and looks like a wait in the queue. */
#define STATE_COPY_MAX_NS (2500LL * O3_NS_PER_MS)

static bool is_embedding(const struct model *m) {
    return m->show_state == SHOW_KNOWN && m->show.has_capabilities ? m->show.can_embed_only : m->ps.can_embed_only;
}

bool o3_sc_options_known(const struct model *m) {
    if (m->ps.context_length <= 0) return false; /* an old server: num_ctx in force is not shown */
    if (m->strike == STRIKE_NONE) return true;
    return m->strike == STRIKE_BY_LIST && m->has_runner &&
           !is_embedding(m); /* an embedding model's command line does not tell */
}

int64_t o3_sc_effective_batch(const struct o3_sidecar *s, const struct model *m, enum o3_batch_source *ret_source) {
    *ret_source = m->has_runner ? O3_BATCH_RUNNER : O3_BATCH_ASSUMED;
    if (m->has_runner && m->runner.batch > 0) return m->runner.batch;
    if (m->show_state == SHOW_KNOWN && m->show.parameter_num_batch > 0) return m->show.parameter_num_batch;
    return o3_ollama_automatic_batch(&s->version, m->ps.context_length);
}

enum o3_probe_kind o3_sc_usual_kind(const struct model *m) {
    return is_embedding(m) ? O3_PROBE_EMBED : O3_PROBE_DECODE;
}

bool o3_sc_may_prefill(const struct model *m) {
    return m->n_since_load >= FIRST_PREFILL_AFTER;
}

static enum o3_probe_kind usual_kind_now(const struct model *m, struct o3_now now) {
    if (is_embedding(m)) return O3_PROBE_EMBED;
    return o3_sc_may_prefill(m) && now.mono_ns >= m->prefill_due_ns ? O3_PROBE_PREFILL : O3_PROBE_DECODE;
}

static enum o3_probe_kind choose_kind(struct o3_sidecar *s, const struct model *m, enum probe_purpose why,
                                      struct o3_now now) {
    enum o3_probe_kind kind = o3_sc_usual_kind(m);
    if (why == PROBE_EXTRA) (void)o3_sc_extra_kind(s, m, now, &kind);
    return why == PROBE_USUAL ? usual_kind_now(m, now) : kind;
}

static int64_t choose_tokens(const struct o3_sidecar *s, const struct model *m, enum o3_probe_kind kind,
                             bool is_stuck_test) {
    if (is_stuck_test) return O3_STUCK_NUM_PREDICT;
    if (kind == O3_PROBE_PREFILL) return O3_PREFILL_NUM_PREDICT;
    if (s->config->probe_decode_tokens) return s->config->probe_decode_tokens;
    return m->epoch && m->epoch->decode_tokens ? m->epoch->decode_tokens : O3_DECODE_TOKENS_FIRST;
}

static int64_t prefill_words(const struct o3_sidecar *s, const struct model *m) {
    int64_t n = m->epoch && m->epoch->prefill_words ? m->epoch->prefill_words : O3_PREFILL_WORDS_FIRST;
    if (n > s->config->probe_prefill_tokens) n = s->config->probe_prefill_tokens;
    return n > m->ps.context_length / 2 ? m->ps.context_length / 2 : n; /* a longer prompt would be cut silently */
}

/* At most. A prefill probe takes the decode prompt out of the runner's cache, which the next probe pays for. */
int64_t o3_sc_probe_cost(const struct o3_sidecar *s, const struct model *m, enum o3_probe_kind kind) {
    if (kind == O3_PROBE_EMBED) return DECODE_PROMPT_TOKENS;
    return choose_tokens(s, m, kind, false) + DECODE_PROMPT_TOKENS +
           (kind == O3_PROBE_PREFILL ? prefill_words(s, m) : 0);
}

double o3_sc_decode_tokens_expected(const struct o3_sidecar *s, const struct model *m) {
    return (double)choose_tokens(s, m, O3_PROBE_DECODE, false) + 1 + m->prompt_tokens;
}

int64_t o3_sc_probe_tokens(const struct o3_sidecar *s, const struct model *m, struct o3_now now) {
    return o3_sc_probe_cost(s, m, usual_kind_now(m, now));
}

static int write_body(struct o3_sidecar *s, const struct model *m, const struct o3_probe_asked *asked,
                      struct o3_buf *body) {
    bool can_think = m->show_state == SHOW_KNOWN ? m->show.can_think : m->ps.can_think;
    struct o3_probe_spec spec = {.kind = asked->kind,
                                 .model = m->ps.name,
                                 .num_predict = asked->num_predict,
                                 .send_think_false = can_think && s->version.has_think,
                                 .context_length = m->ps.context_length,
                                 .trained_context_length = m->show.context_length,
                                 .runner = m->has_runner ? &m->runner : NULL};
    if (asked->kind == O3_PROBE_PREFILL) {
        spec.prefill_words = prefill_words(s, m);
        spec.nonce = o3_rand_u64(&s->rand);
    }
    return o3_probe_write(&spec, body);
}

static void clear_run(struct probe_run *p) {
    o3_probe_reply_done(&p->reply);
    *p = (struct probe_run){0};
}

/* A test queues behind the users who were there. Where nobody ever leaves, nobody is served; else each of them who
 * leaves gives it more time. Once all of them have left, whether served or out of patience, it must be its turn. */
static int64_t patience_ms(const struct o3_sidecar *s, int64_t now_ns) {
    const struct o3_config_values *c = s->config;
    bool has_left = s->gate.left_ns != INT64_MIN && now_ns - s->gate.left_ns < c->probe_max_busy_ms * O3_NS_PER_MS;
    int64_t ms = !has_left ? 0 : s->probe.n_ahead > 0 ? c->probe_max_busy_ms : c->probe_max_busy_ms / 2;
    return ms > c->timeouts_base_ms ? ms : c->timeouts_base_ms;
}

bool o3_sc_probe_start(struct o3_sidecar *s, struct model *m, enum probe_purpose why, struct o3_now now) {
    struct probe_run *p = &s->probe;
    bool is_stuck_test = why == PROBE_TEST;
    clear_run(p);
    p->model = m;
    p->is_stuck_test = is_stuck_test;
    p->is_extra = why == PROBE_EXTRA;
    p->sockets_at_start = p->n_ahead = p->n_sockets_seen = s->gate.count;
    p->give_up_ns = is_stuck_test ? now.mono_ns + patience_ms(s, now.mono_ns) * O3_NS_PER_MS : INT64_MAX;
    p->asked.kind = choose_kind(s, m, why, now);
    p->asked.num_predict = choose_tokens(s, m, p->asked.kind, is_stuck_test);
    if (p->asked.kind == O3_PROBE_PREFILL) {
        if (!p->is_extra) m->prefill_due_ns = now.mono_ns + o3_sc_prefill_interval_ms(s, m) * O3_NS_PER_MS;
        p->asked.n_prompt_min = prefill_words(s, m) - NONCE_WORDS;
    }
    O3_AUTO_BUF body;
    o3_buf_init(&body, 128 * 1024);
    if (o3_probe_reply_init(&p->reply, p->asked.kind) < 0 || write_body(s, m, &p->asked, &body) < 0) {
        clear_run(p);
        return false;
    }
    int64_t queue_ms = is_stuck_test ? s->config->probe_max_busy_ms * QUEUE_MAX_BUSY : 0;
    struct o3_sidecar_call c = {.method = "POST",
                                .path = o3_probe_path(p->asked.kind),
                                .body = o3_buf_str(&body),
                                .body_len = body.len,
                                .connect_timeout_ms = s->config->timeouts_connect_ms,
                                .first_byte_timeout_ms = s->config->timeouts_first_byte_ms + queue_ms,
                                .total_timeout_ms = s->config->timeouts_base_ms + queue_ms,
                                .max_bytes = STREAM_BYTES_MAX};
    o3_sc_sense_host(s, &p->host);
    p->asked.sent_wall_ms = now.wall_ms;
    p->id = s->ops.call_start(s->ops.ctx, &c, &p->asked.sent_mono_ns);
    s->has_probed_since_ports |= p->id != 0;
    if (p->id) return true;
    clear_run(p);
    return false;
}

static void form_sample(struct o3_sidecar *s, const char *text, struct o3_now now, struct o3_sample *ret) {
    struct probe_run *p = &s->probe;
    p->asked.end_mono_ns = now.mono_ns;
    o3_probe_reply_sample(&p->reply, &p->asked, text, ret);
}

/* After a user the runner puts his state aside first. Where nobody is seen at work, such a wait is no queue; and what
 * is measured after it is not disturbed. */
static bool is_state_copy(const struct o3_sidecar *s, const struct model *m, const struct o3_sample *sample) {
    return m->n_alike < N_SETTLING && s->version.has_child_server && s->gate.has_sockets && s->gate.with_bytes == 0 &&
           !s->probe.saw_user && sample->queue_ns <= STATE_COPY_MAX_NS;
}

/* Somebody else's request was before it. */
static bool has_queued(const struct o3_sidecar *s, const struct model *m, const struct o3_sample *sample) {
    return sample->queue_ns > O3_GATE_QUEUE_WAIT_NS && !is_state_copy(s, m, sample);
}

/* Where sockets can be read, somebody is not overlooked time after time: then the server itself takes so long. */
static bool is_passing_queue(const struct o3_sidecar *s, struct model *m, const struct o3_sample *sample) {
    if (sample->queue_ns < 0) return false;
    bool is_unseen = has_queued(s, m, sample) && s->gate.has_sockets && s->gate.with_bytes == 0 && !s->probe.saw_user;
    m->n_queued = is_unseen ? m->n_queued + 1 : 0;
    return has_queued(s, m, sample) && m->n_queued <= QUEUED_PASSING;
}

static void set_flags(const struct o3_sidecar *s, struct model *m, struct o3_sample *sample) {
    int n_warmup = m->ps.size_vram_bytes > 0 ? N_WARMUP_GPU : N_WARMUP_CPU;
    if (m->last_user_ns > m->probed_ns) m->n_alike = 0;
    if (m->n_since_load < n_warmup || sample->load_ns >= O3_RELOAD_NS) sample->flags |= O3_SAMPLE_WARMUP;
    if (is_passing_queue(s, m, sample) || s->probe.saw_user) sample->flags |= O3_SAMPLE_BUSY;
    if (s->probe.is_tainted) sample->flags |= O3_SAMPLE_TAINTED;
    if (m->n_alike < N_SETTLING) sample->flags |= O3_SAMPLE_AFTER_OTHER;
}

static void strike_key(const struct o3_sidecar *s, const struct model *m, char *out, size_t size) {
    snprintf(out, size, "strike/%s/%s", m->ps.digest, s->version.text);
}

void o3_sc_restore_strike(struct o3_sidecar *s, struct model *m) {
    char key[160];
    strike_key(s, m, key, sizeof key);
    const char *value = o3_sc_find_restored(s, key);
    m->strike = !value ? STRIKE_NONE : !strcmp(value, "2") ? STRIKE_BY_RUNNER : STRIKE_BY_LIST;
}

void o3_sc_strike(struct o3_sidecar *s, struct model *m, int64_t load_ns) {
    m->strike = m->has_runner ? STRIKE_BY_RUNNER : STRIKE_BY_LIST;
    char key[160];
    strike_key(s, m, key, sizeof key);
    o3_sc_keep_state(s, key, m->strike == STRIKE_BY_RUNNER ? "2" : "1", 1);
    o3_metric_add(s->metrics, O3_M_PROBE_INDUCED_RELOADS, O3_L(m->ps.name), 1);
    O3_SC_EVENT(s, O3_EV_INDUCED_RELOAD, O3_F_STR("model", m->ps.name),
                O3_F_DBL("load_seconds", (double)load_ns / 1e9));
}

/* The model was loaded again during our probe. Only a load with no other explanation is our fault. */
static void judge_reload(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, struct o3_now now) {
    const char *reason = "induced";
    int64_t expires_ms = m->ps.expires_at_ms;
    if (m->runner_died)
        reason = "runner_lost";
    else if (s->probe.is_stuck_test || s->probe.saw_user || sample->queue_ns > O3_GATE_QUEUE_WAIT_NS)
        reason = "foreign_load";
    else if (expires_ms >= 0 && expires_ms <= sample->wall_ms)
        reason = "expired";
    m->n_since_load = 0;
    m->is_reload_told = true;
    o3_sc_note_load(m, now);
    o3_metric_add(s->metrics, O3_M_MODEL_RELOADS, O3_L(m->ps.name, reason), 1);
    O3_SC_EVENT(s, O3_EV_MODEL_RELOADED, O3_F_STR("model", m->ps.name), O3_F_STR("reason", reason));
    if (!strcmp(reason, "induced")) o3_sc_strike(s, m, sample->load_ns);
}

void o3_sc_set_stuck(struct o3_sidecar *s, struct model *m, bool is_stuck) {
    o3_metric_set(s->metrics, O3_M_OLLAMA_STUCK, O3_L(m->ps.name), is_stuck);
    if (is_stuck == m->is_stuck) return;
    m->is_stuck = is_stuck;
    O3_SC_EVENT(s, is_stuck ? O3_EV_RUNNER_STUCK : O3_EV_RUNNER_FREE, O3_F_STR("model", m->ps.name));
}

/* What the server worked for us: without the wait behind users. */
static double busy_seconds(const struct o3_sample *sample) {
    double s = (double)(sample->wall_ns - (sample->queue_ns > 0 ? sample->queue_ns : 0)) / 1e9;
    return s > 0 ? s : 0;
}

static void choose_decode_tokens(const struct o3_sidecar *s, struct epoch *ep, const struct o3_sample *sample) {
    struct o3_probe_means means = {.interval_ms = s->config->probe_interval_ms,
                                   .n_models = o3_sc_n_loaded(s),
                                   .tokens_per_day = s->config->probe_max_tokens_per_day,
                                   .max_busy_ratio = s->config->probe_max_busy_ratio};
    double overhead_s = busy_seconds(sample) - (sample->eval_ns > 0 ? (double)sample->eval_ns / 1e9 : 0);
    ep->decode_tokens = o3_decode_tokens_within(sample->decode_tps, overhead_s, &means);
}

static void choose_prefill_words(const struct o3_sidecar *s, const struct model *m, const struct o3_sample *sample) {
    struct o3_probe_means means = {.interval_ms = s->config->probe_prefill_interval_ms,
                                   .n_models = o3_sc_n_loaded(s),
                                   .tokens_per_day = s->config->probe_max_tokens_per_day,
                                   .max_busy_ratio = 1};
    int64_t max = o3_prefill_tokens_within(s->config->probe_prefill_tokens,
                                           O3_PREFILL_NUM_PREDICT + DECODE_PROMPT_TOKENS, &means);
    m->epoch->prefill_words = o3_prefill_words_for(sample->prefill_tps, max, prefill_words(s, m),
                                                   sample->prompt_eval_count);
}

static void choose_sizes(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample) {
    struct epoch *ep = m->epoch;
    const uint32_t harmless = O3_SAMPLE_WARMUP | O3_SAMPLE_AFTER_OTHER | O3_SAMPLE_AFTER_GAP | O3_SAMPLE_THROTTLED;
    if (!ep || sample->outcome != O3_OUTCOME_OK || m->n_since_load < 1 || sample->flags & ~harmless) return;
    bool has_decode = !ep->decode_tokens && isfinite(sample->decode_tps) && sample->kind == O3_PROBE_DECODE;
    bool has_prefill = !ep->prefill_words && isfinite(sample->prefill_tps);
    if (has_decode) choose_decode_tokens(s, ep, sample);
    if (has_prefill) choose_prefill_words(s, m, sample);
    if (has_decode || has_prefill) o3_sc_keep_sizes(s, ep);
}

/* prompt_eval_count is the whole prompt, also where it was served from the runner's cache. Then one token of it was
 * evaluated: the constant prompt of the probe before is there still, unless somebody else's came between. */
static bool is_prompt_cached(const struct model *m, const struct o3_sample *sample) {
    if (sample->kind != O3_PROBE_DECODE || m->n_alike < 1 || m->n_since_load < 1 || sample->load_ns >= O3_RELOAD_NS)
        return false;
    double prompt_s = (double)sample->prompt_eval_ns / 1e9;
    return sample->prompt_eval_ns < 0 || !(prompt_s > CACHED_PROMPT_TOKEN_TIMES * sample->tpot_s);
}

static int64_t evaluated_prompt(struct model *m, const struct o3_sample *sample) {
    int64_t count = sample->prompt_eval_count > 0 ? sample->prompt_eval_count : 0;
    bool is_decode = sample->kind == O3_PROBE_DECODE && count > 0;
    if (is_decode && is_prompt_cached(m, sample)) count = 1;
    if (is_decode && !m->is_after_prefill)
        m->prompt_tokens += PROMPT_TOKENS_GAIN * ((double)(count - 1) - m->prompt_tokens);
    if (count > 0) m->is_after_prefill = sample->kind == O3_PROBE_PREFILL;
    return count;
}

static void spend(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, int64_t tokens, double busy_s,
                  struct o3_now now) {
    if (s->probe.is_extra) {
        o3_sc_spend_haste(s, m, sample->kind, tokens, busy_s, now);
        return;
    }
    o3_token_budget_spend(&s->budget, tokens, now.wall_ms);
    s->n_tokens_unsaved += tokens;
    if (s->n_tokens_unsaved >= BUDGET_SAVE_TOKENS) o3_sc_save_budget(s);
}

static void count_cost(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample, struct o3_now now) {
    int64_t prompt = evaluated_prompt(m, sample);
    int64_t output = sample->eval_count > 0 ? sample->eval_count : 0;
    double busy_s = busy_seconds(sample);
    spend(s, m, sample, prompt + output, busy_s, now);
    o3_metric_add(s->metrics, O3_M_PROBE_TOKENS, O3_L(m->ps.name, "prompt"), (double)prompt);
    o3_metric_add(s->metrics, O3_M_PROBE_TOKENS, O3_L(m->ps.name, "output"), (double)output);
    o3_metric_add(s->metrics, O3_M_PROBE_BUSY_SECONDS, O3_L(m->ps.name), busy_s);
    if (sample->outcome != O3_OUTCOME_OK) return;
    m->probe_seconds = m->probe_seconds < 0 ? busy_s
                                            : m->probe_seconds + PROBE_SECONDS_GAIN * (busy_s - m->probe_seconds);
    o3_sc_new_interval(s, m);
}

static void tell(struct o3_sidecar *s, const struct o3_sample *sample) {
    struct o3_field f[8] = {O3_F_STR("model", sample->model), O3_F_STR("kind", o3_probe_kind_name(sample->kind)),
                            O3_F_STR("outcome", o3_outcome_name(sample->outcome))};
    size_t n = 3;
    if (o3_outcome_is_failure(sample->outcome)) {
        f[n++] = O3_F_STR("detail", sample->detail);
        o3_sc_event(s, O3_EV_PROBE_FAILED, f, n);
        return;
    }
    if (sample->ttft_ns >= 0) f[n++] = O3_F_DBL("ttft_ms", (double)sample->ttft_ns / 1e6);
    if (isfinite(sample->decode_tps)) f[n++] = O3_F_DBL("decode_tps", sample->decode_tps);
    f[n++] = O3_F_DBL("seconds", (double)sample->wall_ns / 1e9);
    if (sample->flags) f[n++] = O3_F_INT("flags", sample->flags);
    o3_sc_event(s, O3_EV_PROBE_DONE, f, n);
}

static void watch_queue(struct o3_sidecar *s) {
    struct probe_run *p = &s->probe;
    int n_left = p->n_sockets_seen - s->gate.count;
    p->n_sockets_seen = s->gate.count;
    if (!p->is_stuck_test || n_left <= 0 || p->n_ahead <= 0) return;
    p->n_ahead -= n_left;
    p->give_up_ns = s->sockets_at_ns + patience_ms(s, s->sockets_at_ns) * O3_NS_PER_MS;
}

void o3_sc_probe_watch(struct o3_sidecar *s) {
    s->probe.saw_user |= s->gate.has_sockets && s->gate.count > s->probe.sockets_at_start;
    watch_queue(s);
}

/* What may mean that the runner died or was killed: a load that follows is not our doing. */
static bool is_death_possible(enum o3_outcome o) {
    return o3_outcome_is_failure(o) && o != O3_OUTCOME_REFUSED && o != O3_OUTCOME_BUSY && o != O3_OUTCOME_TIMEOUT;
}

/* Users who give up on a hung runner leave the server looking idle again and again, so that no test is made. Then the
 * probes themselves tell: none was behind a user, and for probe.max_busy none saw a token. */
static bool is_silent_for_long(struct o3_sidecar *s, struct model *m, const struct o3_sample *sample) {
    const struct o3_probe_asked *asked = &s->probe.asked;
    if (sample->outcome != O3_OUTCOME_TIMEOUT || sample->ttft_ns >= 0 || !s->gate.has_sockets) return false;
    if (m->n_silent++ == 0) m->silent_since_ns = asked->sent_mono_ns;
    return m->n_silent >= SILENT_MIN &&
           asked->end_mono_ns - m->silent_since_ns >= s->config->probe_max_busy_ms * O3_NS_PER_MS;
}

/* One that was still in the queue when its request ended tells nothing. */
static bool is_test_failed(const struct o3_sidecar *s, const struct o3_sample *sample, bool is_answered) {
    if (is_answered || sample->outcome == O3_OUTCOME_CANCELLED || sample->ttft_ns >= 0) return false;
    return sample->outcome != O3_OUTCOME_TIMEOUT || s->probe.asked.end_mono_ns >= s->probe.give_up_ns;
}

static void finish(struct o3_sidecar *s, struct o3_sample *sample, struct o3_now now) {
    struct model *m = s->probe.model;
    bool is_test = s->probe.is_stuck_test;
    o3_sc_read_sockets(s, now.mono_ns);
    o3_sc_probe_watch(s);
    bool is_answered = sample->outcome == O3_OUTCOME_OK || sample->outcome == O3_OUTCOME_INCOMPLETE ||
                       sample->outcome == O3_OUTCOME_NO_METRICS;
    if (is_test ? is_test_failed(s, sample, is_answered) : is_silent_for_long(s, m, sample))
        sample->outcome = O3_OUTCOME_STUCK;
    set_flags(s, m, sample);
    count_cost(s, m, sample, now);
    if (is_test) sample->flags |= O3_SAMPLE_BUSY; /* of another size, through a busy gate: never a baseline sample */
    if (is_answered) {
        bool is_copy = sample->queue_ns > O3_GATE_QUEUE_WAIT_NS && !has_queued(s, m, sample);
        o3_gate_own_finished(&s->gate, is_copy ? -1 : sample->queue_ns, !s->probe.saw_user, now.mono_ns);
        if (sample->load_ns >= O3_RELOAD_NS)
            judge_reload(s, m, sample, now);
        else
            s->has_probed_since_ports = false; /* it met the runners that were there */
        m->runner_died = false;
        m->probed_ns = now.mono_ns;
        /* A long prompt is another one; so is that of a user who came meanwhile, and is served after us. */
        m->n_alike = sample->kind == O3_PROBE_PREFILL || s->probe.saw_user ? 0 : m->n_alike + 1;
        m->n_silent = 0;
        o3_sc_set_stuck(s, m, false);
    }
    o3_sc_conversation_none(m, now.mono_ns);
    /* A failed probe, too, moves expires_at when the server gives it up. */
    if (sample->outcome != O3_OUTCOME_REFUSED) m->own_finished_wall_ms = now.wall_ms;
    if (sample->outcome == O3_OUTCOME_STUCK) o3_sc_set_stuck(s, m, true);
    if (is_death_possible(sample->outcome)) m->runner_died = true;
    m->has_timed_out = sample->outcome == O3_OUTCOME_TIMEOUT && !s->probe.saw_user;
    if (sample->kind == O3_PROBE_PREFILL && m->epoch && !m->epoch->prefill_words) sample->flags |= O3_SAMPLE_WARMUP;
    if (sample->kind == O3_PROBE_DECODE && m->epoch && !m->epoch->decode_tokens && !s->config->probe_decode_tokens)
        sample->flags |= O3_SAMPLE_WARMUP;
    if (!is_test) choose_sizes(s, m, sample);
    if (is_answered) m->n_since_load++;
    o3_sc_fill_around(s, m, sample);
    if (o3_sc_is_throttled(&s->probe.host, &m->host)) sample->flags |= O3_SAMPLE_THROTTLED;
    clear_run(&s->probe);
    tell(s, sample);
    s->ops.sample(s->ops.ctx, sample);
    o3_sc_judge(s, m, sample, now);
    o3_sc_sample_formed(m, sample, now.mono_ns);
    o3_sc_hasten(s, m, now);
    if (sample->outcome == O3_OUTCOME_REFUSED) s->version_due_ns = now.mono_ns;
    if (is_death_possible(sample->outcome)) o3_sc_version_wanted(s, now.mono_ns);
    /* A look right after our own request keeps its move of expires_at apart from a user's. */
    if (s->has_version) s->ps_due_ns = now.mono_ns;
}

void o3_sc_probe_end(struct o3_sidecar *s, int status, int transport, const char *text, struct o3_now now) {
    struct o3_sample sample = {0};
    s->probe.asked.http_status = status;
    s->probe.asked.transport = transport;
    form_sample(s, text, now, &sample);
    finish(s, &sample, now);
}

static void end_here(struct o3_sidecar *s, int transport, const char *text, struct o3_now now) {
    struct o3_sample sample = {0};
    s->ops.call_cancel(s->ops.ctx, s->probe.id);
    s->probe.asked.transport = transport;
    form_sample(s, text, now, &sample);
    finish(s, &sample, now);
}

void o3_sc_probe_turn(struct o3_sidecar *s, struct o3_now now) {
    if (s->probe.id && now.mono_ns >= s->probe.give_up_ns) end_here(s, O3_E_TIMEOUT, "timeout", now);
}

void o3_sc_probe_cancel(struct o3_sidecar *s, struct o3_now now) {
    end_here(s, O3_E_CANCELLED, "cancelled", now);
}
