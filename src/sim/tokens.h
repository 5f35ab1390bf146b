/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SIM_TOKENS_H
#define O3_SIM_TOKENS_H
/* Prompts and answers as tokens (tokens.c). */
#include "o3/rand.h"

struct o3_sim_tokens {
    uint32_t *v;
    size_t n, cap;
};
void o3_sim_tokens_done(struct o3_sim_tokens *t);
int o3_sim_tokens_reserve(struct o3_sim_tokens *t, size_t n); /* room for n more, and no more than that */
int o3_sim_tokens_add(struct o3_sim_tokens *t, uint32_t id);
int o3_sim_tokens_add_text(struct o3_sim_tokens *t, const char *s, size_t n);
/* Drops tokens so that `keep` stay at the start and the newest fill up to `total`. */
void o3_sim_tokens_shorten(struct o3_sim_tokens *t, size_t keep, size_t total);
size_t o3_sim_tokens_common(const struct o3_sim_tokens *a, const struct o3_sim_tokens *b);
uint64_t o3_sim_hash(uint64_t seed, const void *bytes, size_t n);
#define O3_SIM_WORD_SIZE 8
void o3_sim_word(struct o3_rand *r, char out[O3_SIM_WORD_SIZE]);
uint32_t o3_sim_token_id(const char *piece, size_t n);
int o3_sim_tokens_append(struct o3_sim_tokens *t, const uint32_t *v, size_t n);
/* Tokens first, first + 1, ... of a text that is nowhere spelt out. */
int o3_sim_tokens_add_made(struct o3_sim_tokens *t, uint64_t key, uint64_t first, size_t n);
/* A chat: beginning, messages, the header of the answer. */
int o3_sim_tokens_begin(struct o3_sim_tokens *t);
int o3_sim_tokens_add_header(struct o3_sim_tokens *t, const char *role);
int o3_sim_tokens_end(struct o3_sim_tokens *t); /* of a message */

#endif
