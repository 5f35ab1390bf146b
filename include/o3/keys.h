/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_KEYS_H
#define O3_KEYS_H
/* What is published of all presets, as named texts: the `data` of a ConfigMap, or the files of a folder that looks like
 * a mounted one. Of each model one document under "<stem>.yaml", and "<stem>.<preset>.<field>"; of the primary model
 * also "<preset>.<field>". Sorted by name. Pure. */
#include <stdbool.h>
#include <stddef.h>
#include "o3/preset.h"

#define O3_KEYS_MAX 8192
#define O3_KEYS_BYTES_MAX (1024u * 1024) /* of all values: what the API server takes of one object */
#define O3_KEY_NAME_MAX 253
#define O3_KEY_STATE "o3-state.json" /* kept beside the presets, and no part of their checksum */

struct o3_key {
    char *name;
    char *value; /* NULL: it must not be there */
    size_t n;
};
struct o3_keys {
    struct o3_key *v;
    size_t n, cap, bytes;
};

void o3_keys_free(struct o3_keys *k); /* what it holds; the struct may be used again */
/* Adds or replaces; value NULL: must not be there. O3_E_LIMIT, O3_E_NOMEM, O3_E_PARSE (not a name that a ConfigMap and
 * a file can have). */
O3_MUST_CHECK int o3_keys_set(struct o3_keys *k, const char *name, const char *value, size_t n);
const struct o3_key *o3_keys_find(const struct o3_keys *k, const char *name); /* NULL: nothing is said of it */
bool o3_keys_equal(const struct o3_keys *a, const struct o3_keys *b);
O3_MUST_CHECK int o3_keys_copy(const struct o3_keys *k, struct o3_keys *ret);

/* All keys of one model. */
O3_MUST_CHECK int o3_keys_add_doc(struct o3_keys *k, const struct o3_preset_doc *d, const char *stem, bool is_primary);
/* There is no primary model: its keys must not be there. */
O3_MUST_CHECK int o3_keys_no_primary(struct o3_keys *k);

/* `have` as it becomes: with the texts of `want`, less what it says must not be there. */
O3_MUST_CHECK int o3_keys_merge(const struct o3_keys *have, const struct o3_keys *want, struct o3_keys *ret);
/* How many keys of `have` are not as `want` says. */
size_t o3_keys_count_changes(const struct o3_keys *have, const struct o3_keys *want);
/* sha256 of "NAME=VALUE\n" of every text in the order of names, O3_KEY_STATE left out; 64 hex digits. */
O3_MUST_CHECK int o3_keys_checksum(const struct o3_keys *k, char out[65]);

#endif
