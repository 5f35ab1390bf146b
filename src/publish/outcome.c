/* SPDX-License-Identifier: Apache-2.0 */
#include "o3/publish.h"
#include <errno.h>
#include "o3/err.h"

const char *o3_publish_error_name(enum o3_publish_error e) {
    static const char *const NAMES[O3_PUBLISH_ERROR_COUNT] = {
        "ok",        "no_token", "unreachable", "timeout",   "unauthorized", "forbidden",
        "not_found", "conflict", "invalid",     "too_large", "throttled",    "server_error",
        "bad_reply", "io",       "disk_full",   "read_only", "denied"};
    O3_ASSERT((unsigned)e < O3_PUBLISH_ERROR_COUNT);
    return NAMES[e];
}

enum o3_publish_error o3_publish_error_of_file(int code, int sys) {
    if (sys == EACCES || sys == EPERM) return O3_PUBLISH_DENIED;
    switch (code) {
    case 0:
        return O3_PUBLISH_OK;
    case O3_E_DISK_FULL:
        return O3_PUBLISH_DISK_FULL;
    case O3_E_READ_ONLY:
        return O3_PUBLISH_READ_ONLY;
    case O3_E_NOT_FOUND:
        return O3_PUBLISH_NOT_FOUND;
    case O3_E_LIMIT:
        return O3_PUBLISH_TOO_LARGE;
    default:
        return O3_PUBLISH_IO;
    }
}
