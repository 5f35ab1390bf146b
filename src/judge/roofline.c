/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory would allow: one token reads all active weights once (Williams, Waterman & Patterson 2009). */
#include <math.h>
#include <string.h>
#include <strings.h>
#include "o3/cause.h"

double o3_roofline_efficiency(double decode_tps, double bytes_per_token, double bandwidth_bytes_per_s) {
    bool is_known = decode_tps >= 0 && bytes_per_token > 0 && bandwidth_bytes_per_s > 0;
    double eta = is_known ? decode_tps * bytes_per_token / bandwidth_bytes_per_s : (double)NAN;
    return eta <= 1e6 ? eta : (double)NAN; /* infinite or absurd figures say nothing */
}

/* Published peaks in GB/s. A row fits a name that holds its first word, directly followed by nothing that makes it
 * another card, and the other words anywhere. */
static const struct gpu {
    const char *word, *also;
    double gb_per_s;
} GPUS[] = {
    {"3060", "RTX", 360}, {"3090", "RTX", 936}, {"4090", "RTX", 1008},  {"5090", "RTX", 1792},  {"L4", "", 300},
    {"A10", "", 600},     {"L40S", "", 864},    {"A100", "80GB", 2039}, {"H100", "HBM3", 3350}, {"H100", "SXM5", 3350},
    {"H200", "", 4800},   {"B200", "", 8000},   {"MI300X", "", 5300},   {"M2", "Max", 400},     {"M3", "Ultra", 819},
};
/* The same number on the box, another card. NVL and PCIe have memory of their own speed. */
static const char *const OTHERS[] = {"Ti", "SUPER", "Laptop", "Mobile", "Max-Q", "PCIe", "NVL", "D"};

static size_t word_length(const char *s) {
    return strcspn(s, " -_,;/()\t");
}

static bool has_word(const char *name, const char *word) {
    size_t n = strlen(word);
    for (const char *p = name; *p;) {
        size_t len = word_length(p);
        if (len == n && !strncasecmp(p, word, n)) return true;
        p += len + (p[len] != '\0');
    }
    return n == 0;
}

double o3_gpu_bandwidth(const char *gpu_name) {
    if (!gpu_name) return NAN;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        if (has_word(gpu_name, OTHERS[i])) return NAN;
    for (size_t i = 0; i < sizeof GPUS / sizeof *GPUS; i++)
        if (has_word(gpu_name, GPUS[i].word) && has_word(gpu_name, GPUS[i].also)) return GPUS[i].gb_per_s * 1e9;
    return NAN;
}

int64_t o3_active_weight_bytes(const struct o3_ollama_show *show, int64_t file_bytes) {
    if (file_bytes <= 0) return -1;
    if (!show || show->expert_count <= 0) return file_bytes;
    int64_t width = show->expert_feed_forward_length > 0 ? show->expert_feed_forward_length : show->feed_forward_length;
    bool is_known = show->expert_used_count > 0 && show->expert_used_count <= show->expert_count && width > 0 &&
                    show->embedding_length > 0 && show->block_count > 0 && show->parameter_count > 0;
    if (!is_known) return -1;
    /* Three matrices an expert. */
    double in_experts = 3.0 * (double)width * (double)show->embedding_length * (double)show->block_count *
                        (double)show->expert_count / (double)show->parameter_count;
    if (in_experts > 1) in_experts = 1;
    double unused = 1 - (double)show->expert_used_count / (double)show->expert_count;
    return (int64_t)((double)file_bytes * (1 - in_experts * unused));
}
