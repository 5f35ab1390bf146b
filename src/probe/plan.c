/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/plan.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "o3/config.h"
#include "o3/text.h"

#define HOUR_MS (3600LL * O3_MS_PER_S)
enum { N_CELLS = 24 };

const char *o3_decode_prompt(void) {
    /* Open-ended, so that no model stops before the few tokens asked for. */
    return "Count upwards from one in words, one number per line:\none\ntwo\nthree\n";
}

int o3_prefill_prompt(uint64_t nonce, int64_t n_words, struct o3_buf *out) {
    static const char *const WORDS[] = {" the", " sea", " is",  " wide",  " and", " the", " road", " goes", " on",
                                        " by",  " day", " and", " night", " to",  " a",   " far",  " hill"};
    o3_buf_addf(out, "%016llx", (unsigned long long)nonce); /* about ten tokens by itself */
    for (int64_t i = 10; i < n_words; i++)
        o3_buf_adds(out, WORDS[i % (int64_t)(sizeof WORDS / sizeof *WORDS)]);
    return out->err;
}

static int64_t clamp(double v, int64_t lo, int64_t hi) {
    if (!(v > (double)lo)) return lo; /* NaN too */
    return v > (double)hi ? hi : (int64_t)v;
}

int64_t o3_decode_tokens_for(double decode_tps) {
    return clamp(decode_tps, O3_DECODE_TOKENS_MIN, O3_DECODE_TOKENS_MAX);
}

int64_t o3_prefill_words_for(double prefill_tps, int64_t max_tokens, int64_t words, int64_t tokens) {
    double wanted = prefill_tps * 0.5;
    if (wanted > (double)max_tokens) wanted = (double)max_tokens;
    double words_per_token = tokens > 0 ? (double)words / (double)tokens : 1;
    return clamp(wanted * words_per_token, O3_PREFILL_WORDS_MIN, max_tokens);
}

/* INFINITY where there is no limit. */
static double tokens_a_probe(const struct o3_probe_means *m, double share) {
    if (m->tokens_per_day <= 0 || m->n_models <= 0) return (double)INFINITY;
    const double day_ms = 86400e3;
    return (double)m->tokens_per_day * share * (double)m->interval_ms / (day_ms * m->n_models);
}

int64_t o3_decode_tokens_within(double decode_tps, double overhead_s, const struct o3_probe_means *m) {
    const double busy_margin = 0.9;     /* probes differ: the slow ones, too, shall fit */
    const double prompt_tokens = 1 + 1; /* the last of a cached prompt, and now and then a prompt that is not cached */
    double wanted = (double)o3_decode_tokens_for(decode_tps);
    double affordable = tokens_a_probe(m, O3_DECODE_SHARE) - prompt_tokens;
    if (affordable < wanted) wanted = affordable;
    double busy_s = busy_margin * m->max_busy_ratio * (double)m->interval_ms / 1000 /
                    (m->n_models > 0 ? m->n_models : 1);
    double in_time = 1 + (busy_s - overhead_s) * decode_tps; /* the first one comes with the prompt */
    if (in_time < wanted) wanted = in_time;
    return clamp(wanted, O3_DECODE_TOKENS_MIN, O3_DECODE_TOKENS_MAX);
}

int64_t o3_prefill_tokens_within(int64_t max_tokens, int64_t besides, const struct o3_probe_means *m) {
    return clamp(tokens_a_probe(m, O3_PREFILL_SHARE) - (double)besides, O3_PREFILL_WORDS_MIN, max_tokens);
}

struct o3_runner_options o3_options_in_force(int64_t context_length, const struct o3_runner_cmdline *runner) {
    struct o3_runner_options o = O3_RUNNER_OPTIONS_NONE;
    o.num_ctx = context_length;
    if (runner) {
        o.num_batch = runner->batch;
        o.num_thread = runner->threads;
    }
    return o;
}

struct o3_runner_options o3_embed_options_in_force(int64_t context_length, int64_t trained_context_length,
                                                   const struct o3_runner_cmdline *runner) {
    static const int64_t SERVER_DEFAULTS[] = {4096, 32768, 262144};
    bool is_automatic = trained_context_length <= 0 || context_length == trained_context_length;
    for (size_t i = 0; i < sizeof SERVER_DEFAULTS / sizeof *SERVER_DEFAULTS; i++)
        is_automatic |= context_length == SERVER_DEFAULTS[i];
    return is_automatic ? O3_RUNNER_OPTIONS_NONE : o3_options_in_force(context_length, runner);
}

int64_t o3_effective_interval_ms(int64_t interval_ms, double probe_seconds, int n_models, double max_busy_ratio) {
    if (!(probe_seconds > 0) || n_models <= 0 || !(max_busy_ratio > 0)) return interval_ms;
    double needed_ms = probe_seconds * 1000.0 * n_models / max_busy_ratio;
    const double day_ms = 86400e3;
    if (needed_ms > day_ms) needed_ms = day_ms;
    return needed_ms > (double)interval_ms ? (int64_t)needed_ms : interval_ms;
}

int64_t o3_token_interval_ms(double tokens, int n_models, int64_t limit, double share) {
    if (limit <= 0) return 0;
    const double day_ms = 86400e3;
    double needed_ms = tokens * n_models * day_ms / ((double)limit * share);
    return (int64_t)(needed_ms < day_ms ? needed_ms : day_ms);
}

void o3_token_budget_init(struct o3_token_budget *b) {
    *b = (struct o3_token_budget){0};
}

/* The clock had run ahead and was set right: what was spent counts as spent now, or it would do so until that time. */
static void set_back(struct o3_token_budget *b, int64_t hour) {
    int64_t sum = 0;
    for (int i = 0; i < N_CELLS; i++)
        sum += b->cell[i];
    memset(b->cell, 0, sizeof b->cell);
    b->cell_hour = hour;
    b->cell[hour % N_CELLS] = sum;
}

static void roll(struct o3_token_budget *b, int64_t wall_ms) {
    int64_t hour = wall_ms > 0 ? wall_ms / HOUR_MS : 0;
    if (b->cell_hour - hour >= N_CELLS) set_back(b, hour);
    if (hour - b->cell_hour >= N_CELLS)
        memset(b->cell, 0, sizeof b->cell);
    else
        for (int64_t h = b->cell_hour + 1; h <= hour; h++)
            b->cell[h % N_CELLS] = 0;
    if (hour > b->cell_hour) b->cell_hour = hour;
}

void o3_token_budget_spend(struct o3_token_budget *b, int64_t tokens, int64_t wall_ms) {
    roll(b, wall_ms);
    if (tokens > 0) b->cell[b->cell_hour % N_CELLS] += tokens;
}

int64_t o3_token_budget_used(struct o3_token_budget *b, int64_t wall_ms) {
    roll(b, wall_ms);
    int64_t sum = 0;
    for (int i = 0; i < N_CELLS; i++)
        sum += b->cell[i];
    return sum;
}

bool o3_token_budget_allows(struct o3_token_budget *b, int64_t tokens, int64_t limit, int64_t wall_ms) {
    return limit == 0 || o3_token_budget_used(b, wall_ms) + tokens <= limit;
}

int o3_token_budget_encode(const struct o3_token_budget *b, struct o3_buf *out) {
    o3_buf_addf(out, "%lld", (long long)b->cell_hour);
    for (int i = 0; i < N_CELLS; i++)
        o3_buf_addf(out, " %lld", (long long)b->cell[i]);
    return out->err;
}

bool o3_token_budget_decode(const char *text, struct o3_token_budget *ret) {
    struct o3_token_budget b;
    char *end;
    b.cell_hour = strtoll(text, &end, 10);
    bool is_whole = end != text && b.cell_hour >= 0;
    for (int i = 0; is_whole && i < N_CELLS; i++) {
        const char *from = end;
        b.cell[i] = strtoll(from, &end, 10);
        is_whole = end != from && b.cell[i] >= 0 && b.cell[i] < INT64_MAX / N_CELLS / 4;
    }
    if (!is_whole || *end) return false;
    *ret = b;
    return true;
}

static bool matches(const char *name, const char *pattern) {
    size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*') return !strncmp(name, pattern, n - 1);
    if (!strcmp(name, pattern)) return true;
    /* Ollama prints "name:latest" for a model that people call "name". */
    return !strncmp(name, pattern, n) && !strcmp(name + n, ":latest");
}

static bool matches_any(const char *name, const struct o3_conf_list *patterns) {
    for (size_t i = 0; i < patterns->n; i++)
        if (matches(name, patterns->v[i])) return true;
    return false;
}

bool o3_model_is_selected(const char *name, const struct o3_conf_list *include, const struct o3_conf_list *exclude) {
    return (include->n == 0 || matches_any(name, include)) && !matches_any(name, exclude);
}
