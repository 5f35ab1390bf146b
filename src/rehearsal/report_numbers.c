/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers for people. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "o3/text.h"
#include "rehearsal/report.h"

#define DECIMALS_MAX 5
#define DAY_NS (24 * 3600 * O3_NS_PER_S)

/* Thousands set apart by commas, in digits with an optional sign and fraction. */
static void set_apart(char *out, size_t size, const char *digits) {
    size_t n_whole = strspn(digits, "-+0123456789"), at = 0, first = strspn(digits, "-+");
    for (size_t i = 0; digits[i] && at + 2 < size; i++) {
        if (i > first && i < n_whole && (n_whole - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

void report_count(char *out, size_t size, int64_t n) {
    char digits[32];
    snprintf(digits, sizeof digits, "%lld", (long long)n);
    set_apart(out, size, digits);
}

/* The power of ten of the first digit, once rounded to so many digits. */
static int exponent_of(double v, int digits) {
    char text[48];
    snprintf(text, sizeof text, "%.*e", digits - 1, v);
    const char *e = strchr(text, 'e');
    return e ? (int)strtol(e + 1, NULL, 10) : 0;
}

static void add_number(char *out, size_t size, double v, int digits, bool has_sign) {
    char text[64];
    int decimals = v == 0 ? 0 : digits - 1 - exponent_of(v, digits);
    if (decimals < 0) decimals = 0;
    if (decimals > DECIMALS_MAX) decimals = DECIMALS_MAX;
    snprintf(text, sizeof text, has_sign && v != 0 ? "%+.*f" : "%.*f", decimals, v);
    size_t n = strlen(text);
    if (decimals) { /* zeros at the end say nothing */
        while (text[n - 1] == '0')
            n--;
        if (text[n - 1] == '.') n--;
        text[n] = '\0';
    }
    set_apart(out, size, text);
}

void report_number(char *out, size_t size, double v, int digits) {
    if (fabs(v) < 1e15)
        add_number(out, size, v, digits, false);
    else
        snprintf(out, size, "%.3g", v);
}

void report_seconds(char *out, size_t size, double s, bool has_sign, int digits) {
    static const struct {
        double up_to, unit_seconds;
        const char *unit;
    } UNITS[] = {{0.9995, 1e-3, "ms"}, {99.5, 1, "s"}, {5970, 60, "min"}, {169200, 3600, "h"}, {1e300, 86400, "d"}};
    char number[48];
    size_t i = 0;
    while (i + 1 < sizeof UNITS / sizeof *UNITS && fabs(s) >= UNITS[i].up_to)
        i++;
    double v = s / UNITS[i].unit_seconds;
    /* Below a hundredth of a millisecond nothing of it matters to anybody. */
    if (i == 0 && fabs(v) < 0.01) v = 0;
    add_number(number, sizeof number, v, digits, has_sign);
    snprintf(out, size, "%s %s", number, UNITS[i].unit);
}

void report_percent(char *out, size_t size, double ratio, int digits) {
    char number[48];
    add_number(number, sizeof number, ratio * 100, digits, false);
    snprintf(out, size, "%s %%", number);
}

void report_change(char *out, size_t size, double ratio) {
    snprintf(out, size, "%+.1f %%", ratio * 100);
}

void report_time(char *out, size_t size, int64_t ns) {
    int64_t s = ns / O3_NS_PER_S;
    int day = (int)(s / 86400), hour = (int)(s / 3600 % 24), minute = (int)(s / 60 % 60), second = (int)(s % 60);
    if (ns >= DAY_NS)
        snprintf(out, size, "%dd %02d:%02d:%02d", day, hour, minute, second);
    else
        snprintf(out, size, "%02d:%02d:%02d", hour, minute, second);
}
