/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_BASE_ARENA_H
#define O3_BASE_ARENA_H
/* Memory that is freed all at once, for whole-document data. Carries its own maximum. */
#include <stddef.h>

struct o3_arena {
    struct o3_arena_chunk *head;
    size_t used, cap; /* of the head chunk */
    size_t total, max;
};

void o3_arena_init(struct o3_arena *a, size_t max);
void o3_arena_done(struct o3_arena *a);
/* Zeroed and aligned for any type; NULL when memory or the maximum is reached. */
void *o3_arena_alloc(struct o3_arena *a, size_t n);
/* n bytes and a NUL. */
char *o3_arena_copy(struct o3_arena *a, const char *s, size_t n);

#endif
