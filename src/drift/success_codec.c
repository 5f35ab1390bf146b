/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "base/state_text.h"
#include "drift/success_parts.h"

/* "o3success 1", then the fields in the order below, the ring oldest first, and "end". Walks are derived again. */
#define MAGIC "o3success"
#define VERSION 1
#define INDEX_MAX (INT64_C(1) << 60)

static void put_head(const struct o3_success *s, struct o3_buf *out) {
    o3_buf_addf(out, MAGIC " %d\nparams", VERSION);
    o3_state_put_double(out, s->params.arl0_samples);
    o3_state_put_int(out, s->params.n0);
    o3_state_put_int(out, s->params.confirm_samples);
    o3_state_put_double(out, s->params.min_change);
    o3_state_put_int(out, s->params.confirm_ms);
    o3_buf_adds(out, "\nstate");
    o3_state_put_int(out, (int)s->state);
    o3_state_put_int(out, s->next);
    o3_state_put_int(out, s->first);
    o3_state_put_int(out, s->last_wall_ms);
    o3_buf_adds(out, "\nreference");
    o3_state_put_double(out, s->mean);
    o3_state_put_int(out, s->n);
    o3_state_put_int(out, s->established_wall_ms);
    o3_state_put_int(out, s->learned);
    o3_state_put_int(out, s->floor);
}

static void put_change(const struct o3_success *s, struct o3_buf *out) {
    o3_buf_adds(out, "\nwalks");
    o3_state_put_double(out, s->walks_mean);
    o3_state_put_int(out, s->walks_n);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++) {
            o3_state_put_int(out, s->side[side][i].sum);
            o3_state_put_int(out, s->side[side][i].start);
        }
    o3_buf_adds(out, "\nchange");
    o3_state_put_int(out, s->direction);
    o3_state_put_int(out, s->change_index);
    o3_state_put_int(out, s->change_wall_ms);
    o3_state_put_int(out, s->change_lo_ms);
    o3_state_put_int(out, s->change_hi_ms);
    o3_state_put_int(out, s->n_level);
    o3_state_put_int(out, s->n_level_failures);
    o3_state_put_double(out, s->back);
    o3_state_put_int(out, s->back_start);
    o3_state_put_double(out, s->back_from);
}

int o3_success_encode(const struct o3_success *s, struct o3_buf *out) {
    put_head(s, out);
    put_change(s, out);
    o3_buf_adds(out, "\nring");
    for (int64_t i = o3_success_oldest(s); i < s->next; i++) {
        o3_state_put_int(out, o3_success_failed_at(s, i));
        o3_state_put_int(out, s->step_ms[i % O3_SUCCESS_RING]);
    }
    o3_buf_adds(out, "\nend\n");
    return out->err;
}

static void read_head(struct o3_state_reader *r, struct o3_success *s) {
    o3_state_read_name(r, "params");
    s->params.arl0_samples = o3_state_read_double(r, 0, 1e9);
    s->params.n0 = (int)o3_state_read_int(r, 0, INT32_MAX);
    s->params.confirm_samples = (int)o3_state_read_int(r, 0, INT32_MAX);
    s->params.min_change = o3_state_read_double(r, 0, 1);
    s->params.confirm_ms = o3_state_read_int(r, 0, INDEX_MAX);
    s->params = o3_success_params_clamp(s->params);
    o3_state_read_name(r, "state");
    s->state = (enum o3_drift_state)o3_state_read_int(r, O3_DRIFT_LEARNING, O3_DRIFT_CONFIRMED);
    s->next = o3_state_read_int(r, 0, INDEX_MAX);
    s->first = o3_state_read_int(r, 0, s->next);
    s->last_wall_ms = o3_state_read_int(r, -INDEX_MAX, INDEX_MAX);
    bool learning = s->state == O3_DRIFT_LEARNING;
    o3_state_read_name(r, "reference");
    s->mean = o3_state_read_double(r, 0, 1);
    s->n = o3_state_read_int(r, learning ? 0 : 1, learning ? 0 : s->next);
    s->established_wall_ms = o3_state_read_int(r, -INDEX_MAX, INDEX_MAX);
    s->learned = o3_state_read_int(r, s->first, s->next);
    s->floor = o3_state_read_int(r, s->first, s->next);
    if (learning && s->next - s->first >= s->params.n0) r->is_bad = true;
}

static void read_walks(struct o3_state_reader *r, struct o3_success *s) {
    o3_state_read_name(r, "walks");
    s->walks_mean = o3_state_read_double(r, 0, 1);
    s->walks_n = o3_state_read_int(r, s->n ? 1 : 0, s->n);
    if (!r->is_bad && s->walks_n) o3_success_make_walks(s);
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < O3_SUCCESS_BANK; i++) {
            struct o3_success_member *m = &s->side[side][i];
            m->sum = (int)o3_state_read_int(r, 0, (int64_t)(O3_SUCCESS_CAP * m->walk.limit));
            m->start = o3_state_read_int(r, s->first, s->next);
        }
}

static void read_change(struct o3_state_reader *r, struct o3_success *s) {
    bool changed = s->state == O3_DRIFT_SUSPECT || s->state == O3_DRIFT_CONFIRMED;
    o3_state_read_name(r, "change");
    s->direction = (int)o3_state_read_int(r, -1, 1);
    s->change_index = o3_state_read_int(r, changed ? s->first : 0, changed ? s->next - 1 : 0);
    /* Reckoned back over the ring, they may lie before the limit of last_wall_ms. */
    s->change_wall_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    s->change_lo_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    s->change_hi_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    s->n_level = o3_state_read_int(r, changed ? 1 : 0, changed ? O3_SUCCESS_RING : 0);
    s->n_level_failures = o3_state_read_int(r, 0, s->n_level);
    s->back = o3_state_read_double(r, 0, 100);
    s->back_start = o3_state_read_int(r, s->first, s->next);
    s->back_from = o3_state_read_double(r, 0, 1);
    if (changed != (s->direction != 0)) r->is_bad = true;
}

static void read_ring(struct o3_state_reader *r, struct o3_success *s) {
    o3_state_read_name(r, "ring");
    for (int64_t i = o3_success_oldest(s); i < s->next && !r->is_bad; i++) {
        size_t slot = (size_t)(i % O3_SUCCESS_RING);
        s->failed[slot / 64] |= (uint64_t)o3_state_read_int(r, 0, 1) << (slot % 64);
        s->step_ms[slot] = (int32_t)o3_state_read_int(r, INT32_MIN, INT32_MAX);
    }
    o3_state_read_name(r, "end");
}

int o3_success_decode(const char *text, size_t n, struct o3_success **ret, struct o3_err *e) {
    struct o3_state_reader r = {.p = text, .end = text + n};
    *ret = NULL;
    int error = o3_state_read_head(&r, MAGIC, VERSION, e);
    if (error < 0) return error;
    struct o3_success *s = calloc(1, sizeof *s);
    if (!s) return o3_err_set(e, O3_E_NOMEM, "no memory for a detector of successes");
    read_head(&r, s);
    read_walks(&r, s);
    read_change(&r, s);
    read_ring(&r, s);
    if (r.is_bad) {
        free(s);
        return o3_err_set(e, O3_E_PARSE, "success state is damaged near byte %td", r.p - text);
    }
    *ret = s;
    return 0;
}
