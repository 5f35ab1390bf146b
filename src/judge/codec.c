/* SPDX-License-Identifier: Apache-2.0 */
#include "judge/codec.h"

void o3_codec_name(struct codec *c, const char *name) {
    if (c->out)
        o3_state_put_name(c->out, name);
    else
        o3_state_read_name(&c->r, name);
}

void o3_codec_int(struct codec *c, int64_t *v, int64_t lo, int64_t hi) {
    if (c->out) {
        o3_state_put_int(c->out, *v);
        return;
    }
    int64_t read = o3_state_read_int(&c->r, lo, hi);
    if (!c->r.is_bad) *v = read;
}

void o3_codec_double(struct codec *c, double *v) {
    if (c->out) {
        o3_state_put_double(c->out, *v);
        return;
    }
    double read = o3_state_read_any(&c->r);
    if (!c->r.is_bad) *v = read;
}

void o3_codec_text(struct codec *c, char *v, size_t size) {
    if (c->out)
        o3_state_put_text(c->out, v);
    else
        o3_state_read_text(&c->r, v, size);
}
