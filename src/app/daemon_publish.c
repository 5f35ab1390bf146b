/* SPDX-License-Identifier: Apache-2.0 */
/* From the presets that are decided to the places where they are published, and what is told of it. */
#include <string.h>
#include "app/publisher.h"

static int add_docs(struct o3_daemon *d, const struct o3_sidecar_offer *o, struct o3_keys *k) {
    int r = o->has_primary_setting ? 0 : o3_keys_no_primary(k);
    for (size_t i = 0; r == 0 && i < o->n; i++) {
        struct stem spare;
        const char *stem = o3_daemon_stem_of(d, o->docs[i]->model, &spare)->stem;
        r = o3_keys_add_doc(k, o->docs[i], stem, (int)i == o->primary);
    }
    return r;
}

static void offer(void *ctx, const struct o3_sidecar_offer *o) {
    struct o3_daemon *d = ctx;
    struct o3_keys keys = {.n = 0};
    O3_AUTO_BUF all;
    o3_buf_init(&all, O3_KEYS_BYTES_MAX);
    o3_daemon_mounted_offer(d, o);
    if (*d->values->publish_file) (void)o3_preset_docs_encode_yaml(o->docs, o->n, o->primary, &all);
    struct o3_publish_want want = {.keys = &keys, .all = &all, .reason = o->reason};
    if (add_docs(d, o, &keys) < 0) {
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "the presets of all models to publish"));
        want.keys = NULL;
    }
    for (int i = 0; i < d->n_publishers; i++)
        d->publishers[i]->kind->want(d->publishers[i], &want, o3_now_read());
    o3_keys_free(&keys);
}

void o3_daemon_fill_publish_ops(struct o3_sidecar_ops *ops) {
    ops->offer = offer;
}

static void add_publisher(struct o3_daemon *d, struct o3_publisher *p) {
    if (p)
        d->publishers[d->n_publishers++] = p;
    else
        O3_DAEMON_EVENT(d, O3_EV_LIMIT_REACHED, O3_F_STR("what", "memory for a place to publish to"));
}

void o3_daemon_publish_start(struct o3_daemon *d, uint64_t seed) {
    add_publisher(d, o3_publisher_file_new(d, seed)); /* a reload may set publish.file */
    if (*d->values->publish_folder) add_publisher(d, o3_publisher_folder_new(d, seed));
    if (*d->values->publish_configmap) add_publisher(d, o3_publisher_configmap_new(d, seed));
    o3_daemon_mounted_start(d);
}

int64_t o3_daemon_publish_deadline_ns(const struct o3_daemon *d) {
    int64_t first = o3_daemon_mounted_deadline_ns(d);
    for (int i = 0; i < d->n_publishers; i++) {
        int64_t t = d->publishers[i]->kind->deadline_ns(d->publishers[i]);
        if (t < first) first = t;
    }
    return first;
}

void o3_daemon_publish_turn(struct o3_daemon *d, struct o3_now now) {
    for (int i = 0; i < d->n_publishers; i++)
        d->publishers[i]->kind->turn(d->publishers[i], now);
    o3_daemon_mounted_turn(d, now.mono_ns);
}

void o3_daemon_publish_stop(struct o3_daemon *d) {
    for (int i = 0; i < d->n_publishers; i++)
        d->publishers[i]->kind->stop(d->publishers[i]);
    o3_daemon_mounted_stop(d);
}

void o3_daemon_publish_free(struct o3_daemon *d) {
    for (int i = 0; i < d->n_publishers; i++)
        d->publishers[i]->kind->free(d->publishers[i]);
    d->n_publishers = 0;
    o3_daemon_mounted_free(d);
}

/* ---- what is told ---- */

void o3_publisher_set_name(struct o3_publisher *p, const char *name) {
    *p = (struct o3_publisher){.kind = p->kind, .daemon = p->daemon};
    o3_str_copy(p->name, sizeof p->name, name);
}

static void remember(struct o3_publisher *p, const struct o3_configmap_news *news, int64_t wall_ms) {
    bool has_failed = news->outcome == O3_PUBLISH_FAILED, is_written = news->outcome == O3_PUBLISH_WRITTEN;
    p->last = news->outcome;
    p->error = has_failed ? news->error : O3_PUBLISH_OK;
    p->n_failures = has_failed ? p->n_failures + 1 : 0;
    if (!has_failed || !p->failing_wall_ms) p->failing_wall_ms = has_failed ? wall_ms : 0;
    bool is_other = news->outcome == O3_PUBLISH_NOT_WRITER;
    o3_str_copy(p->text, sizeof p->text, has_failed ? news->text : is_other ? news->other : "");
    if (is_written || news->outcome == O3_PUBLISH_UNCHANGED) p->there_wall_ms = wall_ms;
    if (!is_written) return;
    p->n_written++;
    p->written_wall_ms = wall_ms;
}

static void tell_success(struct o3_publisher *p, const struct o3_configmap_news *news, const char *reason) {
    o3_str_copy(p->reason, sizeof p->reason, reason);
    O3_DAEMON_EVENT(p->daemon, O3_EV_PRESETS_PUBLISHED, O3_F_STR("target", p->kind->target), O3_F_STR("name", p->name),
                    O3_F_INT("keys", (int64_t)news->n_changed), O3_F_STR("reason", reason));
}

void o3_daemon_published(struct o3_publisher *p, const struct o3_configmap_news *news, const char *reason) {
    static const char *const RESULTS[] = {"", "written", "unchanged", "not_writer", "failed"};
    struct o3_daemon *d = p->daemon;
    const char *target = p->kind->target;
    int64_t wall_ms = o3_now_read().wall_ms;
    if (news->outcome == O3_PUBLISH_GOES_ON) return;
    remember(p, news, wall_ms);
    o3_metric_add(d->metrics, O3_M_PRESET_WRITES, O3_L(target, RESULTS[news->outcome]), 1);
    if (news->outcome == O3_PUBLISH_WRITTEN || news->outcome == O3_PUBLISH_UNCHANGED)
        o3_metric_set(d->metrics, O3_M_PRESET_LAST_WRITE_SUCCESS_TIMESTAMP_SECONDS, O3_L(target),
                      (double)wall_ms / 1000.0);
    if (news->outcome == O3_PUBLISH_WRITTEN) tell_success(p, news, reason);
    if (news->outcome != O3_PUBLISH_FAILED) return;
    const char *why = o3_publish_error_name(news->error);
    o3_metric_add(d->metrics, O3_M_PRESET_WRITE_ERRORS, O3_L(target, why), 1);
    O3_DAEMON_EVENT(d, O3_EV_PRESET_WRITE_FAILED, O3_F_STR("file", p->name), O3_F_STR("error", news->text),
                    O3_F_STR("target", target), O3_F_STR("reason", why));
}
