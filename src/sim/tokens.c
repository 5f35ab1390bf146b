/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer and a vocabulary of short made-up words. One word of the vocabulary is one token, so that an answer sent
 * back as part of the next prompt has the tokens it was generated with, and the prefix cache finds them. */
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

uint64_t o3_sim_hash(uint64_t seed, const void *bytes, size_t n) {
    const unsigned char *p = bytes; /* FNV-1a, 64 bits */
    uint64_t h = 0xcbf29ce484222325u ^ seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

void o3_sim_tokens_done(struct o3_sim_tokens *t) {
    free(t->v);
    *t = (struct o3_sim_tokens){0};
}

static int grow(struct o3_sim_tokens *t, size_t cap) {
    uint32_t *v = reallocarray(t->v, cap, sizeof *v);
    if (!v) return O3_E_NOMEM;
    t->v = v;
    t->cap = cap;
    return 0;
}

int o3_sim_tokens_reserve(struct o3_sim_tokens *t, size_t n) {
    return n <= t->cap - t->n ? 0 : grow(t, t->n + n);
}

static int reserve(struct o3_sim_tokens *t, size_t n) {
    if (n <= t->cap - t->n) return 0;
    size_t cap = t->cap ? t->cap * 2 : 64;
    return grow(t, cap < t->n + n ? t->n + n : cap);
}

int o3_sim_tokens_add(struct o3_sim_tokens *t, uint32_t id) {
    if (reserve(t, 1) < 0) return O3_E_NOMEM;
    t->v[t->n++] = id;
    return 0;
}

int o3_sim_tokens_append(struct o3_sim_tokens *t, const uint32_t *v, size_t n) {
    if (n == 0) return 0;
    if (reserve(t, n) < 0) return O3_E_NOMEM;
    memcpy(t->v + t->n, v, n * sizeof *v);
    t->n += n;
    return 0;
}

enum { TOKEN_BEGIN = 1, TOKEN_END = 2, N_TOKENS = 32000, TOKEN_HEADER = 32100, TOKEN_HEADER_END = 32101 };

uint32_t o3_sim_token_id(const char *piece, size_t n) {
    return (uint32_t)(o3_sim_hash(0, piece, n) % N_TOKENS) + 3;
}

static bool is_word_byte(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* A piece: one space at most, then up to four letters or digits; or one other character. */
static size_t piece_length(const char *s, size_t n) {
    size_t i = s[0] == ' ' ? 1 : 0;
    size_t start = i;
    while (i < n && i - start < 4 && is_word_byte((unsigned char)s[i]))
        i++;
    if (i > start) return i;
    i = 1;
    while (i < n && ((unsigned char)s[i] & 0xc0) == 0x80)
        i++;
    return i;
}

int o3_sim_tokens_add_text(struct o3_sim_tokens *t, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t len = piece_length(s + i, n - i);
        int r = o3_sim_tokens_add(t, o3_sim_token_id(s + i, len));
        if (r < 0) return r;
        i += len;
    }
    return 0;
}

void o3_sim_tokens_shorten(struct o3_sim_tokens *t, size_t keep, size_t total) {
    if (t->n <= total || keep > total) return;
    size_t tail = total - keep;
    memmove(t->v + keep, t->v + t->n - tail, tail * sizeof *t->v);
    t->n = total;
}

size_t o3_sim_tokens_common(const struct o3_sim_tokens *a, const struct o3_sim_tokens *b) {
    enum { BLOCK = 64 };
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i + BLOCK <= n && !memcmp(a->v + i, b->v + i, BLOCK * sizeof *a->v))
        i += BLOCK;
    while (i < n && a->v[i] == b->v[i])
        i++;
    return i;
}

void o3_sim_word(struct o3_rand *r, char out[O3_SIM_WORD_SIZE]) {
    static const char CONSONANTS[] = "bcdfghjklmnprstvwxyz", VOWELS[] = "aeiou";
    enum { N_CONSONANTS = sizeof CONSONANTS - 1, N_VOWELS = sizeof VOWELS - 1 };
    uint64_t id = o3_rand_below(r, N_CONSONANTS * N_VOWELS * (N_CONSONANTS + 1));
    size_t n = 0;
    out[n++] = ' ';
    out[n++] = CONSONANTS[id % N_CONSONANTS];
    out[n++] = VOWELS[id / N_CONSONANTS % N_VOWELS];
    uint64_t last = id / N_CONSONANTS / N_VOWELS;
    if (last < N_CONSONANTS) out[n++] = CONSONANTS[last];
    out[n] = '\0';
}

int o3_sim_tokens_add_made(struct o3_sim_tokens *t, uint64_t key, uint64_t first, size_t n) {
    if (reserve(t, n) < 0) return O3_E_NOMEM;
    uint32_t *v = t->v + t->n;
    for (size_t i = 0; i < n; i++) {
        uint64_t z = key + (first + i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 32)) * 0xd6e8feb86659fd93u;
        v[i] = (uint32_t)(((z >> 32) * N_TOKENS) >> 32) + 3;
    }
    t->n += n;
    return 0;
}

int o3_sim_tokens_begin(struct o3_sim_tokens *t) {
    return o3_sim_tokens_add(t, TOKEN_BEGIN);
}

int o3_sim_tokens_add_header(struct o3_sim_tokens *t, const char *role) {
    int r = o3_sim_tokens_add(t, TOKEN_HEADER);
    if (r == 0) r = o3_sim_tokens_add_text(t, role, strlen(role));
    return r < 0 ? r : o3_sim_tokens_add(t, TOKEN_HEADER_END);
}

int o3_sim_tokens_end(struct o3_sim_tokens *t) {
    return o3_sim_tokens_add(t, TOKEN_END);
}
