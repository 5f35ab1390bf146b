/* SPDX-License-Identifier: Apache-2.0 */
/* What the options of a request come to, and when they do not fit a loaded runner. */
#include <stdlib.h>
#include <string.h>
#include "sim/sim.h"

void o3_sim_profile_set(struct o3_sim_profile *p, const char *version) {
    o3_str_copy(p->text, sizeof p->text, version);
    char *rest = NULL;
    long major = strtol(version, &rest, 10);
    long minor = rest && *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
    if (major > 0) minor = 1000; /* newer than all the rules */
    p->has_child_server = minor >= 30;
    p->has_think = minor >= 9;
    p->has_ps_context = minor >= 11;
}

void o3_sim_options_merge(struct o3_sim_options *base, const struct o3_sim_options *over) {
    for (int i = 0; i < O3_SIM_OPTION_COUNT; i++)
        if (over->has[i]) {
            base->has[i] = true;
            base->number[i] = over->number[i];
        }
    if (over->has[O3_SIM_STOP]) {
        base->n_stop = over->n_stop;
        memcpy(base->stop, over->stop, sizeof base->stop);
    }
    if (!base->error[0]) memcpy(base->error, over->error, sizeof base->error);
}

double o3_sim_option(const struct o3_sim_options *o, enum o3_sim_option which, double fallback) {
    return o->has[which] ? o->number[which] : fallback;
}

static int64_t whole(const struct o3_sim_options *o, enum o3_sim_option which, int64_t fallback) {
    return (int64_t)o3_sim_option(o, which, (double)fallback);
}

static int64_t automatic_ctx(const struct o3_sim_launch_input *in) {
    if (!in->has_gpu || in->vram_bytes < 23 * O3_SIM_GIB) return 4096;
    return in->vram_bytes < 47 * O3_SIM_GIB ? 32768 : 262144;
}

static bool is_embedding(const struct o3_sim_launch_input *in) {
    return in->weights->can_embed && !in->weights->can_complete;
}

static int64_t automatic_batch(const struct o3_sim_launch_input *in, int64_t num_ctx) {
    if (!in->profile->has_child_server) return 512;
    if (is_embedding(in)) return num_ctx < 2048 ? num_ctx : 2048;
    int64_t total = num_ctx * in->parallel;
    return total <= 4096 ? 512 : total <= 32768 ? 1024 : 2048;
}

static int64_t clamp(int64_t v, int64_t low, int64_t high) {
    return v < low ? low : v > high ? high : v;
}

void o3_sim_launch_decide(const struct o3_sim_launch_input *in, struct o3_sim_launch *ret) {
    const struct o3_sim_options *o = in->options;
    bool has_ctx = o->has[O3_SIM_NUM_CTX], has_batch = o->has[O3_SIM_NUM_BATCH];
    *ret = (struct o3_sim_launch){
        .is_ctx_automatic = !has_ctx,
        .is_batch_automatic = !has_batch,
        .is_mmap_automatic = !o->has[O3_SIM_USE_MMAP],
        .num_thread = whole(o, O3_SIM_NUM_THREAD, 0),
        .num_gpu = whole(o, O3_SIM_NUM_GPU, -1),
        .main_gpu = whole(o, O3_SIM_MAIN_GPU, 0),
        .draft_num_predict = whole(o, O3_SIM_DRAFT_NUM_PREDICT, 0),
        .use_mmap = o3_sim_option(o, O3_SIM_USE_MMAP, in->has_gpu) > 0,
        .shift = in->shift,
    };
    int64_t asked_ctx = has_ctx ? whole(o, O3_SIM_NUM_CTX, 0) : automatic_ctx(in);
    ret->num_ctx = clamp(asked_ctx, 4, in->weights->context_length);
    /* An embedding model's batch follows the context asked for, before it is clamped, and counts as a number: loaded
     * without options and loaded with the very context shown differ (measured on 0.32.15). */
    if (is_embedding(in)) ret->is_batch_automatic = false;
    ret->num_batch = has_batch ? whole(o, O3_SIM_NUM_BATCH, 0)
                               : automatic_batch(in, is_embedding(in) ? asked_ctx : ret->num_ctx);
    if (!in->profile->has_child_server && ret->num_batch > ret->num_ctx) ret->num_batch = ret->num_ctx;
}

bool o3_sim_launch_lower(const struct o3_sim_launch_input *in, struct o3_sim_launch *l) {
    const int64_t sizes[] = {32768, 4096};
    for (size_t i = 0; l->is_ctx_automatic && i < 2; i++) {
        if (l->num_ctx <= sizes[i]) continue;
        l->num_ctx = sizes[i];
        if (l->is_batch_automatic) l->num_batch = automatic_batch(in, l->num_ctx);
        return true;
    }
    return false;
}

bool o3_sim_needs_reload(const struct o3_sim_launch *loaded, const struct o3_sim_launch *wanted,
                         const struct o3_sim_profile *profile) {
    /* Since 0.30 an automatic value equals any automatic value; before, numbers were compared whatever their origin. */
    bool same_ctx = loaded->num_ctx == wanted->num_ctx;
    bool same_batch = loaded->num_batch == wanted->num_batch;
    if (profile->has_child_server) {
        same_ctx |= loaded->is_ctx_automatic && wanted->is_ctx_automatic;
        same_batch |= loaded->is_batch_automatic && wanted->is_batch_automatic;
    }
    /* What the server chose for its device is not chosen again: a GPU that comes back reloads nothing. */
    bool same_mmap = loaded->use_mmap == wanted->use_mmap || (loaded->is_mmap_automatic && wanted->is_mmap_automatic);
    return !same_ctx || !same_batch || !same_mmap || loaded->num_thread != wanted->num_thread ||
           loaded->num_gpu != wanted->num_gpu || loaded->main_gpu != wanted->main_gpu ||
           loaded->draft_num_predict != wanted->draft_num_predict || loaded->shift != wanted->shift;
}

int64_t o3_sim_ubatch(const struct o3_sim_launch *l) {
    int64_t b = l->num_batch <= 0 ? 512 : l->num_batch; /* the flag is left out: llama.cpp's own default */
    return b < l->num_ctx ? b : l->num_ctx;
}
