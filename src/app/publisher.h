/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_PUBLISHER_H
#define O3_APP_PUBLISHER_H
/* A place where all presets are published as named texts. Each one compares before it writes, keeps a budget, tries
 * again with growing, jittered waits, and tells what happened through o3_daemon_published. On the loop thread. */
#include "app/daemon_internal.h"
#include "o3/configmap.h"
#include "o3/keys.h"

struct o3_publisher;
struct o3_publisher_kind {
    const char *target; /* the label */
    /* What is to be there from now on; borrowed for the call. */
    void (*want)(struct o3_publisher *p, const struct o3_keys *keys, const char *reason, struct o3_now now);
    int64_t (*deadline_ns)(const struct o3_publisher *p); /* INT64_MAX: nothing is due */
    void (*turn)(struct o3_publisher *p, struct o3_now now);
    void (*stop)(struct o3_publisher *p); /* what can be put in order in a moment; nothing starts after it */
    void (*free)(struct o3_publisher *p); /* after the loop's last job */
};
struct o3_publisher {
    const struct o3_publisher_kind *kind;
    struct o3_daemon *daemon;
    char name[300]; /* for people: a folder, namespace/name */
};

/* NULL: no memory. */
struct o3_publisher *o3_publisher_folder_new(struct o3_daemon *d, uint64_t seed);
struct o3_publisher *o3_publisher_configmap_new(struct o3_daemon *d, uint64_t seed);

/* Metrics and events of what became of an attempt. */
void o3_daemon_published(const struct o3_publisher *p, const struct o3_configmap_news *news, const char *reason);

/* daemon_mounted.c: what readers see */
void o3_daemon_mounted_start(struct o3_daemon *d);
void o3_daemon_mounted_offer(struct o3_daemon *d, const struct o3_sidecar_offer *o);
int64_t o3_daemon_mounted_deadline_ns(const struct o3_daemon *d);
void o3_daemon_mounted_turn(struct o3_daemon *d, int64_t now_ns);
void o3_daemon_mounted_stop(struct o3_daemon *d); /* before the loop is freed */
void o3_daemon_mounted_free(struct o3_daemon *d);

#endif
