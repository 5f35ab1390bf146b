/* SPDX-License-Identifier: Apache-2.0 */
#include "rehearsal/pairs.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_WAITING = 4096 };

struct waiting {
    struct o3_world_served served;
    bool is_twin;
};
struct o3_pairs {
    struct waiting v[MAX_WAITING]; /* in order of coming */
    int n;
};

struct o3_pairs *o3_pairs_new(void) {
    return calloc(1, sizeof(struct o3_pairs));
}

void o3_pairs_free(struct o3_pairs *p) {
    free(p);
}

static int find_partner(const struct o3_pairs *p, const struct o3_world_served *s, bool is_twin) {
    for (int i = 0; i < p->n; i++) {
        const struct waiting *w = &p->v[i];
        if (w->is_twin != is_twin && w->served.group == s->group && w->served.conversation == s->conversation &&
            w->served.turn == s->turn)
            return i;
    }
    return -1;
}

static void drop(struct o3_pairs *p, int i) {
    memmove(&p->v[i], &p->v[i + 1], (size_t)(p->n - i - 1) * sizeof *p->v);
    p->n--;
}

static void count(struct o3_run *run, const struct o3_world_served *s, bool is_twin) {
    if (is_twin)
        run->n_twin_failed_requests += !s->is_good;
    else
        run->n_failed_requests += !s->is_good;
    run->n_requests += !is_twin;
    if (!s->is_good) return;
    o3_spread_add(is_twin ? &run->twin_ttft : &run->ttft, (double)s->ttft_ns / 1e9);
    o3_spread_add(is_twin ? &run->twin_total : &run->total, (double)s->total_ns / 1e9);
}

void o3_pairs_add(struct o3_pairs *p, struct o3_run *run, const struct o3_world_served *s, bool is_twin) {
    count(run, s, is_twin);
    if (!run->has_twin) return;
    int i = find_partner(p, s, is_twin);
    if (i < 0) {
        if (p->n == MAX_WAITING) {
            drop(p, 0);
            run->n_unpaired++;
        }
        p->v[p->n++] = (struct waiting){*s, is_twin};
        return;
    }
    const struct o3_world_served *with = is_twin ? &p->v[i].served : s, *without = is_twin ? s : &p->v[i].served;
    if (with->is_good && without->is_good) {
        o3_spread_add(&run->added_ttft, (double)(with->ttft_ns - without->ttft_ns) / 1e9);
        o3_spread_add(&run->added_total, (double)(with->total_ns - without->total_ns) / 1e9);
    }
    drop(p, i);
}

void o3_pairs_finish(struct o3_pairs *p, struct o3_run *run) {
    run->n_unpaired += p->n;
    p->n = 0;
}
