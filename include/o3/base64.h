/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BASE64_H
#define O3_BASE64_H
/* RFC 4648 base64 with padding and no line breaks. Pure. */
#include <stddef.h>
#include "o3/buf.h"

int o3_base64_encode(const char *bytes, size_t n, struct o3_buf *out); /* appended to; out->err */
/* O3_E_PARSE: not exactly that; out is then to be thrown away. */
O3_MUST_CHECK int o3_base64_decode(const char *text, size_t n, struct o3_buf *out);

#endif
