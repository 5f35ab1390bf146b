/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/word_line.h"
#include <string.h>

struct scan {
    const char *p, *end;
};

/* What has_text of the general parser says of each; of a name given twice the last one counts. */
struct words {
    bool response, thinking, content; /* content: of a message alone */
};

static bool take(struct scan *s, char c) {
    if (s->p == s->end || *s->p != c) return false;
    s->p++;
    return true;
}

static bool take_string(struct scan *s, const char **ret, size_t *ret_n) {
    if (!take(s, '"')) return false;
    *ret = s->p;
    while (s->p < s->end && *s->p >= ' ' && *s->p <= '~' && *s->p != '"' && *s->p != '\\')
        s->p++;
    *ret_n = (size_t)(s->p - *ret);
    return take(s, '"');
}

static bool is_name(const char *name, size_t n, const char *wanted) {
    return n == strlen(wanted) && !memcmp(name, wanted, n);
}

static void note(struct words *w, const char *name, size_t n, bool has_text) {
    if (is_name(name, n, "response")) w->response = has_text;
    if (is_name(name, n, "thinking")) w->thinking = has_text;
    if (is_name(name, n, "content")) w->content = has_text;
}

static bool take_false(struct scan *s) {
    static const char FALSE[] = "false";
    const size_t n = sizeof FALSE - 1;
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, FALSE, n) != 0) return false;
    s->p += n;
    return true;
}

static bool take_member(struct scan *s, struct words *w, const char **name, size_t *n_name) {
    if (!take_string(s, name, n_name) || !take(s, ':')) return false;
    if (is_name(*name, *n_name, "error")) return false;
    const char *text;
    size_t n_text = 0;
    if (s->p < s->end && *s->p == '{') return true; /* left to the caller */
    if (!take_false(s) && !take_string(s, &text, &n_text)) return false;
    note(w, *name, *n_name, n_text > 0);
    return true;
}

static bool take_message(struct scan *s, struct words *ret) {
    const char *name;
    size_t n;
    *ret = (struct words){0};
    if (!take(s, '{')) return false;
    do
        if (!take_member(s, ret, &name, &n)) return false;
    while (take(s, ','));
    return take(s, '}');
}

bool o3_word_line_read(const char *p, size_t n, struct o3_word_line *ret) {
    struct scan s = {p, p + n};
    struct words top = {0}, message = {0};
    const char *name;
    size_t n_name;
    if (!take(&s, '{')) return false;
    do {
        if (!take_member(&s, &top, &name, &n_name)) return false;
        bool is_message = is_name(name, n_name, "message");
        if (is_message) message = (struct words){0};
        if (s.p < s.end && *s.p == '{' && !(is_message && take_message(&s, &message))) return false;
    } while (take(&s, ','));
    if (!take(&s, '}') || s.p != s.end) return false;
    *ret = (struct o3_word_line){.has_content = top.response || message.content,
                                 .has_thinking = top.thinking || message.thinking};
    return true;
}
