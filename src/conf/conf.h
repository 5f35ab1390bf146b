/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONF_INTERNAL_H
#define O3_CONF_INTERNAL_H
/* What the files of src/conf share; everybody else uses o3/config.h. */
#include "o3/config.h"

enum {
#define O3_CONF(field, key, type, def, min, max, choices, status, reload, help) O3_CONF_ROW_##field,
#include "o3/tables/config.def"
#undef O3_CONF
    O3_CONF_ROWS
};

/* Where row i lives in struct o3_config_values. */
size_t o3_conf_offset(size_t row);
/* The row of a key (n bytes), or -1. */
int o3_conf_find(const char *key, size_t n);

#endif
