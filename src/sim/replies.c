/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON of the answers: fields, types and order as recorded from a server. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

/* Go's encoder writes <, > and & inside strings as \u003c and so on; JSON has them nowhere else. */
static void add_escaped(struct o3_buf *out, const char *text) {
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "<>&");
        o3_buf_add(out, p, n);
        p += n;
        if (*p) o3_buf_addf(out, "\\u%04x", (unsigned)*p++);
    }
}

static void write_json(json_t *root, struct o3_buf *out) {
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        add_escaped(out, text);
    else
        out->err = O3_E_NOMEM;
    free(text);
    json_decref(root);
}

static void format_wall_ms(int64_t wall_ms, char out[40]) {
    int64_t s = wall_ms / O3_MS_PER_S;
    o3_rfc3339_format_ns(s, (wall_ms - s * O3_MS_PER_S) * O3_NS_PER_MS, out, 40);
}

void o3_sim_json_error(const char *text, struct o3_buf *out) {
    write_json(json_pack("{s:s}", "error", text), out);
}

void o3_sim_json_status(const char *text, struct o3_buf *out) {
    write_json(json_pack("{s:s}", "status", text), out);
}

void o3_sim_json_version(const struct o3_world *w, struct o3_buf *out) {
    write_json(json_pack("{s:s}", "version", w->profile.text), out);
}

static json_t *details(const struct o3_sim_model *m) {
    const struct o3_sim_weights *x = m->weights;
    return json_pack("{s:s,s:s,s:s,s:[s],s:s,s:s}", "parent_model", m->parent, "format", "gguf", "family",
                     x->architecture, "families", x->architecture, "parameter_size", x->parameter_size,
                     "quantization_level", x->quantization);
}

static json_t *capabilities(const struct o3_sim_weights *x) {
    json_t *list = json_array();
    if (x->can_complete) json_array_append_new(list, json_string("completion"));
    if (x->can_embed) json_array_append_new(list, json_string("embedding"));
    if (x->can_use_tools) json_array_append_new(list, json_string("tools"));
    if (x->can_think) json_array_append_new(list, json_string("thinking"));
    return list;
}

static void set(json_t *object, const char *name, json_t *value) {
    json_object_set_new(object, name, value);
}

static json_t *tag(const struct o3_world *w, const struct o3_sim_model *m) {
    const struct o3_sim_weights *x = m->weights;
    char time[40];
    format_wall_ms(m->modified_wall_ms, time);
    json_t *o = json_pack("{s:s,s:s}", "name", m->name, "model", m->name);
    if (x->remote_host) {
        set(o, "remote_model", json_string(x->remote_model));
        set(o, "remote_host", json_string(x->remote_host));
    }
    set(o, "modified_at", json_string(time));
    set(o, "size", json_integer(x->size_bytes));
    set(o, "digest", json_string(m->digest));
    json_t *d = details(m);
    if (w->profile.has_child_server) {
        set(d, "context_length", json_integer(x->context_length));
        set(d, "embedding_length", json_integer(x->embedding));
    }
    set(o, "details", d);
    if (w->profile.has_child_server) set(o, "capabilities", capabilities(x));
    return o;
}

static int newest_first(const void *a, const void *b) {
    const struct o3_sim_model *x = *(const struct o3_sim_model *const *)a, *y = *(const struct o3_sim_model *const *)b;
    if (x->modified_wall_ms != y->modified_wall_ms) return x->modified_wall_ms < y->modified_wall_ms ? 1 : -1;
    return strcmp(x->name, y->name);
}

void o3_sim_json_tags(const struct o3_world *w, struct o3_buf *out) {
    const struct o3_sim_model *sorted[O3_SIM_MAX_MODELS];
    for (size_t i = 0; i < w->n_models; i++)
        sorted[i] = &w->models[i];
    qsort(sorted, w->n_models, sizeof *sorted, newest_first);
    json_t *list = json_array();
    for (size_t i = 0; i < w->n_models; i++)
        json_array_append_new(list, tag(w, sorted[i]));
    write_json(json_pack("{s:o}", "models", list), out);
}

/* "For ever" is the longest duration that Go knows, 292 years from now. */
static void format_expiry(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t, char out[40]) {
    const int64_t longest_s = INT64_MAX / O3_NS_PER_S;
    int64_t s, ns;
    int64_t set_ns = r->has_ended ? r->ended_ns : t;
    int64_t at = r->has_ended ? r->expires_ns : r->session_ns == INT64_MAX ? INT64_MAX : t + r->session_ns;
    bool is_for_ever = at == INT64_MAX;
    o3_sim_wall(w, is_for_ever ? set_ns : at, &s, &ns);
    if (r->has_ended)
        s -= (w->clock_shift_ms - r->expires_shift_ms) / O3_MS_PER_S; /* told once, by the clock of then */
    o3_rfc3339_format_ns(is_for_ever ? s + longest_s : s, ns, out, 40);
}

static json_t *loaded(const struct o3_world *w, const struct o3_sim_runner *r, int64_t t) {
    char time[40];
    format_expiry(w, r, t, time);
    json_t *o = json_pack("{s:s,s:s,s:I,s:s,s:o,s:s,s:I}", "name", r->model.name, "model", r->model.name, "size",
                          (json_int_t)r->size_bytes, "digest", r->model.digest, "details", details(&r->model),
                          "expires_at", time, "size_vram", (json_int_t)r->vram_bytes);
    if (w->profile.has_ps_context) set(o, "context_length", json_integer(r->launch.num_ctx));
    return o;
}

/* Latest expiry first by whole seconds, then in order of loading. */
static bool comes_before(const struct o3_sim_runner *a, const struct o3_sim_runner *b) {
    int64_t x = a->has_ended ? a->expires_ns / O3_NS_PER_S : INT64_MAX;
    int64_t y = b->has_ended ? b->expires_ns / O3_NS_PER_S : INT64_MAX;
    return x != y ? x > y : a->serial < b->serial;
}

void o3_sim_json_ps(struct o3_world *w, int64_t t, struct o3_buf *out) {
    const struct o3_sim_runner *sorted[O3_SIM_MAX_RUNNERS];
    size_t n = 0;
    for (size_t i = 0; i < O3_SIM_MAX_RUNNERS; i++) {
        const struct o3_sim_runner *r = &w->runners[i];
        if (!r->is_used || r->is_loading) continue;
        size_t j = n++;
        for (; j > 0 && comes_before(r, sorted[j - 1]); j--)
            sorted[j] = sorted[j - 1];
        sorted[j] = r;
    }
    o3_buf_adds(out, "{\"models\":[");
    for (size_t i = 0; i < n; i++) {
        struct o3_buf *entry = &w->ps_entries[sorted[i] - w->runners];
        if (!entry->len) write_json(loaded(w, sorted[i], t), entry);
        if (entry->err) out->err = entry->err;
        if (i) o3_buf_adds(out, ",");
        o3_buf_add(out, o3_buf_str(entry), entry->len);
    }
    o3_buf_adds(out, "]}");
}

/* ---- /api/show ---- */

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

static json_t *tensors(const struct o3_sim_weights *x) {
    json_t *list = json_array();
    const char *type = x->quantization;
    json_array_append_new(list, json_pack("{s:s,s:s,s:[i,i]}", "name", "token_embd.weight", "type", type, "shape",
                                          x->embedding, x->vocabulary));
    json_array_append_new(
        list, json_pack("{s:s,s:s,s:[i]}", "name", "output_norm.weight", "type", "F32", "shape", x->embedding));
    for (int i = 0; i < x->layers; i++) {
        char name[40];
        snprintf(name, sizeof name, "blk.%d.attn_q.weight", i);
        json_array_append_new(list, json_pack("{s:s,s:s,s:[i,i]}", "name", name, "type", type, "shape", x->embedding,
                                              x->heads * x->head_size));
    }
    return list;
}

static void modelfile(const struct o3_sim_model *m, struct o3_buf *out) {
    char blob[65];
    o3_sim_blob(m, blob);
    o3_buf_addf(
        out,
        "# Modelfile generated by \"ollama show\"\n# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM %s\n\nFROM /models/blobs/sha256-%s\nTEMPLATE {{ .Prompt }}\n",
        m->name, blob);
    for (const char *line = m->parameters; *line;) {
        size_t n = strcspn(line, "\n"), name = strcspn(line, " ");
        size_t gap = strspn(line + name, " ");
        o3_buf_addf(out, "PARAMETER %.*s %.*s\n", (int)name, line, (int)(n - name - gap), line + name + gap);
        line += n + (line[n] == '\n');
    }
}

void o3_sim_json_show(const struct o3_world *w, const struct o3_sim_model *m, struct o3_buf *out) {
    const struct o3_sim_weights *x = m->weights;
    O3_AUTO_BUF text;
    o3_buf_init(&text, 4096);
    modelfile(m, &text);
    char time[40];
    format_wall_ms(m->modified_wall_ms, time);
    json_t *o = json_pack("{s:s}", "modelfile", o3_buf_str(&text));
    if (m->parameters[0]) set(o, "parameters", json_string(m->parameters));
    set(o, "template", json_string(x->template_text));
    set(o, "details", details(m));
    if (x->remote_host) {
        set(o, "remote_model", json_string(x->remote_model));
        set(o, "remote_host", json_string(x->remote_host));
    }
    json_t *info = model_info(x);
    if (!x->remote_host) add_tokenizer(info, !strcmp(x->architecture, "bert"));
    set(o, "model_info", info);
    if (!x->remote_host && w->profile.has_child_server) set(o, "tensors", tensors(x));
    set(o, "capabilities", capabilities(x));
    set(o, "modified_at", json_string(time));
    write_json(o, out);
}

/* ---- pieces of an answer ---- */

static json_t *message(const struct o3_sim_piece *p) {
    json_t *m = json_pack("{s:s,s:s}", "role", "assistant", "content", p->text);
    if (p->thinking && *p->thinking) set(m, "thinking", json_string(p->thinking));
    return m;
}

static json_t *context(const struct o3_sim_tokens *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(list, json_integer((json_int_t)t->v[i]));
    return list;
}

/* Nothing in it that JSON or Go's encoder would write in another way. */
static bool is_plain(const char *s) {
    while (*s >= ' ' && *s <= '~' && !strchr("\"\\<>&", *s))
        s++;
    return !*s;
}

static bool is_plain_word(const struct o3_sim_piece *p) {
    bool has_more = p->is_done || p->done_reason || p->context || p->has_counts || (p->thinking && *p->thinking);
    return !has_more && p->text && is_plain(p->text) && is_plain(p->model);
}

/* Nearly all lines of a stream: the same bytes as by way of a tree, in a tenth of the time. */
static void write_word(const struct o3_sim_piece *p, const char *time, struct o3_buf *out) {
    o3_buf_adds(out, "{\"model\":\"");
    o3_buf_adds(out, p->model);
    o3_buf_adds(out, "\",\"created_at\":\"");
    o3_buf_adds(out, time);
    o3_buf_adds(out, p->is_chat ? "\",\"message\":{\"role\":\"assistant\",\"content\":\"" : "\",\"response\":\"");
    o3_buf_adds(out, p->text);
    o3_buf_adds(out, p->is_chat ? "\"},\"done\":false}" : "\",\"done\":false}");
}

void o3_sim_json_piece(const struct o3_sim_piece *p, struct o3_buf *out) {
    char time[40];
    o3_rfc3339_format_ns(p->wall_s, p->wall_ns, time, sizeof time);
    if (is_plain_word(p)) {
        write_word(p, time, out);
        return;
    }
    json_t *o = json_pack("{s:s,s:s}", "model", p->model, "created_at", time);
    if (p->is_chat) {
        set(o, "message", message(p));
    } else {
        set(o, "response", json_string(p->text));
        if (p->thinking && *p->thinking) set(o, "thinking", json_string(p->thinking));
    }
    set(o, "done", json_boolean(p->is_done));
    if (p->done_reason) set(o, "done_reason", json_string(p->done_reason));
    if (p->context) set(o, "context", context(p->context));
    if (p->has_counts) {
        set(o, "total_duration", json_integer(p->total_ns));
        set(o, "load_duration", json_integer(p->load_ns));
        set(o, "prompt_eval_count", json_integer(p->prompt_count));
        set(o, "prompt_eval_duration", json_integer(p->prompt_ns));
        set(o, "eval_count", json_integer(p->eval_count));
        set(o, "eval_duration", json_integer(p->eval_ns));
    }
    write_json(o, out);
}

void o3_sim_json_vectors(const struct o3_sim_vectors *v, struct o3_buf *out) {
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < v->n; i++) {
        json_t *one = json_array();
        for (size_t k = 0; k < v->dimensions; k++)
            json_array_append_new(one, json_real(v->v[i * v->dimensions + k]));
        json_array_append_new(list, one);
    }
    if (v->is_legacy) {
        json_t *first = v->n ? json_incref(json_array_get(list, 0)) : json_array();
        json_decref(list);
        set(o, "embedding", first);
        write_json(o, out);
        return;
    }
    set(o, "model", json_string(v->model));
    set(o, "embeddings", list);
    if (v->has_counts) {
        set(o, "total_duration", json_integer(v->total_ns));
        set(o, "load_duration", json_integer(v->load_ns));
        set(o, "prompt_eval_count", json_integer(v->prompt_count));
    }
    write_json(o, out);
}
