/* SPDX-License-Identifier: Apache-2.0 */
#include "ollama/fields.h"
#include <jansson.h>
#include <string.h>

static bool is_listed(const json_t *list, const char *what) {
    size_t n_what = strlen(what);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        if (json_string_length(v) == n_what && !memcmp(json_string_value(v), what, n_what)) return true;
    }
    return false;
}

struct o3_capabilities o3_json_capabilities(const json_t *o) {
    const json_t *list = json_object_get(o, "capabilities");
    return (struct o3_capabilities){
        .is_listed = json_is_array(list),
        .can_embed_only = is_listed(list, "embedding") && !is_listed(list, "completion"),
        .can_think = is_listed(list, "thinking"),
    };
}

bool o3_is_hex(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f') && !(s[i] >= 'A' && s[i] <= 'F'))
            return false;
    return n > 0;
}
