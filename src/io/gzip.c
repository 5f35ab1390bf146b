/* SPDX-License-Identifier: Apache-2.0 */
#include "io/gzip.h"
#include <limits.h>
#include <string.h>
#include <strings.h>
#define ZLIB_CONST
#include <zlib.h>

/* A window of 8 KiB needs 64 KiB of state instead of zlib's usual 256; metric pages repeat themselves at short
 * distance. */
enum { WINDOW_BITS = 13, GZIP_FORMAT = 16, MEM_LEVEL = 6, CHUNK = 4096 };

static const char *skip_space(const char *s) {
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* Weight 0 in any of its spellings: q=0, q=0.0, q=0.000. */
static bool is_refused(const char *params, size_t n) {
    const char *end = params + n;
    const char *s = memchr(params, ';', n);
    for (; s && s < end; s = memchr(s, ';', (size_t)(end - s))) {
        s = skip_space(s + 1);
        if (end - s < 3 || strncasecmp(s, "q=", 2)) continue;
        for (s += 2; s < end && (*s == '0' || *s == '.'); s++)
            continue;
        return s == end || *s == ' ' || *s == '\t' || *s == ';';
    }
    return false;
}

static bool is_coding(const char *item, size_t n, const char *name) {
    size_t len = strlen(name);
    return n >= len && !strncasecmp(item, name, len) && (n == len || strchr("; \t", item[len]));
}

bool o3_gzip_is_accepted(const char *accept_encoding) {
    bool any = false;
    for (const char *s = accept_encoding ? accept_encoding : ""; *s;) {
        s = skip_space(s);
        size_t n = strcspn(s, ",");
        if (is_coding(s, n, "gzip") || is_coding(s, n, "x-gzip")) return !is_refused(s, n);
        if (is_coding(s, n, "*")) any = !is_refused(s, n);
        s += n + (s[n] == ',');
    }
    return any;
}

int o3_gzip_encode(const char *bytes, size_t n, int level, struct o3_buf *out) {
    if (n > UINT_MAX) return O3_E_LIMIT;
    z_stream z = {.next_in = (const Bytef *)bytes, .avail_in = (uInt)n};
    if (deflateInit2(&z, level, Z_DEFLATED, WINDOW_BITS + GZIP_FORMAT, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return O3_E_NOMEM;
    int r = Z_OK, added = 0;
    while (r == Z_OK && added == 0) {
        unsigned char chunk[CHUNK];
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        r = deflate(&z, Z_FINISH);
        added = o3_buf_add(out, chunk, sizeof chunk - z.avail_out);
    }
    deflateEnd(&z);
    if (added < 0) return added;
    return r == Z_STREAM_END ? 0 : O3_E_INTERNAL;
}

int o3_gzip_decode(const char *bytes, size_t n, struct o3_buf *out) {
    if (n > UINT_MAX) return O3_E_LIMIT;
    z_stream z = {.next_in = (const Bytef *)bytes, .avail_in = (uInt)n};
    if (inflateInit2(&z, WINDOW_BITS + GZIP_FORMAT) != Z_OK) return O3_E_NOMEM;
    int r = Z_OK, added = 0;
    while (r == Z_OK && added == 0) {
        unsigned char chunk[CHUNK];
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        r = inflate(&z, Z_NO_FLUSH);
        added = o3_buf_add(out, chunk, sizeof chunk - z.avail_out);
    }
    bool is_whole = r == Z_STREAM_END && z.avail_in == 0;
    inflateEnd(&z);
    if (added < 0) return added;
    return is_whole ? 0 : r == Z_MEM_ERROR ? O3_E_NOMEM : O3_E_PARSE;
}
