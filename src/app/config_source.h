/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_CONFIG_SOURCE_H
#define O3_APP_CONFIG_SOURCE_H
/* Where the configuration comes from on a real machine: a file, the environment, the command line. The rules are in
 * the core (o3/config.h). Blocking; used before the loop runs and as a job of a reload. */
#include "o3/config.h"

#define O3_CONFIG_DEFAULT_FILE "/etc/o3/o3.yaml"
#define O3_CONFIG_FLAGS_MAX 128

/* The file that a load will read: the given path, else $O3_CONFIG_FILE, else the default file when it exists, else
 * NULL. Borrowed from the argument or the environment. */
const char *o3_config_source_path(const char *path_or_null);
/* Reads that file (a named one must exist), the O3_* variables and the flags. ret_sha256 is that of the file's bytes,
 * "" without a file; it may be NULL. */
O3_MUST_CHECK int o3_config_source_load(const char *path_or_null, const struct o3_conf_pair *flags, size_t n_flags,
                                        o3_conf_warn_fn *warn, void *ctx, struct o3_config **ret, char ret_sha256[65],
                                        struct o3_err *e);

struct o3_config_args {
    const char *file; /* of --config.file; NULL: not given */
    struct o3_conf_pair flags[O3_CONFIG_FLAGS_MAX];
    size_t n_flags; /* one per key: the last one given */
};
/* Takes --config.file and --KEY of every row out of argv and leaves the rest, in order, for the command's getopt_long:
 * --KEY VALUE, --KEY=VALUE; for a BOOL also --KEY and --no-KEY. Stops at "--". Values are borrowed from argv. */
O3_MUST_CHECK int o3_config_args_parse(int *argc, char **argv, struct o3_config_args *ret, struct o3_err *e);

/* "FILE:LINE:COL: text", or only the text when the error is not about a place in the file. file may be NULL. */
int o3_config_format_error(const char *file, const struct o3_err *err, struct o3_buf *out);

#endif
