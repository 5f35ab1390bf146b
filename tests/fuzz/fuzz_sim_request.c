/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the body of each request to the simulated server: answered, cut, or given up by the client; then it
 * still works. */
#include <stdint.h>
#include <string.h>
#include "o3/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void play(struct o3_world *w, int64_t until_ns, uint64_t id, bool *ret_ended, int *ret_status) {
    struct o3_world_output o;
    while (o3_world_poll(w, until_ns, &o)) {
        if (o.id != id) continue;
        if (o.kind == O3_WORLD_HEAD) *ret_status = o.status;
        *ret_ended |= o.kind == O3_WORLD_END || o.kind == O3_WORLD_ABORT;
    }
}

static const struct {
    const char *method, *path;
} ROUTES[] = {
    {"POST", "/api/generate"},
    {"POST", "/api/chat"},
    {"POST", "/api/embed"},
    {"POST", "/api/embeddings"},
    {"POST", "/api/show"},
    {"POST", "/api/create"},
    {"POST", "/api/copy"},
    {"DELETE", "/api/delete"},
    {"POST", "/api/pull"},
    {"POST", "/api/push"},
    {"POST", "/v1/chat/completions"},
    {"POST", "/v1/completions"},
    {"POST", "/v1/embeddings"},
    {"POST", "/api/blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"HEAD", NULL}, /* the rest is the path */
    {"GET", NULL},
};
enum { N_ROUTES = sizeof ROUTES / sizeof *ROUTES };

static uint64_t ask(struct o3_world *w, const uint8_t *data, size_t n) {
    size_t which = data[0] % N_ROUTES;
    char path[512];
    if (ROUTES[which].path)
        return o3_world_request(w, 0, ROUTES[which].method, ROUTES[which].path, (const char *)data + 1, n - 1);
    o3_str_copy_n(path, sizeof path, (const char *)data + 1, n - 1);
    return o3_world_request(w, 0, ROUTES[which].method, path, NULL, 0);
}

/* The first byte picks the route. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n == 0) return 0;
    struct o3_world_params p = {.seed = 1, .start_wall_ms = 1795233966161, .has_recorded_models = true};
    struct o3_world *w = o3_world_new(&p);
    if (!w) return 0;
    bool is_ended = false;
    int status = 0;
    uint64_t id = ask(w, data, n);
    int64_t t = 2 * O3_NS_PER_S;
    play(w, t, id, &is_ended, &status);
    if (!is_ended) o3_world_disconnect(w, t, id);
    id = o3_world_request(w, t, "GET", "/api/ps", NULL, 0);
    is_ended = false;
    play(w, t + O3_NS_PER_S, id, &is_ended, &status);
    O3_ASSERT(is_ended && status == 200);
    o3_world_free(w);
    return 0;
}
