/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 4096u
#define ALIGN _Alignof(max_align_t)

struct o3_arena_chunk {
    struct o3_arena_chunk *next;
    _Alignas(max_align_t) char bytes[];
};

void o3_arena_init(struct o3_arena *a, size_t max) {
    *a = (struct o3_arena){.max = max};
}

void o3_arena_done(struct o3_arena *a) {
    while (a->head) {
        struct o3_arena_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    *a = (struct o3_arena){.max = a->max};
}

static int grow(struct o3_arena *a, size_t n) {
    size_t cap = n > CHUNK_BYTES ? n : CHUNK_BYTES;
    struct o3_arena_chunk *chunk = calloc(1, sizeof *chunk + cap);
    if (!chunk) return -1;
    chunk->next = a->head;
    a->head = chunk;
    a->used = 0;
    a->cap = cap;
    return 0;
}

void *o3_arena_alloc(struct o3_arena *a, size_t n) {
    if (n > a->max - a->total) return NULL;
    size_t rounded = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (rounded > a->cap - a->used && grow(a, rounded) < 0) return NULL;
    void *p = a->head->bytes + a->used;
    a->used += rounded;
    a->total += n;
    return p;
}

char *o3_arena_copy(struct o3_arena *a, const char *s, size_t n) {
    char *p = o3_arena_alloc(a, n + 1);
    if (p && n) memcpy(p, s, n);
    return p;
}
