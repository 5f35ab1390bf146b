/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_IO_HTTP_OPTIONS_H
#define O3_IO_HTTP_OPTIONS_H
/* What libcurl is told of a request before it is sent. For http_client.c only. */
#include "io/http_client.h"

bool o3_http_has_body(const struct o3_http_req *rq); /* its method takes one, though it may be empty */
/* easy: a CURL; body: rq's, which stays as long as the transfer. 0: all were taken. */
unsigned o3_http_set_options(void *easy, const struct o3_http_req *rq, const char *body);

#endif
