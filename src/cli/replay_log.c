/* SPDX-License-Identifier: Apache-2.0 */
/* o3 replay of the sidecar's own logs: the samples of all files in the order in which they were measured, through the
 * judge that the sidecar uses. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/replay.h"
#include "cli/states.h"
#include "o3/judge_events.h"
#include "o3/judge_params.h"
#include "o3/text.h"

/* The files of one log, oldest first: x.jsonl.2, x.jsonl.1, x.jsonl. */
struct log {
    char *base; /* "x.jsonl" */
    char **paths;
    size_t n, next;
    struct replay_input in; /* the open one, while is_open */
    bool is_open, has_sample, is_done;
    struct o3_sample sample;
};

struct logs {
    const struct replay *replay;
    struct o3_judge *judge;
    struct o3_states states;
    struct log v[REPLAY_FILES_MAX];
    size_t n, n_files;
    int64_t now_ms; /* of the sample that is judged */
    int64_t n_samples, n_skipped, n_confirmed, n_incidents;
    char models[REPLAY_FILES_MAX][O3_MODEL_NAME_SIZE];
    size_t n_models;
};

/* ---- which files ---- */

/* The number behind ".jsonl.", 0 for the file that is being written. */
static int64_t age_of(const char *path, size_t base_len) {
    int64_t age;
    return path[base_len] && o3_int_parse(path + base_len + 1, &age) ? age : 0;
}

static size_t base_length(const char *path) {
    const char *dot = strrchr(path, '.');
    int64_t age;
    static const char SUFFIX[] = ".jsonl";
    size_t n = dot ? (size_t)(dot - path) : 0, m = sizeof SUFFIX - 1;
    bool is_rotated = dot && o3_int_parse(dot + 1, &age) && age > 0 && n > m && !strncmp(path + n - m, SUFFIX, m);
    return is_rotated ? n : strlen(path);
}

static struct log *log_of(struct logs *l, const char *path, size_t base_len) {
    for (size_t i = 0; i < l->n; i++)
        if (strlen(l->v[i].base) == base_len && !strncmp(l->v[i].base, path, base_len)) return &l->v[i];
    struct log *x = &l->v[l->n];
    *x = (struct log){.base = strndup(path, base_len), .paths = calloc(REPLAY_FILES_MAX, sizeof *x->paths)};
    if (!x->base || !x->paths) {
        free(x->base);
        free(x->paths);
        return NULL;
    }
    l->n++;
    return x;
}

static int add_file(struct logs *l, const char *path, struct o3_err *e) {
    if (l->n_files++ >= REPLAY_FILES_MAX) return o3_err_set(e, O3_E_LIMIT, "more than %d files", (int)REPLAY_FILES_MAX);
    size_t base_len = base_length(path);
    struct log *x = log_of(l, path, base_len);
    char *copy = x ? strdup(path) : NULL;
    if (!copy) return o3_err_set(e, O3_E_NOMEM, "no memory for the names of the files");
    size_t at = x->n++;
    for (; at > 0 && age_of(x->paths[at - 1], base_len) < age_of(path, base_len); at--)
        x->paths[at] = x->paths[at - 1];
    x->paths[at] = copy;
    return 0;
}

static int is_log(const struct dirent *d) {
    size_t n = base_length(d->d_name);
    return d->d_name[0] != '.' && n > 6 && !strncmp(d->d_name + n - 6, ".jsonl", 6);
}

static int add_folder(struct logs *l, const char *path, struct o3_err *e) {
    struct dirent **names;
    int n = scandir(path, &names, is_log, alphasort), r = 0;
    if (n < 0) return o3_err_set(e, O3_E_IO, "%s", strerror(errno));
    if (n == 0) r = o3_err_set(e, O3_E_USAGE, "no *.jsonl in this folder");
    for (int i = 0; i < n; i++) {
        char file[4096];
        if (r == 0 && (size_t)snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name) >= sizeof file)
            r = o3_err_set(e, O3_E_IO, "the name is too long");
        if (r == 0) r = add_file(l, file, e);
        free(names[i]);
    }
    free(names);
    return r;
}

static int add_path(struct logs *l, const char *path, struct o3_err *e) {
    struct stat st;
    if (!strcmp(path, "-") || stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) return add_file(l, path, e);
    return add_folder(l, path, e);
}

/* ---- reading ---- */

/* Opens the next file of the log; false at its end. A result other than 0 is an exit status. */
static int open_next(struct log *x, bool *ret) {
    *ret = x->next < x->n;
    if (!*ret) return 0;
    int status = replay_open(&x->in, x->paths[x->next++]);
    x->is_open = true;
    return status;
}

/* 0 or an exit status. */
static int read_sample(struct logs *l, struct log *x) {
    struct o3_err e = {0};
    while (!x->has_sample && !x->is_done) {
        char *line;
        size_t n;
        if (!x->is_open) {
            bool is_opened;
            int status = open_next(x, &is_opened);
            x->is_done = !is_opened;
            if (status) return status;
            continue;
        }
        int r = o3_lines_next(&x->in.lines, &line, &n, &e);
        if (r == 0) {
            x->is_open = false;
            x->is_done = x->next >= x->n;
            if (x->n) replay_close(&x->in); /* else it is the caller's */
            continue;
        }
        if (r > 0 && !line[strspn(line, " \t")]) continue;
        if (r > 0) r = o3_sample_decode_json(line, n, &x->sample, &e);
        x->has_sample = r == 0;
        if (r >= 0) continue;
        if (r == O3_E_PARSE && l->replay->is_skip_bad) {
            l->n_skipped++;
            continue;
        }
        if (r != O3_E_PARSE) x->in.lines.number = 0;
        replay_complain(&x->in, &e);
        return r == O3_E_PARSE ? 2 : o3_error_row(r)->exit_status;
    }
    return 0;
}

/* When the sidecar took it: at the end of the probe. */
static int64_t taken_ms(const struct o3_sample *s) {
    int64_t at;
    bool is_beyond = s->wall_ns <= 0 || __builtin_add_overflow(s->wall_ms, s->wall_ns / O3_NS_PER_MS, &at);
    return is_beyond ? s->wall_ms : at;
}

/* NULL in *ret: no log has one left. */
static int next_sample(struct logs *l, struct log **ret) {
    *ret = NULL;
    for (size_t i = 0; i < l->n; i++) {
        struct log *x = &l->v[i];
        int status = read_sample(l, x);
        if (status) return status;
        if (x->has_sample && (!*ret || taken_ms(&x->sample) < taken_ms(&(*ret)->sample))) *ret = x;
    }
    return 0;
}

/* ---- telling ---- */

static void tell(const struct logs *l, const struct o3_judge_event *ev) {
    O3_AUTO_BUF b;
    o3_buf_init(&b, 64 * 1024);
    if (l->replay->is_json) {
        (void)o3_event_encode_json(l->now_ms, ev->id, ev->f, ev->n, &b);
        puts(o3_buf_str(&b));
        return;
    }
    char time[40];
    o3_rfc3339_format(l->now_ms, time, sizeof time);
    o3_buf_addf(&b, "%s  %-17s ", time, o3_event_row(ev->id)->name);
    bool has_text = !strcmp(ev->f[ev->n - 1].name, "text");
    for (size_t i = 0; !has_text && i < ev->n; i++) {
        const struct o3_field *f = &ev->f[i];
        if (f->type == O3_FIELD_STR)
            o3_buf_addf(&b, " %s", f->s);
        else
            o3_buf_addf(&b, " %.5g", f->type == O3_FIELD_DBL ? f->d : (double)f->i);
    }
    if (has_text) o3_buf_addf(&b, " %s", ev->text);
    puts(o3_buf_str(&b));
}

static void on_verdict(void *ctx, const struct o3_verdict *v) {
    struct logs *l = ctx;
    struct o3_judge_event ev;
    if (v->report.event == O3_DRIFT_EV_NONE) return;
    l->n_confirmed += v->report.event == O3_DRIFT_EV_CONFIRMED;
    o3_verdict_event(v, &ev);
    tell(l, &ev);
}

static void on_incident(void *ctx, const struct o3_incident *i, enum o3_incident_change change) {
    struct logs *l = ctx;
    struct o3_judge_event ev;
    l->n_incidents += change == O3_INCIDENT_OPENED;
    o3_incident_event(i, change, &ev);
    tell(l, &ev);
}

static void on_release(void *ctx, const struct o3_release *r) {
    struct o3_judge_event ev;
    o3_release_event(r, &ev);
    tell(ctx, &ev);
}

static void on_epoch(void *ctx, const char *model, const char *reason) {
    struct o3_judge_event ev;
    o3_epoch_event(model, reason, &ev);
    tell(ctx, &ev);
}

static void on_acknowledged(void *ctx, const char *model, enum o3_signal signal, double level) {
    struct o3_judge_event ev;
    o3_acknowledged_event(model, signal, level, &ev);
    tell(ctx, &ev);
}

/* Of a model that leaves the judge's memory; nothing else needs to be kept. */
static void on_keep(void *ctx, const char *key, const char *value, size_t n) {
    struct logs *l = ctx;
    o3_states_put(&l->states, key, value, n);
}

static bool on_take(void *ctx, const char *key, struct o3_buf *ret) {
    struct logs *l = ctx;
    return o3_states_take(&l->states, key, ret);
}

/* ---- the whole ---- */

static void note_model(struct logs *l, const char *model) {
    for (size_t i = 0; i < l->n_models; i++)
        if (!strcmp(l->models[i], model)) return;
    if (l->n_models < REPLAY_FILES_MAX) o3_str_copy(l->models[l->n_models++], O3_MODEL_NAME_SIZE, model);
}

static int judge_all(struct logs *l) {
    for (;;) {
        struct log *x;
        int status = next_sample(l, &x);
        if (status || !x) return status;
        if (l->replay->has_interval && x->sample.around.interval_ms <= 0)
            x->sample.around.interval_ms = l->replay->interval_ms;
        l->now_ms = taken_ms(&x->sample);
        note_model(l, x->sample.model);
        o3_judge_add(l->judge, &x->sample);
        x->has_sample = false;
        l->n_samples++;
    }
}

/* 1: a confirmed change stands. */
static int finish(const struct logs *l) {
    int n_standing = 0;
    for (size_t i = 0; i < l->n_models; i++) {
        o3_judge_expect(l->judge, l->models[i]); /* it may have left memory */
        n_standing += o3_judge_n_confirmed(l->judge, l->models[i]);
    }
    if (l->n_skipped) fprintf(stderr, "o3 replay: %lld broken lines passed over\n", (long long)l->n_skipped);
    if (l->states.is_full) fputs("o3 replay: too many states; verdicts may differ from the live ones\n", stderr);
    if (!l->replay->is_json)
        printf("%lld samples of %zu model%s, confirmed changes: %lld, incidents: %lld; at the end %d series stand "
               "changed\n",
               (long long)l->n_samples, l->n_models, l->n_models == 1 ? "" : "s", (long long)l->n_confirmed,
               (long long)l->n_incidents, n_standing);
    return n_standing > 0;
}

static void free_logs(struct logs *l) {
    for (size_t i = 0; i < l->n; i++) {
        for (size_t k = 0; k < l->v[i].n; k++)
            free(l->v[i].paths[k]);
        free(l->v[i].paths);
        free(l->v[i].base);
        if (l->v[i].is_open && l->v[i].n) replay_close(&l->v[i].in);
    }
    o3_judge_free(l->judge);
    o3_states_done(&l->states);
    free(l);
}

static int new_judge(struct logs *l, struct o3_err *e) {
    struct o3_judge_params p;
    struct o3_judge_ops ops = {.ctx = l,
                               .verdict = on_verdict,
                               .incident = on_incident,
                               .release = on_release,
                               .epoch = on_epoch,
                               .acknowledged = on_acknowledged,
                               .take = on_take,
                               .keep = on_keep};
    o3_judge_params_of(l->replay->values, &p);
    p.max_models = REPLAY_FILES_MAX; /* whoever leaves memory comes back as it was: this changes no verdict */
    return o3_judge_new(&p, &ops, &l->judge, e);
}

static struct logs *new_logs(const struct replay *r) {
    struct o3_err e = {0};
    struct logs *l = calloc(1, sizeof *l);
    if (l) l->replay = r;
    if (l && new_judge(l, &e) == 0) return l;
    if (l) free_logs(l);
    fprintf(stderr, "o3 replay: %s\n", e.text[0] ? e.text : "no memory");
    return NULL;
}

static int run(struct logs *l) {
    if (l->replay->level != REPLAY_VERDICTS || l->replay->after != REPLAY_CONTINUE) {
        fputs("o3 replay: --level and --after-alarm are for values and tables\n", stderr);
        return 2;
    }
    int status = judge_all(l);
    return status ? status : finish(l);
}

int replay_log(const struct replay *r, struct replay_input *in) {
    struct logs *l = new_logs(r);
    if (!l) return 75;
    l->v[l->n++] = (struct log){.in = *in, .is_open = true};
    int status = run(l);
    *in = l->v[0].in;
    l->n = 0;
    free_logs(l);
    return status;
}

int replay_logs(const struct replay *r, char *const *paths, int n) {
    struct o3_err e = {0};
    struct logs *l = new_logs(r);
    if (!l) return 75;
    int result = 0, status;
    for (int i = 0; result == 0 && i < n; i++) {
        result = add_path(l, paths[i], &e);
        if (result < 0) fprintf(stderr, "o3 replay: %s: %s\n", paths[i], e.text);
    }
    if (result < 0)
        status = result == O3_E_LIMIT ? 2 : o3_error_row(result)->exit_status;
    else
        status = run(l);
    free_logs(l);
    return status;
}
