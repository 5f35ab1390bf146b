/* SPDX-License-Identifier: Apache-2.0 */
#include "app/config_source.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "o3/text.h"

#define ENV_MAX 256
#define PIPE_PATIENCE_MS 10000 /* for the program that writes into a pipe */

extern char **environ;

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
}

static void free_chars(char **p) {
    free(*p);
}

static const char *named_path(const char *path_or_null) {
    if (path_or_null) return path_or_null;
    const char *from_env = getenv("O3_CONFIG_FILE");
    return from_env && *from_env ? from_env : NULL;
}

const char *o3_config_source_path(const char *path_or_null) {
    const char *path = named_path(path_or_null);
    if (path) return path;
    return access(O3_CONFIG_DEFAULT_FILE, F_OK) == 0 ? O3_CONFIG_DEFAULT_FILE : NULL;
}

static int file_failed(const char *path, int sys, struct o3_err *e) {
    int r = o3_err_set(e, O3_E_CONFIG, "%.120s: %s", path, strerror(sys));
    if (e) e->sys = sys;
    return r;
}

/* A named pipe that nobody writes to must not hold us up for ever, nor count as an empty file. */
static bool is_readable_soon(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, PIPE_PATIENCE_MS) > 0;
}

/* One byte more than the maximum is kept, so that the core sees that the file is too large. Pipes are allowed. */
static int read_file(const char *path, struct o3_buf *out, struct o3_err *e) {
    __attribute__((cleanup(close_fd))) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return file_failed(path, errno, e);
    struct stat st;
    if (fstat(fd, &st) < 0) return file_failed(path, errno, e);
    if (S_ISDIR(st.st_mode)) return o3_err_set(e, O3_E_CONFIG, "%.120s: this is a folder, not a file", path);
    char piece[8192];
    while (out->len < out->max) {
        size_t room = out->max - out->len;
        if (!S_ISREG(st.st_mode) && !is_readable_soon(fd))
            return o3_err_set(e, O3_E_CONFIG, "%.120s: nobody writes to this pipe", path);
        ssize_t n = read(fd, piece, room < sizeof piece ? room : sizeof piece);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n < 0) return file_failed(path, errno, e);
        if (n == 0) return 0;
        int r = o3_buf_add(out, piece, (size_t)n);
        if (r < 0) return o3_err_set(e, r, "%.120s: no memory for the file", path);
    }
    return 0;
}

/* Copies the names of the O3_* variables, which have no NUL of their own in environ, into *ret_names (to be freed). */
static int collect_env(struct o3_conf_pair *pairs, size_t *ret_n, char **ret_names, struct o3_err *e) {
    size_t n = 0, bytes = 0;
    for (char **v = environ; v && *v; v++)
        if (!strncmp(*v, "O3_", 3) && strchr(*v, '=')) bytes += (size_t)(strchr(*v, '=') - *v) + 1;
    char *names = malloc(bytes ? bytes : 1);
    if (!names) return o3_err_set(e, O3_E_NOMEM, "no memory for the configuration");
    *ret_names = names;
    for (char **v = environ; v && *v && n < ENV_MAX; v++) {
        const char *equals = strncmp(*v, "O3_", 3) ? NULL : strchr(*v, '=');
        if (!equals) continue;
        size_t len = (size_t)(equals - *v);
        memcpy(names, *v, len);
        names[len] = '\0';
        pairs[n++] = (struct o3_conf_pair){names, equals + 1};
        names += len + 1;
    }
    *ret_n = n;
    return 0;
}

int o3_config_source_load(const char *path_or_null, const struct o3_conf_pair *flags, size_t n_flags,
                          o3_conf_warn_fn *warn, void *ctx, struct o3_config **ret, char ret_sha256[65],
                          struct o3_err *e) {
    struct o3_conf_pair env[ENV_MAX];
    struct o3_conf_sources src = {.env = env, .flags = flags, .n_flags = n_flags};
    __attribute__((cleanup(free_chars))) char *names = NULL;
    O3_AUTO_BUF text;
    o3_buf_init(&text, O3_CONF_FILE_MAX + 1);
    src.file_name = o3_config_source_path(path_or_null);
    if (src.file_name) {
        int r = read_file(src.file_name, &text, e);
        if (r < 0) return r;
        src.file_text = o3_buf_str(&text);
        src.file_len = text.len;
    }
    int r = collect_env(env, &src.n_env, &names, e);
    if (r < 0) return r;
    r = o3_config_load(&src, warn, ctx, ret, e);
    if (r < 0 || !ret_sha256) return r;
    ret_sha256[0] = '\0';
    if (src.file_name) o3_sha256_hex(src.file_text, src.file_len, ret_sha256);
    return 0;
}

static const struct o3_conf_row *find_row(const char *name, size_t n) {
    const struct o3_conf_row *rows;
    size_t n_rows = o3_conf_rows(&rows);
    for (size_t i = 0; i < n_rows; i++)
        if (strlen(rows[i].key) == n && !memcmp(rows[i].key, name, n)) return &rows[i];
    return NULL;
}

static int set_flag(struct o3_config_args *a, const char *key, const char *value, struct o3_err *e) {
    size_t i = 0;
    while (i < a->n_flags && a->flags[i].name != key) /* keys are the table's own texts */
        i++;
    if (i == O3_CONFIG_FLAGS_MAX) return o3_err_set(e, O3_E_LIMIT, "too many flags");
    a->flags[i] = (struct o3_conf_pair){key, value};
    if (i == a->n_flags) a->n_flags++;
    return 0;
}

/* One argument of the command line, split at its '='. */
struct arg {
    const char *name; /* after the dashes */
    size_t n;
    const char *value; /* NULL: none attached */
    const char *next;  /* the argument that follows; NULL at the end */
};

/* A flag's value: what is attached, else the next argument. Adds the number of arguments taken from there. */
static const char *take_value(const struct arg *arg, int *taken) {
    if (arg->value) return arg->value;
    if (arg->next) (*taken)++;
    return arg->next;
}

static int take_key(struct o3_config_args *a, const struct o3_conf_row *row, const struct arg *arg, int *taken,
                    struct o3_err *e) {
    bool is_next_a_value = arg->next && (!strcmp(arg->next, "true") || !strcmp(arg->next, "false"));
    if (row->type == O3_CONF_BOOL && !arg->value && !is_next_a_value) return set_flag(a, row->key, "true", e);
    const char *value = take_value(arg, taken);
    if (!value) return o3_err_set(e, O3_E_USAGE, "--%s needs a value", row->key);
    return set_flag(a, row->key, value, e);
}

static int take_negated(struct o3_config_args *a, const struct o3_conf_row *row, const struct arg *arg,
                        struct o3_err *e) {
    if (row->type != O3_CONF_BOOL)
        return o3_err_set(e, O3_E_USAGE, "--no-%s: %s is not true or false", row->key, row->key);
    if (arg->value) return o3_err_set(e, O3_E_USAGE, "--no-%s takes no value", row->key);
    return set_flag(a, row->key, "false", e);
}

/* As far as it may be a name: "--web.token:hush" holds a value. */
static int unknown_flag(const struct arg *arg, struct o3_err *e) {
    char name[64], near[64];
    size_t n = strcspn(arg->name, ":;, \t");
    const char *rest = n < arg->n ? "..." : "";
    bool is_whole = o3_str_copy_n(name, sizeof name, arg->name, n < arg->n ? n : arg->n);
    if (!is_whole || !o3_conf_nearest(name, near, sizeof near))
        return o3_err_set(e, O3_E_USAGE, "unknown option --%s%s", name, rest);
    return o3_err_set(e, O3_E_USAGE, "unknown option --%s%s; did you mean --%s?", name, rest, near);
}

/* Sets *taken to the number of arguments that were ours: 0, 1 or 2. */
static int take_arg(struct o3_config_args *a, const struct arg *arg, int *taken, struct o3_err *e) {
    static const char CONFIG_FILE[] = "config.file", NO[] = "no-";
    /* As Prometheus and its exporters call it. */
    static const char WEB_CONFIG_FILE[] = "web.config.file", WEB_CONFIG_KEY[] = "web.config_file";
    bool is_web = arg->n == strlen(WEB_CONFIG_FILE) && !memcmp(arg->name, WEB_CONFIG_FILE, arg->n);
    const struct o3_conf_row *row = is_web ? find_row(WEB_CONFIG_KEY, strlen(WEB_CONFIG_KEY))
                                           : find_row(arg->name, arg->n);
    *taken = 1;
    if (row) return take_key(a, row, arg, taken, e);
    if (arg->n == strlen(CONFIG_FILE) && !memcmp(arg->name, CONFIG_FILE, arg->n)) {
        const char *file = take_value(arg, taken);
        if (!file || !*file) return o3_err_set(e, O3_E_USAGE, "--config.file needs the path of a file");
        a->file = file;
        return 0;
    }
    if (arg->n > strlen(NO) && !strncmp(arg->name, NO, strlen(NO))) {
        row = find_row(arg->name + strlen(NO), arg->n - strlen(NO));
        if (row) return take_negated(a, row, arg, e);
    }
    /* Only configuration flags have a dot in their name. */
    if (memchr(arg->name, '.', arg->n)) return unknown_flag(arg, e);
    *taken = 0;
    return 0;
}

int o3_config_args_parse(int *argc, char **argv, struct o3_config_args *ret, struct o3_err *e) {
    struct o3_config_args a = {0};
    int kept = 0, i = 0;
    while (i < *argc && strcmp(argv[i], "--")) {
        int taken = 0;
        if (i > 0 && !strncmp(argv[i], "--", 2)) {
            const char *name = argv[i] + 2, *equals = strchr(name, '=');
            struct arg arg = {.name = name, .n = equals ? (size_t)(equals - name) : strlen(name)};
            arg.value = equals ? equals + 1 : NULL;
            arg.next = i + 1 < *argc ? argv[i + 1] : NULL;
            int r = take_arg(&a, &arg, &taken, e);
            if (r < 0) return r;
        }
        if (taken)
            i += taken;
        else
            argv[kept++] = argv[i++];
    }
    while (i < *argc)
        argv[kept++] = argv[i++];
    if (kept < *argc) argv[kept] = NULL;
    *argc = kept;
    *ret = a;
    return 0;
}

int o3_config_format_error(const char *file, const struct o3_err *err, struct o3_buf *out) {
    if (file && err->line) o3_buf_addf(out, "%s:%u:%u: ", file, err->line, err->col);
    return o3_buf_adds(out, err->text);
}
