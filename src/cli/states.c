/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/states.h"
#include <stdlib.h>
#include <string.h>

/* The place of the key, or the one where it would stand. */
static size_t find(const struct o3_states *s, const char *key, bool *ret_is_there) {
    size_t lo = 0, hi = s->n;
    *ret_is_there = false;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        int order = strcmp(s->v[middle].key, key);
        if (order == 0) *ret_is_there = true;
        if (order < 0)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static void remove_at(struct o3_states *s, size_t i) {
    free(s->v[i].key);
    free(s->v[i].value);
    s->n--;
    memmove(s->v + i, s->v + i + 1, (s->n - i) * sizeof *s->v);
}

static bool make_room(struct o3_states *s) {
    if (s->n < s->cap) return true;
    size_t cap = s->cap ? 2 * s->cap : 64;
    struct o3_state *v = cap > O3_STATES_MAX ? NULL : reallocarray(s->v, cap, sizeof *v);
    if (!v) return false;
    s->v = v;
    s->cap = cap;
    return true;
}

void o3_states_put(struct o3_states *s, const char *key, const char *value, size_t n) {
    bool is_there;
    size_t i = find(s, key, &is_there);
    if (is_there) remove_at(s, i);
    if (!n) return;
    struct o3_state new = {.key = strdup(key), .value = malloc(n), .n = n};
    if (!new.key || !new.value || !make_room(s)) {
        free(new.key);
        free(new.value);
        s->is_full = true;
        return;
    }
    memcpy(new.value, value, n);
    memmove(s->v + i + 1, s->v + i, (s->n - i) * sizeof *s->v);
    s->v[i] = new;
    s->n++;
}

bool o3_states_take(struct o3_states *s, const char *key, struct o3_buf *ret) {
    bool is_there;
    size_t i = find(s, key, &is_there);
    return is_there && o3_buf_add(ret, s->v[i].value, s->v[i].n) == 0;
}

void o3_states_done(struct o3_states *s) {
    while (s->n)
        remove_at(s, s->n - 1);
    free(s->v);
    *s = (struct o3_states){0};
}
