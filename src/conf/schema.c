/* SPDX-License-Identifier: Apache-2.0 */
/* tables/config.def as data: one row per key, its place in the values, its environment name. */
#include "conf/conf.h"
#include <string.h>

#define IS_USED true
#define IS_LATER false
#define IS_LIVE true
#define IS_RESTART false

static char env_names[O3_CONF_ROWS][64];

static const struct o3_conf_row ROWS[] = {
#define O3_CONF(field, key, type, def, min, max, choices, status, reload, help)                                        \
    {key, env_names[O3_CONF_ROW_##field], O3_CONF_##type, def, min, max, choices, help, IS_##status, IS_##reload},
#include "o3/tables/config.def"
#undef O3_CONF
};

static const size_t OFFSETS[] = {
#define O3_CONF(field, key, type, def, min, max, choices, status, reload, help)                                        \
    offsetof(struct o3_config_values, field),
#include "o3/tables/config.def"
#undef O3_CONF
};

/* The preprocessor cannot write capitals, so the names are spelled out once, before main and so before any thread. */
__attribute__((constructor)) static void spell_env_names(void) {
    for (size_t i = 0; i < O3_CONF_ROWS; i++) {
        const char *key = ROWS[i].key;
        char *out = env_names[i];
        O3_ASSERT(strlen(key) + 4 <= sizeof env_names[i]);
        memcpy(out, "O3_", 3);
        for (out += 3; *key; key++)
            *out++ = *key == '.' ? '_' : (char)(*key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
        *out = '\0';
    }
}

size_t o3_conf_rows(const struct o3_conf_row **ret) {
    *ret = ROWS;
    return O3_CONF_ROWS;
}

size_t o3_conf_offset(size_t row) {
    return OFFSETS[row];
}

int o3_conf_find(const char *key, size_t n) {
    for (int i = 0; i < O3_CONF_ROWS; i++)
        if (strlen(ROWS[i].key) == n && !memcmp(ROWS[i].key, key, n)) return i;
    return -1;
}
