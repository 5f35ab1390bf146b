/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_LOG_RECORD_H
#define O3_APP_LOG_RECORD_H
/* A line of the sidecar's logs that is no sample: the keys of the configuration that shape the verdicts on the samples
 * behind it. It stands before the first sample of a model after a start and after a reload, and at the beginning of
 * each file, so that every log tells by itself how it was judged. Secrets are never among them. */
#include "o3/config.h"

#define O3_LOG_KEYS_MAX 32
struct o3_log_record {
    size_t n;
    struct {
        char key[64], value[128]; /* as in an environment variable */
    } v[O3_LOG_KEYS_MAX];
};
/* One line, without newline. */
int o3_log_record_encode(const struct o3_config *c, const char *model, const char *run_id, int64_t wall_ms,
                         struct o3_buf *out);
/* False: the line is something else, a sample or damage. Then *ret
 * stays as it is. Keys that this version does not have are left out. */
bool o3_log_record_decode(const char *line, size_t n, struct o3_log_record *ret);

#endif
