/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/text.h"
#include <endian.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/err.h"

static const struct {
    const char *name;
    int64_t ms;
} UNITS[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

bool o3_duration_parse(const char *s, int64_t *ret_ms) {
    if (!strcmp(s, "0")) {
        *ret_ms = 0;
        return true;
    }
    int64_t total = 0;
    if (!*s) return false;
    while (*s) {
        if (!is_digit(*s)) return false;
        int64_t n = 0;
        for (; is_digit(*s); s++)
            if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *s - '0', &n)) return false;
        size_t len = 0;
        while (s[len] >= 'a' && s[len] <= 'z')
            len++;
        int64_t unit = 0;
        for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
            if (strlen(UNITS[i].name) == len && !strncmp(UNITS[i].name, s, len)) unit = UNITS[i].ms;
        if (!unit || __builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(total, n, &total)) return false;
        s += len;
    }
    *ret_ms = total;
    return true;
}

void o3_duration_format(int64_t ms, char *out, size_t size) {
    O3_ASSERT(size >= 48 && ms >= 0);
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = sizeof UNITS / sizeof *UNITS; i-- > 0;) {
        int64_t count = ms / UNITS[i].ms;
        ms %= UNITS[i].ms;
        if (count) n += (size_t)snprintf(out + n, size - n, "%lld%s", (long long)count, UNITS[i].name);
    }
    if (!n) snprintf(out, size, "0s");
}

/* Days since 1970-01-01 of a proleptic Gregorian date, and back (Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(int64_t z, int64_t *y, int *m, int *d) {
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

static int days_in_month(int64_t y, int m) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool is_leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    return DAYS[m - 1] + (m == 2 && is_leap);
}

/* Reads exactly n digits at *s and moves on; -1 when they are not there. */
static int take_digits(const char **s, int n) {
    int v = 0;
    for (int i = 0; i < n; i++) {
        if (!is_digit((*s)[i])) return -1;
        v = v * 10 + ((*s)[i] - '0');
    }
    *s += n;
    return v;
}

static bool take_char(const char **s, const char *any) {
    while (*any && *any != **s)
        any++;
    if (!*any) return false;
    (*s)++;
    return true;
}

static bool take_offset_s(const char **s, int *ret) {
    if (take_char(s, "Zz")) {
        *ret = 0;
        return true;
    }
    int sign = **s == '-' ? -1 : 1;
    if (!take_char(s, "+-")) return false;
    int h = take_digits(s, 2);
    if (h < 0 || h > 23 || !take_char(s, ":")) return false;
    int m = take_digits(s, 2);
    if (m < 0 || m > 59) return false;
    *ret = sign * (h * 3600 + m * 60);
    return true;
}

bool o3_rfc3339_parse(const char *s, int64_t *ret_wall_ms) {
    int y = take_digits(&s, 4);
    if (y < 0 || !take_char(&s, "-")) return false;
    int mo = take_digits(&s, 2);
    if (mo < 1 || mo > 12 || !take_char(&s, "-")) return false;
    int d = take_digits(&s, 2);
    if (d < 1 || d > days_in_month(y, mo) || !take_char(&s, "Tt ")) return false;
    int h = take_digits(&s, 2);
    if (h < 0 || h > 23 || !take_char(&s, ":")) return false;
    int mi = take_digits(&s, 2);
    if (mi < 0 || mi > 59 || !take_char(&s, ":")) return false;
    int sec = take_digits(&s, 2);
    if (sec < 0 || sec > 60) return false;
    int ms = 0;
    if (take_char(&s, ".")) {
        if (!is_digit(*s)) return false;
        for (int scale = 100; is_digit(*s); s++, scale /= 10)
            ms += (*s - '0') * scale;
    }
    int offset;
    if (!take_offset_s(&s, &offset) || *s) return false;
    int64_t t = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - offset;
    *ret_wall_ms = t * 1000 + ms;
    return true;
}

static void put_digits(char *to, int n, int64_t v) {
    for (; n > 0; v /= 10)
        to[--n] = (char)('0' + v % 10);
}

/* "2026-11-21T04:06:06"; returns its length. By hand: millions of times are written in a rehearsal. */
static size_t format_seconds(int64_t wall_s, char *out, size_t size) {
    int64_t days = wall_s / 86400;
    int64_t rest = wall_s % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t y;
    int m, d;
    civil_from_days(days, &y, &m, &d);
    char text[] = "0000-00-00T00:00:00";
    if (y < 0 || y > 9999 || size < sizeof text)
        return (size_t)snprintf(out, size, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)y, m, d, (int)(rest / 3600),
                                (int)(rest / 60 % 60), (int)(rest % 60));
    put_digits(text, 4, y);
    put_digits(text + 5, 2, m);
    put_digits(text + 8, 2, d);
    put_digits(text + 11, 2, rest / 3600);
    put_digits(text + 14, 2, rest / 60 % 60);
    put_digits(text + 17, 2, rest % 60);
    memcpy(out, text, sizeof text);
    return sizeof text - 1;
}

/* Adds ".123Z" with that many digits. */
static void add_fraction(char *out, size_t n, size_t size, int digits, int64_t v) {
    char text[] = ".000000000Z";
    put_digits(text + 1, digits, v);
    text[digits + 1] = 'Z';
    if (n < size) o3_str_copy_n(out + n, size - n, text, (size_t)digits + 2);
}

void o3_rfc3339_format(int64_t wall_ms, char *out, size_t size) {
    int64_t s = wall_ms / 1000;
    int ms = (int)(wall_ms % 1000);
    if (ms < 0) {
        ms += 1000;
        s--;
    }
    add_fraction(out, format_seconds(s, out, size), size, 3, ms);
}

void o3_rfc3339_format_ns(int64_t wall_s, int64_t ns, char *out, size_t size) {
    add_fraction(out, format_seconds(wall_s, out, size), size, 9, ns);
}

size_t o3_utf8_sequence(const char *text, size_t n) {
    const unsigned char *s = (const unsigned char *)text;
    if (!n) return 0;
    if (s[0] < 0x80) return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || len > n) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;
    if (s[0] == 0xed && s[1] > 0x9f) return 0;
    if (s[0] == 0xf0 && s[1] < 0x90) return 0;
    if (s[0] == 0xf4 && s[1] > 0x8f) return 0;
    return len;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
#define TOP_BITS EACH(0x80)

/* The top bit of the first byte that is 0 is set, and none below it. */
static inline uint64_t mark_zero(uint64_t x) {
    return (x - EACH(1)) & ~x & TOP_BITS;
}

/* Of eight bytes those before the first that is not plain. */
static inline size_t n_plain(const char *s) {
    uint64_t x;
    memcpy(&x, s, sizeof x);
    x = le64toh(x);
    uint64_t below_space = (x - EACH(' ')) & ~x & TOP_BITS;
    uint64_t marks = (x & TOP_BITS) | below_space | mark_zero(x ^ EACH(0x7f)) | mark_zero(x ^ EACH('"')) |
                     mark_zero(x ^ EACH('\\'));
    return marks ? (size_t)__builtin_ctzll(marks) / 8 : 8;
}

static bool is_plain(char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

size_t o3_text_plain(const char *s, size_t n) {
    size_t i = 0;
    while (i + 8 <= n) {
        size_t step = n_plain(s + i);
        i += step;
        if (step < 8) return i;
    }
    while (i < n && is_plain(s[i]))
        i++;
    return i;
}

bool o3_utf8_valid(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t len = (unsigned char)s[i] < 0x80 ? 1 : o3_utf8_sequence(s + i, n - i);
        if (!len) return false;
        i += len;
    }
    return true;
}

int o3_utf8_control(const char *s, size_t len) {
    unsigned char c = (unsigned char)s[0];
    if (len == 1 && (c < 0x20 || c == 0x7f)) return c;
    if (len == 2 && c == 0xc2 && (unsigned char)s[1] < 0xa0) return (unsigned char)s[1];
    return -1;
}

bool o3_str_copy_n(char *dst, size_t size, const char *src, size_t n) {
    bool fits = n < size;
    if (!fits) {
        n = size - 1;
        while (n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80) /* src[n] is the first byte left out */
            n--;
    }
    memcpy(dst, src, n);
    dst[n] = '\0';
    return fits;
}

bool o3_str_copy(char *dst, size_t size, const char *src) {
    return o3_str_copy_n(dst, size, src, strlen(src));
}

static int min3(int a, int b, int c) {
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int o3_edit_distance(const char *a, const char *b) {
    enum { MAX = 64 };
    size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX) return MAX;
    int row[MAX + 1];
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

bool o3_int_parse(const char *s, int64_t *ret) {
    const char *digits = *s == '-' || *s == '+' ? s + 1 : s;
    if (!is_digit(*digits)) return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || *end) return false;
    *ret = v;
    return true;
}

bool o3_double_parse(const char *s, double *ret) {
    const char *p = *s == '-' || *s == '+' ? s + 1 : s;
    if (!is_digit(*p) && !(*p == '.' && is_digit(p[1]))) return false;
    if (*p == '0' && (p[1] == 'x' || p[1] == 'X')) return false;
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (*end || (errno == ERANGE && v != 0 && (v > 1 || v < -1))) return false;
    *ret = v;
    return true;
}

void o3_sha256_hex(const void *bytes, size_t n, char out[65]) {
    struct sha256_ctx ctx;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&ctx);
    sha256_update(&ctx, n, bytes);
    sha256_digest(&ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

bool o3_secret_equal(const char *got, size_t n_got, const char *want, size_t n_want) {
    volatile unsigned char differs = n_got != n_want;
    for (size_t i = 0; i < n_got; i++)
        differs |= (unsigned char)(got[i] ^ (n_want ? want[i % n_want] : 1));
    return !differs;
}
