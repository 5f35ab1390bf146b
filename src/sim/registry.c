/* SPDX-License-Identifier: Apache-2.0 */
/* Pulls, pushes and uploads. The simulated server has no network. What it knows by itself, it has or gets at once:
 * a pull takes no time. A pull of anything else ends with the error of a server that finds no registry, as recorded;
 * a push ends with that of a server without an account. Of uploads only the digests are kept. */
#include <stdio.h>
#include <string.h>
#include "sim/sim.h"

/* ---- streams of progress ---- */

static void add_line(struct o3_sim_request *rq, const struct o3_sim_progress *p) {
    if (rq->body.no_stream) return; /* only the end is sent then */
    o3_sim_json_progress(p, &rq->reply);
    o3_buf_adds(&rq->reply, "\n");
}

void o3_sim_status_line(struct o3_sim_request *rq, const char *text) {
    add_line(rq, &(struct o3_sim_progress){.status = text});
}

void o3_sim_progress_end(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *error) {
    if (error)
        o3_sim_json_error(error, &rq->reply);
    else
        o3_sim_json_status("success", &rq->reply);
    if (rq->body.no_stream) {
        o3_sim_reply(w, rq, t, error ? 500 : 200, O3_SIM_JSON_PLAIN);
        return;
    }
    o3_buf_adds(&rq->reply, "\n");
    rq->is_stream_reply = true;
    o3_sim_reply(w, rq, t, 200, O3_SIM_NDJSON);
}

/* ---- names ---- */

static const char *name_of(const struct o3_sim_body *b) {
    return b->model[0] ? b->model : b->name;
}

/* host/namespace/model:tag, with what is left out filled in. */
struct name_parts {
    char host[O3_SIM_NAME_SIZE], path[O3_SIM_NAME_SIZE], tag[O3_SIM_NAME_SIZE];
};

static void split_name(const char *name, struct name_parts *ret) {
    *ret = (struct name_parts){.host = "registry.ollama.ai", .tag = "latest"};
    const char *slash = strrchr(name, '/'), *first = strchr(name, '/');
    const char *colon = strrchr(slash ? slash : name, ':');
    size_t n = colon ? (size_t)(colon - name) : strlen(name);
    if (colon) o3_str_copy(ret->tag, sizeof ret->tag, colon + 1);
    if (!slash) {
        snprintf(ret->path, sizeof ret->path, "library/%.*s", (int)(n < 240 ? n : 240), name);
    } else if (slash != first) {
        o3_str_copy_n(ret->host, sizeof ret->host, name, (size_t)(first - name));
        o3_str_copy_n(ret->path, sizeof ret->path, first + 1, n - (size_t)(first + 1 - name));
    } else {
        o3_str_copy_n(ret->path, sizeof ret->path, name, n);
    }
}

/* ---- pull ---- */

static void end_without_registry(struct o3_world *w, struct o3_sim_request *rq, int64_t t, const char *name) {
    struct name_parts parts;
    char text[4 * O3_SIM_NAME_SIZE + 160];
    split_name(name, &parts);
    snprintf(text, sizeof text,
             "pull model manifest: Get \"https://%s/v2/%s/manifests/%s\": dial tcp: lookup %s on 127.0.0.1:53: no such "
             "host",
             parts.host, parts.path, parts.tag, parts.host);
    o3_sim_progress_end(w, rq, t, text);
}

void o3_sim_create_by_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    o3_sim_status_line(rq, "pulling manifest");
    end_without_registry(w, rq, t, rq->body.from);
}

static void layers(struct o3_sim_request *rq, const struct o3_sim_model *m, const char *verb, bool is_new) {
    const struct {
        const char *text;
        int64_t size;
    } small[] = {{m->template_text[0] ? m->template_text : m->weights->template_text, 0}, {m->digest, 488}};
    char digest[65], status[64];
    o3_sim_blob(m, digest);
    snprintf(status, sizeof status, "%s %.12s", verb, digest);
    int64_t size = m->weights->size_bytes;
    for (int part = is_new ? 0 : 4; part <= 4; part++)
        add_line(rq, &(struct o3_sim_progress){status, digest, size, size / 4 * part + (part == 4 ? size % 4 : 0)});
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        o3_sha256_hex(small[i].text, strlen(small[i].text), digest);
        snprintf(status, sizeof status, "%s %.12s", verb, digest);
        size = small[i].size ? small[i].size : (int64_t)strlen(small[i].text);
        add_line(rq, &(struct o3_sim_progress){status, digest, size, size});
    }
}

void o3_sim_pull(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const char *name = name_of(&rq->body);
    char full[O3_SIM_NAME_SIZE];
    if (!o3_sim_full_name(name, full)) {
        o3_sim_reply_error(w, rq, t, 400, "invalid model name");
        return;
    }
    o3_sim_status_line(rq, "pulling manifest");
    const struct o3_sim_model *m = o3_sim_library_find(w, name);
    bool is_new = !m;
    if (!m) m = o3_sim_library_restore(w, full, t);
    if (!m) {
        end_without_registry(w, rq, t, name);
        return;
    }
    layers(rq, m, "pulling", is_new);
    o3_sim_status_line(rq, "verifying sha256 digest");
    o3_sim_status_line(rq, "writing manifest");
    o3_sim_progress_end(w, rq, t, NULL);
}

/* ---- push ---- */

void o3_sim_push(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const char *name = name_of(&rq->body);
    if (!*name) {
        o3_sim_reply_error(w, rq, t, 400, "model is required");
        return;
    }
    o3_sim_status_line(rq, "retrieving manifest");
    const struct o3_sim_model *m = o3_sim_library_find(w, name);
    if (!m) {
        o3_sim_status_line(rq, "couldn't retrieve manifest");
        o3_sim_progress_end(w, rq, t, "file does not exist");
        return;
    }
    layers(rq, m, "pushing", false);
    o3_sim_status_line(rq, "pushing manifest");
    o3_sim_progress_end(w, rq, t,
                        "you are not authorized to push to this namespace, create the model under a namespace you own");
}

/* ---- blobs ---- */

/* The hex of "sha256:<hex>"; NULL when it is something else. */
static const char *hex_of(const char *digest) {
    static const char prefix[] = "sha256:";
    if (!digest || strncmp(digest, prefix, sizeof prefix - 1) != 0) return NULL;
    const char *hex = digest + sizeof prefix - 1;
    return strspn(hex, "0123456789abcdefABCDEF") == 64 && !hex[64] ? hex : NULL;
}

static bool is_uploaded(const struct o3_world *w, const char *hex) {
    for (size_t i = 0; i < w->n_blobs; i++)
        if (!strcmp(w->blobs[i], hex)) return true;
    return false;
}

const struct o3_sim_model *o3_sim_model_of_blob(const struct o3_world *w, const char *digest) {
    const char *hex = hex_of(digest);
    char blob[65];
    for (size_t i = 0; hex && i < w->n_models; i++) {
        o3_sim_blob(&w->models[i], blob);
        if (!strcmp(blob, hex)) return &w->models[i];
    }
    return NULL;
}

static bool has_blob(const struct o3_world *w, const char *digest) {
    const char *hex = hex_of(digest);
    return hex && (is_uploaded(w, hex) || o3_sim_model_of_blob(w, digest));
}

void o3_sim_head_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    char text[128];
    if (!hex_of(rq->argument)) {
        o3_sim_reply_error(w, rq, t, 400, "invalid digest format");
    } else if (!has_blob(w, rq->argument)) {
        snprintf(text, sizeof text, "blob \"%s\" not found", rq->argument);
        o3_sim_reply_error(w, rq, t, 404, text);
    } else {
        o3_sim_reply(w, rq, t, 200, NULL);
    }
}

void o3_sim_post_blob(struct o3_world *w, struct o3_sim_request *rq, int64_t t) {
    const char *hex = hex_of(rq->argument);
    char text[256], got[65];
    if (!hex) {
        o3_sim_reply_error(w, rq, t, 400, "invalid digest format");
        return;
    }
    if (has_blob(w, rq->argument)) {
        o3_sim_reply(w, rq, t, 200, NULL);
        return;
    }
    o3_sha256_hex(rq->bytes ? rq->bytes : "", rq->n_bytes, got);
    if (strcmp(got, hex) != 0) {
        snprintf(text, sizeof text, "digest mismatch, expected \"sha256:%s\", got \"sha256:%s\"", hex, got);
        o3_sim_reply_error(w, rq, t, 400, text);
        return;
    }
    if (w->n_blobs == O3_SIM_MAX_BLOBS) memmove(w->blobs, w->blobs + 1, --w->n_blobs * sizeof *w->blobs);
    memcpy(w->blobs[w->n_blobs++], got, sizeof got);
    o3_sim_reply(w, rq, t, 201, NULL);
}
