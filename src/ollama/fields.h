/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_OLLAMA_FIELDS_H
#define O3_OLLAMA_FIELDS_H
/* Fields that more than one reply has. Private to src/ollama. */
#include <stdbool.h>
#include <stddef.h>

struct json_t;

struct o3_capabilities {
    bool is_listed, can_embed_only, can_think;
};
struct o3_capabilities o3_json_capabilities(const struct json_t *o);
bool o3_is_hex(const char *s, size_t n); /* false for nothing */

#endif
