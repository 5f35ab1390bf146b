/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_LOG_SINK_H
#define O3_IO_LOG_SINK_H
/* The log: one line per event on stderr, logfmt or JSON; event names, levels and fields come from tables/events.def.
 * Repeated identical lines are folded: the first is written at once, the others as one line with repeated=N when
 * another event comes, after a minute, or at o3_log_flush. Values are typed fields, never a format with outside data.
 * Lines stay below PIPE_BUF (long strings are cut), so writers of one pipe do not mix. A reader that stands still loses
 * lines rather than stopping the loop. */
#include "o3/events.h"

enum o3_log_format { O3_LOGFMT, O3_LOG_JSON };
struct o3_log; /* NULL is allowed in all calls but configure: nothing is logged */
struct o3_log *o3_log_new(int fd, enum o3_log_format format, enum o3_log_level level);
void o3_log_free(struct o3_log *l);
void o3_log_configure(struct o3_log *l, enum o3_log_format format, enum o3_log_level level);
void o3_log_write(struct o3_log *l, int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n);
void o3_log_flush(struct o3_log *l);         /* writes a pending repeated= line */
int64_t o3_log_lost(const struct o3_log *l); /* lines that could not be written */

#endif
