/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of a runner and the prompts that it remembers. */
#include <string.h>
#include "sim/sim.h"

int o3_sim_slots(const struct o3_world *w, const struct o3_sim_request *rq) {
    return rq->model.weights->can_complete ? w->params.parallel : 1;
}

void o3_sim_cache_keep(struct o3_world *w, struct o3_sim_request *rq) {
    struct o3_sim_runner *r = rq->runner;
    if (!r || !rq->model.weights->can_complete || rq->tokens.n == 0) return;
    int places = w->profile.has_child_server ? O3_SIM_CACHED_PROMPTS : 1;
    int at = -1;
    for (int i = 0; i < r->n_cached; i++)
        if (o3_sim_tokens_common(&r->cached[i], &rq->tokens) == r->cached[i].n) at = i; /* it grew */
    if (at < 0 && r->n_cached >= places) at = 0;
    if (at >= 0) {
        o3_sim_tokens_done(&r->cached[at]);
        memmove(&r->cached[at], &r->cached[at + 1], (size_t)(r->n_cached - at - 1) * sizeof *r->cached);
        r->n_cached--;
    }
    r->cached[r->n_cached++] = rq->tokens;
    rq->tokens = (struct o3_sim_tokens){0};
}

size_t o3_sim_cache_common(const struct o3_sim_request *rq) {
    size_t best = 0;
    for (int i = 0; i < rq->runner->n_cached; i++) {
        size_t n = o3_sim_tokens_common(&rq->runner->cached[i], &rq->tokens);
        if (n > best) best = n;
    }
    return best < rq->n_prompt ? best : rq->n_prompt - 1; /* the last token is always evaluated */
}
