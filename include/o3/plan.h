/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PLAN_H
#define O3_PLAN_H
/* What to ask, how often, and how much of it: prompts, probe sizes, cadence and the token budget. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/host.h"
#include "o3/ollama.h"

#define O3_DECODE_TOKENS_MIN 8
#define O3_DECODE_TOKENS_MAX 64
#define O3_DECODE_TOKENS_FIRST 16 /* before the rate of a runner is known */
#define O3_PREFILL_WORDS_MIN 16
#define O3_PREFILL_WORDS_FIRST 64
#define O3_PREFILL_NUM_PREDICT 2 /* the least that does not mean "unlimited" and still has an eval_duration */
#define O3_STUCK_NUM_PREDICT 8

/* The one short constant prompt of decode probes: it stays one entry of the runner's prompt cache. */
const char *o3_decode_prompt(void);
/* Short words, each a token with usual tokenizers, that begin with `nonce` (counted as ten), so that no cached prefix
 * serves them. */
int o3_prefill_prompt(uint64_t nonce, int64_t n_words, struct o3_buf *out);

/* About a second of decode, half a second of prefill, within limits. */
int64_t o3_decode_tokens_for(double decode_tps);
/* In words of our prompt, of which the tokenizer made `tokens` out of `words` in the trial. */
int64_t o3_prefill_words_for(double prefill_tps, int64_t max_tokens, int64_t words, int64_t tokens);

/* What the probes of one kind may cost together. A day's tokens are shared: a third is for prefill probes, the rest for
 * decode probes. */
#define O3_PREFILL_SHARE (1.0 / 3)
#define O3_DECODE_SHARE (2.0 / 3)
struct o3_probe_means {
    int64_t interval_ms; /* at which they shall last */
    int n_models;        /* that share them */
    int64_t tokens_per_day;
    double max_busy_ratio;
};
/* Decode tokens of a probe: about a second's worth, or as many as last at that interval, in tokens and in time the
 * server is busy, if that is less; at least O3_DECODE_TOKENS_MIN. overhead_s: what a probe takes besides decoding. */
int64_t o3_decode_tokens_within(double decode_tps, double overhead_s, const struct o3_probe_means *m);
/* The longest prompt of a prefill probe that lasts, of which `besides` more tokens are used for each probe; at most
 * max_tokens. */
int64_t o3_prefill_tokens_within(int64_t max_tokens, int64_t besides, const struct o3_probe_means *m);

/* The options to name in a request so that nothing is loaded again: num_ctx as /api/ps lists it matches an automatic
 * and an explicit load alike; num_batch and num_thread only when the runner's command line (NULL: not readable) shows
 * them. */
struct o3_runner_options o3_options_in_force(int64_t context_length, const struct o3_runner_cmdline *runner);
/* The same for an embedding model. There an automatic load differs from an explicit one of the same size (measured on
 * 0.32.15: loaded without options, a request that names the num_ctx shown loads it again, and the other way round), and
 * neither /api/ps nor the command line tells them apart. So a context that an automatic load would give (the model's
 * own, or a server default) is taken as automatic and nothing is named. */
struct o3_runner_options o3_embed_options_in_force(int64_t context_length, int64_t trained_context_length,
                                                   const struct o3_runner_cmdline *runner);
#define O3_RELOAD_NS 200000000LL /* load_duration: 1..6 ms when loaded; a load takes at least one 250 ms poll */

/* max(interval, probe time x models / max_busy_ratio); probe_seconds < 0: not known yet. */
int64_t o3_effective_interval_ms(int64_t interval_ms, double probe_seconds, int n_models, double max_busy_ratio);

/* The interval at which `share` of a day's limit of tokens lasts for n_models probes of so many tokens each, at most a
 * day; 0 where there is no limit. */
int64_t o3_token_interval_ms(double tokens, int n_models, int64_t limit, double share);

/* Tokens of the last 24 hours, in hourly cells. limit 0 = none. Times are wall clock, so that the count outlives a
 * restart; a clock set back spends in the newest cell. */
struct o3_token_budget {
    int64_t cell[24];
    int64_t cell_hour; /* hour of the newest cell, since 1970 */
};
void o3_token_budget_init(struct o3_token_budget *b);
void o3_token_budget_spend(struct o3_token_budget *b, int64_t tokens, int64_t wall_ms);
int64_t o3_token_budget_used(struct o3_token_budget *b, int64_t wall_ms);
bool o3_token_budget_allows(struct o3_token_budget *b, int64_t tokens, int64_t limit, int64_t wall_ms);
int o3_token_budget_encode(const struct o3_token_budget *b, struct o3_buf *out);
bool o3_token_budget_decode(const char *text, struct o3_token_budget *ret); /* false, and ret untouched, on damage */

/* Is a model name selected by models.include and models.exclude? A pattern may end in '*'; an empty include means all.
 */
struct o3_conf_list;
bool o3_model_is_selected(const char *name, const struct o3_conf_list *include, const struct o3_conf_list *exclude);

#endif
