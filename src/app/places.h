/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_PLACES_H
#define O3_APP_PLACES_H
/* Where a sidecar with this configuration writes, and which time people mean: the same for the daemon and the commands
 * that read what it wrote. */
#include <stddef.h>
#include "o3/config.h"

/* results.path, else $STATE_DIRECTORY/o3_results, else ./o3_results. */
void o3_results_folder(const struct o3_config_values *v, char *out, size_t size);
/* store.path, else o3.db in the results folder. */
void o3_store_file(const struct o3_config_values *v, char *out, size_t size);
/* Unix seconds, an RFC 3339 time, or a duration before now. */
bool o3_since_parse(const char *text, int64_t now_ms, int64_t *ret_ms);

#endif
