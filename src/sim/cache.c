/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of a runner and its prompt cache. From 0.30 a request takes the free slot whose content resembles its
 * prompt most, else the one unused for longest; what it displaces goes to a cache in RAM and may come back from there.
 * Before 0.30 it takes the slot with the longest common prefix, and the rest of the content is lost. */
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

enum { HEAD = 16 }; /* tokens that the quick comparison looks at */

static bool has_states(const struct o3_sim_request *rq) {
    return rq->model.weights->can_complete;
}

int o3_sim_slots(const struct o3_world *w, const struct o3_sim_request *rq) {
    return has_states(rq) ? w->params.parallel : 1;
}

static uint64_t head_of(const struct o3_sim_tokens *t) {
    return o3_sim_hash(0, t->v, (t->n < HEAD ? t->n : HEAD) * sizeof *t->v);
}

static int64_t bytes_of(const struct o3_sim_runner *r, size_t n_tokens) {
    return o3_sim_kv_token_bytes(r->model.weights) * (int64_t)n_tokens;
}

/* Seen with 9 to 13 MiB: about 20 ms out and in; with some GB: 2 s. */
static int64_t copy_ns(const struct o3_sim_runner *r, size_t n_tokens) {
    const double bytes_per_s = 1e9, setup_s = 0.005;
    return (int64_t)((setup_s + (double)bytes_of(r, n_tokens) / bytes_per_s) * 1e6) * 1000;
}

/* ---- what users lose ---- */

/* The state is gone but for its first `common` tokens. */
static void lose(struct o3_world *w, const struct o3_sim_prefix *p, size_t common, bool is_by_api) {
    if (!p->owner || p->tokens.n <= common || !o3_sim_users_is_open(w, p->owner)) return;
    if (p->is_displaced) w->truth.n_prefixes_swapped--;
    if (!is_by_api) return;
    w->truth.n_prefixes_evicted++;
    o3_sim_users_lost(w, p->owner, p->tokens.n);
}

static void prefix_done(struct o3_sim_prefix *p) {
    o3_sim_tokens_done(&p->tokens);
    *p = (struct o3_sim_prefix){0};
}

void o3_sim_cache_clear(struct o3_world *w, struct o3_sim_runner *r, bool is_by_api) {
    for (size_t i = 0; i < O3_SIM_MAX_SLOTS; i++) {
        lose(w, &r->slots[i].prefix, 0, is_by_api);
        prefix_done(&r->slots[i].prefix);
    }
    for (size_t i = 0; i < r->n_cached; i++) {
        lose(w, &r->cached[i], 0, is_by_api);
        prefix_done(&r->cached[i]);
    }
    free(r->cached);
    r->cached = NULL;
    r->n_cached = 0;
}

/* ---- the cache in RAM ---- */

static void take_out(struct o3_sim_runner *r, size_t i) {
    r->n_cached--;
    memmove(&r->cached[i], &r->cached[i + 1], (r->n_cached - i) * sizeof *r->cached);
}

/* Drops what the new state contains; true when one that is there contains the new one. */
static bool is_known(struct o3_sim_runner *r, const struct o3_sim_prefix *p) {
    for (size_t i = 0; i < r->n_cached;) {
        struct o3_sim_prefix *c = &r->cached[i];
        bool is_long = c->tokens.n >= HEAD && p->tokens.n >= HEAD;
        size_t n = is_long && c->head != p->head ? 0 : o3_sim_tokens_common(&c->tokens, &p->tokens);
        if (n == p->tokens.n) return true;
        if (n < c->tokens.n) {
            i++;
            continue;
        }
        prefix_done(c);
        take_out(r, i);
    }
    return false;
}

static bool has_place(struct o3_sim_runner *r) {
    if (!r->cached) r->cached = calloc(O3_SIM_MAX_CACHED + 1, sizeof *r->cached);
    return r->cached != NULL;
}

/* Moves the content of a slot to RAM; returns the time it takes. */
static int64_t save(struct o3_world *w, const struct o3_sim_request *rq, struct o3_sim_slot *s) {
    struct o3_sim_runner *r = rq->runner;
    struct o3_sim_prefix *p = &s->prefix;
    if (p->tokens.n == 0) return 0;
    p->head = head_of(&p->tokens);
    if (is_known(r, p) || !has_place(r)) {
        prefix_done(p);
        return 0;
    }
    int64_t ns = copy_ns(r, p->tokens.n);
    if (!rq->user && p->owner && o3_sim_users_is_open(w, p->owner)) {
        p->is_displaced = true;
        w->truth.n_prefixes_swapped++;
    }
    r->cached[r->n_cached++] = *p;
    *p = (struct o3_sim_prefix){0};
    return ns;
}

/* The state that serves the prompt better than one of `kept` tokens with `common` of them in the prompt would. States
 * of which the prompt needs less than a quarter stay where they are. */
static size_t find(const struct o3_sim_runner *r, const struct o3_sim_tokens *prompt, size_t kept, size_t common) {
    size_t best = SIZE_MAX;
    double share = kept ? (double)common / (double)kept : 0;
    uint64_t head = head_of(prompt);
    for (size_t i = 0; i < r->n_cached; i++) {
        const struct o3_sim_prefix *c = &r->cached[i];
        if (c->tokens.n >= 4 * HEAD && c->head != head) continue;
        size_t n = o3_sim_tokens_common(&c->tokens, prompt);
        double f = (double)n / (double)c->tokens.n;
        if (f < 0.25 || f <= share || n <= common) continue;
        best = i;
        share = f;
        common = n;
    }
    return best;
}

/* Upstream has a limit of tokens too, which grows to what the bytes allow: the bytes decide. */
static void shrink(struct o3_world *w, const struct o3_sim_request *rq) {
    struct o3_sim_runner *r = rq->runner;
    size_t total = 0, n_gone = 0;
    for (size_t i = 0; i < r->n_cached; i++)
        total += r->cached[i].tokens.n;
    while (r->n_cached - n_gone > 1 &&
           (bytes_of(r, total) > O3_SIM_CACHE_BYTES || r->n_cached - n_gone > O3_SIM_MAX_CACHED)) {
        struct o3_sim_prefix *oldest = &r->cached[n_gone++];
        total -= oldest->tokens.n;
        lose(w, oldest, 0, !rq->user);
        prefix_done(oldest);
    }
    if (n_gone == 0) return;
    r->n_cached -= n_gone;
    memmove(r->cached, r->cached + n_gone, r->n_cached * sizeof *r->cached);
}

/* ---- slots ---- */

/* The free slot with the longest common prefix above a share of the prompt; -1 when there is none. */
static int most_similar(const struct o3_sim_request *rq, int n_slots, double above) {
    int best = -1;
    double longest = above * (double)rq->n_prompt;
    for (int i = 0; i < n_slots; i++) {
        const struct o3_sim_slot *s = &rq->runner->slots[i];
        if (s->is_busy) continue;
        double n = (double)o3_sim_tokens_common(&s->prefix.tokens, &rq->tokens);
        if (n <= longest) continue;
        best = i;
        longest = n;
    }
    return best;
}

static int unused_for_longest(const struct o3_sim_request *rq, int n_slots) {
    int best = -1;
    const struct o3_sim_slot *s = rq->runner->slots;
    for (int i = 0; i < n_slots; i++)
        if (!s[i].is_busy && (best < 0 || s[i].used < s[best].used)) best = i;
    return best;
}

static int choose(const struct o3_world *w, const struct o3_sim_request *rq, bool *ret_is_similar) {
    int n_slots = o3_sim_slots(w, rq);
    bool is_new = w->profile.has_child_server;
    int at = has_states(rq) ? most_similar(rq, n_slots, is_new ? 0.1 : -1) : -1;
    *ret_is_similar = at >= 0;
    if (at < 0) at = unused_for_longest(rq, n_slots);
    O3_ASSERT(at >= 0);
    return at;
}

/* Takes from the slot and the cache what the prompt can use. */
static int64_t reuse(struct o3_world *w, struct o3_sim_request *rq, struct o3_sim_slot *s, bool is_similar) {
    struct o3_sim_runner *r = rq->runner;
    size_t kept = s->prefix.tokens.n, common = o3_sim_tokens_common(&s->prefix.tokens, &rq->tokens);
    int64_t ns = 0;
    if (w->profile.has_child_server && (!is_similar || common * 2 < kept)) {
        ns = save(w, rq, s);
        size_t i = find(r, &rq->tokens, kept, common);
        if (i != SIZE_MAX) {
            s->prefix = r->cached[i];
            take_out(r, i);
            ns += copy_ns(r, s->prefix.tokens.n);
            common = o3_sim_tokens_common(&s->prefix.tokens, &rq->tokens);
        }
        shrink(w, rq);
    }
    lose(w, &s->prefix, common, !rq->user);
    prefix_done(&s->prefix);
    rq->n_cached = common < rq->n_prompt ? common : rq->n_prompt - 1; /* the last token is always evaluated */
    return ns;
}

int64_t o3_sim_cache_take(struct o3_world *w, struct o3_sim_request *rq) {
    bool is_similar;
    rq->slot = choose(w, rq, &is_similar);
    struct o3_sim_slot *s = &rq->runner->slots[rq->slot];
    s->is_busy = true;
    return has_states(rq) ? reuse(w, rq, s, is_similar) : 0;
}

void o3_sim_cache_give(struct o3_world *w, struct o3_sim_request *rq) {
    struct o3_sim_slot *s = &rq->runner->slots[rq->slot];
    s->is_busy = false;
    s->used = ++w->last_serial;
}

void o3_sim_cache_cut(struct o3_sim_request *rq, int64_t t) {
    int64_t all = rq->next_ns - rq->prompt_start_ns, done = t - rq->prompt_start_ns;
    double share = all > 0 && done > 0 ? (double)done / (double)all : 0;
    size_t n = rq->n_cached + (size_t)(share * (double)(rq->n_prompt - rq->n_cached));
    if (has_states(rq) && n < rq->tokens.n) rq->tokens.n = n;
}

void o3_sim_cache_keep(struct o3_sim_request *rq) {
    if (!rq->has_slot || !has_states(rq) || rq->tokens.n == 0) return;
    /* A shifted context has only its first tokens in common with what may come. */
    const double kept_by_default = 4;
    size_t n_ctx = (size_t)rq->runner->launch.num_ctx;
    if (rq->tokens.n > n_ctx) {
        double keep = o3_sim_option(&rq->options, O3_SIM_NUM_KEEP, kept_by_default);
        rq->tokens.n = keep < 0 || keep >= (double)n_ctx ? n_ctx : (size_t)keep + 1;
    }
    struct o3_sim_prefix *p = &rq->runner->slots[rq->slot].prefix;
    *p = (struct o3_sim_prefix){.tokens = rq->tokens, .owner = rq->user};
    rq->tokens = (struct o3_sim_tokens){0};
}
