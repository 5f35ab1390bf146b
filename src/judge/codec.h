/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_JUDGE_CODEC_H
#define O3_SRC_JUDGE_CODEC_H
/* One description of a state for both directions: the same calls write a struct to text or read it back. */
#include "base/state_text.h"

struct codec {
    struct o3_buf *out;       /* NULL: reads */
    struct o3_state_reader r; /* once it is bad, everything that is read is left as it was */
};
void o3_codec_name(struct codec *c, const char *name);
void o3_codec_int(struct codec *c, int64_t *v, int64_t lo, int64_t hi);
void o3_codec_double(struct codec *c, double *v);
void o3_codec_text(struct codec *c, char *v, size_t size);

/* Any integer, enumeration or truth value of lo..hi. */
#define O3_CODEC(c, field, lo, hi)                                                                                     \
    do {                                                                                                               \
        int64_t v_ = (int64_t)(field);                                                                                 \
        o3_codec_int(c, &v_, lo, hi);                                                                                  \
        (field) = (__typeof__(field))v_;                                                                               \
    } while (0)

#endif
