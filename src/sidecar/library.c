/* SPDX-License-Identifier: Apache-2.0 */
/* What the server would load: a model that was pulled anew while it is loaded is loaded beside the old one by the next
 * request. So /api/tags is asked before a probe, and a model whose name stands for something else now waits for a user
 * to load it. Only the blob and the options that make a runner count: new texts need no load. */
#include <stdlib.h>
#include <string.h>
#include "sidecar/internal.h"

#define RETRY_NS (300LL * O3_NS_PER_S) /* where /api/tags does not answer, probing goes on without it */
#define TEXT_MAX (64u << 10)           /* of /api/tags, kept to know the same list again */

void o3_sc_library_wanted(struct o3_sidecar *s, struct o3_now now) {
    s->is_library_due = now.mono_ns >= s->library_not_before_ns;
}

void o3_sc_forget_library(struct o3_sidecar *s, struct model *m) {
    m->update = UPDATE_NONE;
    m->is_show_of_loaded = false;
    if (!strcmp(m->library_digest, m->ps.digest)) return; /* what we waited for */
    m->library_digest[0] = '\0';
    o3_buf_done(&s->library_text);
}

bool o3_sc_is_updated(const struct model *m) {
    return m->update != UPDATE_NONE && m->update != UPDATE_HARMLESS;
}

static void compare(struct model *m, const char digest[65]) {
    bool is_known = !strcmp(m->library_digest, digest);
    if (!is_known) memcpy(m->library_digest, digest, sizeof m->library_digest);
    if (!digest[0] || !m->ps.digest[0] || !strcmp(digest, m->ps.digest)) {
        m->update = UPDATE_NONE;
        m->is_show_of_loaded |= digest[0] && m->ps.digest[0] && m->show_state == SHOW_KNOWN;
    } else if (!is_known || m->update == UPDATE_ASKED) { /* asked without an answer */
        m->update = UPDATE_SUSPECTED;
    }
}

static void compare_all(struct o3_sidecar *s, const struct o3_ollama_models *list) {
    for (int i = 0; i < s->n_models; i++) {
        static const char NONE[65] = "";
        const char *digest = NONE; /* deleted, or beyond what we read: the newest come first */
        for (size_t k = list->n; k-- > 0;) {
            if (strcmp(list->v[k].name, s->models[i]->ps.name) != 0) continue;
            digest = list->v[k].digest;
            s->models[i]->library_bytes = list->v[k].size_bytes;
        }
        if (s->models[i]->is_loaded) compare(s->models[i], digest);
    }
}

static bool is_text_known(const struct o3_sidecar *s, const struct o3_buf *body) {
    return s->library_text.len > 0 && s->library_text.len == body->len &&
           !memcmp(o3_buf_str(&s->library_text), o3_buf_str(body), body->len);
}

void o3_sc_library_answered(struct o3_sidecar *s, int status, int transport, struct o3_now now) {
    struct o3_buf *body = &s->control.body;
    struct o3_ollama_models *list = NULL;
    struct o3_err e;
    bool is_answer = !transport && status == 200;
    if (is_answer && is_text_known(s, body)) {
        for (int i = 0; i < s->n_models; i++)
            if (s->models[i]->is_loaded) compare(s->models[i], s->models[i]->library_digest);
        return;
    }
    o3_buf_done(&s->library_text);
    if (is_answer && o3_ollama_parse_models(o3_buf_str(body), body->len, &list, &e) < 0)
        O3_SC_EVENT(s, O3_EV_OLLAMA_BAD_REPLY, O3_F_STR("path", "/api/tags"), O3_F_STR("error", e.text));
    if (!list) {
        s->library_not_before_ns = now.mono_ns + RETRY_NS;
        return;
    }
    compare_all(s, list);
    o3_ollama_models_free(list);
    if (body->len > TEXT_MAX) return;
    s->library_text = *body;
    *body = (struct o3_buf){0};
}

static bool needs_no_load(const struct model *m, const struct o3_ollama_show *next) {
    const struct o3_ollama_show *was = &m->show;
    return m->is_show_of_loaded && next->blob[0] && !strcmp(next->blob, was->blob) &&
           next->parameter_num_batch == was->parameter_num_batch &&
           next->parameter_num_thread == was->parameter_num_thread &&
           next->parameter_num_gpu == was->parameter_num_gpu; /* num_ctx stands in the probe */
}

void o3_sc_update_shown(struct o3_sidecar *s, struct model *m, bool is_answer) {
    struct o3_ollama_show next;
    struct o3_err e;
    const struct o3_buf *body = &s->control.body;
    bool is_known = is_answer && o3_ollama_parse_show(o3_buf_str(body), body->len, &next, &e) == 0;
    m->update = is_known && needs_no_load(m, &next) ? UPDATE_HARMLESS : UPDATE_SURE;
    if (m->update == UPDATE_SURE)
        O3_SC_EVENT(s, O3_EV_MODEL_SKIPPED, O3_F_STR("model", m->ps.name),
                    O3_F_STR("reason", SKIP_NAMES[SKIP_UPDATED]));
}
