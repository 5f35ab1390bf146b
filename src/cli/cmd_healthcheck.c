/* SPDX-License-Identifier: Apache-2.0 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "app/config_source.h"
#include "cli/commands.h"
#include "cli/exchange.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 healthcheck [--config.file FILE] [--web.listen ADDRESS:PORT] [--web.config.file FILE] [--ready]\n"
    "                      [--json] [--timeout DURATION]\n"
    "Asks the sidecar that listens on web.listen whether it is healthy (or ready). Exit status: 0 yes, 1 no.\n"
    "\n"
    "  --timeout DURATION  no answer by then is a no (4s); give what runs it a second more\n";

#define TIMEOUT_MS 4000 /* below the five seconds of the image's HEALTHCHECK */
#define TIMEOUT_MAX_MS 3600000

struct arguments {
    int64_t timeout_ms;
    bool is_ready, is_json;
};

static int ask(const struct o3_own *own, const struct arguments *a) {
    const char *url = own->url;
    struct o3_exchanger x;
    struct o3_err e;
    if (o3_exchanger_init(&x, &e) < 0) {
        fprintf(stderr, "o3 healthcheck: %s\n", e.text);
        return 1;
    }
    struct o3_http_req rq = {.method = "GET",
                             .url = url,
                             .peer = own->peer_or_null,
                             .connect_timeout_ms = a->timeout_ms,
                             .total_timeout_ms = a->timeout_ms,
                             .max_bytes = 4096};
    struct o3_exchange reply = {0};
    o3_exchange_run(&x, &rq, &reply);
    bool is_good = reply.transport == 0 && reply.status == 200;
    if (a->is_json)
        printf("{\"healthy\":%s,\"status\":%d}\n", is_good ? "true" : "false", reply.transport ? 0 : reply.status);
    else if (is_good)
        puts("healthy");
    if (reply.transport)
        fprintf(stderr, "o3 healthcheck: %s: %s\n", url,
                reply.text[0] ? reply.text : o3_error_row(reply.transport)->meaning);
    else if (!is_good)
        fprintf(stderr, "o3 healthcheck: %s: status %d\n", url, reply.status);
    o3_buf_done(&reply.body);
    o3_exchanger_done(&x);
    return is_good ? 0 : 1;
}

static int usage(const char *what) {
    fprintf(stderr, "o3 healthcheck: %s; see \"o3 healthcheck --help\"\n", what);
    return 2;
}

/* -1: go on; else the exit status. */
static int take_arguments(struct arguments *a, int argc, char **argv) {
    static const struct option OPTIONS[] = {{"ready", no_argument, NULL, 'r'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"timeout", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    *a = (struct arguments){.timeout_ms = TIMEOUT_MS};
    optind = 0; /* start over: the caller may have used getopt before */
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option == '?') return 2;
        a->is_ready |= option == 'r';
        a->is_json |= option == 'j';
        if (option == 't' &&
            (!o3_duration_parse(optarg, &a->timeout_ms) || a->timeout_ms <= 0 || a->timeout_ms > TIMEOUT_MAX_MS))
            return usage("--timeout: expected a duration such as 10s, at most an hour");
    }
    return optind < argc ? usage("it takes no other arguments") : -1;
}

int o3_cmd_healthcheck(int argc, char **argv) {
    struct o3_config_args args;
    struct arguments a;
    struct o3_err e;
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) return usage(e.text);
    int status = take_arguments(&a, argc, argv);
    if (status >= 0) return status;
    struct o3_config *config = NULL;
    int r = o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e);
    if (r < 0) {
        fprintf(stderr, "o3 healthcheck: %s\n", e.text);
        return 2;
    }
    struct o3_own own;
    r = o3_own_find(o3_config_values(config), a.is_ready ? "/-/ready" : "/-/healthy", &own, &e);
    o3_config_free(config);
    if (r < 0) {
        fprintf(stderr, "o3 healthcheck: web.config_file: %s\n", e.text);
        return 2;
    }
    own.peer.cert_file = NULL; /* no secret is sent; an expired certificate is no reason to restart the sidecar */
    return ask(&own, &a);
}
