/* SPDX-License-Identifier: Apache-2.0 */
/* Files: o3_results/{defaults,summaries}. All writing is done in jobs; a job owns copies of what it writes. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "app/daemon_internal.h"
#include "app/places.h"
#include "io/file.h"

#define PRESET_BYTES_MAX (64u * 1024)

/* ---- names of files ---- */

static bool is_stem_taken(void *ctx, const char *stem, const char *model) {
    const struct o3_daemon *d = ctx;
    for (int i = 0; i < d->n_stems; i++)
        if (!strcmp(d->stems[i].stem, stem) && strcmp(d->stems[i].model, model)) return true;
    return false;
}

static void remember_stem(struct o3_daemon *d, const char *model, const char *stem) {
    if (!d->stems || d->n_stems == O3_DAEMON_STEMS_MAX) return;
    struct stem *s = &d->stems[d->n_stems++];
    o3_str_copy(s->model, sizeof s->model, model);
    o3_str_copy(s->stem, sizeof s->stem, stem);
}

struct stem *o3_daemon_stem_of(struct o3_daemon *d, const char *model, struct stem *spare) {
    for (int i = 0; i < d->n_stems; i++)
        if (!strcmp(d->stems[i].model, model)) return &d->stems[i];
    o3_model_file_stem(model, is_stem_taken, d, spare->stem, sizeof spare->stem);
    int n = d->n_stems;
    remember_stem(d, model, spare->stem);
    return d->n_stems > n ? &d->stems[n] : spare;
}

/* The files of earlier runs say which model each stem belongs to. */
static void learn_stems(struct o3_daemon *d) {
    char dir[1100];
    snprintf(dir, sizeof dir, "%s/defaults", d->results_path);
    DIR *handle = opendir(dir);
    if (!handle) return;
    for (struct dirent *entry; (entry = readdir(handle));) {
        char *dot = strrchr(entry->d_name, '.');
        if (entry->d_name[0] == '.' || !dot || strcmp(dot, ".yaml")) continue;
        char path[1400];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        O3_AUTO_BUF text;
        o3_buf_init(&text, PRESET_BYTES_MAX);
        struct o3_preset_doc doc;
        if (o3_file_read(path, PRESET_BYTES_MAX, &text, NULL) < 0 ||
            o3_preset_doc_decode_yaml(o3_buf_str(&text), text.len, &doc, NULL) < 0)
            continue;
        *dot = '\0';
        remember_stem(d, doc.model, entry->d_name);
    }
    closedir(handle);
}

/* Of a link, beside what it leads to. */
static void sweep_temps_beside(const char *file) {
    char target[PATH_MAX];
    if (!*file || !realpath(file, target)) o3_str_copy(target, sizeof target, file);
    char *slash = strrchr(target, '/');
    if (slash) slash[1] = '\0';
    if (*file) (void)o3_file_sweep_temps(slash ? target : ".");
}

/* What a killed process left half written. */
static void sweep_temps(const struct o3_daemon *d) {
    static const char *const FOLDERS[] = {"defaults", "summaries", "env"};
    char dir[1400];
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++) {
        snprintf(dir, sizeof dir, "%s/%s", d->results_path, FOLDERS[i]);
        (void)o3_file_sweep_temps(dir);
    }
    sweep_temps_beside(d->values->publish_file);
}

void o3_daemon_set_paths(struct o3_daemon *d) {
    o3_results_folder(d->values, d->results_path, sizeof d->results_path);
    o3_store_file(d->values, d->store_path, sizeof d->store_path);
    d->stems = calloc(O3_DAEMON_STEMS_MAX, sizeof *d->stems);
    sweep_temps(d);
    learn_stems(d);
}

/* ---- presets ---- */

struct preset_job {
    struct o3_daemon *daemon;
    uint64_t ticket;
    char doc_path[1400], summary_path[1400];
    char *doc, *summary;
    size_t doc_len, summary_len;
    bool has_failed, has_summary_failed;
    struct o3_err err, summary_err;
};

char *o3_daemon_copy_bytes(const char *p, size_t n) {
    char *copy = p ? malloc(n + 1) : NULL;
    if (!copy) return NULL;
    memcpy(copy, p, n);
    copy[n] = '\0';
    return copy;
}

int o3_daemon_make_parent(const char *path, struct o3_err *e) {
    char dir[1400];
    o3_str_copy(dir, sizeof dir, path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir) return 0;
    *slash = '\0';
    return o3_file_make_dirs(dir, e);
}

int o3_daemon_replace_file(const char *path, const char *bytes, size_t n, struct o3_err *e) {
    int r = o3_daemon_make_parent(path, e);
    return r < 0 ? r : o3_file_replace(path, bytes, n, NULL, e);
}

static void run_presets(void *job) {
    struct preset_job *j = job;
    j->has_failed = o3_daemon_replace_file(j->doc_path, j->doc, j->doc_len, &j->err) < 0;
    if (j->summary && o3_daemon_replace_file(j->summary_path, j->summary, j->summary_len, &j->summary_err) < 0)
        j->has_summary_failed = true;
}

static void free_preset_job(struct preset_job *j) {
    free(j->doc);
    free(j->summary);
    free(j);
}

static void done_presets(void *job) {
    struct preset_job *j = job;
    struct o3_daemon *d = j->daemon;
    if (j->has_summary_failed)
        O3_DAEMON_EVENT(d, O3_EV_FILE_FAILED, O3_F_STR("file", j->summary_path),
                        O3_F_STR("error", j->summary_err.text));
    o3_sidecar_preset_written(d->sidecar, j->ticket, j->has_failed ? j->err.text : NULL, o3_now_read());
    free_preset_job(j);
}

bool o3_daemon_write_presets(void *ctx, const struct o3_sidecar_presets *w) {
    struct o3_daemon *d = ctx;
    struct preset_job *j = calloc(1, sizeof *j);
    if (j) {
        struct stem spare;
        const char *stem = o3_daemon_stem_of(d, w->model, &spare)->stem;
        *j = (struct preset_job){
            .daemon = d, .ticket = w->ticket, .doc_len = w->doc_len, .summary_len = w->summary_len};
        snprintf(j->doc_path, sizeof j->doc_path, "%s/defaults/%s.yaml", d->results_path, stem);
        snprintf(j->summary_path, sizeof j->summary_path, "%s/summaries/%s.json", d->results_path, stem);
        j->doc = o3_daemon_copy_bytes(w->doc, w->doc_len);
        j->summary = o3_daemon_copy_bytes(w->summary, w->summary_len);
        if (j->doc && (j->summary || !w->summary) && o3_loop_submit(d->loop, run_presets, done_presets, j) == 0)
            return true;
        free_preset_job(j);
    }
    return false;
}
