/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of /proc and /sys that say what slows a host down: pressure, swapping, heat, quotas, the devices. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "host/text.h"
#include "o3/host.h"
#include "o3/text.h"

const char *o3_host_resource_name(enum o3_host_resource r) {
    static const char *const NAMES[] = {"cpu", "memory", "io"};
    return (unsigned)r < O3_HOST_RESOURCE_COUNT ? NAMES[r] : "";
}

/* "some avg10=0.41 avg60=2.43 avg300=5.08 total=1285183861": percent. */
static double pressure_of(const char *text, const char *line) {
    const char *p = o3_host_after_line_start(text, line);
    static const char KEY[] = "avg10=";
    if (!p || strncmp(p, KEY, sizeof KEY - 1) != 0) return NAN;
    p += sizeof KEY - 1;
    char number[24];
    size_t n = strspn(p, "0123456789.");
    double v;
    if (!o3_str_copy_n(number, sizeof number, p, n) || !o3_double_parse(number, &v)) return NAN;
    return v >= 0 && v <= 100 ? v / 100 : (double)NAN;
}

bool o3_psi_parse(const char *text, struct o3_host_pressure *ret) {
    *ret = (struct o3_host_pressure){pressure_of(text, "some "), pressure_of(text, "full ")};
    return !isnan(ret->some);
}

int64_t o3_keyed_count(const char *text, const char *key) {
    for (const char *p = text; (p = o3_host_after_line_start(p, key));) {
        if (*p == ' ') return o3_host_take_number(p, NULL);
        p = strchr(p, '\n'); /* a longer key that begins so */
        if (!p) return -1;
    }
    return -1;
}

int64_t o3_count_parse(const char *text) {
    const char *end = text;
    int64_t v = o3_host_take_number(text, &end);
    return v >= 0 && end[strspn(end, " \n")] == '\0' ? v : -1;
}

double o3_cgroup_cpu_max(const char *text) {
    if (!strncmp(text, "max", 3)) return text[3] == ' ' || text[3] == '\n' ? (double)INFINITY : (double)NAN;
    const char *end = text;
    int64_t quota = o3_host_take_number(text, &end), period = quota > 0 ? o3_host_take_number(end, NULL) : -1;
    return period > 0 ? (double)quota / (double)period : (double)NAN;
}

int64_t o3_cgroup_memory_max(const char *text) {
    if (!strncmp(text, "max", 3) && text[3 + strspn(text + 3, " \n")] == '\0') return INT64_MAX;
    return o3_count_parse(text);
}

bool o3_cgroup_path(const char *text, char *out, size_t size) {
    const char *p = o3_host_after_line_start(text, "0::/");
    if (!p) return false;
    size_t n = strcspn(p, "\n");
    if (n > 0 && memmem(p, n, "..", 2)) return false;
    while (n > 0 && p[n - 1] == '/')
        n--;
    return o3_str_copy_n(out, size, p, n);
}

/* The rest of a line without blanks around it, printable. */
static bool take_text(const char *p, size_t n, char *out, size_t size) {
    while (n > 0 && (*p == ' ' || *p == '\t')) {
        p++;
        n--;
    }
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    (void)o3_str_copy_n(out, size, p, n);
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return *out != '\0';
}

bool o3_nvidia_model(const char *information, char *out, size_t size) {
    *out = '\0';
    const char *p = o3_host_after_line_start(information, "Model:");
    return p && take_text(p, strcspn(p, "\n"), out, size);
}

/* The first word of the line that is a version; the words before it name the kind of module. */
bool o3_nvidia_driver(const char *version, char *out, size_t size) {
    *out = '\0';
    const char *p = o3_host_after_line_start(version, "NVRM version:");
    while (p && *p && *p != '\n') {
        size_t n = strcspn(p, " \t\n");
        bool is_version = n > 2 && *p >= '0' && *p <= '9' && memchr(p, '.', n);
        if (is_version) return take_text(p, n, out, size);
        p += n;
        p += strspn(p, " \t");
    }
    return false;
}

void o3_gpu_text(int n, const char *model, bool has_others, const char *driver, char out[64]) {
    char count[16] = "", text[160];
    if (n > 1 && !has_others) snprintf(count, sizeof count, "%d x ", n);
    snprintf(text, sizeof text, "%s%.40s%s%s%.16s", count, model, has_others ? " and others" : "",
             *driver ? ", driver " : "", driver);
    (void)o3_str_copy(out, 64, text);
}
