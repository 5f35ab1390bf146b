/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_EVENTS_H
#define O3_EVENTS_H
/* Events: stable identifiers with a level, the fields that must be present, and a sentence for people. Pure. */
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"

enum o3_log_level { O3_LOG_ERROR, O3_LOG_WARN, O3_LOG_INFO, O3_LOG_DEBUG };
enum o3_event_id {
#define O3_EVENT(sym, name, level, fields, text) O3_EV_##sym,
#include "o3/tables/events.def"
#undef O3_EVENT
    O3_EVENT_COUNT
};
struct o3_event_row {
    const char *symbol, *name, *fields, *text;
    enum o3_log_level level;
};
const struct o3_event_row *o3_event_row(enum o3_event_id ev);
const char *o3_log_level_name(enum o3_log_level l);

enum o3_field_type { O3_FIELD_STR, O3_FIELD_INT, O3_FIELD_DBL };
struct o3_field {
    const char *name;
    enum o3_field_type type;
    const char *s;
    int64_t i;
    double d;
};
#define O3_F_STR(n, v) ((struct o3_field){.name = (n), .type = O3_FIELD_STR, .s = (v)})
#define O3_F_INT(n, v) ((struct o3_field){.name = (n), .type = O3_FIELD_INT, .i = (v)})
#define O3_F_DBL(n, v) ((struct o3_field){.name = (n), .type = O3_FIELD_DBL, .d = (v)})

/* One line without newline: time, level, event, msg, then the fields in the order given. Bytes that are not UTF-8
 * become U+FFFD, control characters are escaped. Asserted: the fields that the table names are there, none is called
 * like the four above. A NULL string is empty (JSON: null); NaN and infinity are null in JSON. */
int o3_event_encode_logfmt(int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n,
                           struct o3_buf *out);
int o3_event_encode_json(int64_t wall_ms, enum o3_event_id ev, const struct o3_field *f, size_t n, struct o3_buf *out);

#endif
