/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_GZIP_H
#define O3_IO_GZIP_H
/* Compressed replies. Pure functions; the only file that knows zlib. */
#include <stdbool.h>
#include "o3/buf.h"

/* Whether an Accept-Encoding header (NULL: none) lets us answer with gzip; "gzip;q=0" forbids it, "*" allows it. */
bool o3_gzip_is_accepted(const char *accept_encoding);
/* level 1..9; out is appended to. */
O3_MUST_CHECK int o3_gzip_encode(const char *bytes, size_t n, int level, struct o3_buf *out);
/* The whole of what was encoded; out's maximum bounds it. O3_E_PARSE: damaged, or something else. */
O3_MUST_CHECK int o3_gzip_decode(const char *bytes, size_t n, struct o3_buf *out);

#endif
