/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PUBLISH_OBJECT_H
#define O3_PUBLISH_OBJECT_H
/* A ConfigMap as the API server tells it, and patches of one. */
#include "o3/configmap.h"

#define O3_ANNOTATION_WRITER "o3-sidecar/writer"
#define O3_ANNOTATION_REASON "o3-sidecar/reason"
#define O3_ANNOTATION_GENERATION "o3-sidecar/generation"
#define O3_ANNOTATION_CHECKSUM "o3-sidecar/checksum"

struct object {
    char version[64]; /* resourceVersion */
    char writer[O3_CONFIGMAP_WRITER_MAX];
    int64_t writer_ms; /* when it said so; 0 not readable */
    int64_t generation;
    struct o3_keys data;
};
void object_free(struct object *o);
/* O3_E_PARSE, O3_E_LIMIT, O3_E_NOMEM. */
O3_MUST_CHECK int object_parse(const char *body, size_t n, struct object *ret, struct o3_err *e);

struct patch {
    const char *version, *writer; /* writer "" gives the place back */
    int64_t wall_ms;
    const struct object *have; /* NULL: the writer alone */
    const struct o3_keys *want;
    const char *reason;
    const char *state; /* NULL: none, or it stays as it is */
};
O3_MUST_CHECK int patch_encode(const struct patch *p, struct o3_buf *out);
/* The message of a Status object, cleaned; "" when there is none. */
void status_message(const char *body, size_t n, char *out, size_t size);

#endif
