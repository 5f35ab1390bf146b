/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BUF_H
#define O3_BUF_H
/* A growing byte buffer that carries its own hard maximum. Always NUL-terminated (the NUL is not counted).
 * Errors are sticky: after one the buffer takes nothing more and `err` says why, so a writer may check once at the end.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "o3/err.h"

struct o3_buf {
    char *p;
    size_t len, cap, max;
    int err; /* 0, O3_E_NOMEM or O3_E_LIMIT */
};

void o3_buf_init(struct o3_buf *b, size_t max);
void o3_buf_done(struct o3_buf *b);             /* frees; the buffer may be used again after o3_buf_init */
void o3_buf_clear(struct o3_buf *b);            /* length 0, error forgotten, memory kept */
int o3_buf_reserve(struct o3_buf *b, size_t n); /* room for n more, so that adding them moves nothing */
int o3_buf_add(struct o3_buf *b, const void *bytes, size_t n);
static inline int o3_buf_adds(struct o3_buf *b, const char *s) {
    return o3_buf_add(b, s, strlen(s));
}
static inline int o3_buf_add_char(struct o3_buf *b, char c) {
    if (b->err || b->cap - b->len < 2) return o3_buf_add(b, &c, 1);
    b->p[b->len++] = c;
    b->p[b->len] = '\0';
    return 0;
}
int o3_buf_addf(struct o3_buf *b, const char *fmt, ...) O3_PRINTF(2, 3);
/* Shortest decimal text that reads back as the same double; NaN, +Inf, -Inf as Prometheus spells them. */
int o3_buf_add_double(struct o3_buf *b, double v);
int o3_buf_add_json_number(struct o3_buf *b, double v); /* the same; null where JSON has no number for it */
int o3_buf_add_int(struct o3_buf *b, int64_t v);
int o3_buf_add_int_word(struct o3_buf *b, int64_t v); /* after a space */
/* Exactly, as a hex float of C: "-0x1.8p+3", "nan", "inf", "-inf". */
int o3_buf_add_hex(struct o3_buf *b, double v);
/* A string of JSON with its quotes. Bytes that are not UTF-8 become U+FFFD, control characters are escaped. */
int o3_buf_add_quoted(struct o3_buf *b, const char *s);
/* Text for HTML and SVG, attributes too: markup is escaped, control characters but newline become spaces, and what is
 * not UTF-8 becomes U+FFFD. NULL is empty. */
int o3_buf_add_html(struct o3_buf *b, const char *s);
const char *o3_buf_str(const struct o3_buf *b); /* "" when empty; borrowed until the next add */
char *o3_buf_take(struct o3_buf *b);            /* moves the bytes out (free() them); NULL on error */

#define O3_AUTO_BUF __attribute__((cleanup(o3_buf_done))) struct o3_buf

#endif
