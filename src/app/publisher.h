/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_APP_PUBLISHER_H
#define O3_APP_PUBLISHER_H
/* A place where all presets are published as named texts. Each one compares before it writes, keeps a budget, tries
 * again with growing, jittered waits, and tells what happened through o3_daemon_published. On the loop thread. */
#include "app/daemon_internal.h"
#include "o3/configmap.h"
#include "o3/keys.h"

struct o3_publisher;
struct o3_publish_want {        /* what is to be there from now on; borrowed for the call */
    const struct o3_keys *keys; /* NULL: they are over their limit */
    const struct o3_buf *all;   /* every model's document in one text; err: it is over its limit */
    const char *reason;
};
struct o3_publisher_view {
    bool is_configured;        /* false: a reload has taken the place away */
    bool has_want, is_pending; /* something was decided; it is not known to be there */
    int64_t next_ns;           /* of the next attempt; INT64_MAX: none is due, or one is at work */
    int64_t generation;        /* -1: the place keeps none, or it is not known */
};
struct o3_publisher_kind {
    const char *target; /* the label */
    void (*want)(struct o3_publisher *p, const struct o3_publish_want *want, struct o3_now now);
    int64_t (*deadline_ns)(const struct o3_publisher *p); /* INT64_MAX: nothing is due */
    void (*turn)(struct o3_publisher *p, struct o3_now now);
    void (*view)(const struct o3_publisher *p, struct o3_publisher_view *ret);
    void (*stop)(struct o3_publisher *p); /* what can be put in order in a moment; nothing starts after it */
    void (*free)(struct o3_publisher *p); /* after the loop's last job */
};
struct o3_publisher {
    const struct o3_publisher_kind *kind;
    struct o3_daemon *daemon;
    char name[300]; /* for people: a path, namespace/name */

    /* what became of the attempts; daemon_publish.c */
    enum o3_publish_outcome last; /* O3_PUBLISH_GOES_ON: none yet */
    enum o3_publish_error error;  /* of the last one, where it failed */
    char text[256], reason[320];  /* of the failure, or the other writer; why the last write was made */
    int64_t written_wall_ms;      /* by this process; 0 never */
    int64_t there_wall_ms;        /* last known to be as wanted; 0 never */
    int64_t failing_wall_ms;      /* since when; 0 it does not */
    int64_t n_written, n_failures;
};
void o3_publisher_set_name(struct o3_publisher *p,
                           const char *name); /* another place: what became of the old one is forgotten */

/* NULL: no memory. */
struct o3_publisher *o3_publisher_file_new(struct o3_daemon *d, uint64_t seed);
struct o3_publisher *o3_publisher_folder_new(struct o3_daemon *d, uint64_t seed);
struct o3_publisher *o3_publisher_configmap_new(struct o3_daemon *d, uint64_t seed);

/* Metrics and events of what became of an attempt. */
void o3_daemon_published(struct o3_publisher *p, const struct o3_configmap_news *news, const char *reason);

/* daemon_mounted.c: what readers see */
void o3_daemon_mounted_start(struct o3_daemon *d);
void o3_daemon_mounted_offer(struct o3_daemon *d, const struct o3_sidecar_offer *o);
int64_t o3_daemon_mounted_deadline_ns(const struct o3_daemon *d);
void o3_daemon_mounted_turn(struct o3_daemon *d, int64_t now_ns);
struct json_t *o3_daemon_mounted_json(const struct o3_daemon *d); /* null: none is configured */
void o3_daemon_mounted_stop(struct o3_daemon *d);                 /* before the loop is freed */
void o3_daemon_mounted_free(struct o3_daemon *d);

#endif
