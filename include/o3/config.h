/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONFIG_H
#define O3_CONFIG_H
/* The configuration: tables/config.def generates this struct, the defaults, the parser, the range checks, the
 * environment names, the flags, the help and the dump. Sources: built-in < file < environment < flag. Pure: the
 * shell reads the file and passes bytes, the environment and the flags in. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"

#define O3_CONF_LIST_MAX 64
#define O3_CONF_FILE_MAX (1024 * 1024) /* a larger file is an error, not a cut */
#define O3_CONF_AUTO INT64_MIN         /* "auto" where a size allows it */

struct o3_conf_list {
    size_t n;
    const char *v[O3_CONF_LIST_MAX]; /* owned by the config */
};
struct o3_conf_numbers {
    size_t n;
    int64_t v[16];
};

/* Field types by row type. DURATION fields are milliseconds and end in _ms, SIZE_MB end in _mb (may be O3_CONF_AUTO).
 */
#define O3_CONF_FIELD_STRING(f) const char *f;
#define O3_CONF_FIELD_SECRET(f) const char *f;
#define O3_CONF_FIELD_ENUM(f) int f;
#define O3_CONF_FIELD_BOOL(f) bool f;
#define O3_CONF_FIELD_INT(f) int64_t f;
#define O3_CONF_FIELD_NUMBER(f) double f;
#define O3_CONF_FIELD_DURATION(f) int64_t f;
#define O3_CONF_FIELD_SIZE_MB(f) int64_t f;
#define O3_CONF_FIELD_LIST(f) struct o3_conf_list f;
#define O3_CONF_FIELD_NUMBERS(f) struct o3_conf_numbers f;

struct o3_config_values {
#define O3_CONF(field, key, type, def, min, max, choices, status, reload, help) O3_CONF_FIELD_##type(field)
#include "o3/tables/config.def"
#undef O3_CONF
};

/* The values of the ENUM fields, in the order of their choices. log_level holds an enum o3_log_level (o3/events.h). */
enum { O3_CONTEXT_PREDICTIVE, O3_CONTEXT_BINARY_SEARCH };
enum { O3_DETECTOR_CUSUM, O3_DETECTOR_RANK };
enum { O3_TUNE_MODE_OFF, O3_TUNE_MODE_PROPOSE, O3_TUNE_MODE_CANARY };

enum o3_conf_type {
    O3_CONF_STRING,
    O3_CONF_SECRET,
    O3_CONF_ENUM,
    O3_CONF_BOOL,
    O3_CONF_INT,
    O3_CONF_NUMBER,
    O3_CONF_DURATION,
    O3_CONF_SIZE_MB,
    O3_CONF_LIST,
    O3_CONF_NUMBERS
};
enum o3_conf_origin { O3_ORIGIN_DEFAULT, O3_ORIGIN_FILE, O3_ORIGIN_ENVIRONMENT, O3_ORIGIN_FLAG };

struct o3_conf_row {
    const char *key, *env; /* "probe.interval", "O3_PROBE_INTERVAL"; the flag is --probe.interval */
    enum o3_conf_type type;
    const char *default_text, *min_text, *max_text, *choices, *help;
    bool is_used; /* false: accepted, named as "not used by this version" */
    bool is_live; /* takes effect on reload; false: needs a restart */
};
size_t o3_conf_rows(const struct o3_conf_row **ret);

/* Copies the known key or group that the writer of an unknown one most likely meant; false when none is near. */
bool o3_conf_nearest(const char *key, char *out, size_t size);
/* "1 per 30d": false alarms to accept, N per DURATION -> the milliseconds between two. Both must be above 0. */
bool o3_false_alarms_parse(const char *s, double *ret_interval_ms);

struct o3_config; /* values + where each came from; one arena */
const struct o3_config_values *o3_config_values(const struct o3_config *c);
enum o3_conf_origin o3_config_origin(const struct o3_config *c, const char *key);

struct o3_conf_pair {
    const char *name, *value;
};
struct o3_conf_sources {
    const char *file_name; /* for messages; NULL: no file */
    const char *file_text;
    size_t file_len; /* YAML */
    const struct o3_conf_pair *env;
    size_t n_env; /* all O3_* of the environment */
    const struct o3_conf_pair *flags;
    size_t n_flags; /* name = key */
};
/* Called for each warning: an unknown O3_* variable (the ones Kubernetes injects for a Service named o3 are silent). */
typedef void o3_conf_warn_fn(void *ctx, const char *text);
/* Builds and validates a new configuration; the first error wins: file, line, column, what was expected, nearest known
 * key. */
O3_MUST_CHECK int o3_config_load(const struct o3_conf_sources *src, o3_conf_warn_fn *warn, void *ctx,
                                 struct o3_config **ret, struct o3_err *e);
void o3_config_free(struct o3_config *c);
/* YAML of every key; with_origin adds "# default | file | environment | flag"; secrets print as "***". */
int o3_config_dump(const struct o3_config *c, bool with_origin, struct o3_buf *out);
/* The same as one JSON object; with_origin makes each value {"value": ..., "origin": ...}. */
int o3_config_dump_json(const struct o3_config *c, bool with_origin, struct o3_buf *out);
/* The value of one key as an environment variable would hold it; not of lists. O3_E_NOT_FOUND: no such key;
 * O3_E_USAGE: a list, or a secret, which is never told. */
int o3_config_value_text(const struct o3_config *c, const char *key, struct o3_buf *out);
/* The example file (src/doc/o3.yaml is this text): every key with its default and help; unused keys are commented out.
 */
int o3_config_example(struct o3_buf *out);
/* Calls fn for every key that is set by a source but that this version does not use. */
void o3_config_each_unused(const struct o3_config *c, void (*fn)(void *ctx, const char *key), void *ctx);
/* Calls fn for every key whose value differs and that is not live: a reload names them. */
void o3_config_each_restart(const struct o3_config *a, const struct o3_config *b,
                            void (*fn)(void *ctx, const char *key), void *ctx);

#endif
