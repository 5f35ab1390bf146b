/* SPDX-License-Identifier: Apache-2.0 */
#include "base/words.h"
#include <math.h>
#include <string.h>
#include "o3/text.h"

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int o3_words_split(struct o3_words *w, const char *text, size_t n, uint32_t line, struct o3_err *e) {
    w->n = w->next = 0;
    w->line = line;
    w->e = e;
    size_t i = 0;
    for (;;) {
        while (i < n && is_space(text[i]))
            i++;
        if (i == n || !text[i] || text[i] == '#') break;
        size_t start = i;
        while (i < n && text[i] && !is_space(text[i]))
            i++;
        uint32_t col = (uint32_t)start + 1;
        if (w->n == O3_WORDS_MAX) return o3_err_at(e, O3_E_PARSE, line, col, "too many words, expected the end");
        if (i - start >= O3_WORD_SIZE)
            return o3_err_at(e, O3_E_PARSE, line, col, "expected a word of at most %d bytes, found a longer one",
                             O3_WORD_SIZE - 1);
        o3_str_copy_n(w->text[w->n], O3_WORD_SIZE, text + start, i - start);
        w->col[w->n++] = col;
    }
    w->end_col = (uint32_t)i + 1;
    return 0;
}

const char *o3_words_peek(const struct o3_words *w) {
    return w->next < w->n ? w->text[w->next] : NULL;
}

bool o3_words_take(struct o3_words *w, const char *word) {
    const char *p = o3_words_peek(w);
    if (!p || strcmp(p, word) != 0) return false;
    w->next++;
    return true;
}

int o3_words_expected(const struct o3_words *w, const char *what) {
    const char *p = o3_words_peek(w);
    if (!p) return o3_err_at(w->e, O3_E_PARSE, w->line, w->end_col, "expected %s, found the end of the line", what);
    return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next], "expected %s, found \"%.64s\"", what, p);
}

int o3_words_unknown(const struct o3_words *w, const char *what, const char *const *names, size_t n) {
    const char *p = o3_words_peek(w), *nearest = NULL;
    if (!p) return o3_words_expected(w, what);
    int best = (int)(strlen(p) > 60 ? 60 : strlen(p)) / 2 + 1;
    for (size_t i = 0; i < n; i++) {
        int d = o3_edit_distance(p, names[i]);
        if (d >= best) continue;
        best = d;
        nearest = names[i];
    }
    if (!nearest) return o3_words_expected(w, what);
    return o3_err_at(w->e, O3_E_PARSE, w->line, w->col[w->next], "expected %s, found \"%.64s\"; did you mean \"%s\"?",
                     what, p, nearest);
}

int o3_words_end(const struct o3_words *w) {
    return o3_words_peek(w) ? o3_words_expected(w, "the end of the line") : 0;
}

bool o3_words_time(const char *text, int64_t *ret_ns) {
    size_t n = strlen(text);
    char with_unit[48];
    if (n == 0 || n + 2 > sizeof with_unit) return false;
    o3_str_copy(with_unit, sizeof with_unit, text);
    char last = text[n - 1];
    size_t digits = n;
    while (digits > 0 && text[digits - 1] >= '0' && text[digits - 1] <= '9')
        digits--;
    /* "18h20": what follows the hours are minutes, what follows the minutes are seconds. */
    if (last >= '0' && last <= '9' && digits > 0 && (text[digits - 1] == 'h' || text[digits - 1] == 'm')) {
        with_unit[n] = text[digits - 1] == 'h' ? 'm' : 's';
        with_unit[n + 1] = '\0';
    }
    int64_t ms;
    if (!o3_duration_parse(with_unit, &ms) || ms > INT64_MAX / 4 / O3_NS_PER_MS) return false;
    *ret_ns = ms * O3_NS_PER_MS;
    return true;
}

int o3_words_take_time(struct o3_words *w, const char *what, int64_t *ret_ns) {
    const char *p = o3_words_peek(w);
    if (!p || !o3_words_time(p, ret_ns)) return o3_words_expected(w, what);
    w->next++;
    return 0;
}

bool o3_words_take_number(struct o3_words *w, double *ret, char unit[16]) {
    const char *p = o3_words_peek(w);
    if (!p) return false;
    size_t len = 0;
    while (p[len] && strchr("+-.0123456789", p[len]))
        len++;
    char number[32];
    if (len == 0 || len >= sizeof number) return false;
    o3_str_copy_n(number, sizeof number, p, len);
    double v;
    if (!o3_double_parse(number, &v) || !isfinite(v)) return false;
    const char *rest = p + len;
    bool is_split = !*rest && w->next + 1 < w->n;
    if (is_split) rest = w->text[w->next + 1];
    if (!o3_str_copy(unit, 16, rest)) return false;
    *ret = v;
    w->next += is_split ? 2 : 1;
    return true;
}

int o3_words_take_quantity(struct o3_words *w, const char *what, const char *unit, double low, double high,
                           double *ret) {
    size_t start = w->next;
    char found[16];
    double v;
    if (o3_words_take_number(w, &v, found) && !strcmp(found, unit) && v >= low && v <= high) {
        *ret = v;
        return 0;
    }
    w->next = start;
    return o3_words_expected(w, what);
}

int o3_words_take_double(struct o3_words *w, const char *what, double low, double high, double *ret) {
    const char *p = o3_words_peek(w);
    double v;
    if (!p || !o3_double_parse(p, &v) || !(v >= low && v <= high)) return o3_words_expected(w, what);
    *ret = v;
    w->next++;
    return 0;
}

int o3_words_take_int(struct o3_words *w, const char *what, int64_t low, int64_t high, int64_t *ret) {
    const char *p = o3_words_peek(w);
    int64_t v;
    if (!p || !o3_int_parse(p, &v) || v < low || v > high) return o3_words_expected(w, what);
    *ret = v;
    w->next++;
    return 0;
}

bool o3_words_bytes(const char *text, int64_t *ret) {
    static const struct {
        const char *unit;
        double bytes;
    } UNITS[] = {{"", 1}, {"KiB", 1024.0}, {"MiB", 1048576.0}, {"GiB", 1073741824.0}};
    char number[32];
    size_t n = strspn(text, "0123456789.");
    double v;
    if (n == 0 || n >= sizeof number || !o3_str_copy_n(number, sizeof number, text, n) || !o3_double_parse(number, &v))
        return false;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (!strcmp(text + n, UNITS[i].unit) && v * UNITS[i].bytes >= 1 && v * UNITS[i].bytes < 1e15) {
            *ret = (int64_t)(v * UNITS[i].bytes);
            return true;
        }
    return false;
}

int o3_words_take_bytes(struct o3_words *w, const char *what, int64_t *ret) {
    const char *p = o3_words_peek(w);
    if (!p || !o3_words_bytes(p, ret)) return o3_words_expected(w, what);
    w->next++;
    return 0;
}

int o3_words_take_name(struct o3_words *w, const char *what, char *out, size_t size) {
    const char *p = o3_words_peek(w);
    if (!p || strlen(p) >= size || !o3_utf8_valid(p, strlen(p))) return o3_words_expected(w, what);
    w->next++;
    o3_str_copy(out, size, p);
    return 0;
}
