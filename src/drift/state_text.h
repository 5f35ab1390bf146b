/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_SRC_DRIFT_STATE_TEXT_H
#define O3_SRC_DRIFT_STATE_TEXT_H
/* State of detectors as text: words separated by one space or newline. Doubles are hex floats, so that nothing is
 * lost. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "o3/buf.h"
#include "o3/text.h"

#define WORD_MAX 64

static inline void put_int(struct o3_buf *out, int64_t v) {
    o3_buf_add(out, " ", 1);
    o3_buf_add_int(out, v);
}

static inline void put_double(struct o3_buf *out, double v) {
    o3_buf_add(out, " ", 1);
    o3_buf_add_hex(out, v);
}

struct reader {
    const char *p, *end;
    bool bad; /* sticky; everything read afterwards is 0 */
};

/* The next word, NUL-terminated; "" at the end or after an error. */
static inline void read_word(struct reader *r, char word[WORD_MAX]) {
    size_t n = 0;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n'))
        r->p++;
    while (r->p < r->end && *r->p != ' ' && *r->p != '\n' && n < WORD_MAX - 1)
        word[n++] = *r->p++;
    word[n] = '\0';
    if (!n || n == WORD_MAX - 1) r->bad = true;
    if (r->bad) word[0] = '\0';
}

/* The next word must be this one. */
static inline void read_name(struct reader *r, const char *name) {
    char word[WORD_MAX];
    read_word(r, word);
    if (strcmp(word, name)) r->bad = true;
}

/* Values outside [lo, hi], and NaN, are damage. */
static inline int64_t read_int(struct reader *r, int64_t lo, int64_t hi) {
    char word[WORD_MAX];
    int64_t v = 0;
    read_word(r, word);
    if (r->bad || !o3_int_parse(word, &v) || v < lo || v > hi) r->bad = true;
    return r->bad ? 0 : v;
}

static inline double read_double(struct reader *r, double lo, double hi) {
    char word[WORD_MAX], *end = word;
    read_word(r, word);
    double v = strtod(word, &end);
    if (end == word || *end || !(v >= lo && v <= hi)) r->bad = true;
    return r->bad ? 0 : v;
}

#endif
