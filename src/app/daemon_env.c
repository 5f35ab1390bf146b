/* SPDX-License-Identifier: Apache-2.0 */
/* o3_results/env: what the machine and the server are, written when it differs from the newest snapshot. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "app/daemon_internal.h"
#include "io/file.h"

#define ENVS_KEPT 20
#define SNAPSHOT_BYTES_MAX (64u * 1024)

struct env_job {
    char dir[1200], name[64];
    char *text;
};

static int is_json(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 5 && !strcmp(e->d_name + n - 5, ".json");
}

static bool is_newest_equal(const char *dir, const char *text) {
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_json, alphasort);
    bool is_equal = false;
    for (int i = 0; i < n; i++) {
        char path[1500];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        free(names[i]);
        if (i < n - 1) continue;
        O3_AUTO_BUF old;
        o3_buf_init(&old, SNAPSHOT_BYTES_MAX);
        is_equal = o3_file_read(path, SNAPSHOT_BYTES_MAX, &old, NULL) == 0 && !strcmp(o3_buf_str(&old), text);
    }
    free(names);
    return is_equal;
}

static void run_env(void *job) {
    struct env_job *j = job;
    if (is_newest_equal(j->dir, j->text)) return;
    char path[1400];
    snprintf(path, sizeof path, "%s/%s", j->dir, j->name);
    if (o3_daemon_replace_file(path, j->text, strlen(j->text), NULL) == 0)
        (void)o3_file_keep_newest(j->dir, ".json", ENVS_KEPT, NULL);
}

static void done_env(void *job) {
    struct env_job *j = job;
    free(j->text);
    free(j);
}

static void put_first_line(json_t *o, const char *name, const char *path) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 4096);
    if (o3_file_read(path, 4096, &text, NULL) < 0) return;
    json_object_set_new(o, name, json_stringn(o3_buf_str(&text), strcspn(o3_buf_str(&text), "\n")));
}

static void put_cpu_model(json_t *o) {
    O3_AUTO_BUF text;
    o3_buf_init(&text, 1u << 20);
    if (o3_file_read("/proc/cpuinfo", 1u << 20, &text, NULL) < 0) return;
    const char *p = strstr(o3_buf_str(&text), "model name");
    p = p ? strchr(p, ':') : NULL;
    if (p) json_object_set_new(o, "cpu_model", json_stringn(p + 2, strcspn(p + 2, "\n")));
}

void o3_daemon_write_env(struct o3_daemon *d, const char *ollama_version) {
    struct utsname os;
    struct env_job *j = calloc(1, sizeof *j);
    json_t *o = json_object();
    if (j && o && uname(&os) == 0) {
        json_object_set_new(o, "ollama_version", json_string(ollama_version));
        json_object_set_new(o, "ollama_url", json_string(d->values->ollama_url));
        json_object_set_new(o, "kernel", json_sprintf("%s %s %s", os.sysname, os.release, os.machine));
        json_object_set_new(o, "cpus_online", json_integer(sysconf(_SC_NPROCESSORS_ONLN)));
        json_object_set_new(o, "memory_bytes",
                            json_integer((json_int_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE)));
        put_cpu_model(o);
        put_first_line(o, "cgroup_memory_max", "/sys/fs/cgroup/memory.max");
        put_first_line(o, "cgroup_cpu_max", "/sys/fs/cgroup/cpu.max");
        j->text = json_dumps(o, JSON_INDENT(2));
        snprintf(j->dir, sizeof j->dir, "%s/env", d->results_path);
        char stamp[40];
        o3_rfc3339_format(o3_now_read().wall_ms, stamp, sizeof stamp);
        for (char *c = stamp; *c; c++)
            if (*c == ':') *c = '-'; /* file names without colons */
        snprintf(j->name, sizeof j->name, "%s.json", stamp);
    }
    json_decref(o);
    if (j && j->text && o3_loop_submit(d->loop, run_env, done_env, j) == 0) return;
    if (j) done_env(j);
}
