/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_HOST_TEXT_H
#define O3_HOST_TEXT_H
#include <stdint.h>

/* What follows `name` where it begins a line; NULL when no line begins so. */
const char *o3_host_after_line_start(const char *text, const char *name);
/* A decimal number after blanks; -1 when there is none or it does not fit. The rest goes to *end. */
int64_t o3_host_take_number(const char *s, const char **end);

#endif
