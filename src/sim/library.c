/* SPDX-License-Identifier: Apache-2.0 */
/* The models of the simulated server. Shapes are those of well-known public models of that size; names are ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

static const struct o3_sim_weights WEIGHTS[] = {
    {.name = "sim-small:latest",
     .architecture = "llama",
     .parameter_size = "3.2B",
     .quantization = "Q4_K_M",
     .template_text = "{{ .System }}{{ .Prompt }}",
     .parameter_count = 3212749888,
     .size_bytes = 2019377376,
     .context_length = 131072,
     .file_type = 15,
     .layers = 28,
     .heads = 24,
     .heads_kv = 8,
     .head_size = 128,
     .embedding = 3072,
     .feed_forward = 8192,
     .vocabulary = 128256,
     .can_complete = true,
     .can_use_tools = true,
     .decode_tps = 40,
     .prefill_tps = 1500,
     .natural_tokens = 240},
    {.name = "sim-medium:latest",
     .architecture = "llama",
     .parameter_size = "8.0B",
     .quantization = "Q4_K_M",
     .template_text = "{{ .System }}{{ .Prompt }}",
     .parameter_count = 8030261312,
     .size_bytes = 4920738944,
     .context_length = 131072,
     .file_type = 15,
     .layers = 32,
     .heads = 32,
     .heads_kv = 8,
     .head_size = 128,
     .embedding = 4096,
     .feed_forward = 14336,
     .vocabulary = 128256,
     .can_complete = true,
     .can_use_tools = true,
     .decode_tps = 22,
     .prefill_tps = 700,
     .natural_tokens = 300},
    {.name = "sim-think:latest",
     .architecture = "qwen3",
     .parameter_size = "4.0B",
     .quantization = "Q4_K_M",
     .template_text = "{{ .System }}{{ .Prompt }}",
     .parameter_count = 4022468096,
     .size_bytes = 2497281120,
     .context_length = 40960,
     .file_type = 15,
     .layers = 36,
     .heads = 32,
     .heads_kv = 8,
     .head_size = 128,
     .embedding = 2560,
     .feed_forward = 9728,
     .vocabulary = 151936,
     .can_complete = true,
     .can_think = true,
     .can_use_tools = true,
     .decode_tps = 30,
     .prefill_tps = 1000,
     .natural_tokens = 400},
    {.name = "sim-embed:latest",
     .architecture = "bert",
     .parameter_size = "137M",
     .quantization = "F16",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 136727040,
     .size_bytes = 274302450,
     .context_length = 2048,
     .file_type = 1,
     .layers = 12,
     .heads = 12,
     .heads_kv = 12,
     .head_size = 64,
     .embedding = 768,
     .feed_forward = 3072,
     .vocabulary = 30522,
     .can_embed = true,
     .decode_tps = 100,
     .prefill_tps = 6000},
    {.name = "sim-remote:cloud",
     .architecture = "gptoss",
     .parameter_size = "116.8B",
     .quantization = "MXFP4",
     .template_text = "{{ .Prompt }}",
     .remote_host = "https://ollama.com:443",
     .remote_model = "sim-remote",
     .parameter_count = 116829156672,
     .size_bytes = 384,
     .context_length = 131072,
     .file_type = 4,
     .layers = 36,
     .heads = 64,
     .heads_kv = 8,
     .head_size = 64,
     .embedding = 2880,
     .feed_forward = 2880,
     .vocabulary = 201088,
     .can_complete = true,
     .can_think = true,
     .decode_tps = 80,
     .prefill_tps = 4000},
    {.name = "sim-vision:latest",
     .architecture = "gemma3",
     .parameter_size = "4.3B",
     .quantization = "Q4_K_M",
     .template_text = "{{ .System }}{{ .Prompt }}",
     .parameter_count = 4299915632,
     .size_bytes = 3338801804,
     .context_length = 131072,
     .file_type = 15,
     .layers = 34,
     .heads = 8,
     .heads_kv = 4,
     .head_size = 256,
     .embedding = 2560,
     .feed_forward = 10240,
     .vocabulary = 262145,
     .can_complete = true,
     .can_see = true,
     .decode_tps = 28,
     .prefill_tps = 900,
     .natural_tokens = 220},
    {.name = "sim-code:latest",
     .architecture = "qwen2",
     .parameter_size = "1.5B",
     .quantization = "Q4_K_M",
     .template_text = "{{ .System }}{{ .Prompt }}{{ .Suffix }}",
     .parameter_count = 1543714304,
     .size_bytes = 986048768,
     .context_length = 32768,
     .file_type = 15,
     .layers = 28,
     .heads = 12,
     .heads_kv = 2,
     .head_size = 128,
     .embedding = 1536,
     .feed_forward = 8960,
     .vocabulary = 151936,
     .can_complete = true,
     .can_use_tools = true,
     .can_insert = true,
     .decode_tps = 70,
     .prefill_tps = 2500,
     .natural_tokens = 160},
    /* As in the recorded exchanges. */
    {.name = "o3-tiny:latest",
     .architecture = "llama",
     .parameter_size = "5.05M",
     .quantization = "F16",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 5046528,
     .size_bytes = 10186741,
     .context_length = 131072,
     .file_type = 1,
     .layers = 4,
     .heads = 4,
     .heads_kv = 2,
     .head_size = 64,
     .embedding = 256,
     .feed_forward = 704,
     .vocabulary = 4092,
     .can_complete = true,
     .decode_tps = 550,
     .prefill_tps = 5000,
     .is_recorded_only = true},
    {.name = "o3-embed:latest",
     .architecture = "bert",
     .parameter_size = "567K",
     .quantization = "F16",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 567168,
     .size_bytes = 1293234,
     .context_length = 512,
     .file_type = 1,
     .layers = 2,
     .heads = 4,
     .heads_kv = 4,
     .head_size = 32,
     .embedding = 128,
     .feed_forward = 512,
     .vocabulary = 817,
     .can_embed = true,
     .decode_tps = 500,
     .prefill_tps = 20000,
     .is_recorded_only = true},
    {.name = "o3-small:latest",
     .architecture = "llama",
     .parameter_size = "234.91M",
     .quantization = "Q8_0",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 234914816,
     .size_bytes = 249880952,
     .context_length = 131072,
     .file_type = 7,
     .layers = 16,
     .heads = 16,
     .heads_kv = 4,
     .head_size = 64,
     .embedding = 1024,
     .feed_forward = 3584,
     .vocabulary = 8192,
     .can_complete = true,
     .decode_tps = 38,
     .prefill_tps = 152,
     .is_recorded_only = true},
    {.name = "o3-loop:latest",
     .architecture = "llama",
     .parameter_size = "5.05M",
     .quantization = "F16",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 5046528,
     .size_bytes = 10186741,
     .context_length = 131072,
     .file_type = 1,
     .layers = 4,
     .heads = 4,
     .heads_kv = 2,
     .head_size = 64,
     .embedding = 256,
     .feed_forward = 704,
     .vocabulary = 4092,
     .can_complete = true,
     .repeats_itself = true,
     .decode_tps = 500,
     .prefill_tps = 5000,
     .is_recorded_only = true},
    {.name = "o3-bigctx:latest",
     .architecture = "llama",
     .parameter_size = "5.05M",
     .quantization = "F16",
     .template_text = "{{ .Prompt }}",
     .parameter_count = 5046528,
     .size_bytes = 10186741,
     .context_length = 67108864,
     .file_type = 1,
     .layers = 4,
     .heads = 4,
     .heads_kv = 2,
     .head_size = 64,
     .embedding = 256,
     .feed_forward = 704,
     .vocabulary = 4092,
     .can_complete = true,
     .decode_tps = 550,
     .prefill_tps = 5000,
     .is_recorded_only = true},
};
enum { N_WEIGHTS = sizeof WEIGHTS / sizeof *WEIGHTS };

void o3_sim_blob(const struct o3_sim_model *m, char out[65]) {
    char key[O3_SIM_NAME_SIZE + 32];
    int n = snprintf(key, sizeof key, "blob %s %d", m->weights->name, m->revision);
    o3_sha256_hex(key, (size_t)n, out);
}

void o3_sim_model_redigest(struct o3_sim_model *m) {
    char key[O3_SIM_NAME_SIZE + sizeof m->parameters + sizeof m->system + sizeof m->template_text + 80], blob[65];
    o3_sim_blob(m, blob);
    int n = snprintf(key, sizeof key, "manifest %s %s\n%s%s%s", blob, m->weights->name, m->parameters, m->system,
                     m->template_text);
    o3_sha256_hex(key, (size_t)n, m->digest);
}

bool o3_sim_full_name(const char *name, char out[O3_SIM_NAME_SIZE]) {
    size_t n = strlen(name);
    const char *slash = strrchr(name, '/');
    const char *colon = strchr(slash ? slash : name, ':');
    if (n == 0 || n + 8 > O3_SIM_NAME_SIZE || *name == ':' || name[n - 1] == ':') return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.:/", c);
        if (!good) return false;
    }
    snprintf(out, O3_SIM_NAME_SIZE, "%s%s", name, colon ? "" : ":latest");
    return true;
}

struct o3_sim_model *o3_sim_library_find(struct o3_world *w, const char *name) {
    char full[O3_SIM_NAME_SIZE];
    if (!o3_sim_full_name(name, full)) return NULL;
    for (size_t i = 0; i < w->n_models; i++)
        if (!strcmp(w->models[i].name, full)) return &w->models[i];
    return NULL;
}

int o3_world_check_model(const struct o3_world *w, const char *name, struct o3_err *e) {
    char full[O3_SIM_NAME_SIZE];
    const char *nearest = NULL;
    int best = (int)(strlen(name) > 60 ? 60 : strlen(name)) / 2 + 1;
    bool is_name = o3_sim_full_name(name, full);
    for (size_t i = 0; is_name && i < w->n_models; i++) {
        if (!strcmp(full, w->models[i].name)) return 0;
        int d = o3_edit_distance(full, w->models[i].name);
        if (d >= best) continue;
        best = d;
        nearest = w->models[i].name;
    }
    if (!nearest) return o3_err_set(e, O3_E_NOT_FOUND, "model \"%s\" is not in the library", name);
    return o3_err_set(e, O3_E_NOT_FOUND, "model \"%s\" is not in the library; did you mean \"%s\"?", name, nearest);
}

int o3_sim_library_put(struct o3_world *w, const struct o3_sim_model *m) {
    struct o3_sim_model *old = o3_sim_library_find(w, m->name);
    if (!old) {
        if (w->n_models == O3_SIM_MAX_MODELS) return O3_E_LIMIT;
        old = &w->models[w->n_models++];
    }
    *old = *m;
    o3_buf_clear(&w->tags_text);
    o3_sim_model_redigest(old);
    return 0;
}

bool o3_sim_library_remove(struct o3_world *w, const char *name) {
    struct o3_sim_model *m = o3_sim_library_find(w, name);
    if (!m) return false;
    size_t i = (size_t)(m - w->models);
    memmove(m, m + 1, (w->n_models - i - 1) * sizeof *m);
    w->n_models--;
    o3_buf_clear(&w->tags_text);
    return true;
}

static int add(struct o3_world *w, size_t i, int64_t modified_wall_ms) {
    struct o3_sim_model m = {.weights = &WEIGHTS[i], .modified_wall_ms = modified_wall_ms};
    o3_str_copy(m.name, sizeof m.name, WEIGHTS[i].name);
    return o3_sim_library_put(w, &m);
}

int o3_sim_library_fill(struct o3_world *w, bool recorded) {
    w->models = calloc(O3_SIM_MAX_MODELS, sizeof *w->models);
    if (!w->models) return O3_E_NOMEM;
    const int64_t day_ms = 86400 * O3_MS_PER_S;
    for (size_t i = 0; i < N_WEIGHTS; i++)
        if (!WEIGHTS[i].is_recorded_only || recorded) add(w, i, w->params.start_wall_ms - (int64_t)(i + 1) * day_ms);
    return 0;
}

const struct o3_sim_model *o3_sim_library_restore(struct o3_world *w, const char *full_name, int64_t t) {
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        bool is_known = !WEIGHTS[i].is_recorded_only || w->params.has_recorded_models;
        if (is_known && !strcmp(WEIGHTS[i].name, full_name))
            return add(w, i, w->params.start_wall_ms + t / O3_NS_PER_MS) < 0 ? NULL : o3_sim_library_find(w, full_name);
    }
    return NULL;
}
