/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_HOST_H
#define O3_HOST_H
/* Pure readers of /proc texts: the shell reads the files, these understand them. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Established sockets of a server port in /proc/net/tcp or tcp6 (local_address side), and how many of them hold bytes
 * in a queue. Sockets whose remote port is listed in own_ports (our own connections) are left out. */
#define O3_LOOPBACK_PORTS_MAX 32
struct o3_net_tcp_count {
    int n_established, n_with_bytes;
    int n_listening; /* 0: the server is not in this network namespace, and the other counts say nothing */
    /* Ports that somebody else listens on at a loopback address: Ollama's runners among them. Those that find no room
     * are left out. */
    uint16_t loopback_ports[O3_LOOPBACK_PORTS_MAX];
    int n_loopback_ports;
    bool has_other_states; /* a line of another state than LISTEN: the kernel lists listeners first */
};
void o3_net_tcp_count(const char *text, size_t n, uint16_t server_port, const uint16_t *own_ports, size_t n_own,
                      struct o3_net_tcp_count *inout); /* adds to inout, so that both files sum up */

/* Options of a runner's command line (NUL-separated /proc/PID/cmdline): llama-server (>= 0.30) or `ollama runner`
 * (older). */
struct o3_runner_cmdline {
    char blob[65];      /* sha256 in --model's path; "" when none */
    int64_t ctx_total;  /* -c / --ctx-size: num_ctx x parallel; -1 absent */
    int64_t parallel;   /* -np / --parallel; -1 absent */
    int64_t batch;      /* -b / --batch-size; -1 absent: llama.cpp default */
    int64_t threads;    /* -t / --threads; -1 absent: automatic */
    int64_t gpu_layers; /* -ngl / --n-gpu-layers; INT64_MIN absent */
    int64_t port;       /* -1 absent */
    int64_t pid;        /* where it was read; 0 unknown */
    bool is_embedding;
    bool has_other_kv_type; /* the KV cache is not f16, which is the default */
};
/* False when the process is not a model runner (short-lived discovery processes have no --model). */
bool o3_runner_cmdline_parse(const char *bytes, size_t n, struct o3_runner_cmdline *ret);

int64_t o3_proc_status_kib(const char *status_text, const char *field); /* "VmRSS", "RssAnon"; -1 absent */
int64_t o3_meminfo_kib(const char *meminfo_text, const char *field);    /* "MemAvailable"; -1 absent */
/* The whole of /proc/PID/stat; false when it is not one. Times in clock ticks, start since boot. */
struct o3_proc_stat {
    int64_t user_ticks, system_ticks, start_ticks;
};
bool o3_proc_stat_parse(const char *stat_text, struct o3_proc_stat *ret);
int64_t o3_proc_boot_time_s(const char *stat_text); /* "btime" of /proc/stat; -1 absent */
int64_t
o3_proc_max_open_files(const char *limits_text); /* soft limit in /proc/PID/limits; INT64_MAX unlimited, -1 absent */

/* --- what slows a host down --- */

/* Share of the last 10 s in which some, or all, work waited (PSI); NaN unknown. */
struct o3_host_pressure {
    double some, full;
};
/* In the order of the metric label `resource`. */
enum o3_host_resource { O3_HOST_CPU, O3_HOST_MEMORY, O3_HOST_IO, O3_HOST_RESOURCE_COUNT };
const char *o3_host_resource_name(enum o3_host_resource r); /* "cpu": also the file in /proc/pressure */

/* One look. -1, NaN and "": unknown. Counters go on from wherever they stand; only differences mean something. */
struct o3_host_state {
    struct o3_host_pressure pressure[O3_HOST_RESOURCE_COUNT];
    int64_t memory_available_bytes;
    int64_t swapped_in_bytes; /* counter */
    int64_t n_heat;           /* counter: times a processor slowed itself down because of heat */
    int64_t n_quota;          /* counter: periods in which the runner's CPU quota ran out; unknown of a runner that is
                                 not seen */
    uint64_t quota_id;        /* tells whose n_quota is: counters of two control groups say nothing about each other */
    int64_t memory_limit_bytes; /* of the runner's control group, else of ours; INT64_MAX: none */
    double cpu_quota_cores;     /* likewise; INFINITY: none */
    char gpu[64];               /* "NVIDIA GeForce RTX 4090, driver 550.54.14" */
};
void o3_host_state_init(struct o3_host_state *s); /* all unknown */
struct o3_surroundings;
/* What of a sample's surroundings the host tells: pressure, memory, the devices, and counts since the look before.
 * before: NULL or unknown: counts are 0. A counter that fell began anew. The rest of out stays. */
void o3_host_state_fill(const struct o3_host_state *now, const struct o3_host_state *before,
                        struct o3_surroundings *out);

bool o3_psi_parse(const char *text, struct o3_host_pressure *ret); /* /proc/pressure/X */
/* The value of a line "key value", as in /proc/vmstat and a control group's cpu.stat; -1 absent. */
int64_t o3_keyed_count(const char *text, const char *key);
int64_t o3_count_parse(const char *text); /* a file of one number; -1 when it is none */
/* cpu.max: "400000 100000" is 4 cores, "max 100000" INFINITY; NaN when it is neither. */
double o3_cgroup_cpu_max(const char *text);
int64_t o3_cgroup_memory_max(const char *text); /* memory.max; INT64_MAX: none, -1 unknown */
/* The path in the unified hierarchy of /proc/PID/cgroup. False when there is none, or it lies outside of what this
 * mount shows. */
bool o3_cgroup_path(const char *text, char *out, size_t size);
/* /proc/driver/nvidia/gpus/X/information and /proc/driver/nvidia/version; printable text only. */
bool o3_nvidia_model(const char *information, char *out, size_t size);
bool o3_nvidia_driver(const char *version, char *out, size_t size);
/* n devices, all named `model` unless others are among them. */
void o3_gpu_text(int n, const char *model, bool has_others, const char *driver, char out[64]);

#endif
