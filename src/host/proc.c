/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include "o3/host.h"
#include "host/text.h"

const char *o3_host_after_line_start(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, n)) return line + n;
    }
    return NULL;
}

int64_t o3_host_take_number(const char *s, const char **end) {
    while (*s == ' ' || *s == '\t')
        s++;
    int64_t v = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v)) return -1;
    if (end) *end = p;
    return p == s ? -1 : v;
}

static int64_t kib_of(const char *text, const char *field) {
    for (const char *p = text; (p = o3_host_after_line_start(p, field)); p = strchr(p, '\n')) {
        const char *end;
        int64_t v = *p == ':' ? o3_host_take_number(p + 1, &end) : -1;
        if (v >= 0) return strncmp(end, " kB", 3) ? -1 : v;
        if (*p == ':' || !strchr(p, '\n')) return -1;
    }
    return -1;
}

int64_t o3_proc_status_kib(const char *status_text, const char *field) {
    return kib_of(status_text, field);
}

int64_t o3_meminfo_kib(const char *meminfo_text, const char *field) {
    return kib_of(meminfo_text, field);
}

/* The command's name stands in parentheses and may hold anything: fields are counted from the last one. */
bool o3_proc_stat_parse(const char *stat_text, struct o3_proc_stat *ret) {
    enum { FIRST_FIELD = 3, USER = 14, SYSTEM = 15, START = 22 };
    const char *p = strrchr(stat_text, ')');
    int64_t v[START + 1];
    for (int field = FIRST_FIELD; field <= START; field++) {
        p = p ? strchr(p, ' ') : NULL;
        if (!p) return false;
        p++;
        v[field] = o3_host_take_number(p, NULL);
    }
    if (v[USER] < 0 || v[SYSTEM] < 0 || v[START] < 0) return false;
    *ret = (struct o3_proc_stat){v[USER], v[SYSTEM], v[START]};
    return true;
}

int64_t o3_proc_boot_time_s(const char *stat_text) {
    const char *p = o3_host_after_line_start(stat_text, "btime ");
    return p ? o3_host_take_number(p, NULL) : -1;
}

int64_t o3_proc_max_open_files(const char *limits_text) {
    const char *p = o3_host_after_line_start(limits_text, "Max open files ");
    if (!p) return -1;
    p += strspn(p, " ");
    return strncmp(p, "unlimited", 9) ? o3_host_take_number(p, NULL) : INT64_MAX;
}
