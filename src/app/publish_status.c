/* SPDX-License-Identifier: Apache-2.0 */
/* What is published where, for people: the part `publishing` of /api/v1/status, and its section of the status page. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include "app/publisher.h"
#include "o3/text.h"

/* ---- as JSON ---- */

static json_t *time_or_null(int64_t wall_ms) {
    char text[40];
    if (wall_ms <= 0) return json_null();
    o3_rfc3339_format(wall_ms, text, sizeof text);
    return json_string(text);
}

static json_t *text_or_null(const char *s) {
    return *s ? json_string(s) : json_null();
}

static const char *state_of(const struct o3_publisher *p, const struct o3_publisher_view *v) {
    if (p->last == O3_PUBLISH_FAILED) return "failing";
    if (p->last == O3_PUBLISH_NOT_WRITER) return "not_writer";
    if (!v->has_want) return "nothing_decided";
    return v->is_pending ? "pending" : "published";
}

static json_t *target_json(const struct o3_publisher *p, const struct o3_publisher_view *v, int64_t now_ns) {
    bool is_failing = p->last == O3_PUBLISH_FAILED;
    json_t *o = json_object();
    json_object_set_new(o, "target", json_string(p->kind->target));
    json_object_set_new(o, "name", json_string(p->name));
    json_object_set_new(o, "state", json_string(state_of(p, v)));
    json_object_set_new(o, "reason", is_failing ? json_string(o3_publish_error_name(p->error)) : json_null());
    json_object_set_new(o, "error", is_failing ? text_or_null(p->text) : json_null());
    json_object_set_new(o, "failing_since", time_or_null(p->failing_wall_ms));
    json_object_set_new(o, "failures", json_integer(p->n_failures));
    json_object_set_new(o, "writer", p->last == O3_PUBLISH_NOT_WRITER ? text_or_null(p->text) : json_null());
    json_object_set_new(o, "generation", v->generation >= 0 ? json_integer(v->generation) : json_null());
    json_object_set_new(o, "writes", json_integer(p->n_written));
    json_object_set_new(o, "written_at", time_or_null(p->written_wall_ms));
    json_object_set_new(o, "written_for", text_or_null(p->reason));
    json_object_set_new(o, "there_at", time_or_null(p->there_wall_ms));
    double wait_s = v->next_ns > now_ns ? (double)(v->next_ns - now_ns) / 1e9 : 0;
    json_object_set_new(o, "next_attempt_seconds", v->next_ns == INT64_MAX ? json_null() : json_real(wait_s));
    return o;
}

json_t *o3_daemon_publishing_json(const struct o3_daemon *d, struct o3_now now) {
    json_t *root = json_object(), *targets = json_array();
    for (int i = 0; i < d->n_publishers; i++) {
        struct o3_publisher_view v;
        d->publishers[i]->kind->view(d->publishers[i], &v);
        if (v.is_configured) json_array_append_new(targets, target_json(d->publishers[i], &v, now.mono_ns));
    }
    json_object_set_new(root, "targets", targets);
    json_object_set_new(root, "mounted", o3_daemon_mounted_json(d));
    return root;
}

/* ---- as a section of the page ---- */

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

static void add_state(struct o3_buf *out, const json_t *t) {
    const char *state = text_of(t, "state");
    const json_t *next = json_object_get(t, "next_attempt_seconds");
    if (!strcmp(state, "published")) {
        o3_buf_adds(out, "<b class=\"good\">published</b>");
    } else if (!strcmp(state, "failing")) {
        o3_buf_addf(out, "<b class=\"bad\">failing: %s</b>, ", text_of(t, "reason"));
        o3_buf_add_html(out, text_of(t, "error"));
    } else if (!strcmp(state, "not_writer")) {
        o3_buf_adds(out, "another pod is the writer: ");
        o3_buf_add_html(out, text_of(t, "writer"));
    } else {
        bool is_pending = !strcmp(state, "pending");
        o3_buf_adds(out, is_pending ? "<b class=\"maybe\">pending</b>"
                                    : "<span class=\"dim\">nothing is decided yet</span>");
    }
    if (json_is_real(next) && strcmp(state, "published") != 0)
        o3_buf_addf(out, "; next attempt in %.0f s", ceil(json_real_value(next)));
}

static void add_target(struct o3_buf *out, const json_t *t) {
    const json_t *generation = json_object_get(t, "generation");
    o3_buf_addf(out, "<tr><td class=\"name\">%s ", text_of(t, "target"));
    o3_buf_add_html(out, text_of(t, "name"));
    o3_buf_adds(out, "</td><td>");
    add_state(out, t);
    o3_buf_adds(out, "</td><td class=\"n\" data-of=\"generation\">");
    if (json_is_integer(generation)) o3_buf_addf(out, "%lld", json_integer_value(generation));
    o3_buf_adds(out, "</td><td class=\"n\" data-of=\"written\">");
    o3_page_add_time(out, text_of(t, "written_at"));
    o3_buf_adds(out, "</td><td>");
    o3_buf_add_html(out, text_of(t, "written_for"));
    o3_buf_adds(out, "</td></tr>\n");
}

/* "Readers of /etc/o3 see 2 of 3 presets as they were decided; not yet: m balanced". */
static void add_mounted(struct o3_buf *out, const json_t *mounted) {
    const json_t *presets = json_object_get(mounted, "presets"), *p;
    size_t i, n = json_array_size(presets), n_seen = 0;
    json_array_foreach(presets, i, p) n_seen += json_is_true(json_object_get(p, "in_effect"));
    o3_buf_adds(out, "<p>Readers of ");
    o3_buf_add_html(out, text_of(mounted, "folder"));
    if (!n) {
        o3_buf_adds(out, ": nothing was compared yet.</p>\n");
        return;
    }
    o3_buf_addf(out, " see <b class=\"%s\">%zu of %zu presets</b> as they were decided", n_seen == n ? "good" : "maybe",
                n_seen, n);
    const char *before = "; not yet: ";
    json_array_foreach(presets, i, p) {
        if (json_is_true(json_object_get(p, "in_effect"))) continue;
        o3_buf_adds(out, before);
        o3_buf_add_html(out, text_of(p, "model"));
        o3_buf_addf(out, " %s", text_of(p, "preset"));
        before = ", ";
    }
    o3_buf_adds(out, ".</p>\n");
}

void o3_page_add_publishing(struct o3_buf *out, const json_t *publishing) {
    const json_t *targets = json_object_get(publishing, "targets"), *mounted = json_object_get(publishing, "mounted"),
                 *t;
    size_t i, n = json_array_size(targets);
    if (!n && !json_is_object(mounted)) return;
    o3_buf_adds(out, "<section><h2>Where presets are published</h2>\n");
    if (n) {
        o3_buf_adds(out, "<div class=\"scroll\"><table><thead><tr><th>Place</th><th>State</th><th>Generation</th>"
                         "<th>Written</th><th>Because</th></tr></thead><tbody>\n");
        json_array_foreach(targets, i, t) add_target(out, t);
        o3_buf_adds(out, "</tbody></table></div>\n");
    }
    if (json_is_object(mounted)) add_mounted(out, mounted);
    o3_buf_adds(out, "</section>\n");
}
