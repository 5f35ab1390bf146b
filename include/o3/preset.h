/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_PRESET_H
#define O3_PRESET_H
/* The presets of one model: the document of product.md (Files written), in memory and as YAML or JSON. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "o3/buf.h"
#include "o3/err.h"
#include "o3/ollama.h"

enum o3_preset_name { O3_PRESET_MAX_CONTEXT, O3_PRESET_BALANCED, O3_PRESET_FAST_RESPONSE, O3_PRESET_COUNT };
#define O3_PRESET_DOC_MAX (64 * 1024) /* bytes of one document; a larger one is refused */

const char *o3_preset_name(enum o3_preset_name p); /* "max_context" ... */
bool o3_preset_name_parse(const char *s, enum o3_preset_name *ret);

enum o3_preset_source { O3_SOURCE_OBSERVED, O3_SOURCE_PREDICTED, O3_SOURCE_VERIFIED };
enum o3_batch_source { O3_BATCH_ASSUMED, O3_BATCH_RUNNER, O3_BATCH_PRESET };
const char *o3_preset_source_name(enum o3_preset_source s); /* "observed" ... */
const char *o3_batch_source_name(enum o3_batch_source s);   /* "assumed" ... */

struct o3_performance {
    bool is_set;
    double tokens_per_sec, ttft_ms, stability; /* NaN unknown: left out of the file */
    int64_t n;
    int64_t as_of_ms; /* wall clock; 0 unknown */
};
struct o3_preset {
    bool is_set;
    int64_t num_ctx, batch, num_predict; /* num_ctx > 0; the others, <= 0: left out */
    enum o3_batch_source batch_source;
    bool f16_kv;
    struct o3_performance performance, previous;
    enum o3_preset_source source;
    int64_t as_of_ms;
    char use_case[80];
};
struct o3_preset_doc {
    char model[O3_MODEL_NAME_SIZE];
    char digest[65]; /* hex; printed as sha256:<hex> */
    struct o3_preset presets[O3_PRESET_COUNT];
};

/* YAML as in product.md; stable key order, LF, ends with a newline. */
int o3_preset_doc_encode_yaml(const struct o3_preset_doc *d, struct o3_buf *out);
/* All of them, `first` (an index; -1: as they stand) before the others, divided by "---". */
int o3_preset_docs_encode_yaml(const struct o3_preset_doc *const *docs, size_t n, int first, struct o3_buf *out);
int o3_preset_doc_encode_json(const struct o3_preset_doc *d, struct o3_buf *out);
/* One preset in the formats of `o3 preset get`: "yaml", "json", "env", "modelfile", "ollama-options". NOT_FOUND when it
 * is not set. */
int o3_preset_encode(const struct o3_preset_doc *d, enum o3_preset_name p, const char *format, struct o3_buf *out,
                     struct o3_err *e);
/* Hostile input: at most 64 KiB, unknown keys ignored, wrong types refused with line and column, aliases refused, depth
 * <= 8. */
O3_MUST_CHECK int o3_preset_doc_decode_yaml(const char *text, size_t n, struct o3_preset_doc *ret, struct o3_err *e);
/* Equal in everything a reader acts on: as_of and n are not compared, and speeds only as they are printed. */
bool o3_preset_doc_equal(const struct o3_preset_doc *a, const struct o3_preset_doc *b);

/* File name stem of a model: "qwen3-coder:30b" -> "qwen3-coder_30b". Every byte outside [A-Za-z0-9._-] becomes '_', a
 * leading
 * '.' becomes '_'. When `is_taken(ctx, stem, model)` says that the stem belongs to another model, '-' and 8 hex digits
 * of the name's sha256 are added. `is_taken` may be NULL. out needs 160 bytes. */
void o3_model_file_stem(const char *model, bool (*is_taken)(void *ctx, const char *stem, const char *model), void *ctx,
                        char *out, size_t size);

#endif
