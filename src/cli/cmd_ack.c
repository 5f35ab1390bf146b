/* SPDX-License-Identifier: Apache-2.0 */
/* o3 ack: a person accepts a changed level as the normal one. */
#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "app/config_source.h"
#include "cli/commands.h"
#include "cli/exchange.h"
#include "o3/sample.h"
#include "o3/signal.h"

static const char HELP[] =
    "usage: o3 ack MODEL [--signal SIGNAL] [--url http://HOST:PORT] [--config.file FILE] [--json]\n"
    "\n"
    "Tells the running sidecar that the changed level of a model is the normal one from now on: what stands changed "
    "is\n"
    "settled, and later changes are told against the present level.\n"
    "\n"
    "  --signal SIGNAL      only this one: decode_rate, prefill_rate, ttft, load_time, memory, gpu_ratio, context or\n"
    "                       success\n"
    "  --url URL            of the sidecar (web.listen on this machine)\n"
    "  --config.file FILE   the configuration with web.token; the environment may have it, too: O3_WEB_TOKEN\n"
    "  --json               the answer as JSON\n"
    "  --help               this text\n"
    "\n"
    "Exit status: 0 accepted, 1 nothing to accept or no such model, 2 usage, configuration or a wrong token, 69 the\n"
    "sidecar cannot be reached, 75 try later.\n";

#define ANSWER_MAX (64 * 1024)

static int usage(const char *text) {
    fprintf(stderr, "o3 ack: %s\nTry \"o3 ack --help\".\n", text);
    return 2;
}

static void add_escaped(struct o3_buf *b, const char *s) {
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-._~", c);
        o3_buf_addf(b, is_plain ? "%c" : "%%%02X", c);
    }
}

static void print_accepted(const json_t *answer) {
    const json_t *list = json_object_get(answer, "signals"), *x;
    const char *when = json_string_value(json_object_get(answer, "accepted"));
    size_t i;
    json_array_foreach(list, i, x) {
        const char *signal = json_string_value(json_object_get(x, "signal"));
        const char *text = json_string_value(json_object_get(x, "text"));
        printf("%s: %s is the normal level %s\n", signal ? signal : "?", text ? text : "?", when ? when : "now");
    }
}

static int status_of(int http_status) {
    if (http_status == 200) return 0;
    if (http_status == 404 || http_status == 409) return 1;
    return http_status >= 500 ? 75 : 2;
}

/* What a person can do about it; "" where the error says it. */
static const char *advice_for(int http_status) {
    if (http_status == 401) return "; set O3_WEB_TOKEN, or --config.file with web.token, to the token of the sidecar";
    if (http_status == 404) return "; see o3 history for the models that were measured";
    return "";
}

static int tell(const char *url, const struct o3_exchange *x, bool is_json) {
    if (x->transport) {
        fprintf(stderr, "o3 ack: %s: %s\n", url, x->text[0] ? x->text : o3_error_row(x->transport)->meaning);
        return o3_error_row(x->transport)->exit_status;
    }
    json_t *answer = json_loadb(o3_buf_str(&x->body), x->body.len, 0, NULL);
    const char *error = json_string_value(json_object_get(answer, "error"));
    int status = status_of(x->status);
    if (is_json && answer) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    if (status)
        fprintf(stderr, "o3 ack: %s (status %d)%s\n", error ? error : "the answer is not that of a sidecar", x->status,
                error ? advice_for(x->status) : "");
    else if (!is_json)
        print_accepted(answer);
    json_decref(answer);
    return status;
}

static int send_word(const char *url, const struct o3_http_peer *peer, const char *token, bool is_json) {
    struct o3_exchanger x;
    struct o3_err e;
    if (o3_exchanger_init(&x, &e) < 0) {
        fprintf(stderr, "o3 ack: %s\n", e.text);
        return o3_error_row(e.code)->exit_status;
    }
    struct o3_http_req rq = {.method = "POST",
                             .url = url,
                             .peer = peer,
                             .bearer = *token ? token : NULL,
                             .connect_timeout_ms = 10000,
                             .total_timeout_ms = 10000,
                             .max_bytes = ANSWER_MAX};
    struct o3_exchange reply = {0};
    o3_exchange_run(&x, &rq, &reply);
    int status = tell(url, &reply, is_json);
    o3_buf_done(&reply.body);
    o3_exchanger_done(&x);
    return status;
}

struct arguments {
    const char *model, *signal, *url;
    bool is_json;
};

/* -1: go on; else the exit status. */
static int take_arguments(struct arguments *a, int argc, char **argv) {
    static const struct option OPTIONS[] = {{"signal", required_argument, NULL, 's'},
                                            {"url", required_argument, NULL, 'u'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    enum o3_signal signal;
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option == '?') {
            fputs("Try \"o3 ack --help\".\n", stderr);
            return 2;
        }
        if (option == 's') a->signal = optarg;
        if (option == 'u') a->url = optarg;
        a->is_json |= option == 'j';
    }
    if (argc - optind != 1 || !*argv[optind]) return usage("name one model");
    if (strlen(argv[optind]) >= O3_MODEL_NAME_SIZE) return usage("no model has so long a name");
    if (a->signal && !o3_signal_parse(a->signal, &signal)) return usage("--signal: unknown; see --help");
    if (a->url && strncmp(a->url, "http://", 7) != 0 && strncmp(a->url, "https://", 8) != 0)
        return usage("--url: expected http://HOST:PORT");
    a->model = argv[optind];
    return -1;
}

static int ack(const struct arguments *a, const struct o3_config_values *v) {
    O3_AUTO_BUF url;
    struct o3_own own = {0};
    struct o3_err e = {0};
    o3_buf_init(&url, 4096);
    if (!a->url && o3_own_find(v, "", &own, &e) < 0) {
        fprintf(stderr, "o3 ack: web.config_file: %s\n", e.text);
        return 2;
    }
    if (own.peer_or_null && !own.peer.cert_file)
        return usage("web.config_file holds the certificate itself: name the sidecar by --url https://NAME:PORT");
    const char *root = a->url ? a->url : own.url;
    size_t n = strlen(root);
    while (n > 0 && root[n - 1] == '/')
        n--;
    o3_buf_add(&url, root, n);
    o3_buf_adds(&url, "/api/v1/ack?model=");
    add_escaped(&url, a->model);
    if (a->signal) o3_buf_addf(&url, "&signal=%s", a->signal);
    return url.err ? usage("--url: too long") : send_word(o3_buf_str(&url), own.peer_or_null, v->web_token, a->is_json);
}

int o3_cmd_ack(int argc, char **argv) {
    struct o3_config_args args;
    struct arguments a = {0};
    struct o3_config *config = NULL;
    struct o3_err e = {0};
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return usage(e.text);
    int status = take_arguments(&a, argc, argv);
    if (status >= 0) return status;
    for (size_t i = 0; i < args.n_flags; i++)
        if (!strcmp(args.flags[i].name, "web.token"))
            return usage("a token on the command line is seen by everybody: use O3_WEB_TOKEN or --config.file");
    if (o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e) < 0) {
        O3_AUTO_BUF text;
        o3_buf_init(&text, 8192);
        o3_config_format_error(o3_config_source_path(args.file), &e, &text);
        fprintf(stderr, "o3 ack: %s\n", o3_buf_str(&text));
        return 2;
    }
    status = ack(&a, o3_config_values(config));
    o3_config_free(config);
    return status;
}
