/* SPDX-License-Identifier: Apache-2.0 */
/* The forms that a text of the table may have. */
#include "conf/conf.h"
#include <string.h>
#include "o3/text.h"

#define HOST_MAX 253
#define MODEL_MAX 128
#define TOKEN_MAX 1024

static bool is_in(char c, const char *extra) {
    bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return is_alnum || (c && strchr(extra, c));
}

static size_t span(const char *s, const char *extra) {
    size_t n = 0;
    while (is_in(s[n], extra))
        n++;
    return n;
}

/* Printable ASCII without the blank. */
static bool is_graphic(const char *s) {
    for (; *s; s++)
        if (*s <= ' ' || *s > '~') return false;
    return true;
}

/* Texts go into logs, YAML and JSON: no control character, no line separator, nothing that YAML cannot hold. */
static const char *check_text(const char *s) {
    if (!o3_utf8_valid(s, strlen(s))) return "UTF-8 text";
    for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
        bool is_c1 = p[0] == 0xc2 && p[1] < 0xa0;
        bool is_separator = p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9);
        bool is_bom_or_none = p[0] == 0xef && ((p[1] == 0xbb && p[2] == 0xbf) || (p[1] == 0xbf && p[2] >= 0xbe));
        if (*p < 0x20 || *p == 0x7f || is_c1 || is_separator || is_bom_or_none)
            return "a text of one line without control characters";
    }
    return NULL;
}

/* Length of the host at s: a name, an IPv4 address or an IPv6 address in brackets; 0 when it is none. */
static size_t host_length(const char *s) {
    if (*s != '[') {
        size_t n = span(s, ".-_");
        return n <= HOST_MAX && *s != '.' && *s != '-' ? n : 0;
    }
    size_t n = strspn(s + 1, "0123456789abcdefABCDEF:.");
    bool is_address = n >= 2 && n <= 45 && memchr(s + 1, ':', n) && s[1 + n] == ']';
    return is_address ? n + 2 : 0;
}

static bool is_port(const char *s, int64_t min) {
    int64_t port;
    size_t n = strspn(s, "0123456789");
    return n >= 1 && n <= 5 && !s[n] && o3_int_parse(s, &port) && port >= min && port <= 65535;
}

static const char *check_url(const char *s) {
    static const char EXPECTED[] = "http://HOST:PORT or https://HOST:PORT";
    const char *host = !strncmp(s, "http://", 7) ? s + 7 : !strncmp(s, "https://", 8) ? s + 8 : NULL;
    if (!host) return EXPECTED;
    if (strchr(host, '@')) return "http://HOST:PORT without a user name";
    size_t n = host_length(host);
    if (!n) return EXPECTED;
    if (strchr("/?#", host[n]) && host[n]) return "http://HOST:PORT without a path";
    bool is_good = !host[n] || (host[n] == ':' && is_port(host + n + 1, 1));
    return is_good ? NULL : EXPECTED;
}

bool o3_conf_is_address(const char *form) {
    return !strcmp(form, "url") || !strcmp(form, "https") || !strcmp(form, "listen");
}

size_t o3_conf_open_part(const char *text) {
    const char *colon = strstr(text, "://");
    size_t n = colon && span(text, "") == (size_t)(colon - text) ? (size_t)(colon - text) + 3 : 0;
    n += host_length(text + n);
    if (text[n] == ':') {
        size_t n_digits = strspn(text + n + 1, "0123456789");
        char behind = text[n + 1 + n_digits];
        if (n_digits <= 5 && (!behind || strchr("/?#", behind))) n += 1 + n_digits;
    }
    return !strcmp(text + n, "/") ? n + 1 : n;
}

static const char *check_listen(const char *s) {
    size_t n = host_length(s); /* 0 also for ":PORT", all addresses */
    return s[n] == ':' && is_port(s + n + 1, 0) ? NULL : "HOST:PORT, [IPV6]:PORT or :PORT";
}

static const char *check_rate(const char *s) {
    double interval_ms;
    const double min_ms = 3600e3, max_ms = 36500.0 * 86400e3;
    bool is_good = o3_false_alarms_parse(s, &interval_ms) && interval_ms >= min_ms && interval_ms <= max_ms;
    return is_good ? NULL : "a rate such as 1 per 30d, at most one per hour and at least one in 100 years";
}

static const char *check_file(const char *s) {
    size_t n = strlen(s);
    if (n && s[n - 1] == '/') return "the path of a file, not of a folder";
    return check_text(s);
}

static const char *check_model(const char *s) {
    bool is_good = strlen(s) <= MODEL_MAX && is_graphic(s) && !strpbrk(s, "*,\"'\\");
    return is_good ? NULL : "a model name as Ollama prints it";
}

static const char *check_models(const char *s) {
    char name[MODEL_MAX + 2];
    size_t n = strlen(s);
    if (n && s[n - 1] == '*' && n <= MODEL_MAX + 1) {
        o3_str_copy_n(name, sizeof name, s, n - 1);
        s = name;
    }
    return check_model(s) ? "a model name as Ollama prints it, which may end in *" : NULL;
}

static const char *check_token(const char *s) {
    return strlen(s) <= TOKEN_MAX && is_graphic(s) ? NULL : "at most 1024 printable ASCII characters without blanks";
}

/* A name that Kubernetes gives an object: it becomes part of a path. */
static const char *check_object(const char *s) {
    size_t n = strlen(s), n_good = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-.");
    bool is_good = n_good == n && n <= 253 && !strchr("-.", s[0]) && !strchr("-.", s[n - 1]) && !strstr(s, "..");
    return is_good ? NULL : "a name of small letters, digits, '-' and '.', as Kubernetes has them";
}

/* A token goes there: never in the clear. */
static const char *check_https(const char *s) {
    return !strncmp(s, "https://", 8) && !check_url(s) ? NULL : "https://HOST:PORT";
}

const char *o3_conf_check_form(const char *form, const char *text) {
    static const struct {
        const char *name;
        const char *(*check)(const char *s);
    } FORMS[] = {{"text", check_text},   {"path", check_text},     {"file", check_file},   {"url", check_url},
                 {"rate", check_rate},   {"listen", check_listen}, {"model", check_model}, {"models", check_models},
                 {"token", check_token}, {"object", check_object}, {"https", check_https}};
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++)
        if (!strcmp(FORMS[i].name, form)) return FORMS[i].check(text);
    bool is_form_known = false; /* a form that the table names is missing above */
    O3_ASSERT(is_form_known);
    return NULL;
}

bool o3_false_alarms_parse(const char *s, double *ret_interval_ms) {
    static const char PER[] = " per ";
    char count_text[32];
    const char *per = strstr(s, PER);
    double count;
    int64_t duration_ms;
    if (!per || !o3_str_copy_n(count_text, sizeof count_text, s, (size_t)(per - s))) return false;
    if (!o3_double_parse(count_text, &count) || !o3_duration_parse(per + strlen(PER), &duration_ms)) return false;
    if (!(count > 0) || duration_ms <= 0) return false;
    *ret_interval_ms = (double)duration_ms / count;
    return true;
}
