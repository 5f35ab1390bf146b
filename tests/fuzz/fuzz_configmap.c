/* SPDX-License-Identifier: Apache-2.0 */
/* An API server that answers with arbitrary bytes: the first byte chooses the status, the rest is the body of a read;
 * what follows from it, a patch and its answer too, is played. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "o3/configmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int STATUS[] = {200, 200, 200, 401, 403, 404, 409, 422, 429, 500};
    struct o3_configmap_params p = {
        .space = "llm", .name = "o3-ai-configs", .writer = "pod-a", .writes_per_hour = 6, .seed = 1};
    struct o3_now now = {.mono_ns = O3_NS_PER_S, .wall_ms = 1795233966161};
    struct o3_keys want = {.n = 0};
    struct o3_configmap *c = NULL;
    if (!size || o3_configmap_new(&p, &c, NULL) < 0) return 0;
    if (o3_keys_set(&want, "m.yaml", "model: m\n", 9) == 0 && o3_keys_set(&want, "m.balanced.batch", NULL, 0) == 0)
        (void)o3_configmap_want(c, &want, "fuzz", now);
    (void)o3_configmap_keep(c, "{}", 2);
    struct o3_configmap_reply r = {
        .status = STATUS[data[0] % 10], .retry_after_s = data[0], .body = (const char *)data + 1, .n = size - 1};
    for (int i = 0; i < 8; i++) {
        struct o3_configmap_request rq;
        struct o3_configmap_news news;
        int64_t at_ns = o3_configmap_deadline_ns(c);
        if (at_ns == INT64_MAX) abort(); /* something is wanted: it never rests before it is there, or looks again */
        if (at_ns > now.mono_ns) now.mono_ns = at_ns;
        if (!o3_configmap_request(c, now, &rq) || !rq.path) abort();
        o3_configmap_reply(c, &r, now, &news);
        if (memchr(news.text, '\n', strlen(news.text))) abort(); /* goes into the log */
    }
    o3_configmap_free(c);
    o3_keys_free(&want);
    return 0;
}
