/* SPDX-License-Identifier: Apache-2.0 */
/* o3 probe: the sidecar's own measurement, by hand. Never loads a model, never names other options than those in force.
 */
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "app/config_source.h"
#include "cli/commands.h"
#include "cli/exchange.h"
#include "io/host_proc.h"
#include "o3/plan.h"
#include "o3/probe.h"
#include "o3/rand.h"
#include "o3/sample.h"
#include "o3/stat.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 probe MODEL [-n COUNT] [-i INTERVAL] [--json] [--ollama.url URL]\n"
    "Measures a loaded model like ping: each round is one decode probe and one prefill probe; then medians with 95 %\n"
    "intervals. It never loads a model and never causes a reload that it can foresee.\n\n"
    "  -n, --count COUNT        rounds, 1 to 1000 (default 8; an interval needs at least 6)\n"
    "  -i, --interval INTERVAL  time between two rounds (default 1s)\n"
    "      --json               one JSON object at the end instead of lines\n"
    "      --config.file FILE, --KEY VALUE   as for \"o3 serve\"\n"
    "Exit status: 0 measured, 1 the model is not loaded or a probe failed, 2 usage, 69 Ollama not reachable.\n";

#define ROUNDS_MAX 1000
#define CONTROL_BYTES_MAX (4u << 20)
#define PROBE_BYTES_MAX (8u << 20)

enum { OK = 0, NO = 1, USAGE = 2, UNREACHABLE = 69 };

struct figures {
    double v[ROUNDS_MAX];
    size_t n;
};

struct session {
    const struct o3_config_values *config;
    struct o3_exchanger x;
    const char *wanted;
    int n_rounds;
    int64_t interval_ms;
    bool is_json;
    struct o3_ollama_version version;
    struct o3_ollama_model model;
    struct o3_ollama_show show;
    struct o3_runner_cmdline runner;
    bool has_runner;
    struct o3_rand rand;
    int64_t decode_tokens, prefill_words;
    struct figures ttft, decode, prefill;
    int n_failed, n_sent;
};

static int fail(int status, const char *text) {
    fprintf(stderr, "o3 probe: %s\n", text);
    return status;
}

/* A small request; prints what went wrong. 0, or the exit status. */
static int control(struct session *s, const char *method, const char *path, const struct o3_buf *body,
                   struct o3_buf *ret) {
    char url[1200];
    snprintf(url, sizeof url, "%s%s", s->config->ollama_url, path);
    struct o3_http_req rq = {.method = method,
                             .url = url,
                             .body = body ? o3_buf_str(body) : NULL,
                             .body_len = body ? body->len : 0,
                             .connect_timeout_ms = s->config->timeouts_connect_ms,
                             .total_timeout_ms = s->config->timeouts_control_ms,
                             .max_bytes = CONTROL_BYTES_MAX};
    struct o3_exchange e = {0};
    o3_exchange_run(&s->x, &rq, &e);
    *ret = e.body;
    if (e.transport == 0 && e.status == 200) return 0;
    char text[1600];
    if (e.transport)
        snprintf(text, sizeof text, "%s: %s", s->config->ollama_url,
                 e.text[0] ? e.text : o3_error_row(e.transport)->meaning);
    else
        snprintf(text, sizeof text, "%s: status %d", url, e.status);
    return fail(e.transport == O3_E_CANCELLED ? o3_error_row(O3_E_CANCELLED)->exit_status : UNREACHABLE, text);
}

static int read_version(struct session *s) {
    O3_AUTO_BUF body = {0};
    struct o3_err e;
    int r = control(s, "GET", "/api/version", NULL, &body);
    if (r == 0 && o3_ollama_parse_version(o3_buf_str(&body), body.len, &s->version, &e) < 0)
        r = fail(UNREACHABLE, e.text);
    return r;
}

static const char SUFFIX[] = ":latest";

static bool is_wanted(const struct session *s, const char *name) {
    size_t n = strlen(s->wanted);
    return !strcmp(name, s->wanted) || (!strncmp(name, s->wanted, n) && !strcmp(name + n, SUFFIX));
}

/* How far a name is from the wanted one, with or without ":latest". */
static int distance(const struct session *s, const char *name) {
    char shorter[O3_MODEL_NAME_SIZE];
    size_t n = strlen(name), cut = sizeof SUFFIX - 1;
    int whole = o3_edit_distance(s->wanted, name);
    if (n <= cut || strcmp(name + n - cut, SUFFIX) != 0) return whole;
    o3_str_copy_n(shorter, sizeof shorter, name, n - cut);
    int without = o3_edit_distance(s->wanted, shorter);
    return without < whole ? without : whole;
}

/* The entry of that name, else *ret_nearest: one that may have been meant, or NULL. */
static const struct o3_ollama_model *find_named(const struct session *s, const struct o3_ollama_models *list,
                                                const struct o3_ollama_model **ret_nearest) {
    int nearest = 2 + (int)strlen(s->wanted) / 4; /* farther away is another word */
    *ret_nearest = NULL;
    for (size_t i = 0; i < list->n; i++) {
        if (is_wanted(s, list->v[i].name)) return &list->v[i];
        int d = distance(s, list->v[i].name);
        if (d > nearest || (*ret_nearest && d == nearest)) continue;
        nearest = d;
        *ret_nearest = &list->v[i];
    }
    return NULL;
}

/* Why it is not in the list of loaded models: not asked for, runs elsewhere, or a name that Ollama does not have. */
static int explain_not_loaded(struct session *s) {
    O3_AUTO_BUF body = {0};
    struct o3_err e;
    struct o3_ollama_models *list = NULL;
    int r = control(s, "GET", "/api/tags", NULL, &body);
    if (r) return r;
    if (o3_ollama_parse_models(o3_buf_str(&body), body.len, &list, &e) < 0) return fail(UNREACHABLE, e.text);
    const struct o3_ollama_model *nearest, *m = find_named(s, list, &nearest);
    char text[600];
    if (m && m->is_remote)
        snprintf(text, sizeof text, "%s runs elsewhere and is never probed", m->name);
    else if (m)
        snprintf(text, sizeof text, "%s is not loaded; load it with \"ollama run %s\"", m->name, s->wanted);
    else if (nearest)
        snprintf(text, sizeof text, "Ollama has no model %.200s; did you mean %s?", s->wanted, nearest->name);
    else
        snprintf(text, sizeof text, "Ollama has no model %.200s; \"ollama list\" shows those it has", s->wanted);
    o3_ollama_models_free(list);
    return fail(NO, text);
}

static int find_loaded(struct session *s) {
    O3_AUTO_BUF body = {0};
    struct o3_err e;
    struct o3_ollama_models *list = NULL;
    int r = control(s, "GET", "/api/ps", NULL, &body);
    if (r) return r;
    if (o3_ollama_parse_models(o3_buf_str(&body), body.len, &list, &e) < 0) return fail(UNREACHABLE, e.text);
    bool is_found = false;
    for (size_t i = 0; i < list->n && !is_found; i++)
        if (is_wanted(s, list->v[i].name)) {
            s->model = list->v[i];
            is_found = true;
        }
    o3_ollama_models_free(list);
    if (!is_found) return explain_not_loaded(s);
    if (s->model.is_remote) return fail(NO, "this model runs elsewhere and is never probed");
    return s->model.context_length > 0
               ? 0
               : fail(NO, "this server does not show the context in force; a probe might load the model again");
}

static int read_show(struct session *s) {
    O3_AUTO_BUF rq;
    o3_buf_init(&rq, 4096);
    O3_AUTO_BUF body = {0};
    struct o3_err e;
    int r = o3_ollama_write_show(s->model.name, &rq) < 0 ? fail(NO, "no memory")
                                                         : control(s, "POST", "/api/show", &rq, &body);
    if (r == 0 && o3_ollama_parse_show(o3_buf_str(&body), body.len, &s->show, &e) < 0) r = fail(UNREACHABLE, e.text);
    return r;
}

static void find_runner(struct session *s) {
    struct o3_runner_cmdline found[32];
    size_t n = o3_host_read_runners("/proc", found, 32);
    for (size_t i = 0; i < n; i++)
        if (s->show.blob[0] && !strcmp(found[i].blob, s->show.blob)) {
            s->runner = found[i];
            s->has_runner = true;
        }
}

static int write_probe(struct session *s, const struct o3_probe_asked *asked, struct o3_buf *body) {
    struct o3_probe_spec spec = {.kind = asked->kind,
                                 .model = s->model.name,
                                 .num_predict = asked->num_predict,
                                 .prefill_words = s->prefill_words,
                                 .nonce = o3_rand_u64(&s->rand),
                                 .send_think_false = s->show.can_think && s->version.has_think,
                                 .context_length = s->model.context_length,
                                 .trained_context_length = s->show.context_length,
                                 .runner = s->has_runner ? &s->runner : NULL};
    return o3_probe_write(&spec, body);
}

static void on_data(void *ctx, int status, const char *bytes, size_t n, int64_t mono_ns) {
    o3_probe_reply_data(ctx, status, bytes, n, mono_ns);
}

static void form_sample(struct o3_probe_asked *asked, struct o3_probe_reply *reply, const struct o3_exchange *ex,
                        struct o3_sample *ret) {
    asked->http_status = ex->status;
    asked->transport = ex->transport;
    asked->sent_mono_ns = ex->sent.mono_ns;
    asked->sent_wall_ms = ex->sent.wall_ms;
    asked->end_mono_ns = ex->ended.mono_ns;
    *ret = (struct o3_sample){0};
    o3_probe_reply_sample(reply, asked, ex->text, ret);
}

static int send_probe(struct session *s, enum o3_probe_kind kind, int64_t num_predict, struct o3_sample *ret) {
    O3_AUTO_BUF body;
    o3_buf_init(&body, 128 * 1024);
    struct o3_probe_asked asked = {.kind = kind, .num_predict = num_predict};
    struct o3_probe_reply reply;
    if (o3_probe_reply_init(&reply, kind) < 0 || write_probe(s, &asked, &body) < 0) {
        o3_probe_reply_done(&reply);
        return O3_E_NOMEM;
    }
    char url[1200];
    snprintf(url, sizeof url, "%s%s", s->config->ollama_url, o3_probe_path(kind));
    struct o3_http_req rq = {.method = "POST",
                             .url = url,
                             .body = o3_buf_str(&body),
                             .body_len = body.len,
                             .connect_timeout_ms = s->config->timeouts_connect_ms,
                             .first_byte_timeout_ms = s->config->timeouts_first_byte_ms,
                             .total_timeout_ms = s->config->timeouts_base_ms,
                             .max_bytes = PROBE_BYTES_MAX};
    struct o3_exchange ex = {.on_data = on_data, .ctx = &reply};
    o3_exchange_run(&s->x, &rq, &ex);
    form_sample(&asked, &reply, &ex, ret);
    o3_probe_reply_done(&reply);
    o3_buf_done(&ex.body);
    return 0;
}

static void keep(struct figures *f, double v) {
    if (isfinite(v) && f->n < ROUNDS_MAX) f->v[f->n++] = v;
}

static void print_line(const struct session *s, const struct o3_sample *p) {
    if (s->is_json) return;
    printf("%-8s ", o3_probe_kind_name(p->kind));
    if (p->outcome != O3_OUTCOME_OK)
        printf("%s %s", o3_outcome_name(p->outcome), p->detail);
    else if (p->kind == O3_PROBE_DECODE)
        printf("ttft=%.1f ms  %.2f tok/s  tokens=%lld  queue=%.0f ms", (double)p->ttft_ns / 1e6, p->decode_tps,
               (long long)p->eval_count, (double)p->queue_ns / 1e6);
    else if (p->kind == O3_PROBE_PREFILL)
        printf("ttft=%.1f ms  %.1f tok/s  tokens=%lld", (double)p->ttft_ns / 1e6, p->prefill_tps,
               (long long)p->prompt_eval_count);
    else
        printf("time=%.1f ms", (double)p->wall_ns / 1e6);
    putchar('\n');
    fflush(stdout);
}

/* Sends one probe and keeps its figures. False: stop. */
static bool measure(struct session *s, enum o3_probe_kind kind, bool is_warmup) {
    struct o3_sample p;
    int64_t num_predict = kind == O3_PROBE_PREFILL ? O3_PREFILL_NUM_PREDICT : s->decode_tokens;
    if (send_probe(s, kind, num_predict, &p) < 0 || p.outcome == O3_OUTCOME_CANCELLED) return false;
    if (p.load_ns >= O3_RELOAD_NS) {
        fprintf(
            stderr,
            "o3 probe: the model was loaded again (%.1f s): its options are not those that /api/ps shows; stopping\n",
            (double)p.load_ns / 1e9);
        s->n_failed++;
        return false;
    }
    if (is_warmup) {
        if (isfinite(p.decode_tps)) s->decode_tokens = o3_decode_tokens_for(p.decode_tps);
        if (isfinite(p.prefill_tps))
            s->prefill_words = o3_prefill_words_for(p.prefill_tps, s->config->probe_prefill_tokens, s->prefill_words,
                                                    p.prompt_eval_count);
        if (p.outcome == O3_OUTCOME_OK) return true;
    }
    s->n_sent++;
    print_line(s, &p);
    if (p.outcome != O3_OUTCOME_OK) {
        s->n_failed++;
        return !is_warmup;
    }
    if (kind == O3_PROBE_PREFILL)
        keep(&s->prefill, p.prefill_tps);
    else
        keep(&s->ttft, (double)(kind == O3_PROBE_EMBED ? p.wall_ns : p.ttft_ns) / 1e9);
    if (kind == O3_PROBE_DECODE) keep(&s->decode, p.decode_tps);
    return true;
}

static void run_rounds(struct session *s) {
    enum o3_probe_kind main_kind = s->show.can_embed_only ? O3_PROBE_EMBED : O3_PROBE_DECODE;
    s->decode_tokens = O3_DECODE_TOKENS_FIRST;
    s->prefill_words = O3_PREFILL_WORDS_FIRST;
    if (!s->is_json)
        printf("probing %s: context %lld, %s\n", s->model.name, (long long)s->model.context_length,
               s->has_runner ? "options read from the runner" : "options as /api/ps shows them");
    bool is_going = measure(s, main_kind, true) && (main_kind == O3_PROBE_EMBED || measure(s, O3_PROBE_PREFILL, true));
    /* Once nobody reads the lines, going on would only disturb. */
    for (int i = 0; is_going && i < s->n_rounds && !s->x.signo && !ferror(stdout); i++) {
        if (i) o3_exchanger_sleep(&s->x, s->interval_ms);
        if (s->x.signo) break;
        /* It may have been unloaded or loaded otherwise meanwhile, and then a probe would load it. */
        if (i && find_loaded(s)) {
            s->n_failed++;
            break;
        }
        is_going = measure(s, main_kind, false) && (main_kind == O3_PROBE_EMBED || measure(s, O3_PROBE_PREFILL, false));
    }
}

static json_t *figures_json(struct figures *f, double scale) {
    for (size_t i = 0; i < f->n; i++)
        f->v[i] *= scale;
    struct o3_interval ci = o3_median_interval(f->v, f->n, 0.95);
    json_t *o = json_pack("{s:i}", "n", (int)f->n);
    if (f->n) json_object_set_new(o, "median", json_real(o3_median(f->v, f->n)));
    if (ci.level > 0) json_object_set_new(o, "interval_95", json_pack("[f,f]", ci.lo, ci.hi));
    return o;
}

static void print_summary_line(const char *name, struct figures *f, double scale, const char *unit) {
    if (!f->n) return;
    struct o3_interval ci = o3_median_interval(f->v, f->n, 0.95);
    printf("%-8s median %.4g %s", name, o3_median(f->v, f->n) * scale, unit);
    if (ci.level > 0)
        printf("  (%.1f %% interval %.4g to %.4g)", ci.level * 100, ci.lo * scale, ci.hi * scale);
    else
        printf("  (an interval needs at least 6)");
    printf("  n=%zu\n", f->n);
}

static void print_summary(struct session *s) {
    if (!s->is_json) {
        printf("--- %s: %d probes, %d failed\n", s->model.name, s->n_sent, s->n_failed);
        print_summary_line(s->show.can_embed_only ? "latency" : "ttft", &s->ttft, 1000, "ms");
        print_summary_line("decode", &s->decode, 1, "tok/s");
        print_summary_line("prefill", &s->prefill, 1, "tok/s");
        return;
    }
    json_t *o = json_pack("{s:s, s:I, s:i, s:i, s:o, s:o, s:o}", "model", s->model.name, "num_ctx",
                          (json_int_t)s->model.context_length, "probes", s->n_sent, "failed", s->n_failed,
                          "ttft_seconds", figures_json(&s->ttft, 1), "decode_tokens_per_second",
                          figures_json(&s->decode, 1), "prefill_tokens_per_second", figures_json(&s->prefill, 1));
    char *text = o ? json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    if (text) puts(text);
    free(text);
    json_decref(o);
}

static int run(struct session *s) {
    struct o3_err e;
    if (o3_exchanger_init(&s->x, &e) < 0) return fail(NO, e.text);
    o3_rand_seed(&s->rand, (uint64_t)o3_now_read().mono_ns);
    int r = read_version(s);
    if (r == 0) r = find_loaded(s);
    if (r == 0) r = read_show(s);
    if (r == 0) {
        find_runner(s);
        run_rounds(s);
        print_summary(s);
        r = s->n_failed || !s->n_sent ? NO : OK;
    }
    o3_exchanger_done(&s->x);
    return r;
}

static int parse_args(int argc, char **argv, struct session *s) {
    static const struct option OPTIONS[] = {{"count", required_argument, NULL, 'n'},
                                            {"interval", required_argument, NULL, 'i'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int64_t n = 8;
    s->interval_ms = 1000;
    for (int c; (c = getopt_long(argc, argv, "n:i:h", OPTIONS, NULL)) != -1;) {
        switch (c) {
        case 'n':
            if (!o3_int_parse(optarg, &n) || n < 1 || n > ROUNDS_MAX)
                return fail(USAGE, "-n: expected a number from 1 to 1000");
            break;
        case 'i':
            if (!o3_duration_parse(optarg, &s->interval_ms)) return fail(USAGE, "-i: expected a duration such as 1s");
            break;
        case 'j':
            s->is_json = true;
            break;
        case 'h':
            fputs(HELP, stdout);
            return -1;
        default:
            fputs("see \"o3 probe --help\"\n", stderr);
            return USAGE;
        }
    }
    s->n_rounds = (int)n;
    if (optind == argc || !*argv[optind]) return fail(USAGE, "say which model; \"o3 probe --help\" tells more");
    if (optind + 1 < argc) return fail(USAGE, "one model at a time; \"o3 probe --help\" tells more");
    s->wanted = argv[optind];
    return 0;
}

int o3_cmd_probe(int argc, char **argv) {
    struct o3_config_args args;
    struct o3_err e;
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return fail(USAGE, e.text);
    struct session *s = calloc(1, sizeof *s);
    if (!s) return fail(NO, "no memory");
    struct o3_config *config = NULL;
    int r = parse_args(argc, argv, s);
    if (r == 0 && o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e) < 0)
        r = fail(USAGE, e.text);
    if (r == 0) {
        s->config = o3_config_values(config);
        r = run(s);
    }
    o3_config_free(config);
    free(s);
    return r < 0 ? 0 : r;
}
