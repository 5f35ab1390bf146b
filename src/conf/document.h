/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CONF_DOCUMENT_H
#define O3_CONF_DOCUMENT_H
/* One YAML file as events, for the configuration and the web configuration: bytes are checked first, anchors, aliases
 * and tags are not let in, and every error has its line and column. */
#include <yaml.h>
#include <stdbool.h>
#include "o3/err.h"

#define AUTO_EVENT __attribute__((cleanup(yaml_event_delete))) yaml_event_t

struct place {
    uint32_t line, col;
};
struct o3_document {
    yaml_parser_t yaml;
    const char *text;
    size_t n;
    struct o3_err *e;
};

/* What fails below is O3_E_CONFIG or O3_E_NOMEM. The text and e must outlive the document. */
O3_MUST_CHECK int o3_document_open(struct o3_document *d, const char *text, size_t n, struct o3_err *e);
void o3_document_close(struct o3_document *d); /* only after a successful open */
/* Frees nothing: declare the event with AUTO_EVENT. */
O3_MUST_CHECK int o3_document_next(struct o3_document *d, yaml_event_t *ret);
/* Goes through the file and hands its one document, if there is one, to `read`. */
O3_MUST_CHECK int o3_document_read(struct o3_document *d, int (*read)(void *ctx), void *ctx);
struct place o3_document_place(yaml_mark_t mark);
int o3_document_fail(struct o3_document *d, struct place at, const char *text);
bool o3_document_is_null(const yaml_event_t *ev); /* nothing, null or ~, not in quotes */

#endif
