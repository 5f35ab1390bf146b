/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_REPLAY_H
#define O3_CLI_REPLAY_H
/* What the parts of `o3 replay` share: cmd_replay.c reads the command line, replay_series.c judges one series of
 * numbers, replay_log.c the sidecar's logs. */
#include <stdio.h>
#include "app/config_source.h"
#include "io/lines.h"
#include "o3/config.h"
#include "o3/drift.h"

enum replay_format { REPLAY_GUESS, REPLAY_JSONL, REPLAY_CSV, REPLAY_VALUES };
enum replay_level { REPLAY_VERDICTS, REPLAY_SUSPECT, REPLAY_CONFIRMED }; /* the latter two: alarms only */
enum replay_after { REPLAY_AFTER_DEFAULT, REPLAY_RESTART, REPLAY_ACKNOWLEDGE, REPLAY_CONTINUE };

struct replay {
    enum replay_format format;
    enum replay_level level;
    enum replay_after after;
    const char *time_column, *value_column; /* NULL: found by the header */
    bool is_json, is_skip_bad;
    int64_t interval_ms; /* between two values */
    bool has_interval;   /* it was given */
    const struct o3_config_values *values;
    const struct o3_config *config; /* of which they are */
    const struct o3_config_args *args;
};

/* One input of the command. */
struct replay_input {
    const char *name; /* for messages */
    int fd;
    struct o3_lines lines;
};

/* Says FILE:LINE: reason, or the reason alone when it is about the whole file. */
void replay_complain(const struct replay_input *in, const struct o3_err *e);
/* These return exit statuses; what is wrong is told. path NULL or "-": standard input. */
int replay_open(struct replay_input *in, const char *path);
void replay_close(struct replay_input *in);
int replay_series(const struct replay *r, struct replay_input *in);
int replay_log(const struct replay *r, struct replay_input *in);
#define REPLAY_FILES_MAX 1024
int replay_logs(const struct replay *r, char *const *paths, int n); /* a path may be a folder of logs */

#endif
