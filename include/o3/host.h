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

#endif
