/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of /api/show: the model as its GGUF would describe it. Verbose, it holds the whole vocabulary. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "sim/replies.h"

static void set(json_t *object, const char *name, json_t *value) {
    json_object_set_new(object, name, value);
}

/* ---- model_info ---- */

static void set_of(json_t *info, const char *architecture, const char *name, json_t *value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", architecture, name);
    set(info, key, value);
}

static void add_general(json_t *i, const struct o3_sim_weights *x) {
    set(i, "general.architecture", json_string(x->architecture));
    set(i, "general.file_type", json_integer(x->file_type));
    set(i, "general.parameter_count", json_integer(x->parameter_count));
    set(i, "general.quantization_version", json_integer(2));
}

/* Keys in the order of the alphabet, as the server has them. */
static json_t *model_info(const struct o3_sim_weights *x) {
    json_t *i = json_object();
    const char *a = x->architecture;
    bool is_bert = !strcmp(a, "bert"), general_first = strcmp(a, "general") > 0;
    if (general_first) add_general(i, x);
    if (is_bert) set_of(i, a, "attention.causal", json_false());
    set_of(i, a, "attention.head_count", json_integer(x->heads));
    if (!is_bert) {
        set_of(i, a, "attention.head_count_kv", json_integer(x->heads_kv));
        set_of(i, a, "attention.key_length", json_integer(x->head_size));
        set_of(i, a, "attention.layer_norm_rms_epsilon", json_real(1e-5));
        set_of(i, a, "attention.value_length", json_integer(x->head_size));
    } else {
        set_of(i, a, "attention.layer_norm_epsilon", json_real(1e-12));
    }
    set_of(i, a, "block_count", json_integer(x->layers));
    set_of(i, a, "context_length", json_integer(x->context_length));
    set_of(i, a, "embedding_length", json_integer(x->embedding));
    set_of(i, a, "feed_forward_length", json_integer(x->feed_forward));
    if (is_bert) {
        set_of(i, a, "pooling_type", json_integer(1));
    } else {
        set_of(i, a, "rope.dimension_count", json_integer(x->head_size));
        set_of(i, a, "rope.freq_base", json_integer(500000));
    }
    set_of(i, a, "vocab_size", json_integer(x->vocabulary));
    if (!general_first) add_general(i, x);
    return i;
}

static void add_tokenizer(json_t *i, bool is_bert) {
    if (!is_bert) {
        set(i, "tokenizer.ggml.add_bos_token", json_true());
        set(i, "tokenizer.ggml.add_eos_token", json_false());
        set(i, "tokenizer.ggml.add_space_prefix", json_true());
    }
    set(i, "tokenizer.ggml.bos_token_id", json_integer(is_bert ? 2 : 1));
    set(i, "tokenizer.ggml.eos_token_id", json_integer(is_bert ? 3 : 2));
    if (is_bert) set(i, "tokenizer.ggml.mask_token_id", json_integer(4));
    set(i, "tokenizer.ggml.model", json_string(is_bert ? "bert" : "llama"));
    if (is_bert) set(i, "tokenizer.ggml.padding_token_id", json_integer(0));
    set(i, "tokenizer.ggml.pre", json_string("default"));
    set(i, "tokenizer.ggml.scores", json_null());
    if (is_bert) set(i, "tokenizer.ggml.seperator_token_id", json_integer(3)); /* spelt so in GGUF */
    set(i, "tokenizer.ggml.token_type", json_null());
    if (is_bert) set(i, "tokenizer.ggml.token_type_count", json_integer(2));
    set(i, "tokenizer.ggml.tokens", json_null());
    set(i, "tokenizer.ggml.unknown_token_id", json_integer(is_bert ? 1 : 0));
}

/* ---- tensors ---- */

struct layout {
    json_t *list;
    const char *type; /* of matrices; vectors are F32 */
    int64_t n_parameters;
};

/* columns 0: a vector */
static void add_tensor(struct layout *l, const char *name, int64_t rows, int64_t columns) {
    json_t *shape = json_pack("[I]", (json_int_t)rows);
    if (columns > 0) json_array_append_new(shape, json_integer(columns));
    json_array_append_new(
        l->list, json_pack("{s:s,s:s,s:o}", "name", name, "type", columns > 0 ? l->type : "F32", "shape", shape));
    l->n_parameters += rows * (columns > 0 ? columns : 1);
}

static void add_block_tensor(struct layout *l, int block, const char *name, int64_t rows, int64_t columns) {
    char full[96];
    snprintf(full, sizeof full, "blk.%d.%s", block, name);
    add_tensor(l, full, rows, columns);
}

static void add_llama_block(struct layout *l, const struct o3_sim_weights *x, int i) {
    int64_t q = (int64_t)x->heads * x->head_size, kv = (int64_t)x->heads_kv * x->head_size;
    bool has_norms_of_heads = !strcmp(x->architecture, "qwen3") || !strcmp(x->architecture, "gemma3");
    add_block_tensor(l, i, "attn_k.weight", x->embedding, kv);
    if (has_norms_of_heads) add_block_tensor(l, i, "attn_k_norm.weight", x->head_size, 0);
    add_block_tensor(l, i, "attn_norm.weight", x->embedding, 0);
    add_block_tensor(l, i, "attn_output.weight", q, x->embedding);
    add_block_tensor(l, i, "attn_q.weight", x->embedding, q);
    if (has_norms_of_heads) add_block_tensor(l, i, "attn_q_norm.weight", x->head_size, 0);
    add_block_tensor(l, i, "attn_v.weight", x->embedding, kv);
    add_block_tensor(l, i, "ffn_down.weight", x->feed_forward, x->embedding);
    add_block_tensor(l, i, "ffn_gate.weight", x->embedding, x->feed_forward);
    add_block_tensor(l, i, "ffn_norm.weight", x->embedding, 0);
    add_block_tensor(l, i, "ffn_up.weight", x->embedding, x->feed_forward);
}

static void add_bert_block(struct layout *l, const struct o3_sim_weights *x, int i) {
    static const char *const SQUARES[] = {"attn_k", "attn_output", "attn_q", "attn_v"};
    static const char *const NORMS[] = {"attn_output_norm", "layer_output_norm"};
    char name[64];
    for (size_t k = 0; k < sizeof SQUARES / sizeof *SQUARES; k++) {
        snprintf(name, sizeof name, "%s.bias", SQUARES[k]);
        add_block_tensor(l, i, name, x->embedding, 0);
        snprintf(name, sizeof name, "%s.weight", SQUARES[k]);
        add_block_tensor(l, i, name, x->embedding, x->embedding);
    }
    for (size_t k = 0; k < sizeof NORMS / sizeof *NORMS; k++) {
        snprintf(name, sizeof name, "%s.bias", NORMS[k]);
        add_block_tensor(l, i, name, x->embedding, 0);
        snprintf(name, sizeof name, "%s.weight", NORMS[k]);
        add_block_tensor(l, i, name, x->embedding, 0);
    }
    add_block_tensor(l, i, "ffn_down.bias", x->embedding, 0);
    add_block_tensor(l, i, "ffn_down.weight", x->feed_forward, x->embedding);
    add_block_tensor(l, i, "ffn_up.bias", x->feed_forward, 0);
    add_block_tensor(l, i, "ffn_up.weight", x->embedding, x->feed_forward);
}

static void add_bert_head(struct layout *l, const struct o3_sim_weights *x) {
    const char *type = l->type;
    l->type = "F32";
    add_tensor(l, "position_embd.weight", x->embedding, x->context_length);
    l->type = type;
    add_tensor(l, "token_embd.weight", x->embedding, x->vocabulary);
    add_tensor(l, "token_embd_norm.bias", x->embedding, 0);
    add_tensor(l, "token_embd_norm.weight", x->embedding, 0);
    l->type = "F32";
    add_tensor(l, "token_types.weight", x->embedding, 2);
    l->type = type;
}

/* "Q4_K_M" names a mixture; its matrices are of type "Q4_K". */
static void matrix_type(const char *quantization, char out[16]) {
    size_t n = strlen(quantization);
    if (n > 5 && quantization[n - 2] == '_') n -= 2;
    o3_str_copy_n(out, 16, quantization, n);
}

static json_t *tensors(const struct o3_sim_weights *x) {
    char type[16];
    matrix_type(x->quantization, type);
    struct layout l = {.list = json_array(), .type = type};
    bool is_bert = !strcmp(x->architecture, "bert");
    if (is_bert) {
        add_bert_head(&l, x);
    } else {
        add_tensor(&l, "output_norm.weight", x->embedding, 0);
        add_tensor(&l, "token_embd.weight", x->embedding, x->vocabulary);
    }
    for (int i = 0; i < x->layers; i++)
        is_bert ? add_bert_block(&l, x, i) : add_llama_block(&l, x, i);
    /* Small models use the matrix of the tokens at both ends, some hold the frequencies of their positions: what is
     * missing tells. */
    struct layout first = {.list = json_array(), .type = type};
    int64_t matrix = (int64_t)x->embedding * x->vocabulary, missing = x->parameter_count - l.n_parameters;
    if (!is_bert && missing >= matrix) add_tensor(&first, "output.weight", x->embedding, x->vocabulary);
    if (missing % matrix == x->head_size / 2) add_tensor(&first, "rope_freqs.weight", x->head_size / 2, 0);
    json_array_extend(first.list, l.list);
    json_decref(l.list);
    return first.list;
}

/* ---- vocabulary ---- */

enum { TOKEN_SIZE = 24 };

/* Syllables that count to i; < and > as Go's encoder writes them. */
static void token_text(int i, char out[TOKEN_SIZE]) {
    static const char *const SPECIAL[] = {"\\u003cunk\\u003e", "\\u003cs\\u003e", "\\u003c/s\\u003e"};
    static const char CONSONANTS[] = "bcdfghjklmnprstvwxyz", VOWELS[] = "aeiou";
    if (i < 3) {
        o3_str_copy(out, TOKEN_SIZE, SPECIAL[i]);
        return;
    }
    size_t n = 0;
    for (; n < 14; i /= 100) {
        out[n++] = CONSONANTS[i % 100 / 5];
        out[n++] = VOWELS[i % 5];
        if (i < 100) break;
    }
    out[n] = '\0';
}

enum vocabulary { SCORES, TYPES, TOKENS };

static void add_array(enum vocabulary which, const struct o3_sim_weights *x, struct o3_buf *out) {
    const int normal = 1, unknown = 2, control = 3;
    char text[TOKEN_SIZE];
    o3_buf_adds(out, "[");
    for (int i = 0; i < x->vocabulary; i++) {
        if (i > 0) o3_buf_adds(out, ",");
        token_text(i, text);
        if (which == TOKENS)
            o3_buf_addf(out, "\"%s\"", text);
        else
            o3_buf_addf(out, "%d", which == SCORES ? -i : i == 0 ? unknown : i < 3 ? control : normal);
    }
    o3_buf_adds(out, "]");
}

/* Copies the JSON with the arrays where it says null. */
static void add_with_arrays(const char *json, const struct o3_sim_weights *x, struct o3_buf *out) {
    static const struct {
        const char *key;
        enum vocabulary which;
    } ARRAYS[] = {{"\"tokenizer.ggml.scores\":", SCORES},
                  {"\"tokenizer.ggml.token_type\":", TYPES},
                  {"\"tokenizer.ggml.tokens\":", TOKENS}};
    for (size_t i = 0; i < sizeof ARRAYS / sizeof *ARRAYS; i++) {
        const char *found = strstr(json, ARRAYS[i].key);
        if (!found) continue;
        const char *value = found + strlen(ARRAYS[i].key);
        o3_buf_add(out, json, (size_t)(value - json));
        add_array(ARRAYS[i].which, x, out);
        json = value + strlen("null");
    }
    o3_buf_adds(out, json);
}

/* ---- the whole ---- */

static void modelfile(const struct o3_sim_model *m, struct o3_buf *out) {
    char blob[65];
    o3_sim_blob(m, blob);
    o3_buf_addf(
        out,
        "# Modelfile generated by \"ollama show\"\n# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM %s\n\nFROM /models/blobs/sha256-%s\nTEMPLATE %s\n",
        m->name, blob, m->template_text[0] ? m->template_text : "{{ .Prompt }}");
    if (m->system[0]) o3_buf_addf(out, "SYSTEM %s\n", m->system);
    for (const char *line = m->parameters; *line;) {
        size_t n = strcspn(line, "\n"), name = strcspn(line, " ");
        size_t gap = strspn(line + name, " ");
        o3_buf_addf(out, "PARAMETER %.*s %.*s\n", (int)name, line, (int)(n - name - gap), line + name + gap);
        line += n + (line[n] == '\n');
    }
}

static json_t *projector(void) {
    return json_pack("{s:b,s:i,s:i,s:i,s:i,s:s,s:i}", "clip.has_vision_encoder", 1, "clip.vision.block_count", 27,
                     "clip.vision.embedding_length", 1152, "clip.vision.image_size", 896, "clip.vision.patch_size", 14,
                     "general.architecture", "clip", "general.file_type", 1);
}

static json_t *texts(const struct o3_sim_model *m) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 16384);
    modelfile(m, &text);
    json_t *o = json_pack("{s:s}", "modelfile", o3_buf_str(&text));
    if (m->parameters[0]) set(o, "parameters", json_string(m->parameters));
    set(o, "template", json_string(m->template_text[0] ? m->template_text : m->weights->template_text));
    if (m->system[0]) set(o, "system", json_string(m->system));
    return o;
}

void o3_sim_json_show(const struct o3_world *w, const struct o3_sim_model *m, bool is_verbose, struct o3_buf *out) {
    const struct o3_sim_weights *x = m->weights;
    char time[40];
    o3_sim_format_wall_ms(m->modified_wall_ms, time);
    json_t *o = texts(m);
    set(o, "details", o3_sim_model_details(m));
    if (x->remote_host) {
        set(o, "remote_model", json_string(x->remote_model));
        set(o, "remote_host", json_string(x->remote_host));
    }
    json_t *info = model_info(x);
    if (!x->remote_host) add_tokenizer(info, !strcmp(x->architecture, "bert"));
    set(o, "model_info", info);
    if (x->can_see) set(o, "projector_info", projector());
    if (!x->remote_host && w->profile.has_child_server) set(o, "tensors", tensors(x));
    set(o, "capabilities", o3_sim_model_capabilities(x));
    set(o, "modified_at", json_string(time));
    if (!is_verbose) {
        o3_sim_write_json(o, out);
        return;
    }
    O3_AUTO_BUF json;
    o3_buf_init(&json, O3_SIM_MAX_REPLY);
    o3_sim_write_json(o, &json);
    add_with_arrays(o3_buf_str(&json), x, out);
}
