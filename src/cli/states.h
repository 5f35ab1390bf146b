/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_STATES_H
#define O3_CLI_STATES_H
/* Small named states in memory, where the sidecar has its store. */
#include <stdbool.h>
#include "o3/buf.h"

#define O3_STATES_MAX 65536

struct o3_states {
    struct o3_state {
        char *key, *value;
        size_t n;
    } *v; /* sorted by key */
    size_t n, cap;
    bool is_full; /* something was left out */
};
void o3_states_put(struct o3_states *s, const char *key, const char *value, size_t n); /* n = 0 deletes */
bool o3_states_take(struct o3_states *s, const char *key, struct o3_buf *ret);         /* false: there is none */
void o3_states_done(struct o3_states *s);

#endif
