/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_SCENARIO_FILE_H
#define O3_CLI_SCENARIO_FILE_H
/* Scenario files, read and parsed; what is wrong goes to stderr as FILE:LINE:COLUMN: TEXT. */
#include "o3/scenario.h"

/* NULL when the file cannot be read or is wrong. */
struct o3_scenario *o3_scenario_file_read(const char *path);
/* Tells of an error that was found later, with the line in the scenario. */
void o3_scenario_file_error(const char *path, const struct o3_err *e);

#endif
