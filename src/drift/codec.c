/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include "drift/parts.h"
#include "base/state_text.h"

/* "o3drift 3", then the fields in the order of put_head(), the ring oldest first, and "end". Words are separated by one
 * space or newline; doubles are hex floats, so that nothing is lost. Thresholds are derived again from the parameters.
 */
#define MAGIC "o3drift"
#define VERSION 3
#define INDEX_MAX (INT64_C(1) << 60)
#define HOUR_MAX (INDEX_MAX / O3_DRIFT_HOUR_MS + 1)
#define LOG_MAX 746.0                /* |ln| of every positive double, subnormals included */
#define SHIFT_MAX (2 * LOG_MAX + 10) /* of two values, and a season */

static void put_head(const struct o3_drift *d, struct o3_buf *out) {
    o3_buf_addf(out, MAGIC " %d\nparams", VERSION);
    o3_state_put_int(out, (int)d->params.detector);
    o3_state_put_int(out, d->params.has_season);
    o3_state_put_int(out, d->params.interval_ms);
    o3_state_put_double(out, d->params.min_effect);
    o3_state_put_double(out, d->params.arl0_samples);
    o3_state_put_int(out, d->params.n0);
    o3_state_put_int(out, d->params.confirm_samples);
    o3_buf_adds(out, "\nstate");
    o3_state_put_int(out, (int)d->state);
    o3_state_put_int(out, d->next);
    o3_state_put_int(out, d->rejected);
    o3_state_put_int(out, d->first);
    o3_state_put_int(out, d->last_wall_ms);
    o3_state_put_double(out, d->anchor);
    o3_state_put_int(out, d->gap);
    o3_buf_adds(out, "\nbaseline");
    o3_state_put_double(out, d->base.mean);
    o3_state_put_double(out, d->base.var);
    o3_state_put_double(out, d->base.cov);
    o3_state_put_double(out, d->base.beyond[0]);
    o3_state_put_double(out, d->base.beyond[1]);
    o3_state_put_double(out, d->base.spacing);
    o3_state_put_int(out, d->base.n_pairs);
    o3_state_put_int(out, d->base.n);
    o3_state_put_int(out, d->established_wall_ms);
    o3_state_put_int(out, d->learned);
    o3_state_put_int(out, d->resumed);
    o3_state_put_int(out, d->floor);
}

static void put_change(const struct o3_drift *d, struct o3_buf *out) {
    o3_buf_adds(out, "\nchange");
    o3_state_put_int(out, d->direction);
    o3_state_put_int(out, d->change_index);
    o3_state_put_int(out, d->change_wall_ms);
    o3_state_put_int(out, d->change_lo_ms);
    o3_state_put_int(out, d->change_hi_ms);
    o3_state_put_int(out, d->is_slow);
    o3_state_put_double(out, d->level);
    o3_buf_adds(out, "\nbank");
    for (int i = 0; i < O3_DRIFT_BANK; i++) {
        for (int side = 0; side < 2; side++) {
            o3_state_put_double(out, d->bank.side[side][i].sum);
            o3_state_put_int(out, d->bank.side[side][i].start);
        }
        o3_state_put_double(out, d->back[i]);
    }
}

static void put_table(const int16_t *v, int n, struct o3_buf *out) {
    for (int i = 0; i < n; i++)
        o3_state_put_int(out, v[i]);
}

static void put_hours(const struct o3_drift_hours *h, struct o3_buf *out) {
    o3_buf_adds(out, "\nhours");
    o3_state_put_int(out, h->now);
    o3_state_put_int(out, h->from);
    o3_state_put_int(out, h->day_0);
    o3_state_put_int(out, h->n_days);
    o3_state_put_int(out, h->season_known);
    put_table(h->day[0], O3_DRIFT_DAYS * O3_DRIFT_HOURS, out);
    put_table(h->season, O3_DRIFT_HOURS, out);
    put_table(h->reference, O3_DRIFT_HOURS, out);
    put_table(h->difference, O3_DRIFT_HOURS, out);
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        o3_state_put_int(out, h->n[i]);
}

static void put_modes(const struct o3_drift_modes *m, struct o3_buf *out) {
    o3_buf_adds(out, "\nmodes");
    o3_state_put_int(out, m->n);
    o3_state_put_int(out, m->direction);
    o3_state_put_int(out, m->suspected);
    o3_state_put_int(out, m->ended);
    o3_state_put_double(out, m->depth);
    for (int i = 0; i < O3_DRIFT_EXCURSIONS; i++) {
        o3_state_put_int(out, m->log[i].index);
        o3_state_put_double(out, (double)m->log[i].depth);
        o3_state_put_double(out, (double)m->log[i].excess);
    }
}

static void put_ring(const struct o3_drift *d, struct o3_buf *out) {
    o3_buf_adds(out, "\nring");
    for (int64_t i = o3_drift_oldest(d); i < d->next; i++) {
        size_t slot = (size_t)(i % O3_DRIFT_RING);
        o3_state_put_double(out, (double)d->y[slot]);
        o3_state_put_int(out, d->step_ms[slot]);
        o3_state_put_int(out, d->season_of[slot]);
        o3_state_put_int(out, (int64_t)(d->gaps[slot / 64] >> (slot % 64) & 1));
    }
    o3_buf_adds(out, "\nend\n");
}

int o3_drift_encode(const struct o3_drift *d, struct o3_buf *out) {
    put_head(d, out);
    put_change(d, out);
    o3_drift_rank_put(d, out);
    put_hours(&d->hours, out);
    put_modes(&d->modes, out);
    put_ring(d, out);
    return out->err;
}

static void read_params(struct o3_state_reader *r, struct o3_drift *d) {
    o3_state_read_name(r, "params");
    d->params.detector = (enum o3_drift_detector)o3_state_read_int(r, O3_DRIFT_BY_CUSUM, O3_DRIFT_BY_RANK);
    d->params.has_season = o3_state_read_int(r, 0, 1);
    d->params.interval_ms = o3_state_read_int(r, 0, INT64_MAX);
    d->params.min_effect = o3_state_read_double(r, 0, HUGE_VAL);
    d->params.arl0_samples = o3_state_read_double(r, 0, HUGE_VAL);
    d->params.n0 = (int)o3_state_read_int(r, 0, INT32_MAX);
    d->params.confirm_samples = (int)o3_state_read_int(r, 0, INT32_MAX);
    d->params = o3_drift_params_clamp(d->params);
    o3_drift_derive(d);
}

static void read_state(struct o3_state_reader *r, struct o3_drift *d) {
    o3_state_read_name(r, "state");
    d->state = (enum o3_drift_state)o3_state_read_int(r, O3_DRIFT_LEARNING, O3_DRIFT_CONFIRMED);
    d->next = o3_state_read_int(r, 0, INDEX_MAX);
    d->rejected = o3_state_read_int(r, 0, INDEX_MAX);
    d->first = o3_state_read_int(r, 0, d->next);
    d->last_wall_ms = o3_state_read_int(r, -INDEX_MAX, INDEX_MAX);
    d->anchor = o3_state_read_double(r, -LOG_MAX, LOG_MAX);
    d->gap = o3_state_read_int(r, 0, 1);
}

static void read_baseline(struct o3_state_reader *r, struct o3_drift *d) {
    bool learning = d->state == O3_DRIFT_LEARNING;
    double floor = learning ? 0 : O3_DRIFT_SD_FLOOR * O3_DRIFT_SD_FLOOR;
    o3_state_read_name(r, "baseline");
    d->base.mean = o3_state_read_double(r, -SHIFT_MAX, SHIFT_MAX);
    d->base.var = o3_state_read_double(r, floor, 4 * SHIFT_MAX * SHIFT_MAX);
    d->base.cov = o3_state_read_double(r, -8 * SHIFT_MAX * SHIFT_MAX, 8 * SHIFT_MAX * SHIFT_MAX);
    d->base.beyond[0] = o3_state_read_double(r, 0, 1);
    d->base.beyond[1] = o3_state_read_double(r, 0, 1);
    d->base.spacing = o3_state_read_double(r, 0.01, 1e9);
    d->base.n_pairs = o3_state_read_int(r, 0, INDEX_MAX);
    d->base.n = o3_state_read_int(r, learning ? 0 : 1, INDEX_MAX);
    d->established_wall_ms = o3_state_read_int(r, -INDEX_MAX, INDEX_MAX);
    d->learned = o3_state_read_int(r, d->first, d->next);
    d->resumed = o3_state_read_int(r, d->first, d->next);
    d->floor = o3_state_read_int(r, d->first, d->next);
    if (learning != (d->next - d->first < d->params.n0)) r->is_bad = true;
}

static void read_change(struct o3_state_reader *r, struct o3_drift *d) {
    bool changed = d->state == O3_DRIFT_SUSPECT || d->state == O3_DRIFT_CONFIRMED;
    o3_state_read_name(r, "change");
    d->direction = (int)o3_state_read_int(r, -1, 1);
    d->change_index = o3_state_read_int(r, changed ? d->first : 0, changed ? d->next - 1 : 0);
    /* Reckoned back over the ring, it may lie before the limit of last_wall_ms. */
    d->change_wall_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    d->change_lo_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    d->change_hi_ms = o3_state_read_int(r, -2 * INDEX_MAX, 2 * INDEX_MAX);
    d->is_slow = o3_state_read_int(r, 0, 1);
    d->level = o3_state_read_double(r, -SHIFT_MAX, SHIFT_MAX);
    if (changed != (d->direction != 0)) r->is_bad = true;
}

static void read_bank(struct o3_state_reader *r, struct o3_drift *d) {
    o3_state_read_name(r, "bank");
    for (int i = 0; i < O3_DRIFT_BANK; i++) {
        double cap = O3_DRIFT_CAP * (d->h[i] * O3_DRIFT_CAUTION_MAX); /* rounded as evidence.c does */
        for (int side = 0; side < 2; side++) {
            d->bank.side[side][i].sum = o3_state_read_double(r, 0, cap);
            d->bank.side[side][i].start = o3_state_read_int(r, d->first, d->next);
        }
        d->back[i] = o3_state_read_double(r, 0, cap);
    }
}

static void read_table(struct o3_state_reader *r, int16_t *v, int n) {
    for (int i = 0; i < n; i++)
        v[i] = (int16_t)o3_state_read_int(r, INT16_MIN, INT16_MAX);
}

static void read_hours(struct o3_state_reader *r, struct o3_drift *d) {
    struct o3_drift_hours *h = &d->hours;
    o3_state_read_name(r, "hours");
    h->now = o3_state_read_int(r, -HOUR_MAX, HOUR_MAX);
    h->from = o3_state_read_int(r, d->first, d->next);
    h->day_0 = o3_state_read_int(r, -HOUR_MAX, h->now);
    h->n_days = o3_state_read_int(r, 0, HOUR_MAX);
    h->season_known = o3_state_read_int(r, 0, 1);
    if (h->n_days != (h->now - h->day_0) / O3_DRIFT_HOURS) r->is_bad = true;
    read_table(r, h->day[0], O3_DRIFT_DAYS * O3_DRIFT_HOURS);
    read_table(r, h->season, O3_DRIFT_HOURS);
    read_table(r, h->reference, O3_DRIFT_HOURS);
    read_table(r, h->difference, O3_DRIFT_HOURS);
    for (int i = 0; i < O3_DRIFT_HOURS; i++)
        h->n[i] = (uint16_t)o3_state_read_int(r, 0, UINT16_MAX);
}

static void read_modes(struct o3_state_reader *r, struct o3_drift *d) {
    struct o3_drift_modes *m = &d->modes;
    o3_state_read_name(r, "modes");
    m->n = o3_state_read_int(r, 0, INDEX_MAX);
    m->direction = (int)o3_state_read_int(r, -1, 1);
    m->suspected = o3_state_read_int(r, d->first, d->next);
    m->ended = o3_state_read_int(r, d->first, d->next);
    m->depth = o3_state_read_double(r, 0, SHIFT_MAX);
    for (int i = 0; i < O3_DRIFT_EXCURSIONS; i++) {
        m->log[i].index = o3_state_read_int(r, 0, d->next);
        m->log[i].depth = (float)o3_state_read_double(r, -SHIFT_MAX, SHIFT_MAX);
        m->log[i].excess = (float)o3_state_read_double(r, i < m->n ? 1 : 0, O3_DRIFT_EXCURSION_MAX);
    }
}

static void read_ring(struct o3_state_reader *r, struct o3_drift *d) {
    o3_state_read_name(r, "ring");
    for (int64_t i = o3_drift_oldest(d); i < d->next && !r->is_bad; i++) {
        size_t slot = (size_t)(i % O3_DRIFT_RING);
        d->y[slot] = (float)o3_state_read_double(r, -SHIFT_MAX, SHIFT_MAX);
        d->step_ms[slot] = (int32_t)o3_state_read_int(r, INT32_MIN, INT32_MAX);
        d->season_of[slot] = (int16_t)o3_state_read_int(r, INT16_MIN, INT16_MAX);
        d->gaps[slot / 64] |= (uint64_t)o3_state_read_int(r, 0, 1) << (slot % 64);
    }
    o3_state_read_name(r, "end");
}

int o3_drift_decode(const char *text, size_t n, struct o3_drift **ret, struct o3_err *e) {
    struct o3_state_reader r = {.p = text, .end = text + n};
    *ret = NULL;
    int error = o3_state_read_head(&r, MAGIC, VERSION, e);
    if (error < 0) return error;
    struct o3_drift *d = calloc(1, sizeof *d);
    if (!d) return o3_err_set(e, O3_E_NOMEM, "no memory for a detector");
    read_params(&r, d);
    read_state(&r, d);
    read_baseline(&r, d);
    read_change(&r, d);
    read_bank(&r, d);
    o3_drift_rank_read(&r, d);
    read_hours(&r, d);
    read_modes(&r, d);
    read_ring(&r, d);
    if (r.is_bad) {
        free(d);
        return o3_err_set(e, O3_E_PARSE, "detector state is damaged near byte %td", r.p - text);
    }
    o3_drift_evidence_weigh(d);
    *ret = d;
    return 0;
}
