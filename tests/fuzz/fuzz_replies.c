/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as each of the replies. */
#include <string.h>
#include "o3/cause.h"
#include "o3/err.h"
#include "o3/ollama.h"
#include "o3/sample.h"
#include "o3/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_models(const char *body, size_t n, struct o3_err *e) {
    struct o3_ollama_models *m = NULL;
    int64_t sum = 0; /* of figures that are believed: nothing overflows */
    if (o3_ollama_parse_models(body, n, &m, e) < 0) return;
    O3_ASSERT(m->n <= O3_OLLAMA_MAX_MODELS);
    for (size_t i = 0; i < m->n; i++) {
        size_t n_name = strlen(m->v[i].name);
        sum += m->v[i].size_bytes + m->v[i].size_vram_bytes + m->v[i].context_length;
        O3_ASSERT(n_name > 0 && n_name < O3_MODEL_NAME_SIZE && o3_utf8_valid(m->v[i].name, n_name));
    }
    O3_ASSERT(sum >= -3 * O3_OLLAMA_MAX_MODELS);
    o3_ollama_models_free(m);
}

static void check_show(const char *body, size_t n, struct o3_err *e) {
    struct o3_ollama_show show;
    if (o3_ollama_parse_show(body, n, &show, e) < 0) return;
    O3_ASSERT(strlen(show.blob) == 0 || strlen(show.blob) == 64);
    O3_ASSERT(o3_active_weight_bytes(&show, O3_OLLAMA_BYTES_MAX) <= O3_OLLAMA_BYTES_MAX);
    O3_ASSERT(show.head_count_kv >= -1 && show.parameter_num_ctx >= -1 && show.vocab_size >= -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const char *body = (const char *)data;
    struct o3_err e = {0};
    struct o3_ollama_version version;
    struct o3_ollama_embed embed;
    struct o3_sample sample;
    char error[40];
    if (o3_ollama_parse_version(body, n, &version, &e) == 0)
        O3_ASSERT(o3_utf8_valid(version.text, strlen(version.text)));
    if (o3_ollama_parse_embed(body, n, &embed, &e) == 0)
        O3_ASSERT(embed.dimensions >= -1 && embed.total_ns <= O3_OLLAMA_NS_MAX && embed.load_ns <= O3_OLLAMA_NS_MAX &&
                  embed.prompt_eval_count <= O3_OLLAMA_TOKENS_MAX);
    if (o3_ollama_parse_error(body, n, error, sizeof error)) O3_ASSERT(o3_utf8_valid(error, strlen(error)));
    if (o3_sample_decode_json(body, n, &sample, &e) == 0) O3_ASSERT(strlen(sample.model) < sizeof sample.model);
    check_models(body, n, &e);
    check_show(body, n, &e);
    return 0;
}
