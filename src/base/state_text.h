/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_BASE_STATE_TEXT_H
#define O3_SRC_BASE_STATE_TEXT_H
/* Saved states as text: words divided by one space or newline. Doubles are hex floats, texts are LENGTH:BYTES, so that
 * everything comes back exactly. */
#include <stdbool.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

void o3_state_put_name(struct o3_buf *out, const char *name);
void o3_state_put_int(struct o3_buf *out, int64_t v);
void o3_state_put_double(struct o3_buf *out, double v);
void o3_state_put_text(struct o3_buf *out, const char *text);

struct o3_state_reader {
    const char *p, *end; /* needs no NUL */
    bool is_bad;         /* what was read makes no sense; everything read afterwards is 0 */
};
/* The first two words: what it is, and the version of its format. STORE_NEWER for a later one; PARSE for an earlier
 * one, which is no longer read. Without a version in the second word it is damage, and 0 is returned. */
O3_MUST_CHECK int o3_state_read_head(struct o3_state_reader *r, const char *magic, int version, struct o3_err *e);
void o3_state_read_name(struct o3_state_reader *r, const char *name); /* the next word must be this one */
/* Values outside [lo, hi], and NaN, are damage. */
int64_t o3_state_read_int(struct o3_state_reader *r, int64_t lo, int64_t hi);
double o3_state_read_double(struct o3_state_reader *r, double lo, double hi);
double o3_state_read_any(struct o3_state_reader *r); /* a double, NaN and the infinities too */
/* A text with a NUL in it, or one that does not fit, is damage; ret is then as it was. */
void o3_state_read_text(struct o3_state_reader *r, char *ret, size_t size);

#endif
