/* SPDX-License-Identifier: Apache-2.0 */
#include "drift/state_text.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

#define WORD_MAX 64

void o3_state_put_int(struct o3_buf *out, int64_t v) {
    o3_buf_addf(out, " %" PRId64, v);
}

void o3_state_put_double(struct o3_buf *out, double v) {
    o3_buf_addf(out, " %a", v);
}

/* The next word, NUL-terminated; "" at the end or after an error. */
static void read_word(struct o3_state_reader *r, char word[WORD_MAX]) {
    size_t n = 0;
    while (r->p < r->end && (*r->p == ' ' || *r->p == '\n'))
        r->p++;
    while (r->p < r->end && *r->p != ' ' && *r->p != '\n' && n < WORD_MAX - 1)
        word[n++] = *r->p++;
    word[n] = '\0';
    if (!n || n == WORD_MAX - 1) r->bad = true;
    if (r->bad) word[0] = '\0';
}

void o3_state_read_name(struct o3_state_reader *r, const char *name) {
    char word[WORD_MAX];
    read_word(r, word);
    if (strcmp(word, name)) r->bad = true;
}

int64_t o3_state_read_int(struct o3_state_reader *r, int64_t lo, int64_t hi) {
    char word[WORD_MAX];
    int64_t v = 0;
    read_word(r, word);
    if (r->bad || !o3_int_parse(word, &v) || v < lo || v > hi) r->bad = true;
    return r->bad ? 0 : v;
}

double o3_state_read_double(struct o3_state_reader *r, double lo, double hi) {
    char word[WORD_MAX], *end = word;
    read_word(r, word);
    double v = strtod(word, &end);
    if (end == word || *end || !(v >= lo && v <= hi)) r->bad = true;
    return r->bad ? 0 : v;
}
