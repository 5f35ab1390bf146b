/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONF_INTERNAL_H
#define O3_CONF_INTERNAL_H
/* What the files of src/conf share; everybody else uses o3/config.h. */
#include "base/arena.h"
#include "o3/config.h"

#define O3_CONF_TEXT_MAX 4095 /* bytes of one text; also the longest path */

enum {
#define O3_CONF(field, key, type, def, min, max, choices, status, reload, help) O3_CONF_ROW_##field,
#include "o3/tables/config.def"
#undef O3_CONF
    O3_CONF_ROWS
};

struct o3_config {
    struct o3_config_values values;
    struct o3_arena arena; /* the texts of the values */
    struct {
        enum o3_conf_origin origin;
        uint32_t line, col, key_line; /* of the value and of its key, when it came from the file */
    } from[O3_CONF_ROWS];
};

/* One text of a source, with its place when the source is the file. */
struct o3_conf_item {
    const char *text; /* NUL-terminated at len; may hold a NUL before that when it is hostile */
    size_t len;
    bool is_quoted; /* in the file: never a number, true, false or null */
    uint32_t line, col;
};

/* What a source says about one key. */
struct o3_conf_input {
    size_t row;
    enum o3_conf_origin origin;
    bool is_list;
    const struct o3_conf_item *items; /* one, unless is_list */
    size_t n;
    uint32_t line, col;
};

/* schema.c */
const struct o3_conf_row *o3_conf_row(size_t row);
void *o3_conf_slot(struct o3_config *c, size_t row); /* the field of the values */
const void *o3_conf_slot_const(const struct o3_config *c, size_t row);
int o3_conf_find(const char *key); /* the row of a key, or -1 */
int o3_conf_find_env(const char *name);
bool o3_conf_is_list(enum o3_conf_type type);
bool o3_conf_is_group(const char *key);

/* set.c: checks what a source says and stores it. */
O3_MUST_CHECK int o3_conf_set(struct o3_config *c, const struct o3_conf_input *in, struct o3_err *e);
/* The number that a text means for a row of this type; durations in ms. */
bool o3_conf_number(enum o3_conf_type type, const char *text, double *ret);

/* form.c: NULL when the text has the form that the row asks for, else what was expected. */
const char *o3_conf_check_form(const char *form, const char *text);
bool o3_conf_is_address(const char *form);
/* Bytes of an address that hold no secret: scheme, host and port. Of the rest some may. */
size_t o3_conf_open_part(const char *text);

/* cross.c: what one key alone cannot show. */
O3_MUST_CHECK int o3_conf_check_together(const struct o3_config *c, struct o3_err *e);

/* yaml.c */
O3_MUST_CHECK int o3_conf_read_yaml(struct o3_config *c, const char *text, size_t n, struct o3_err *e);

/* message.c */
/* An error that names the key, the variable or the flag. */
int o3_conf_fail(size_t row, enum o3_conf_origin origin, uint32_t line, uint32_t col, struct o3_err *e, const char *fmt,
                 ...) O3_PRINTF(6, 7);
/* Foreign text for a message: in quotes, without control characters, cut when long. */
#define O3_CONF_SHOWN_MAX 48
struct o3_conf_shown {
    char text[64];
};
const char *o3_conf_show(struct o3_conf_shown *out, const char *text, size_t n);
/* What stands where a key should, as far as it may be one: "token:hush" is a key with its value. */
size_t o3_conf_key_part(const char *text);
const char *o3_conf_show_key(struct o3_conf_shown *out, const char *text);

#endif
