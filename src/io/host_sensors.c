/* SPDX-License-Identifier: Apache-2.0 */
/* One look at what slows the host down: a few small files. What is not there is not asked for again for a while. */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "io/host_proc.h"
#include "o3/text.h"

#define AGAIN_AFTER_NS (600LL * O3_NS_PER_S)
#define GPU_EVERY_NS (60LL * O3_NS_PER_S)

enum {
    MAX_CPUS = 64, /* of larger machines the first ones: heat does not choose */
    MAX_GPUS = 32,
    MAX_LEVELS = 8,
    MAX_CGROUP_PATH = 1024
};

/* A sensor that is absent rests. */
static bool is_resting(const struct o3_host_rest *rest, enum o3_host_sensor s, int64_t now_ns) {
    return now_ns < rest->until_ns[s];
}

static void note(struct o3_host_rest *rest, enum o3_host_sensor s, bool is_there, int64_t now_ns) {
    rest->until_ns[s] = is_there ? 0 : now_ns + AGAIN_AFTER_NS;
}

static void read_pressure(const char *proc, struct o3_host_rest *rest, int64_t now_ns, struct o3_buf *b,
                          struct o3_host_state *ret) {
    if (is_resting(rest, O3_SENSOR_PRESSURE, now_ns)) return;
    bool is_there = false;
    for (int i = 0; i < O3_HOST_RESOURCE_COUNT; i++) {
        char name[32];
        snprintf(name, sizeof name, "pressure/%s", o3_host_resource_name((enum o3_host_resource)i));
        is_there |= o3_host_read_text(proc, name, b) && o3_psi_parse(o3_buf_str(b), &ret->pressure[i]);
    }
    note(rest, O3_SENSOR_PRESSURE, is_there, now_ns);
}

static void read_memory(const char *proc, struct o3_host_rest *rest, int64_t now_ns, struct o3_buf *b,
                        struct o3_host_state *ret) {
    ret->memory_available_bytes = o3_host_memory_available_bytes(proc);
    if (is_resting(rest, O3_SENSOR_SWAP, now_ns)) return;
    int64_t pages = o3_host_read_text(proc, "vmstat", b) ? o3_keyed_count(o3_buf_str(b), "pswpin") : -1;
    long page = sysconf(_SC_PAGESIZE);
    if (pages >= 0 && (page <= 0 || __builtin_mul_overflow(pages, (int64_t)page, &ret->swapped_in_bytes)))
        ret->swapped_in_bytes = -1;
    note(rest, O3_SENSOR_SWAP, pages >= 0, now_ns);
}

/* Processors of virtual machines have no such counters; a single one may be offline. */
static void read_heat(const char *sys, struct o3_host_rest *rest, int64_t now_ns, struct o3_buf *b,
                      struct o3_host_state *ret) {
    if (is_resting(rest, O3_SENSOR_HEAT, now_ns)) return;
    int64_t sum = -1;
    int n_missing = 0;
    for (int i = 0; i < MAX_CPUS && n_missing < 4; i++) {
        char name[96];
        snprintf(name, sizeof name, "devices/system/cpu/cpu%d/thermal_throttle/core_throttle_count", i);
        int64_t n = o3_host_read_text(sys, name, b) ? o3_count_parse(o3_buf_str(b)) : -1;
        n_missing += n < 0;
        if (n < 0 || n > INT64_MAX / MAX_CPUS) continue;
        sum = (sum < 0 ? 0 : sum) + n;
    }
    ret->n_heat = sum;
    note(rest, O3_SENSOR_HEAT, sum >= 0, now_ns);
}

/* --- control groups --- */

static uint64_t id_of(const char *path) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *path; path++)
        h = (h ^ (unsigned char)*path) * 1099511628211u;
    return h;
}

/* Limits of the groups above hold too. The root group of a host has none of these files. */
static bool read_group(const char *sys, const char *path, struct o3_buf *b, int64_t *ret_n_quota,
                       struct o3_host_state *ret) {
    char at[MAX_CGROUP_PATH], name[MAX_CGROUP_PATH + 64];
    bool is_there = false;
    (void)o3_str_copy(at, sizeof at, path);
    for (int level = 0; level < MAX_LEVELS; level++) {
        snprintf(name, sizeof name, "fs/cgroup/%s/cpu.max", at);
        double cores = o3_host_read_text(sys, name, b) ? o3_cgroup_cpu_max(o3_buf_str(b)) : (double)NAN;
        snprintf(name, sizeof name, "fs/cgroup/%s/memory.max", at);
        int64_t limit = o3_host_read_text(sys, name, b) ? o3_cgroup_memory_max(o3_buf_str(b)) : -1;
        snprintf(name, sizeof name, "fs/cgroup/%s/cpu.stat", at);
        int64_t n = o3_host_read_text(sys, name, b) ? o3_keyed_count(o3_buf_str(b), "nr_throttled") : -1;
        is_there |= !isnan(cores) || limit >= 0;
        ret->cpu_quota_cores = fmin(ret->cpu_quota_cores, cores); /* of NaN and a number the number */
        if (limit >= 0 && (ret->memory_limit_bytes < 0 || limit < ret->memory_limit_bytes))
            ret->memory_limit_bytes = limit;
        if (n >= 0 && __builtin_add_overflow(*ret_n_quota < 0 ? 0 : *ret_n_quota, n, ret_n_quota)) *ret_n_quota = -1;
        char *slash = strrchr(at, '/');
        if (!*at) break;
        *(slash ? slash : at) = '\0';
    }
    return is_there;
}

static bool find_group(const char *proc, const char *pid, struct o3_buf *b, char *out, size_t size) {
    char name[48];
    snprintf(name, sizeof name, "%.24s/cgroup", pid);
    return o3_host_read_text(proc, name, b) && o3_cgroup_path(o3_buf_str(b), out, size);
}

/* Our own limits stand for the runner's where that is not seen; whether our own quota ran out says nothing about it. */
static void read_groups(const struct o3_host_roots *roots, int64_t runner_pid, struct o3_host_rest *rest,
                        int64_t now_ns, struct o3_buf *b, struct o3_host_state *ret) {
    if (is_resting(rest, O3_SENSOR_CGROUP, now_ns) && runner_pid == rest->runner_pid) return;
    rest->runner_pid = runner_pid;
    char pid[24], path[MAX_CGROUP_PATH];
    snprintf(pid, sizeof pid, "%lld", (long long)runner_pid);
    int64_t n_quota = -1, ours = -1;
    bool is_there = runner_pid > 0 && find_group(roots->proc, pid, b, path, sizeof path) &&
                    read_group(roots->sys, path, b, &n_quota, ret);
    if (is_there) {
        ret->n_quota = n_quota;
        ret->quota_id = id_of(path);
    } else
        is_there = find_group(roots->proc, "self", b, path, sizeof path) && read_group(roots->sys, path, b, &ours, ret);
    note(rest, O3_SENSOR_CGROUP, is_there, now_ns);
}

/* --- devices --- */

static void read_gpu(const char *proc, struct o3_buf *b, char out[64]) {
    char path[PATH_MAX], model[64] = "", driver[32] = "";
    bool has_others = false;
    int n = 0;
    *out = '\0';
    snprintf(path, sizeof path, "%s/driver/nvidia/gpus", proc);
    DIR *d = opendir(path);
    if (!d) return;
    for (struct dirent *entry; n < MAX_GPUS && (entry = readdir(d));) {
        char name[320], one[64];
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "driver/nvidia/gpus/%s/information", entry->d_name);
        if (!o3_host_read_text(proc, name, b) || !o3_nvidia_model(o3_buf_str(b), one, sizeof one)) continue;
        /* The folder has no order: of different ones the first by name speaks. */
        has_others |= n > 0 && strcmp(one, model) != 0;
        if (n++ == 0 || strcmp(one, model) < 0) (void)o3_str_copy(model, sizeof model, one);
    }
    closedir(d);
    if (n == 0) return;
    if (o3_host_read_text(proc, "driver/nvidia/version", b))
        (void)o3_nvidia_driver(o3_buf_str(b), driver, sizeof driver);
    o3_gpu_text(n, model, has_others, driver, out);
}

void o3_host_read_state(const struct o3_host_roots *roots, int64_t runner_pid, int64_t now_ns,
                        struct o3_host_rest *rest, struct o3_host_state *ret) {
    o3_host_state_init(ret);
    O3_AUTO_BUF b;
    o3_buf_init(&b, O3_HOST_TEXT_MAX);
    read_pressure(roots->proc, rest, now_ns, &b, ret);
    read_memory(roots->proc, rest, now_ns, &b, ret);
    read_heat(roots->sys, rest, now_ns, &b, ret);
    read_groups(roots, runner_pid, rest, now_ns, &b, ret);
    if (now_ns >= rest->gpu_until_ns) {
        read_gpu(roots->proc, &b, rest->gpu);
        rest->gpu_until_ns = now_ns + GPU_EVERY_NS;
    }
    (void)o3_str_copy(ret->gpu, sizeof ret->gpu, rest->gpu);
}
