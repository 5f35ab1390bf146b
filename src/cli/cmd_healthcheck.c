/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "app/config_source.h"
#include "cli/commands.h"
#include "cli/exchange.h"
#include "o3/text.h"

static const char HELP[] =
    "usage: o3 healthcheck [--config.file FILE] [--web.listen ADDRESS:PORT] [--web.config.file FILE] [--ready] "
    "[--json]\n"
    "Asks the sidecar that listens on web.listen whether it is healthy (or ready). Exit status: 0 yes, 1 no.\n";

static int ask(const struct o3_own *own, bool is_json) {
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
                             .connect_timeout_ms = 2000,
                             .total_timeout_ms = 4000,
                             .max_bytes = 4096};
    struct o3_exchange reply = {0};
    o3_exchange_run(&x, &rq, &reply);
    bool is_good = reply.transport == 0 && reply.status == 200;
    if (is_json)
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

int o3_cmd_healthcheck(int argc, char **argv) {
    struct o3_config_args args;
    struct o3_err e;
    if (o3_config_args_parse(&argc, argv, &args, &e) < 0) {
        fprintf(stderr, "o3 healthcheck: %s\n", e.text);
        return 2;
    }
    bool is_ready = false, is_json = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) {
            fputs(HELP, stdout);
            return 0;
        }
        is_ready |= !strcmp(argv[i], "--ready");
        is_json |= !strcmp(argv[i], "--json");
        if (strcmp(argv[i], "--ready") && strcmp(argv[i], "--json")) {
            fprintf(stderr, "o3 healthcheck: unknown argument \"%s\"; see \"o3 healthcheck --help\"\n", argv[i]);
            return 2;
        }
    }
    struct o3_config *config = NULL;
    int r = o3_config_source_load(args.file, args.flags, args.n_flags, NULL, NULL, &config, NULL, &e);
    if (r < 0) {
        fprintf(stderr, "o3 healthcheck: %s\n", e.text);
        return 2;
    }
    struct o3_own own;
    r = o3_own_find(o3_config_values(config), is_ready ? "/-/ready" : "/-/healthy", &own, &e);
    o3_config_free(config);
    if (r < 0) {
        fprintf(stderr, "o3 healthcheck: web.config_file: %s\n", e.text);
        return 2;
    }
    own.peer.cert_file = NULL; /* no secret is sent; an expired certificate is no reason to restart the sidecar */
    return ask(&own, is_json);
}
