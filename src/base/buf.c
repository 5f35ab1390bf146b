/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/buf.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"

void o3_buf_init(struct o3_buf *b, size_t max) {
    *b = (struct o3_buf){.max = max};
}

void o3_buf_done(struct o3_buf *b) {
    free(b->p);
    *b = (struct o3_buf){.max = b->max};
}

void o3_buf_clear(struct o3_buf *b) {
    b->len = 0;
    b->err = 0;
    if (b->p) b->p[0] = '\0';
}

static int grow(struct o3_buf *b, size_t n) {
    if (b->err) return b->err;
    if (n > b->max - b->len) return b->err = O3_E_LIMIT;
    size_t need = b->len + n + 1;
    if (need <= b->cap) return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1) cap = b->max + 1;
    char *p = realloc(b->p, cap);
    if (!p) return b->err = O3_E_NOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

/* cap is max + 1 at most. */
static inline int reserve(struct o3_buf *b, size_t n) {
    return !b->err && n < b->cap - b->len ? 0 : grow(b, n);
}

int o3_buf_reserve(struct o3_buf *b, size_t n) {
    return reserve(b, n);
}

int o3_buf_add(struct o3_buf *b, const void *bytes, size_t n) {
    int r = reserve(b, n);
    if (r < 0) return r;
    if (n) memcpy(b->p + b->len, bytes, n);
    b->len += n;
    b->p[b->len] = '\0';
    return 0;
}

int o3_buf_addf(struct o3_buf *b, const char *fmt, ...) {
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) return b->err = O3_E_INTERNAL;
    if ((size_t)n < sizeof small) return o3_buf_add(b, small, (size_t)n);
    int r = reserve(b, (size_t)n);
    if (r < 0) return r;
    va_start(ap, fmt);
    vsnprintf(b->p + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
    return 0;
}

static inline size_t decimal_length(uint64_t v) {
    static const uint64_t POWERS[] = {UINT64_C(1),
                                      UINT64_C(10),
                                      UINT64_C(100),
                                      UINT64_C(1000),
                                      UINT64_C(10000),
                                      UINT64_C(100000),
                                      UINT64_C(1000000),
                                      UINT64_C(10000000),
                                      UINT64_C(100000000),
                                      UINT64_C(1000000000),
                                      UINT64_C(10000000000),
                                      UINT64_C(100000000000),
                                      UINT64_C(1000000000000),
                                      UINT64_C(10000000000000),
                                      UINT64_C(100000000000000),
                                      UINT64_C(1000000000000000),
                                      UINT64_C(10000000000000000),
                                      UINT64_C(100000000000000000),
                                      UINT64_C(1000000000000000000),
                                      UINT64_C(10000000000000000000)};
    v |= 1; /* 0 has a digit, too */
    size_t n_bits = 64 - (size_t)__builtin_clzll(v);
    size_t n = n_bits * 1233 >> 12; /* log10(2): digits of the largest number with fewer bits */
    return n + (v >= POWERS[n]);
}

/* Writes backwards from `end`; returns the first character. */
static inline char *decimal_before(char *end, uint64_t v) {
    static const char PAIRS[] =
        "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
        "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    for (; v >= 100; v /= 100)
        memcpy(end -= 2, &PAIRS[v % 100 * 2], 2);
    if (v >= 10) return memcpy(end - 2, &PAIRS[v * 2], 2);
    *--end = (char)('0' + v);
    return end;
}

/* Room for n more characters, to be written backwards from its end, which is returned; NULL: none. */
static inline char *extend(struct o3_buf *b, size_t n) {
    if (reserve(b, n) < 0) return NULL;
    b->len += n;
    char *end = b->p + b->len;
    *end = '\0';
    return end;
}

int o3_buf_add_int(struct o3_buf *b, int64_t v) {
    if (v >= 0 && v <= 9) return o3_buf_add_char(b, (char)('0' + v));
    uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
    char *p = extend(b, decimal_length(size) + (v < 0));
    if (!p) return b->err;
    p = decimal_before(p, size);
    if (v < 0) *--p = '-';
    return 0;
}

int o3_buf_add_int_word(struct o3_buf *b, int64_t v) {
    uint64_t size = v < 0 ? -(uint64_t)v : (uint64_t)v;
    char *p = extend(b, 1 + decimal_length(size) + (v < 0));
    if (!p) return b->err;
    p = decimal_before(p, size);
    if (v < 0) *--p = '-';
    *--p = ' ';
    return 0;
}

int o3_buf_add_hex(struct o3_buf *b, double v) {
    static const char DIGITS[] = "0123456789abcdef";
    enum { FRACTION_DIGITS = 13, EXPONENT_BIAS = 1023 };
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    if (!bits) return o3_buf_adds(b, "0x0p+0");
    if (isnan(v)) return o3_buf_adds(b, "nan");
    if (isinf(v)) return o3_buf_adds(b, v > 0 ? "inf" : "-inf");
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int)(bits >> 52 & 0x7ff);
    int exponent = biased ? biased - EXPONENT_BIAS : fraction ? 1 - EXPONENT_BIAS : 0;
    size_t n_zeros = fraction ? (size_t)__builtin_ctzll(fraction) / 4 : FRACTION_DIGITS;
    size_t n_digits = FRACTION_DIGITS - n_zeros, n_exponent = decimal_length((uint64_t)abs(exponent));
    char *p = extend(b, (bits >> 63) + strlen("0x1p+") + (n_digits ? n_digits + 1 : 0) + n_exponent);
    if (!p) return b->err;
    p = decimal_before(p, (uint64_t)abs(exponent));
    *--p = exponent < 0 ? '-' : '+';
    *--p = 'p';
    fraction >>= 4 * n_zeros;
    for (size_t i = 0; i < n_digits; i++, fraction >>= 4)
        *--p = DIGITS[fraction & 15];
    if (n_digits) *--p = '.';
    *--p = biased ? '1' : '0';
    *--p = 'x';
    *--p = '0';
    if (bits >> 63) *--p = '-';
    return 0;
}

int o3_buf_add_double(struct o3_buf *b, double v) {
    if (isnan(v)) return o3_buf_adds(b, "NaN");
    if (isinf(v)) return o3_buf_adds(b, v > 0 ? "+Inf" : "-Inf");
    char text[40];
    if (fabs(v) < 1e15 && v == (double)(int64_t)v && !(v == 0 && signbit(v))) { /* most values: counts */
        snprintf(text, sizeof text, "%lld", (long long)v);
        return o3_buf_adds(b, text);
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) break;
    }
    return o3_buf_adds(b, text);
}

int o3_buf_add_json_number(struct o3_buf *b, double v) {
    return isfinite(v) ? o3_buf_add_double(b, v) : o3_buf_adds(b, "null");
}

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

int o3_buf_add_quoted(struct o3_buf *b, const char *s) {
    o3_buf_add(b, "\"", 1);
    for (size_t left = strlen(s), len; left; s += len, left -= len) {
        len = o3_text_plain(s, left);
        if (len) {
            o3_buf_add(b, s, len);
            continue;
        }
        len = o3_utf8_sequence(s, left);
        if (!len) {
            o3_buf_adds(b, REPLACEMENT);
            len = 1;
            continue;
        }
        int control = o3_utf8_control(s, len);
        if (*s == '"' || *s == '\\')
            o3_buf_addf(b, "\\%c", *s);
        else if (*s == '\n' || *s == '\t' || *s == '\r')
            o3_buf_adds(b, *s == '\n' ? "\\n" : *s == '\t' ? "\\t" : "\\r");
        else if (control >= 0)
            o3_buf_addf(b, "\\u%04x", (unsigned)control);
        else
            o3_buf_add(b, s, len);
    }
    return o3_buf_add(b, "\"", 1);
}

static const char *html_entity(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

int o3_buf_add_html(struct o3_buf *b, const char *s) {
    for (size_t left = s ? strlen(s) : 0, len; left; s += len, left -= len) {
        len = o3_utf8_sequence(s, left);
        const char *entity = html_entity(*s);
        if (!len)
            o3_buf_adds(b, REPLACEMENT);
        else if (entity)
            o3_buf_adds(b, entity);
        else if (*s != '\n' && o3_utf8_control(s, len) >= 0)
            o3_buf_adds(b, " ");
        else
            o3_buf_add(b, s, len);
        if (!len) len = 1;
    }
    return b->err;
}

const char *o3_buf_str(const struct o3_buf *b) {
    return b->p && b->len ? b->p : "";
}

char *o3_buf_take(struct o3_buf *b) {
    if (b->err || reserve(b, 0) < 0) {
        o3_buf_done(b);
        return NULL;
    }
    char *p = b->p;
    p[b->len] = '\0';
    *b = (struct o3_buf){.max = b->max};
    return p;
}
