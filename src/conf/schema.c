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
    offsetof(struct o3_config, values.field),
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

const struct o3_conf_row *o3_conf_row(size_t row) {
    O3_ASSERT(row < O3_CONF_ROWS);
    return &ROWS[row];
}

void *o3_conf_slot(struct o3_config *c, size_t row) {
    return (char *)c + OFFSETS[row];
}

const void *o3_conf_slot_const(const struct o3_config *c, size_t row) {
    return (const char *)c + OFFSETS[row];
}

int o3_conf_find(const char *key) {
    for (int i = 0; i < O3_CONF_ROWS; i++)
        if (!strcmp(ROWS[i].key, key)) return i;
    return -1;
}

int o3_conf_find_env(const char *name) {
    for (int i = 0; i < O3_CONF_ROWS; i++)
        if (!strcmp(ROWS[i].env, name)) return i;
    return -1;
}

bool o3_conf_is_list(enum o3_conf_type type) {
    return type == O3_CONF_LIST || type == O3_CONF_NUMBERS;
}

bool o3_conf_is_group(const char *key) {
    size_t n = strlen(key);
    for (size_t i = 0; i < O3_CONF_ROWS; i++)
        if (!strncmp(ROWS[i].key, key, n) && ROWS[i].key[n] == '.') return true;
    return false;
}
