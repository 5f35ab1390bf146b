/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/word_line.h"
#include <string.h>
#include "o3/text.h"

#define DIGITS_MAX 18 /* of a number that surely fits */

struct scan {
    const char *p, *end;
};

/* What was given as a value; a text of NULL and a number of -1: something else. */
struct value {
    const char *text;
    size_t n_text;
    int64_t number;
    bool is_true;
};

/* What has_text of the general parser says of each; of a name given twice the last one counts. */
struct words {
    bool response, thinking, content; /* content: of a message alone */
};

static const struct {
    const char *name;
    size_t n;
} FIGURES[O3_WORD_FIGURES] = {
#define FIGURE(id, name) [id] = {name, sizeof name - 1}
    FIGURE(O3_WORD_TOTAL_DURATION, "total_duration"),
    FIGURE(O3_WORD_LOAD_DURATION, "load_duration"),
    FIGURE(O3_WORD_PROMPT_EVAL_DURATION, "prompt_eval_duration"),
    FIGURE(O3_WORD_EVAL_DURATION, "eval_duration"),
    FIGURE(O3_WORD_PROMPT_EVAL_COUNT, "prompt_eval_count"),
    FIGURE(O3_WORD_EVAL_COUNT, "eval_count"),
#undef FIGURE
};

static bool is_next(const struct scan *s, char c) {
    return s->p < s->end && *s->p == c;
}

static bool take(struct scan *s, char c) {
    if (!is_next(s, c)) return false;
    s->p++;
    return true;
}

static bool take_string(struct scan *s, const char **ret, size_t *ret_n) {
    if (!take(s, '"')) return false;
    *ret = s->p;
    *ret_n = o3_text_plain(s->p, (size_t)(s->end - s->p));
    s->p += *ret_n;
    return take(s, '"');
}

static bool take_word(struct scan *s, const char *word, size_t n) {
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0) return false;
    s->p += n;
    return true;
}

static bool take_number(struct scan *s, int64_t *ret) {
    const char *begin = s->p;
    *ret = 0;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && s->p - begin < DIGITS_MAX)
        *ret = *ret * 10 + (*s->p++ - '0');
    bool is_more = s->p < s->end && strchr("0123456789.eE", *s->p);
    return s->p > begin && !is_more && (*begin != '0' || s->p - begin == 1);
}

static bool take_numbers(struct scan *s) {
    int64_t ignored;
    if (!take(s, '[')) return false;
    if (take(s, ']')) return true;
    do
        if (!take_number(s, &ignored)) return false;
    while (take(s, ','));
    return take(s, ']');
}

static bool take_value(struct scan *s, struct value *ret) {
    *ret = (struct value){.number = -1};
    if (is_next(s, '"')) return take_string(s, &ret->text, &ret->n_text);
    if (is_next(s, '[')) return take_numbers(s);
    if (take_word(s, "false", 5)) return true;
    if (take_word(s, "true", 4)) return ret->is_true = true;
    return take_number(s, &ret->number);
}

static bool is_name(const char *name, size_t n, const char *wanted) {
    return n == strlen(wanted) && !memcmp(name, wanted, n);
}

static void note(struct words *w, const char *name, size_t n, const struct value *v) {
    if (is_name(name, n, "response")) w->response = v->n_text > 0;
    if (is_name(name, n, "thinking")) w->thinking = v->n_text > 0;
    if (is_name(name, n, "content")) w->content = v->n_text > 0;
}

static void note_end(struct o3_word_line *line, const char *name, size_t n, const struct value *v) {
    if (is_name(name, n, "done")) line->is_done = v->is_true;
    if (is_name(name, n, "done_reason")) {
        line->done_reason = v->text;
        line->n_done_reason = v->n_text;
    }
    for (int i = 0; i < O3_WORD_FIGURES; i++)
        if (n == FIGURES[i].n && !memcmp(name, FIGURES[i].name, n)) line->figure[i] = v->number;
}

/* line: NULL inside of a message. */
static bool take_member(struct scan *s, struct words *w, struct o3_word_line *line, const char **name, size_t *n_name) {
    if (!take_string(s, name, n_name) || !take(s, ':')) return false;
    if (is_name(*name, *n_name, "error")) return false;
    if (is_next(s, '{')) return true; /* left to the caller */
    struct value v;
    if (!take_value(s, &v)) return false;
    note(w, *name, *n_name, &v);
    if (line) note_end(line, *name, *n_name, &v);
    return true;
}

static bool take_message(struct scan *s, struct words *ret) {
    const char *name;
    size_t n;
    *ret = (struct words){0};
    if (!take(s, '{')) return false;
    do
        if (!take_member(s, ret, NULL, &name, &n)) return false;
    while (take(s, ','));
    return take(s, '}');
}

bool o3_word_line_read(const char *p, size_t n, struct o3_word_line *ret) {
    struct scan s = {p, p + n};
    struct words top = {0}, message = {0};
    const char *name;
    size_t n_name;
    *ret = (struct o3_word_line){0};
    for (int i = 0; i < O3_WORD_FIGURES; i++)
        ret->figure[i] = -1;
    if (!take(&s, '{')) return false;
    do {
        if (!take_member(&s, &top, ret, &name, &n_name)) return false;
        bool is_message = is_name(name, n_name, "message");
        if (is_message) message = (struct words){0};
        if (is_next(&s, '{') && !(is_message && take_message(&s, &message))) return false;
    } while (take(&s, ','));
    if (!take(&s, '}') || s.p != s.end) return false;
    ret->has_content = top.response || message.content;
    ret->has_thinking = top.thinking || message.thinking;
    return true;
}
