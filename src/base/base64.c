/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/base64.h"
#include <string.h>

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int o3_base64_encode(const char *bytes, size_t n, struct o3_buf *out) {
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        const char four[4] = {DIGITS[v >> 18], DIGITS[v >> 12 & 63], left > 1 ? DIGITS[v >> 6 & 63] : '=',
                              left > 2 ? DIGITS[v & 63] : '='};
        o3_buf_add(out, four, sizeof four);
    }
    return out->err;
}

static int digit(char c) {
    const char *at = c ? strchr(DIGITS, c) : NULL;
    return at ? (int)(at - DIGITS) : -1;
}

/* One group of four; the number of bytes in it, or 0. */
static size_t decode_four(const char *s, char out[3]) {
    size_t n = s[3] != '=' ? 3 : s[2] != '=' ? 2 : 1;
    uint32_t v = 0;
    for (size_t i = 0; i < 4; i++) {
        int d = i <= n ? digit(s[i]) : 0;
        if (d < 0) return 0;
        v = v << 6 | (uint32_t)d;
    }
    if ((n == 1 && (v & 0xffff)) || (n == 2 && (v & 0xff))) return 0; /* bits that belong to nothing */
    out[0] = (char)(v >> 16);
    out[1] = (char)(v >> 8 & 0xff);
    out[2] = (char)(v & 0xff);
    return n;
}

int o3_base64_decode(const char *text, size_t n, struct o3_buf *out) {
    char three[3];
    if (n % 4) return O3_E_PARSE;
    for (size_t i = 0; i < n; i += 4) {
        size_t got = decode_four(text + i, three);
        if (!got || (got < 3 && i + 4 < n)) return O3_E_PARSE;
        o3_buf_add(out, three, got);
    }
    return out->err;
}
