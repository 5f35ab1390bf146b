/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of the exposition format by the Accept header (RFC 9110 section 12.5.1). */
#include <string.h>
#include <strings.h>
#include "o3/metrics.h"

#define Q_MAX 1000 /* q-values have three decimals */

struct range {
    char type[64];
    char version[16];
    int q;
};

static const char *skip_spaces(const char *s) {
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* Copies up to one of the stop characters, without quotes and trailing spaces; what does not fit is cut. */
static const char *take(const char *s, const char *stops, char *out, size_t size) {
    size_t n = 0;
    bool is_quoted = false;
    for (s = skip_spaces(s); *s && (is_quoted || !strchr(stops, *s)); s++) {
        if (*s == '"')
            is_quoted = !is_quoted;
        else if (n + 1 < size)
            out[n++] = *s;
    }
    while (n && (out[n - 1] == ' ' || out[n - 1] == '\t'))
        n--;
    out[n] = '\0';
    return s;
}

/* "0.75" -> 750; anything malformed is 0: not acceptable. */
static int parse_q(const char *s) {
    if (*s != '0' && *s != '1') return 0;
    int q = (*s - '0') * Q_MAX;
    if (s[1] != '.') return s[1] ? 0 : q;
    int scale = 100;
    for (s += 2; *s; s++, scale /= 10) {
        if (*s < '0' || *s > '9' || !scale) return 0;
        q += (*s - '0') * scale;
    }
    return q > Q_MAX ? 0 : q;
}

static const char *take_range(const char *s, struct range *ret) {
    *ret = (struct range){.q = Q_MAX};
    s = take(s, ",;", ret->type, sizeof ret->type);
    while (*s == ';') {
        char name[16], value[16] = "";
        s = take(s + 1, "=,;", name, sizeof name);
        if (*s == '=') s = take(s + 1, ",;", value, sizeof value);
        if (!strcasecmp(name, "q")) ret->q = parse_q(value);
        if (!strcasecmp(name, "version")) memcpy(ret->version, value, sizeof value);
    }
    return *s == ',' ? s + 1 : s;
}

enum o3_exposition o3_exposition_negotiate(const char *accept) {
    int q_openmetrics = 0;
    int q_text[3] = {-1, -1, -1}; /* by how specific the range is; the most specific one counts */
    for (const char *s = accept ? accept : ""; *s;) {
        struct range r;
        s = take_range(s, &r);
        if (!strcasecmp(r.type, "application/openmetrics-text")) {
            /* 0.0.1 was the draft: what it describes is a subset */
            bool is_known = !*r.version || !strcmp(r.version, "1.0.0") || !strcmp(r.version, "0.0.1");
            if (is_known && r.q > q_openmetrics) q_openmetrics = r.q;
        }
        int precision = !strcmp(r.type, "*/*")              ? 0
                        : !strcasecmp(r.type, "text/*")     ? 1
                        : !strcasecmp(r.type, "text/plain") ? 2
                                                            : -1;
        if (precision == 2 && *r.version && strcmp(r.version, "0.0.4") != 0) continue;
        if (precision >= 0 && r.q > q_text[precision]) q_text[precision] = r.q;
    }
    int q = q_text[2] >= 0 ? q_text[2] : q_text[1] >= 0 ? q_text[1] : q_text[0];
    /* Only a client that names OpenMetrics gets it; a tie goes to it, because it was named. */
    return q_openmetrics > 0 && q_openmetrics >= q ? O3_OPENMETRICS_1_0_0 : O3_TEXT_0_0_4;
}
